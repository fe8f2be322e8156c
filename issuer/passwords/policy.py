"""The policy for new passwords: long, and not common. NIST SP 800-63B-4 §3.1.1.2.

There is a minimum length and a blocklist, and no composition rule. The whole password is compared, never parts of it.
Existing passwords are not checked, and stay valid when the policy changes.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from issuer.email_address import EmailAddress

MAX_LENGTH: Final = 256
"""In code points after NFC. It bounds the work."""

MAX_GIVEN_LENGTH: Final = 4 * MAX_LENGTH
"""In code points before NFC. The cost of NFC is quadratic in the number of consecutive combining marks."""

_OUR_NAME: Final = "gatepass"


def is_too_long(password: str) -> bool:
    """Return whether a password is longer than any password can be."""
    return len(password) > MAX_GIVEN_LENGTH or len(unicodedata.normalize("NFC", password)) > MAX_LENGTH


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """The rules for new passwords.

    Attributes:
        min_length: in code points after NFC, each counting as one.
        service_names: names of this service, such as its host name: the first guesses of an attacker.
    """

    min_length: int
    service_names: frozenset[str] = frozenset()

    def faults(self, password: str, email: EmailAddress | None) -> Iterator[str]:
        """Yield what is wrong with `password` for the account of `email`; nothing if it is acceptable."""
        if is_too_long(password):
            yield f"must have at most {MAX_LENGTH} characters"
            return
        plain = unicodedata.normalize("NFC", password)
        if len(plain) < self.min_length:
            yield f"must have at least {self.min_length} characters"
        elif _folded(plain) in _common_passwords() or _is_repetitive(plain) or self._is_service_name(plain):
            yield "is too common: choose another"
        elif email is not None and _folded(plain) in _parts_of(email):
            yield "must not be your email address: choose another"

    def _is_service_name(self, plain: str) -> bool:
        return _folded(plain) in {_folded(name) * times for name in self.service_names for times in (1, 2)} - {""}


def _folded(text: str) -> str:
    """Remove case and separators: they do not make a common password rare."""
    return "".join(character for character in text.casefold() if character.isalnum())


def _is_repetitive(plain: str) -> bool:
    """Return whether up to four characters, or our name, repeat, as in `abcabcabcabcabc` or `gatepassgatepass`."""
    units = (*(plain[:size].casefold() for size in range(1, 5)), _OUR_NAME)
    return any((unit * len(plain))[: len(plain)] == plain.casefold() for unit in units)


def _parts_of(email: EmailAddress) -> set[str]:
    local, _, domain = email.key.partition("@")
    words = {_folded(word) for word in (email.key, email.given, local, domain, local + local)}
    return words - {""}


@cache
def _common_passwords() -> frozenset[str]:
    text = files("issuer.passwords").joinpath("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(_folded(line) for line in text.splitlines() if line and not line.startswith("#"))
