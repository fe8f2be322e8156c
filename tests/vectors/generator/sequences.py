"""Vectors of several requests to one verifier: what it must not remember, and what it must forget."""

from typing import Any, Final

from tests.support.token_forge import ISSUER
from tests.vectors.generator.material import GOOD, NOW, STATUS_LIST, Attack, Json, accepted, listed, text
from tests.vectors.generator.reading import CONFORMANCE

COLLISION: Final = Attack("cache-key-collision", ("CVE-2026-35039",))
POLICIES: Final = Attack("cache-across-policies", ("GHSA-4mq7-pvjg-xp2r", "CVE-2021-32701"))
STALE: Final = Attack("cache-against-rotation-and-expiry", ("RFC 7519 §4.1.4",))
SPELLINGS: Final = Attack("malleability", ("RFC 4648 §3.5",))

_TOKEN: Final = GOOD.token(NOW)
_REVOCABLE: Final = GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 7}})
_SHORT: Final = GOOD.token(NOW, exp=NOW + 10)
_HALF: Final = GOOD.token(NOW, exp=NOW + 600.5)
_LATER: Final = GOOD.token(NOW, nbf=NOW + 100)


def step(token: bytes, reason: str | None = None, policy: str = "default", **changes: Any) -> Json:
    """One request, with what changed before it: `now`, `key_sets`, `status_lists`; what is not said stays."""
    return {
        **changes,
        "target": f"/verify/{policy}",
        "authorization": [f"Bearer {text(token)}"],
        "expected": {"reason": reason} if reason else accepted(token),
    }


def sequences() -> list[Json]:
    """Each begins with `key_sets` issuer, `now` and no status list that is followed."""
    twin = GOOD.token(NOW, scope="admin")
    bit = listed(7)
    broken = _TOKEN[:-8] + b"AAAAAAAA"
    cases: list[tuple[str, Attack, list[Json]]] = [
        ("same-token-again", CONFORMANCE, [step(_TOKEN)] * 3),
        (
            "expires-between",
            STALE,
            [step(_TOKEN), step(_TOKEN, now=NOW + 604.9), step(_TOKEN, "expired", now=NOW + 605)],
        ),
        (
            "expires-between-at-a-fraction",
            STALE,
            [
                step(_HALF, policy="no-leeway"),
                step(_HALF, policy="no-leeway", now=NOW + 600.499),
                step(_HALF, "expired", "no-leeway", now=NOW + 600.5),
                step(_HALF),
                step(_HALF, now=NOW + 605.499),
                step(_HALF, "expired", now=NOW + 605.5),
            ],
        ),
        (
            "expired-stays-expired",
            STALE,
            [step(_TOKEN), step(_TOKEN, "expired", now=NOW + 605), step(_TOKEN, "expired")],
        ),
        (
            "clock-steps-back",
            STALE,
            [step(_LATER, now=NOW + 100), step(_LATER, "not_yet_valid", now=NOW + 90), step(_LATER, now=NOW + 95)],
        ),
        (
            "clock-steps-back-after-expiry",
            STALE,
            [step(_TOKEN), step(_TOKEN, "expired", now=NOW + 700), step(_TOKEN, now=NOW + 1)],
        ),
        (
            "grows-too-old",
            STALE,
            [step(_TOKEN, policy="fresh"), step(_TOKEN, "too_old", "fresh", now=NOW + 65), step(_TOKEN)],
        ),
        (
            "expires-before-it-is-too-old",
            STALE,
            [step(_SHORT, policy="fresh"), step(_SHORT, "expired", "fresh", now=NOW + 15)],
        ),
        ("key-removed", STALE, [step(_TOKEN), step(_TOKEN, "unknown_key", key_sets="rotated")]),
        ("key-added", CONFORMANCE, [step(_TOKEN), step(_TOKEN, key_sets="rotating")]),
        ("all-keys-lost", STALE, [step(_TOKEN), step(_TOKEN, "keys_unavailable", key_sets="none")]),
        (
            "key-moves-to-another-issuer",
            STALE,
            [
                step(_TOKEN, policy="two-issuers", key_sets="one-key-for-two-issuers"),
                step(_TOKEN, "keys_unavailable", "two-issuers", key_sets="other-issuer-alone"),
            ],
        ),
        (
            "key-replaced-under-its-kid",
            STALE,
            [
                step(GOOD.token(NOW, {"kid": "shared"}), key_sets="kid-of-its-own"),
                step(GOOD.token(NOW, {"kid": "shared"}), "bad_signature", key_sets="kid-taken-over"),
            ],
        ),
        (
            "keys-come-back",
            CONFORMANCE,
            [step(_TOKEN), step(_TOKEN, "keys_unavailable", key_sets="none"), step(_TOKEN, key_sets="issuer")],
        ),
        (
            "keys-come-late",
            CONFORMANCE,
            [step(_TOKEN, "keys_unavailable", key_sets="none"), step(_TOKEN, key_sets="issuer")],
        ),
        (
            "revoked",
            STALE,
            [
                step(_REVOCABLE),
                step(_REVOCABLE, "revoked", status_lists=bit),
                step(_REVOCABLE, status_lists=listed()),
            ],
        ),
        (
            "another-revoked",
            CONFORMANCE,
            [step(_REVOCABLE), step(_TOKEN, status_lists=bit), step(_REVOCABLE, "revoked")],
        ),
        (
            "list-lost",
            STALE,
            [
                step(_REVOCABLE, status_lists=listed()),
                step(_REVOCABLE),
                step(_REVOCABLE, "status_unavailable", status_lists={ISSUER: {}}),
                step(_TOKEN),
                step(_REVOCABLE, status_lists=listed()),
            ],
        ),
        (
            "list-expires-between",
            STALE,
            [
                step(_REVOCABLE, status_lists=listed(counts_until=NOW + 10)),
                step(_REVOCABLE, now=NOW + 9.9),
                step(_REVOCABLE, "status_unavailable", now=NOW + 10),
                step(_TOKEN),
            ],
        ),
        (
            "lists-followed-later",
            STALE,
            [step(_REVOCABLE), step(_REVOCABLE, "revoked", status_lists=bit), step(_REVOCABLE, status_lists={})],
        ),
        (
            "stricter-policy-later",
            POLICIES,
            [
                step(_TOKEN),
                step(_TOKEN, "insufficient_scope", "all-scopes"),
                step(_TOKEN, "insufficient_role", "roles"),
                step(_TOKEN, "wrong_audience", "other-audience"),
                step(_TOKEN, "wrong_type", "id-tokens"),
                step(_TOKEN),
            ],
        ),
        ("policy-of-another-issuer", POLICIES, [step(_TOKEN), step(_TOKEN, "wrong_issuer", "other")]),
        (
            "laxer-policy-later",
            POLICIES,
            [step(_TOKEN, "insufficient_role", "roles"), step(_TOKEN), step(_TOKEN, "insufficient_role", "roles")],
        ),
        ("same-beginning", COLLISION, [step(_TOKEN), step(broken, "bad_signature"), step(_TOKEN)]),
        ("same-end", COLLISION, [step(_TOKEN), step(b"A" + _TOKEN[1:], "invalid_header")]),
        ("same-jti-and-sub", COLLISION, [step(_TOKEN), step(twin), step(_TOKEN)]),
        (
            "another-spelling",
            SPELLINGS,
            [step(_TOKEN), step(_TOKEN + b"==", "malformed"), step(_TOKEN[:-1], "malformed")],
        ),
        ("bad-then-good", COLLISION, [step(broken, "bad_signature"), step(_TOKEN), step(broken, "bad_signature")]),
    ]
    return [
        {
            "id": name,
            "attack": attack.name,
            "references": list(attack.references),
            "key_sets": "issuer",
            "now": NOW,
            "steps": steps,
        }
        for name, attack, steps in cases
    ]
