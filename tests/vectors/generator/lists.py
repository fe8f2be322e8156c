"""Vectors of status list tokens: what may be taken as the list that an issuer's tokens refer to."""

import json
import zlib
from typing import Any, Final

from shared.status_list import MAX_LIST_BYTES, encode, pack
from tests.support.token_forge import AUDIENCE, ISSUER, Forge, b64url
from tests.vectors.generator.material import (
    EXPONENT_3,
    GOOD,
    NOW,
    OTHER,
    OTHER_ISSUER,
    STATUS_LIST,
    STRANGER,
    Attack,
    Json,
    numbered,
    text,
)
from tests.vectors.generator.reading import CONFORMANCE, CRASH, CRITICAL, FORMAT, JSON, MALLEABLE, OVERSIZE

LISTS: Final = Attack("status-list-confusion", ("draft-ietf-oauth-status-list §8.3", "RFC 8725 §3.11"))
BOMB: Final = Attack("decompression-bomb", ("CVE-2024-33664", "CVE-2024-28176", "RFC 8725 §3.6"))
STALE_LIST: Final = Attack("stale-status-list", ("draft-ietf-oauth-status-list §11",))

_LST: Final = encode(pack([1, 9], 16), level=0)
_Accepted = tuple[list[int], int]


def status_lists() -> list[Json]:
    """Each is fetched as the list `STATUS_LIST` of the issuer, unless it says otherwise."""
    return [*_good(), *_tokens(), *_types(), *_keys(), *_claims(), *_times(), *_bits(), *_compressed()]


def _list(identifier: str, attack: Attack, token: bytes, expected: Json | str, **more: Any) -> Json:
    return {
        "id": identifier,
        "attack": attack.name,
        "references": list(attack.references),
        "key_sets": "issuer",
        "issuer": ISSUER,
        "uri": STATUS_LIST,
        "now": NOW,
        **more,
        "token": text(token),
        "expected": {"reason": expected} if isinstance(expected, str) else expected,
    }


def _known(bits: list[int], size: int, **changes: Any) -> Json:
    """The outcome of a list that is taken."""
    return {"set": bits, "size": size, "issued_at": NOW, "expires_at": NOW + 3600, "ttl": 0, **changes}


def _token(forge: Forge = GOOD, header: Json | None = None, /, **changes: Any) -> bytes:
    return forge.status_list(NOW, STATUS_LIST, _LST, header=header, **changes)


_OURS: Final = _known([1, 9], 16)


def _good() -> list[Json]:
    draft = {"bits": 1, "lst": "eNrbuRgAAhcBXQ"}
    rows: dict[str, tuple[bytes, Json]] = {
        "plain": (_token(), _OURS),
        "with-issuer": (_token(iss=ISSUER), _OURS),
        "with-ttl": (_token(ttl=43200), _known([1, 9], 16, ttl=43200)),
        "with-aggregation": (_token(status_list={"bits": 1, "lst": _LST, "aggregation_uri": "https://x"}), _OURS),
        "with-unknown-claims": (_token(x={"y": []}, nbf="z"), _OURS),
        "draft-vector": (_token(status_list=draft), _known([0, 3, 4, 5, 7, 8, 9, 13, 15], 16)),
        "nothing-set": (_token(status_list={"bits": 1, "lst": encode(bytes(8), level=0)}), _known([], 64)),
        "type-in-full": (_token(GOOD, {"typ": "application/statuslist+jwt"}), _OURS),
        "type-in-capitals": (_token(GOOD, {"typ": "StatusList+JWT"}), _OURS),
    }
    return [_list(name, CONFORMANCE, token, known) for name, (token, known) in rows.items()]


def _tokens() -> list[Json]:
    """Checks 1 to 3."""
    good = _token()
    head, payload, signature = good.split(b".")
    header = json.dumps(GOOD.header(typ="statuslist+jwt")).encode()
    duplicate = GOOD.sign(header, json.dumps(GOOD.list_claims(NOW, STATUS_LIST, _LST)).encode()[:-1] + b', "exp": 9}')
    rows: dict[str, tuple[Attack, bytes, str]] = {
        "empty": (CRASH, b"", "malformed"),
        "white-space-behind": (MALLEABLE, good + b"\n", "malformed"),
        "padded": (MALLEABLE, good + b"==", "malformed"),
        "unused-bits": (MALLEABLE, good[:-1] + b"B", "malformed"),
        "two-segments": (FORMAT, head + b"." + payload, "malformed"),
        "five-segments": (FORMAT, good + b".." + signature, "malformed"),
        "json-serialisation": (FORMAT, json.dumps({"payload": payload.decode()}).encode(), "malformed"),
        "no-signature": (FORMAT, head + b"." + payload + b".", "bad_signature"),
        "header-of-a-kibibyte": (OVERSIZE, _token(GOOD, {"pad": "x" * 1024}), "too_large"),
        "critical": (CRITICAL, _token(GOOD, {"crit": ["exp"]}), "invalid_header"),
        "zip": (FORMAT, _token(GOOD, {"zip": "DEF"}), "invalid_header"),
        "embedded-key": (LISTS, _token(GOOD, {"jwk": {}}), "invalid_header"),
        "header-not-json": (CRASH, GOOD.sign(b"{", b"{}"), "invalid_header"),
        "claims-not-json": (CRASH, GOOD.sign(header, b"\xff"), "invalid_claims"),
        "claims-a-list": (CRASH, GOOD.sign(header, b"[]"), "invalid_claims"),
        "claims-nested": (CRASH, GOOD.sign(header, b"[" * 5000), "invalid_claims"),
        "duplicate-member": (JSON, duplicate, "invalid_claims"),
    }
    return [_list(name, attack, token, reason) for name, (attack, token, reason) in rows.items()]


def _types() -> list[Json]:
    """Checks 4 and 5."""
    access = GOOD.token(NOW, sub=STATUS_LIST, status_list={"bits": 1, "lst": _LST})
    types: list[Any] = [
        ...,
        "",
        "JWT",
        "at+jwt",
        "statuslist+cwt",
        "statuslist",
        "x/statuslist+jwt",
        "statuslist+jwt ",
    ]
    algorithms = ["none", "HS256", "RS384", "PS256", "ES256", "rs256", ""]
    return [
        _list("access-token", LISTS, access, "wrong_type"),
        *(_list(name, LISTS, _token(GOOD, {"typ": typ}), "wrong_type") for name, typ in numbered("type", types)),
        *(
            _list(f"algorithm-{alg or 'empty'}", LISTS, _token(GOOD, {"alg": alg}), "unsupported_algorithm")
            for alg in algorithms
        ),
    ]


def _keys() -> list[Json]:
    """Checks 6, 7 and 9."""
    head, _, signature = _token().split(b".")
    other_payload = _token(ttl=1).split(b".")[1]
    of_other = OTHER.status_list(NOW, STATUS_LIST, _LST)
    shared = {"kid": "shared"}
    return [
        _list("unknown-key", LISTS, _token(STRANGER), "unknown_key"),
        _list("no-key-at-all", LISTS, _token(), "unknown_key", key_sets="none"),
        _list("without-kid", LISTS, _token(GOOD, {"kid": ...}), "unknown_key"),
        _list("key-of-another-issuer", LISTS, of_other, "unknown_key", key_sets="two-issuers"),
        _list(
            "key-of-another-under-our-kid",
            LISTS,
            _token(OTHER, shared),
            "bad_signature",
            key_sets="one-kid-for-two-keys",
        ),
        _list(
            "our-key-under-a-shared-kid", CONFORMANCE, _token(GOOD, shared), _OURS, key_sets="one-kid-for-two-keys"
        ),
        _list("stranger-under-our-kid", LISTS, _token(STRANGER, {"kid": GOOD.kid}), "bad_signature"),
        _list("another-payload", LISTS, b".".join([head, other_payload, signature]), "bad_signature"),
        _list("exponent-3", CONFORMANCE, _token(EXPONENT_3), _OURS, key_sets="exponent-3"),
        _list("says-another-issuer", LISTS, _token(iss=OTHER_ISSUER), "wrong_issuer"),
        _list("says-nearly-our-issuer", LISTS, _token(iss=ISSUER + "/"), "wrong_issuer"),
        _list("asked-for-as-another-issuer", LISTS, _token(), "unknown_key", issuer=OTHER_ISSUER),
    ]


def _claims() -> list[Json]:
    """Checks 8 and 10."""
    wrong: list[Any] = [None, True, "1", 1.5, -1, [], {}, 2**53]
    subjects = {
        "another-list": STATUS_LIST + "0",
        "slash": STATUS_LIST + "/",
        "case": STATUS_LIST.upper(),
        "percent": STATUS_LIST.replace("l", "%6C"),
        "query": STATUS_LIST + "?x",
        "audience": AUDIENCE,
    }
    return [
        *(
            _list(f"{name}-{what}", LISTS, _token(**{name: value}), "invalid_claims")
            for name in ("iat", "exp", "ttl")
            for what, value in numbered("wrong", wrong)
        ),
        *(
            _list(f"without-{name}", LISTS, _token(**_without(name)), "invalid_claims")
            for name in ("iat", "exp", "sub")
        ),
        *(
            _list(name, LISTS, _token(sub=value), "invalid_claims")
            for name, value in numbered("sub", ["", 1, None, []])
        ),
        *(
            _list(name, LISTS, _token(iss=value), "invalid_claims")
            for name, value in numbered("iss", ["", 1, None, []])
        ),
        _list("ttl-zero", LISTS, _token(ttl=0), "invalid_claims"),
        _list("expires-as-issued", STALE_LIST, _token(exp=NOW), "invalid_claims"),
        *(_list(f"subject-{name}", LISTS, _token(sub=value), "wrong_subject") for name, value in subjects.items()),
    ]


def _without(name: str) -> Json:
    return {name: ...}


def _times() -> list[Json]:
    """Check 11."""
    month = 30 * 86_400
    return [
        _list("last-second", CONFORMANCE, _token(), _OURS, now=NOW + 3599.9),
        _list("expired", STALE_LIST, _token(), "expired", now=NOW + 3600),
        _list("long-expired", STALE_LIST, _token(), "expired", now=NOW + 10 * month),
        _list("a-minute-early", CONFORMANCE, _token(), _OURS, now=NOW - 60),
        _list("more-than-a-minute-early", STALE_LIST, _token(), "not_yet_valid", now=NOW - 61),
        _list("for-ever", STALE_LIST, _token(exp=2**53 - 1), _known([1, 9], 16, expires_at=NOW + month)),
        _list("for-ever-and-a-month-later", STALE_LIST, _token(exp=2**53 - 1), "expired", now=NOW + month),
        _list("ttl-of-years", STALE_LIST, _token(ttl=10**9), _known([1, 9], 16, ttl=86_400)),
    ]


def _bits() -> list[Json]:
    """Check 12: what `status_list` may be."""
    lst = encode(bytes([0b11_10_01_00, 0b0000_0001]), level=0)
    wrong: dict[str, Any] = {
        "null": None,
        "string": _LST,
        "list": [_LST],
        "empty": {},
        "without-bits": {"lst": _LST},
        "without-lst": {"bits": 1},
        "lst-null": {"bits": 1, "lst": None},
        "lst-list": {"bits": 1, "lst": [_LST]},
    }
    wrong |= {
        name: {"bits": bits, "lst": _LST} for name, bits in numbered("bits", [0, 3, 16, -1, "1", True, 1.0, None])
    }
    return [
        _list("without-list", LISTS, _token(status_list=...), "invalid_list"),
        *(_list(f"list-{name}", LISTS, _token(status_list=value), "invalid_list") for name, value in wrong.items()),
        *(
            _list(name, CONFORMANCE, _token(status_list={"bits": bits, "lst": lst}), _known(set_, size))
            for name, bits, set_, size in (
                ("one-bit", 1, [2, 5, 6, 7, 8], 16),
                ("two-bits", 2, [1, 2, 3, 4], 8),
                ("four-bits", 4, [0, 1, 2], 4),
                ("eight-bits", 8, [0, 1], 2),
            )
        ),
    ]


def _compressed() -> list[Json]:
    """Check 12: what `lst` may be."""
    stream = zlib.compress(bytes(64), 0)
    raw = zlib.compressobj(0, wbits=-15)
    rows: dict[str, tuple[Attack, str, str]] = {
        "empty": (LISTS, "", "invalid_list"),
        "padded": (MALLEABLE, b64url(stream).decode() + "=", "invalid_list"),
        "base64-alphabet": (MALLEABLE, "eJ+/", "invalid_list"),
        "unused-bits": (MALLEABLE, "eNrbuRgAAhcBXR", "invalid_list"),
        "beyond-ascii": (CRASH, "é", "invalid_list"),
        "not-compressed": (LISTS, b64url(bytes(64)).decode(), "invalid_list"),
        "without-container": (LISTS, b64url(raw.compress(bytes(64)) + raw.flush()).decode(), "invalid_list"),
        "truncated": (LISTS, b64url(stream[:-20]).decode(), "invalid_list"),
        "without-checksum": (LISTS, b64url(stream[:-4]).decode(), "invalid_list"),
        "wrong-checksum": (LISTS, b64url(stream[:-1] + b"\x02").decode(), "invalid_list"),
        "trailing-data": (LISTS, b64url(stream + b"\0").decode(), "invalid_list"),
        "two-streams": (LISTS, b64url(stream * 2).decode(), "invalid_list"),
        "no-bits": (LISTS, b64url(zlib.compress(b"", 0)).decode(), "invalid_list"),
        "bomb": (BOMB, b64url(_bomb()).decode(), "invalid_list"),
    }
    return [
        _list(f"lst-{name}", attack, _token(status_list={"bits": 1, "lst": lst}), reason)
        for name, (attack, lst, reason) in rows.items()
    ]


def _bomb() -> bytes:
    """A ZLIB stream of more than `MAX_LIST_BYTES` zeros, written by hand: compressors differ.

    One stored block of a zero, then a block of fixed codes that repeats it: 258 bytes by 13 bits each.
    """
    repeats = MAX_LIST_BYTES // 258 + 1
    # Final block, fixed codes; a literal 0 (00110000), then length 258 (11000101), distance 1 (00000) each time.
    bits = "1" + "10" + "00110000" + ("11000101" + "00000") * repeats + "0000000"
    packed = int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")
    return b"\x78\x01" + packed + zlib.adler32(bytes(258 * repeats + 1)).to_bytes(4, "big")
