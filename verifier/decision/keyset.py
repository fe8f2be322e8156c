"""The public keys of every issuer, as one immutable snapshot. Replaced whole, never edited; no I/O here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from shared.jwks import JwkSet
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
class TrustedKeys:
    """The keys of all issuers, found by `kid`.

    Attributes:
        issuers: those that have at least one key here.
    """

    issuers: frozenset[str] = frozenset()
    _by_kid: Mapping[str, tuple[VerificationKey, ...]] = field(default_factory=dict)

    @classmethod
    def from_issuers(cls, published: Mapping[str, JwkSet]) -> Self:
        """Join the key sets of issuers. Two issuers may use one `kid`: each key is for its own issuer only."""
        by_kid: dict[str, tuple[VerificationKey, ...]] = {}
        for issuer, jwks in published.items():
            for kid, key in jwks.keys.items():
                verification_key = VerificationKey(key.kid, issuer, key.material, key.algorithms)
                by_kid[kid] = (*by_kid.get(kid, ()), verification_key)
        return cls(frozenset(published), by_kid)

    def find(self, kid: str) -> tuple[VerificationKey, ...]:
        """Return the keys with that `kid`, at most one per issuer; empty if unknown."""
        return self._by_kid.get(kid, ())

    def has(self, issuer: str, kid: str) -> bool:
        """Return whether the issuer has a key with that `kid`."""
        return any(key.issuer == issuer for key in self.find(kid))

    def contains(self, key: VerificationKey) -> bool:
        """Return whether `key` is still a key of its issuer, so that what it verified is still valid."""
        return key in self.find(key.kid)

    def is_superset_of(self, other: Self) -> bool:
        """Return whether every key of `other` is contained unchanged."""
        return all(self.contains(key) for keys in other._by_kid.values() for key in keys)
