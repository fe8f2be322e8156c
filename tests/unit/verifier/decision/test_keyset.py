"""A key belongs to its issuer, and a key set can tell whether it has all keys of another."""

from shared.jwks import parse_jwks
from tests.support.token_forge import ISSUER, Forge
from tests.support.vector_keys import OTHER_ISSUER
from tests.support.vectors import KEY_SETS
from verifier.decision.keyset import TrustedKeys


def test_the_same_kid_of_two_issuers_is_two_keys() -> None:
    found = KEY_SETS["one-kid-for-two-keys"].find("shared")
    assert [key.issuer for key in found] == [ISSUER, OTHER_ISSUER]
    assert found[0].material != found[1].material


def test_an_empty_key_set_finds_nothing() -> None:
    assert TrustedKeys().find("x") == ()
    assert not TrustedKeys().has(ISSUER, "x")


def test_an_issuer_has_the_keys_that_it_published_and_no_others() -> None:
    keys = KEY_SETS["kid-of-its-own"]
    assert keys.has(ISSUER, "shared")
    assert not keys.has(OTHER_ISSUER, "shared")
    assert not keys.has(ISSUER, "another")


def test_trusted_keys_contain_their_own_and_no_others() -> None:
    forge = Forge()
    keys = TrustedKeys.from_issuers({ISSUER: parse_jwks(forge.jwks)})
    (key,) = keys.find(forge.kid)
    assert keys.contains(key)
    assert not TrustedKeys.from_issuers({ISSUER: parse_jwks(Forge().jwks)}).contains(key)


def test_decisions_stay_cached_only_while_every_key_remains() -> None:
    def keeps(new: str, old: str) -> bool:
        return KEY_SETS[new].is_superset_of(KEY_SETS[old])

    assert keeps("issuer", "issuer")
    assert keeps("rotating", "issuer")
    assert keeps("two-issuers", "issuer")
    assert keeps("issuer", "none")
    assert not keeps("issuer", "rotating")  # a key is gone
    assert not keeps("none", "issuer")
    assert not keeps("kid-taken-over", "kid-of-its-own")  # another key under the name
    assert not keeps("issuer", "one-key-for-two-issuers")  # the key is there, but no longer the other issuer's
    assert keeps("one-key-for-two-issuers", "issuer")
