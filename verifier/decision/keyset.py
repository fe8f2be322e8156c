"""The public keys of every issuer, as one immutable snapshot. Replaced whole, never edited; no I/O here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from shared.jwks import JwkSet, PublicKey
from shared.signatures import PublicKeyMaterial


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, bound to the issuer that published it and to its algorithms."""

    kid: str
    issuer: str
    material: PublicKeyMaterial
    algorithms: frozenset[str]

    def is_for(self, algorithm: str) -> bool:
        """Return whether the issuer published the key for this algorithm."""
        return algorithm in self.algorithms


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys, found by the name that tokens call them.

    Attributes:
        issuers: those that have at least one key here.
    """

    issuers: frozenset[str] = frozenset()
    _by_kid: Mapping[str, tuple[VerificationKey, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, published: Mapping[str, JwkSet]) -> Self:
        """Join what each issuer published. Two issuers may use one `kid`: both keys are kept, each its owner's."""
        by_kid: dict[str, tuple[VerificationKey, ...]] = {}
        for issuer, jwks in published.items():
            for kid, key in jwks.keys.items():
                by_kid[kid] = (*by_kid.get(kid, ()), _verification_key(issuer, key))
        return cls(frozenset(published), by_kid)

    def find(self, kid: str) -> tuple[VerificationKey, ...]:
        """The keys of that name, one for each issuer at most; empty if unknown."""
        return self._by_kid.get(kid, ())

    def covers(self, issuers: frozenset[str]) -> bool:
        """Return whether each of `issuers` has a key: without, an unknown `kid` proves nothing."""
        return issuers <= self.issuers

    def holds(self, key: VerificationKey) -> bool:
        """Return whether `key` is here, as its issuer's: then what it verified is still valid."""
        return key in self.find(key.kid)

    def keeps(self, other: Self) -> bool:
        """Return whether every key of `other` is here unchanged."""
        return all(self.holds(key) for keys in other._by_kid.values() for key in keys)


def _verification_key(issuer: str, key: PublicKey) -> VerificationKey:
    return VerificationKey(key.kid, issuer, key.material, key.algorithms)
