"""Vectors of check 8: what a token with a good signature may say at all."""

import json
from typing import Any, Final

from tests.support.token_forge import AUDIENCE, ISSUER, b64url
from tests.vectors.generator.material import (
    GOOD,
    NOW,
    Attack,
    Json,
    having,
    header_of,
    segments,
    vector,
    with_raw,
)
from tests.vectors.generator.reading import CONFORMANCE, CRASH, JSON

TIME: Final = Attack("time-claims", ("RFC 7519 §4.1.4", "RFC 7519 §2"))
INJECTION: Final = Attack("header-injection", ("RFC 9110 §5.5",))
LIFETIME: Final = Attack("endless-tokens", ("RFC 6750 §5.3", "RFC 7519 §4.1.4"))
TYPES: Final = Attack("claim-types", ("RFC 7519 §4.1", "RFC 9068 §2.2"))
_IDENTIFIERS: Final = ("sub", "jti", "client_id", "sid")
_TIMES: Final = ("exp", "iat", "nbf", "auth_time")
_WRONG: Final = "invalid_claims"
_LONG: Final = "lifetime_too_long"
Named = dict[str, Any]


def claims() -> list[Json]:
    """Check 8."""
    return [
        *_documents(),
        *_missing(),
        *_times(),
        *_identifiers(),
        *_scopes(),
        *_roles(),
        *_audiences(),
        *_statuses(),
    ]


def _documents() -> list[Json]:
    def raw(document: bytes) -> bytes:
        return segments(header_of(), b64url(document))

    good = json.dumps(GOOD.claims(NOW))[:-1].encode()
    ambiguous = {
        "duplicate-sub": good + b',"sub":"admin"}',
        "duplicate-same-value": good + b',"aud":"gatepass"}',
        "duplicate-escaped": good + b',"s\\u0075b":"admin"}',
        "duplicate-nested": good + b',"x":{"a":1,"a":1}}',
        "duplicate-in-array": good + b',"x":[{"a":1,"a":2}]}',
        "duplicate-empty-name": good + b',"":1,"":2}',
        "trailing-data": good + b"}{}",
        "trailing-comma": good + b",}",
        "trailing-nul": good + b"}\0",
        "byte-order-mark": b"\xef\xbb\xbf" + good + b"}",
        "utf-16": (good + b"}").decode().encode("utf-16"),
        "utf-16-le": (good + b"}").decode().encode("utf-16-le"),
        "utf-32": (good + b"}").decode().encode("utf-32-be"),
        "latin-1": good + b',"x":"\xe9"}',
        "overlong": good + b',"x":"\xc0\xaf"}',
        "encoded-surrogate": good + b',"x":"\xed\xa0\x80"}',
        "nan": good + b',"x":NaN}',
        "infinity": good + b',"x":Infinity}',
        "minus-infinity": good + b',"x":-Infinity}',
        "leading-zero": good + b',"x":01}',
        "leading-plus": good + b',"x":+1}',
        "hexadecimal": good + b',"x":0x1}',
        "control-character": good + b',"x":"\n"}',
        "comment": good + b"/**/}",
        "array": b"[" + good + b"}]",
        "string": b'"sub"',
        "number": b"1",
        "null": b"null",
        "true": b"true",
        "empty": b" ",
        "depth-17": good + b',"x":' + b"[" * 16 + b"]" * 16 + b"}",
        "depth-17-objects": good + b',"x":' + b'{"x":' * 16 + b"1" + b"}" * 16 + b"}",
    }
    legal = {
        "lone-surrogate": b'"\\ud800"',
        "lone-low-surrogate": b'"\\udc00"',
        "surrogate-in-name": b'{"\\ud800":1}',
        "beyond-2-53": b"9007199254740992",
        "below-minus-2-53": b"-9007199254740992",
        "beyond-2-63": b"9223372036854775808",
        "beyond-2-53-float": b"1e300",
        "beyond-double": b"1e400",
        "upper-case-exponent": b"1E22",
        "exponent": b"123e65",
        "smallest-double": b"5e-324",
        "smaller-than-a-double": b"1e-400",
        "negative-zero": b"-0",
        "negative-zero-float": b"-0.0",
        "many-digits": b"0." + b"1" * 60,
        "digits-4000": b"9" * 4000,
    }
    crashing = {
        "depth-1000": good + b',"x":' + b"[" * 1000 + b"]" * 1000 + b"}",
        "depth-2500": b"[" * 2500 + b"]" * 2500,
        "depth-5000-unclosed": b"[" * 5000,
        "depth-900-objects": b'{"x":' * 900 + b"1" + b"}" * 900,
    }
    return [
        vector("unknown-claims", CONFORMANCE, GOOD.token(NOW, x={"y": [1, 1.5, None, True, "é"]}), None),
        vector("escaped-pair", CONFORMANCE, raw(good + b',"x":"\\ud83d\\ude00"}'), None),
        vector("same-name-at-two-depths", CONFORMANCE, raw(good + b',"x":{"sub":"other"}}'), None),
        vector("depth-15", CONFORMANCE, raw(good + b',"x":' + b"[" * 14 + b"]" * 14 + b"}"), None),
        vector("depth-16", CONFORMANCE, raw(good + b',"x":' + b"[" * 15 + b"]" * 15 + b"}"), None),
        vector(
            "depth-16-and-wide", CONFORMANCE, raw(good + b',"x":' + b"[" * 15 + b"]" * 15 + b',"y":[[],[]]}'), None
        ),
        vector("wide", CONFORMANCE, raw(good + b',"x":[' + b"[]," * 40 + b"[]]}"), None),
        vector("largest-integer", CONFORMANCE, raw(good + b',"x":[9007199254740991,-9007199254740991]}'), None),
        *(
            vector(f"unread-{name}", CONFORMANCE, raw(good + b',"x":' + value + b"}"), None)
            for name, value in legal.items()
        ),
        vector("no-claims", TYPES, raw(b"{}"), _WRONG),
        *(vector(f"json-{name}", JSON, raw(document), _WRONG) for name, document in ambiguous.items()),
        *(vector(f"json-{name}", CRASH, raw(document), _WRONG) for name, document in crashing.items()),
    ]


def _missing() -> list[Json]:
    required = ("iss", "sub", "aud", "exp", "iat", "jti", "client_id")
    optional: Named = dict.fromkeys(("scope", "roles", "sid", "auth_time", "nbf", "status"), ...)
    return [
        *(vector(f"missing-{name}", TYPES, having(**{name: ...}), _WRONG) for name in required),
        vector("required-alone", CONFORMANCE, having(**optional), None),
        vector("upper-case-names", TYPES, GOOD.token(NOW, sub=..., SUB="x"), _WRONG),
    ]


def _times() -> list[Json]:
    wrong: Named = {"null": None, "true": True, "string": str(NOW)}
    wrong |= {
        "negative": -1,
        "negative-float": -0.5,
        "float-2-53": 2.0**53,
        "list": [NOW],
        "object": {},
        "empty": "",
        "2-63": 2**63,
        "2-53": 2**53,
    }
    raw = {"nan": "NaN", "infinity": "Infinity", "1e400": "1e400"}
    raw |= {"digits-4000": "1" * 4000, "leading-zero": f"0{NOW}", "minus-infinity": "-Infinity"}
    return [
        *(
            vector(f"{claim}-{name}", TIME, having(**{claim: value}), _WRONG)
            for claim in _TIMES
            for name, value in wrong.items()
        ),
        *(
            vector(f"{claim}-{name}", TIME, with_raw(claim, value), _WRONG)
            for claim in _TIMES
            for name, value in raw.items()
        ),
        *(
            vector(f"{claim}-{name}", CONFORMANCE, with_raw(claim, f"{NOW + 600 * (claim == 'exp')}{end}"), None)
            for claim in _TIMES
            for name, end in {"fraction": ".5", "whole-float": ".0", "exponent": "e0"}.items()
        ),
        *(
            vector(f"{claim}-negative-zero", CONFORMANCE, with_raw(claim, "-0"), None)
            for claim in ("nbf", "auth_time")
        ),
        vector("exp-negative-zero", TIME, with_raw("exp", "-0"), _WRONG),
        vector("iat-is-exp", TIME, GOOD.token(NOW, iat=NOW + 600), _WRONG),
        vector("iat-after-exp", TIME, GOOD.token(NOW, iat=NOW + 601), _WRONG),
        vector("iat-zero", LIFETIME, GOOD.token(NOW, iat=0), _LONG),
        vector("iat-negative-zero", LIFETIME, with_raw("iat", "-0"), _LONG),
        vector("largest-exp", LIFETIME, GOOD.token(NOW, exp=2**53 - 1), _LONG),
    ]


def _identifiers() -> list[Json]:
    types: Named = {"null": None, "true": True, "number": 1, "float": 1.5, "list": ["x"], "object": {}, "empty": ""}
    characters: Named = {
        "crlf": "u\r\nX-Admin: 1",
        "lf": "u\nx",
        "cr": "u\rx",
        "lf-at-end": "u\n",
        "nul": "u\0",
        "tab": "u\tx",
    }
    characters |= {
        "del": "u\x7f",
        "space": "u v",
        "leading-space": " u",
        "non-ascii": "é",
        "c1": "u\x85",
        "fullwidth": "\uff55",
    }
    characters |= {
        "no-break-space": "u\u00a0v",
        "line-separator": "u\u2028v",
        "escape": "u\x1b",
        "beyond-latin-1": "u\u010d\u010a",
        "lone-surrogate": "u\ud800",
    }
    characters |= {"length-256": "u" * 256, "length-4000": "u" * 4000}
    return [
        *(
            vector(f"{claim}-{name}", TYPES, having(**{claim: value}), _WRONG)
            for claim in _IDENTIFIERS
            for name, value in types.items()
        ),
        *(
            vector(f"{claim}-{name}", INJECTION, having(**{claim: value}), _WRONG)
            for claim in _IDENTIFIERS
            for name, value in characters.items()
        ),
        *(vector(f"{claim}-length-255", CONFORMANCE, having(**{claim: "u" * 255}), None) for claim in _IDENTIFIERS),
        *(
            vector(
                f"{claim}-visible-ascii",
                CONFORMANCE,
                having(**{claim: "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"}),
                None,
            )
            for claim in _IDENTIFIERS
        ),
        *(
            vector(f"iss-{name}", TYPES, GOOD.token(NOW, iss=value), _WRONG)
            for name, value in {**types, "list": [ISSUER], "lone-surrogate": ISSUER + "\ud800"}.items()
        ),
    ]


def _scopes() -> list[Json]:
    wrong: Named = {
        "null": None,
        "number": 1,
        "true": True,
        "list": ["profile"],
        "object": {},
        "leading-space": " profile",
    }
    wrong |= {
        "trailing-space": "profile ",
        "two-spaces": "a  b",
        "space": " ",
        "tab": "a\tb",
        "quote": 'a"b',
        "backslash": "a\\b",
    }
    wrong |= {
        "crlf": "a\r\nX-Admin: 1",
        "lf-at-end": "a\n",
        "space-lf": "a \n",
        "nul": "a\0",
        "del": "a\x7f",
        "non-ascii": "é",
    }
    wrong |= {"length-801": "s" * 801, "no-break-space": "a\u00a0b"}
    good = {"empty": "", "one": "profile", "many": "a b c !#[]~", "length-800": "s" * 800, "comma": "a,b"}
    return [
        *(vector(f"scope-{name}", INJECTION, GOOD.token(NOW, scope=value), _WRONG) for name, value in wrong.items()),
        *(vector(f"scope-{name}", CONFORMANCE, GOOD.token(NOW, scope=value), None) for name, value in good.items()),
    ]


def _roles() -> list[Json]:
    wrong: Named = {"null": None, "string": "admin", "object": {}, "number": 1, "of-number": [1], "of-null": [None]}
    wrong |= {
        "of-empty": [""],
        "comma": ["a,admin"],
        "space": ["a b"],
        "crlf": ["a\r\nX-Admin: 1"],
        "lf-at-end": ["a\n"],
    }
    wrong |= {
        "nul": ["a\0"],
        "del": ["a\x7f"],
        "non-ascii": ["é"],
        "nested": [["admin"]],
        "last-bad": ["a", "b", ","],
    }
    wrong |= {"length-801": ["r" * 800], "sum-801": ["r" * 9] * 80 + [""], "sum-802": ["r" * 9] * 80 + ["r"]}
    good = {
        "none": [],
        "one": ["admin"],
        "many": ["admin", "auditor", "!+-~"],
        "length-800": ["r" * 799],
        "sum-800": ["r" * 9] * 80,
    }
    return [
        *(vector(f"roles-{name}", INJECTION, GOOD.token(NOW, roles=value), _WRONG) for name, value in wrong.items()),
        *(vector(f"roles-{name}", CONFORMANCE, GOOD.token(NOW, roles=value), None) for name, value in good.items()),
    ]


def _audiences() -> list[Json]:
    wrong: Named = {"null": None, "number": 1, "true": True, "object": {AUDIENCE: 1}, "empty": "", "of-number": [1]}
    wrong |= {
        "also-number": [AUDIENCE, 1],
        "also-null": [AUDIENCE, None],
        "also-empty": [AUDIENCE, ""],
        "nested": [[AUDIENCE]],
    }
    wrong |= {"lone-surrogate": [AUDIENCE, "\ud800"]}
    return [vector(f"aud-{name}", TYPES, GOOD.token(NOW, aud=value), _WRONG) for name, value in wrong.items()]


def _statuses() -> list[Json]:
    wrong: Named = {
        "null": None,
        "list": [],
        "string": "valid",
        "number": 0,
        "empty": {},
        "other": {"x": {"uri": "u"}},
    }
    lists: Named = {"null": None, "list": [], "empty": {}, "no-idx": {"uri": "u"}, "no-uri": {"idx": 1}}
    lists |= {
        "idx-string": {"uri": "u", "idx": "1"},
        "idx-negative": {"uri": "u", "idx": -1},
        "idx-true": {"uri": "u", "idx": True},
    }
    lists |= {
        "idx-float": {"uri": "u", "idx": 1.5},
        "uri-number": {"uri": 1, "idx": 1},
        "uri-empty": {"uri": "", "idx": 1},
        "uri-lone-surrogate": {"uri": "\ud800", "idx": 1},
        "idx-2-53": {"uri": "u", "idx": 2**53},
    }
    wrong |= {f"list-{name}": {"status_list": value} for name, value in lists.items()}
    return [vector(f"status-{name}", TYPES, GOOD.token(NOW, status=value), _WRONG) for name, value in wrong.items()]
