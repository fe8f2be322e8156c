"""Vectors of key sets: documents from outside, and the names of the keys to take from them."""

import json
from typing import Any, Final

from tests.vectors.generator.algorithms import KEY_HYGIENE
from tests.vectors.generator.material import PRIVATE, Attack, Json, public, text
from tests.vectors.generator.reading import CONFORMANCE, CRASH, JSON

SECRETS: Final = Attack("published-secrets", ("RFC 7517 §9.2",))


def documents() -> list[Json]:
    """What a key set may look like. `kids` null: nothing of it must be used."""
    good, stranger = public("issuer"), public("stranger")
    kid = good["kid"]

    def beside(*entries: Any) -> bytes:
        return json.dumps({"keys": [good, *entries]}).encode()

    ec, ed = public("p-256", kid="ec"), public("ed25519", kid="ed")
    skipped: dict[str, Any] = {
        "ec": ec,
        "ed25519": ed,
        "null": None,
        "string": "key",
        "empty": {},
        "unknown-type": {"kty": "AKP", "kid": "x", "pub": "AA"},
        "no-type": public("stranger", kty=...),
        "no-kid": public("stranger", kid=...),
        "kid-number": public("stranger", kid=1),
        "kid-empty": public("stranger", kid=""),
        "kid-257": public("stranger", kid="k" * 257),
        "encryption": public("stranger", use="enc"),
        "use-list": public("stranger", use=["sig"]),
        "operations-sign": public("stranger", key_ops=["encrypt"]),
        "operations-string": public("stranger", key_ops="verify"),
        "rs384": public("stranger", alg="RS384"),
        "ps256": public("stranger", alg="PS256"),
        "alg-null": public("stranger", alg=None),
        "1024-bits": public("short-1024"),
        "2047-bits": public("short-2047"),
        "no-modulus": public("stranger", n=...),
        "modulus-number": public("stranger", n=65537),
        "modulus-empty": public("stranger", n=""),
        "modulus-padded": public("stranger", n=stranger["n"] + "="),
        "modulus-standard-alphabet": public("stranger", n="+/" + stranger["n"][2:]),
        "modulus-space": public("stranger", n=stranger["n"][:9] + " " + stranger["n"][9:]),
        "modulus-in-two-lines": public("stranger", n=stranger["n"][:8] + "\r\n\r\n" + stranger["n"][8:]),
        "modulus-non-ascii": public("stranger", n="é" + stranger["n"]),
        "modulus-even": public("stranger", n=stranger["n"][:-1] + "A"),
        "modulus-16384-bits": public("stranger", n="_" * 2730 + "w"),
        "no-exponent": public("stranger", e=...),
        "exponent-1": public("stranger", e="AQ"),
        "exponent-2": public("stranger", e="Ag"),
        "exponent-0": public("stranger", e="AA"),
        "exponent-even": public("stranger", e="AQAC"),
        "exponent-33-bits": public("stranger", e="AQAAAAE"),
        "exponent-modulus": public("stranger", e=stranger["n"]),
    }
    secret: dict[str, Any] = {
        "private-rsa": {**stranger, "d": "AQAB"},
        "private-rsa-primes": {**stranger, "p": "AQAB", "q": "AQAB"},
        "private-ec": {**ec, "d": PRIVATE["p-256"]["d"]},
        "private-null": {**stranger, "d": None},
        "private-akp": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "priv": "AA"},
        "symmetric": {"kty": "oct", "k": "c2VjcmV0"},
        "symmetric-empty": {"kty": "oct"},
        "symmetric-disguised": {**stranger, "k": "c2VjcmV0"},
    }
    unusable: dict[str, tuple[Attack, bytes]] = {
        "empty-document": (JSON, b""),
        "empty-object": (KEY_HYGIENE, b"{}"),
        "no-entries": (KEY_HYGIENE, b'{"keys":[]}'),
        "keys-object": (KEY_HYGIENE, json.dumps({"keys": {kid: good}}).encode()),
        "keys-null": (KEY_HYGIENE, b'{"keys":null}'),
        "keys-string": (KEY_HYGIENE, b'{"keys":"RS256"}'),
        "array": (JSON, json.dumps([good]).encode()),
        "single-key": (KEY_HYGIENE, json.dumps(good).encode()),
        "null": (JSON, b"null"),
        "duplicate-keys": (JSON, beside()[:-1] + b',"keys":[]}'),
        "duplicate-modulus": (JSON, beside().replace(b'"n":', b'"n":"AQAB","n":')),
        "trailing-data": (JSON, beside() + b"{}"),
        "byte-order-mark": (JSON, b"\xef\xbb\xbf" + beside()),
        "utf-16": (JSON, beside().decode().encode("utf-16")),
        "invalid-utf-8": (JSON, beside()[:-1] + b',"x":"\xff"}'),
        "nan": (JSON, beside()[:-1] + b',"x":NaN}'),
        "page-of-html": (JSON, b"<html><body>502 Bad Gateway</body></html>"),
        "deep": (CRASH, b'{"keys":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
        "keys-257": (KEY_HYGIENE, beside(*[{}] * 256)),
        "only-ec": (KEY_HYGIENE, json.dumps({"keys": [ec]}).encode()),
        "only-short": (KEY_HYGIENE, json.dumps({"keys": [public("short-1024")]}).encode()),
        "one-kid-two-keys": (KEY_HYGIENE, json.dumps({"keys": [good, {**stranger, "kid": kid}]}).encode()),
        "one-kid-two-keys-three-entries": (
            KEY_HYGIENE,
            json.dumps({"keys": [good, {**stranger, "kid": kid}, good]}).encode(),
        ),
    }
    return [
        _document("one-key", CONFORMANCE, beside(), [kid]),
        _document("two-keys", CONFORMANCE, beside(stranger), [kid, stranger["kid"]]),
        _document("same-key-twice", CONFORMANCE, beside(good), [kid]),
        _document("unknown-members", CONFORMANCE, beside()[:-1] + b',"x":1}', [kid]),
        _document(
            "operations-verify", CONFORMANCE, beside(public("stranger", key_ops=["verify"], kid="v")), [kid, "v"]
        ),
        _document("exponent-3", CONFORMANCE, beside(public("exponent-3", kid="e3")), [kid, "e3"]),
        _document("kid-256", CONFORMANCE, beside(public("stranger", kid="k" * 256)), [kid, "k" * 256]),
        _document("keys-256", CONFORMANCE, beside(*[{}] * 255), [kid]),
        *(_document(f"skipped-{n}", KEY_HYGIENE, beside(entry), [kid]) for n, entry in skipped.items()),
        *(_document(f"refused-{n}", SECRETS, beside(entry), None) for n, entry in secret.items()),
        *(_document(f"refused-{n}", attack, document, None) for n, (attack, document) in unusable.items()),
    ]


def _document(identifier: str, attack: Attack, document: bytes, kids: list[str] | None) -> Json:
    return {
        "id": identifier,
        "attack": attack.name,
        "references": list(attack.references),
        "document": text(document),
        "kids": kids,
    }
