"""Vectors of checks 1 to 3: what is refused before anything is believed."""

import json
from typing import Any, Final

from tests.support.token_forge import b64url
from tests.vectors.generator.material import (
    GOOD,
    NOW,
    STRANGER,
    Attack,
    Json,
    header_of,
    numbered,
    payload_of,
    segments,
    text,
    vector,
)

CONFORMANCE: Final = Attack("conformance", ("RFC 7515", "RFC 9068"))
OVERSIZE: Final = Attack("oversize", ("CVE-2025-30204", "CVE-2025-27144", "CVE-2025-22868", "CVE-2025-61920"))
MALLEABLE: Final = Attack("malleability", ("RFC 4648 §3.5", "RFC 7515 §2"))
FORMAT: Final = Attack("format-confusion", ("CVE-2024-33664", "CVE-2024-28102", "CVE-2025-62706", "RFC 7516 §9"))
CRITICAL: Final = Attack("critical-header-ignored", ("CVE-2026-32597", "CVE-2025-59420", "RFC 7515 §4.1.11"))
UNENCODED: Final = Attack("unencoded-payload", ("RFC 7797 §6",))
EMBEDDED: Final = Attack("embedded-key", ("CVE-2026-27962", "CVE-2018-0114", "RFC 8725 §3.10"))
JSON: Final = Attack("json-ambiguity", ("RFC 8259 §4", "RFC 8259 §8.1", "RFC 8725 §2.6"))
CRASH: Final = Attack("crash", ("CVE-2025-64527", "RFC 8259 §9"))

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_GOOD_TOKEN: Final = GOOD.token(NOW)
_WRONG_TYPES: Final[list[Any]] = [None, 1, True, 1.5, ["x"], {"x": 1}]


def size() -> list[Json]:
    """Check 1."""
    whole = {length: _padded(length) for length in (8191, 8192, 8193)}
    heads = {length: header_of(pad="x" * _header_padding(length)) for length in (1023, 1024, 1026)}
    return [
        vector("whole-8191", CONFORMANCE, whole[8191], None),
        vector("whole-8192", CONFORMANCE, whole[8192], None, "8 KiB exactly"),
        vector("whole-8193", OVERSIZE, whole[8193], "too_large"),
        vector("header-1023", CONFORMANCE, segments(heads[1023], payload_of()), None),
        vector("header-1024", CONFORMANCE, segments(heads[1024], payload_of()), None, "1 KiB exactly"),
        vector("header-1026", OVERSIZE, segments(heads[1026], payload_of()), "too_large"),
        vector("header-1025", OVERSIZE, segments(heads[1024] + b"A", payload_of()), "too_large"),
        vector("dots-8193", OVERSIZE, b"." * 8193, "too_large"),
        vector("dots-8192", OVERSIZE, b"." * 8192, "malformed"),
        vector("letters-8193", OVERSIZE, b"A" * 8193, "too_large"),
    ]


def _header_padding(length: int) -> int:
    return next(size for size in range(1024) if len(header_of(pad="x" * size)) == length)


def _padded(length: int) -> bytes:
    for head in range(3):
        header = header_of(pad="x" * head)
        room = length - len(header) - 2 - 342
        size = room * 3 // 4 - len(json.dumps(GOOD.claims(NOW, pad="")))
        token = segments(header, payload_of(pad="x" * size))
        if len(token) == length:
            return token
    raise ValueError(length)


def form() -> list[Json]:
    """Check 2."""
    header, payload, signature = _GOOD_TOKEN.split(b".")
    # An object whose length leaves the last character of its segment two or four unused bits.
    spare_header = next(s for n in range(3) if len(s := header_of(pad="x" * n)) % 4 == 2)
    spare_payload = next(s for n in range(3) if len(s := payload_of(pad="x" * n)) % 4 == 3)
    dashed = b64url(json.dumps(GOOD.claims(NOW, pad="???>>>~~~")).encode())
    malleable = {
        **{f"header-unused-bit-{bit}": segments(_respelled(spare_header, bit), payload) for bit in (1, 2, 4, 8)},
        **{f"payload-unused-bit-{bit}": segments(header, _respelled(spare_payload, bit)) for bit in (1, 2)},
        **{
            f"signature-unused-bit-{bit}": header + b"." + payload + b"." + _respelled(signature, bit)
            for bit in (1, 2, 4, 8)
        },
        "header-padded": segments(spare_header + b"==", payload),
        "payload-padded": segments(header, spare_payload + b"="),
        "signature-padded": _GOOD_TOKEN + b"==",
        "payload-standard-alphabet": segments(header, dashed.translate(bytes.maketrans(b"-_", b"+/"))),
        "signature-standard-alphabet": _GOOD_TOKEN[: -len(signature)]
        + signature.replace(b"-", b"+").replace(b"_", b"/"),
        "header-newline": segments(header[:8] + b"\n" + header[8:], payload),
        "payload-space": segments(header, payload[:8] + b" " + payload[8:]),
        "payload-newline-at-end": segments(header, payload + b"\n"),
        "signature-newline-at-end": _GOOD_TOKEN + b"\n",
        "signature-crlf-at-end": _GOOD_TOKEN + b"\r\n",
        "leading-space": b" " + _GOOD_TOKEN,
        "trailing-nul": _GOOD_TOKEN + b"\0",
        "header-one-character-too-many": segments(header + b"A", payload)
        if len(header) % 4 == 0
        else segments(spare_header + b"AAA", payload),
        "payload-tilde": segments(header, payload + b"~"),
        "non-ascii": segments(header, payload + b"\xff"),
    }
    shapes = {
        "empty": b"",
        "one-segment": header,
        "two-segments": header + b"." + payload,
        "four-segments": _GOOD_TOKEN + b"." + signature,
        "five-segments-jwe": b".".join([b64url(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'), b"AA", b"AA", b"AA", b"AA"]),
        "five-segments-pbes2": b".".join(
            [b64url(b'{"alg":"PBES2-HS256+A128KW","p2c":1000000000,"enc":"A128GCM"}'), b"AA", b"AA", b"AA", b"AA"]
        ),
        "leading-dot": b"." + _GOOD_TOKEN,
        "trailing-dot": _GOOD_TOKEN + b".",
        "json-flattened": json.dumps(
            {"protected": text(header), "payload": text(payload), "signature": text(signature)}
        ).encode(),
        "json-general": json.dumps(
            {"payload": text(payload), "signatures": [{"protected": text(header), "signature": text(signature)}]}
        ).encode(),
        "dots": b"..." * 50,
    }
    return [
        vector("url-safe-characters", CONFORMANCE, segments(header, dashed), None),
        vector("header-spare-bits-zero", CONFORMANCE, segments(spare_header, payload), None),
        vector("payload-spare-bits-zero", CONFORMANCE, segments(header, spare_payload), None),
        *(vector(name, MALLEABLE, token, "malformed") for name, token in malleable.items()),
        *(vector(name, FORMAT, token, "malformed") for name, token in shapes.items()),
        vector("empty-segments", FORMAT, b"..", "invalid_header"),
        vector("empty-header", FORMAT, b"." + payload + b"." + signature, "invalid_header"),
        vector("empty-payload", FORMAT, segments(header, b""), "invalid_claims", "detached payload, properly signed"),
        vector("empty-signature", FORMAT, header + b"." + payload + b".", "bad_signature"),
    ]


def _respelled(segment: bytes, bit: int) -> bytes:
    """The same octets to a lax decoder: an unused bit of the last character is set."""
    return segment[:-1] + _ALPHABET[_ALPHABET.index(chr(segment[-1])) + bit].encode()


def header() -> list[Json]:
    """Check 3."""

    def raw(document: bytes) -> bytes:
        return segments(b64url(document), payload_of())

    good = json.dumps(GOOD.header())[:-1].encode()
    crit: list[Any] = [["x"], [], "x", ["alg"], ["exp"], ["b64"], None, {}, 1, ["x", "x"], [1]]
    embedded: dict[str, Any] = {
        "jwk": json.loads(STRANGER.jwks)["keys"][0],
        "jku": "https://attacker.example/jwks.json",
        "x5u": "https://attacker.example/cert.pem",
        "x5c": ["MIIB"],
    }
    ambiguous = {
        "duplicate-alg": good + b',"alg":"RS256"}',
        "duplicate-alg-none-first": b'{"alg":"none",' + good[1:] + b"}",
        "duplicate-kid-escaped": good + b',"k\\u0069d":"other"}',
        "duplicate-nested": good + b',"x":{"a":1,"a":2}}',
        "trailing-data": good + b"}{}",
        "trailing-nul": good + b"}\0",
        "byte-order-mark": b"\xef\xbb\xbf" + good + b"}",
        "utf-16": (good + b"}").decode().encode("utf-16"),
        "utf-16-be": (good + b"}").decode().encode("utf-16-be"),
        "latin-1": good + b',"x":"\xe9"}',
        "overlong": good + b',"x":"\xc0\xaf"}',
        "lone-surrogate": good + b',"x":"\\ud800"}',
        "nan": good + b',"x":NaN}',
        "infinity": good + b',"x":-Infinity}',
        "huge-number": good + b',"x":1e400}',
        "negative-zero": good + b',"x":-0}',
        "array": b"[" + good + b"}]",
        "string": b'"RS256"',
        "null": b"null",
        "not-json": b"RS256",
        "single-quotes": (good + b"}").replace(b'"', b"'"),
        "comment": good + b"/**/}",
        "depth-17": good + b',"x":' + b"[" * 16 + b"]" * 16 + b"}",
    }
    types: list[tuple[str, Any]] = [("kid", value) for value in _WRONG_TYPES]
    types += [("typ", value) for value in [*_WRONG_TYPES, ["at+jwt"]]]
    types += [("alg", value) for value in [*_WRONG_TYPES, ["RS256"], ["RS256", "none"]]]
    wrong = "invalid_header"
    return [
        vector("reordered", CONFORMANCE, raw(json.dumps(dict(reversed(GOOD.header().items()))).encode()), None),
        vector("whitespace", CONFORMANCE, raw(json.dumps(GOOD.header(), indent=2).encode() + b"\n"), None),
        vector("escaped-names", CONFORMANCE, raw(good.replace(b'"alg"', b'"\\u0061lg"') + b"}"), None),
        vector("escaped-pair", CONFORMANCE, raw(good + b',"x":"\\ud83d\\ude00"}'), None),
        vector("depth-16", CONFORMANCE, raw(good + b',"x":' + b"[" * 15 + b"]" * 15 + b"}"), None),
        vector(
            "unknown-members",
            CONFORMANCE,
            GOOD.token(NOW, {"x5t": "AA", "x5t#S256": "AA", "iss": 1, "x": None}),
            None,
        ),
        *(vector(name, CRITICAL, GOOD.token(NOW, {"crit": value}), wrong) for name, value in numbered("crit", crit)),
        vector("crit-and-its-member", CRITICAL, GOOD.token(NOW, {"crit": ["x"], "x": 1}), wrong),
        vector("b64-false", UNENCODED, GOOD.token(NOW, {"b64": False}), wrong),
        vector("b64-true", UNENCODED, GOOD.token(NOW, {"b64": True}), wrong),
        vector("b64-critical", UNENCODED, GOOD.token(NOW, {"b64": False, "crit": ["b64"]}), wrong),
        vector("zip", FORMAT, GOOD.token(NOW, {"zip": "DEF"}), wrong),
        vector("cty-nested", FORMAT, GOOD.token(NOW, {"cty": "JWT"}), wrong),
        *(
            vector(f"jwe-member-{name}", FORMAT, GOOD.token(NOW, {name: "x"}), wrong)
            for name in ("enc", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c")
        ),
        *(vector(f"{n}-of-issuer", EMBEDDED, GOOD.token(NOW, {n: v}), wrong) for n, v in embedded.items()),
        *(
            vector(f"{n}-of-stranger", EMBEDDED, STRANGER.token(NOW, {n: v, "kid": GOOD.kid}), wrong)
            for n, v in embedded.items()
        ),
        *(vector(name, JSON, raw(document), wrong) for name, document in ambiguous.items()),
        vector("depth-300", CRASH, raw(b'{"x":' + b"[" * 300 + b"]" * 300 + b"}"), wrong),
        vector("depth-700-unclosed", CRASH, raw(b"[" * 700), wrong),
        *(vector(f"type-{n}", JSON, GOOD.token(NOW, {m: v}), wrong) for n, (m, v) in numbered("member", types)),
    ]
