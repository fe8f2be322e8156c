"""The accounts of a load run: ten thousand names, one password, one hash.

One hash for all makes seeding a matter of seconds. It also means that seeding says nothing about registering,
and that whoever learns the password of one account has them all: it is random, made anew with each seeding, and
its file is its owner's alone.
"""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher  # noqa: TID251 - makes what is imported, as another system would have

from issuer.passwords import ARGON2ID_OWASP

_SECRET_BYTES: Final = 24


def address_of(number: int) -> str:
    """The e-mail address of a seeded account."""
    return f"load-{number}@example.com"


def make_password(file: Path) -> str:
    """A new password, written to `file` for the clients."""
    password = secrets.token_urlsafe(_SECRET_BYTES)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(password, encoding="ascii")
    return password


def lines(count: int, password: str) -> Iterator[str]:
    """What `python -m issuer users import` reads. One computation of argon2, whatever `count` is."""
    encoded = PasswordHasher.from_parameters(ARGON2ID_OWASP).hash(password)
    for number in range(count):
        yield json.dumps({"email": address_of(number), "password_hash": encoded}) + "\n"


def write(count: int, password: str, file: Path) -> None:
    """All of them as JSON lines."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    with file.open("w", encoding="ascii") as people:
        people.writelines(lines(count, password))
