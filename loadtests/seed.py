"""The accounts of a load run: many email addresses, one random password, one hash.

With one hash for all, seeding takes seconds, so it does not measure registrations. All accounts are as safe as
the password file, which only its system user can read.
"""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher  # noqa: TID251 - makes import lines, as another system would have

from issuer.passwords.hasher import DEFAULT_PARAMETERS

_SECRET_BYTES: Final = 24


def email_of(number: int) -> str:
    """Return the email address of a seeded account."""
    return f"load-{number}@example.com"


def write_password(file: Path) -> str:
    """Write a new random password to `file` and return it."""
    password = secrets.token_urlsafe(_SECRET_BYTES)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(password, encoding="ascii")
    return password


def write_accounts(numbers: Iterable[int], password: str, file: Path) -> None:
    """Write the accounts with these numbers as lines for `python -m issuer users import`, with one argon2 hash."""
    encoded = PasswordHasher.from_parameters(DEFAULT_PARAMETERS).hash(password)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    with file.open("w", encoding="ascii") as accounts:
        for number in numbers:
            accounts.write(json.dumps({"email": email_of(number), "password_hash": encoded}) + "\n")
