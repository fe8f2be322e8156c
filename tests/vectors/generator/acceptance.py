"""Vectors of checks 9 to 14: whether what a well-formed token says is enough."""

from typing import Final

from tests.support.token_forge import AUDIENCE, ISSUER
from tests.vectors.generator.algorithms import ISSUER_KEYS
from tests.vectors.generator.claims import LIFETIME, TIME, Named
from tests.vectors.generator.material import (
    GOOD,
    NOW,
    OTHER,
    OTHER_ISSUER,
    STATUS_LIST,
    Attack,
    Json,
    listed,
    vector,
)
from tests.vectors.generator.reading import CONFORMANCE

SENDER: Final = Attack("sender-constraint-downgrade", ("RFC 7800 §3.1", "RFC 9449 §7.2", "RFC 8705 §3"))
ISSUER_NAME: Final = Attack("issuer-comparison", ("CVE-2024-53861", "RFC 7519 §4.1.1"))
AUDIENCE_NAME: Final = Attack("audience-comparison", ("RFC 7519 §4.1.3", "RFC 8725 §3.9"))
SPLITTING: Final = Attack("claim-splitting", ("GHSA-c5c4-8r6x-56w3",))
PATTERN: Final = Attack("pattern-as-literal", ("CVE-2026-39350",))
REVOKED: Final = Attack("revocation", ("draft-ietf-oauth-status-list",))
PERMISSION: Final = Attack("permission", ("RFC 6749 §3.3", "RFC 6750 §3.1"))

_STATUS: Final = {"status_list": {"uri": STATUS_LIST, "idx": 7}}


def sender() -> list[Json]:
    """Check 9."""
    confirmations: Named = {
        "x5t": {"x5t#S256": "A" * 43},
        "jkt": {"jkt": "A" * 43},
        "jwk": {"jwk": {}},
        "kid": {"kid": "x"},
    }
    confirmations |= {"empty": {}, "null": None, "string": "", "false": False}
    return [
        vector(f"cnf-{name}", SENDER, GOOD.token(NOW, cnf=value), "sender_constrained")
        for name, value in confirmations.items()
    ]


def issuer() -> list[Json]:
    """Check 10."""
    names: Named = {
        "slash": ISSUER + "/",
        "prefix": ISSUER[:-1],
        "suffix": ISSUER + ".attacker.example",
        "upper": ISSUER.upper(),
    }
    names |= {
        "host": "issuer.example",
        "http": ISSUER.replace("https", "http"),
        "homoglyph": ISSUER.replace("i", "\u0456"),
    }
    names |= {
        "space": ISSUER + " ",
        "nul": ISSUER + "\0",
        "letter": "h",
        "port": ISSUER + ":443",
        "user": "https://x@issuer.example",
    }
    names |= {"both": f"{ISSUER} {OTHER_ISSUER}", "decomposed": ISSUER + "\u0301", "pattern": "https://issuer.*"}
    own = {"key_sets": "two-issuers", "policy": "two-issuers"}
    foreign = "wrong_issuer"
    shared = {"kid": "shared"}
    return [
        *(vector(f"iss-{n}", ISSUER_NAME, GOOD.token(NOW, iss=value), foreign) for n, value in names.items()),
        vector("first-of-two", CONFORMANCE, GOOD.token(NOW), None, **own),
        vector("second-of-two", CONFORMANCE, OTHER.token(NOW), None, **own),
        vector("key-of-the-first-iss-of-the-second", ISSUER_KEYS, GOOD.token(NOW, iss=OTHER_ISSUER), foreign, **own),
        vector("key-of-the-second-iss-of-the-first", ISSUER_KEYS, OTHER.token(NOW, iss=ISSUER), foreign, **own),
        vector("not-accepted-by-the-policy", ISSUER_KEYS, OTHER.token(NOW), foreign, key_sets="two-issuers"),
        vector(
            "iss-of-the-policy-key-of-another",
            ISSUER_KEYS,
            OTHER.token(NOW, iss=ISSUER),
            foreign,
            key_sets="two-issuers",
        ),
        *(
            vector(f"one-kid-{name}", attack, token, reason, key_sets="one-kid-for-two-keys", policy="two-issuers")
            for name, attack, token, reason in (
                ("first", CONFORMANCE, GOOD.token(NOW, shared), None),
                ("second", CONFORMANCE, OTHER.token(NOW, shared), None),
                ("crossed", ISSUER_KEYS, OTHER.token(NOW, shared, iss=ISSUER), foreign),
                ("crossed-back", ISSUER_KEYS, GOOD.token(NOW, shared, iss=OTHER_ISSUER), foreign),
            )
        ),
        vector("one-key-first", CONFORMANCE, GOOD.token(NOW), None, key_sets="one-key-for-two-issuers"),
        vector(
            "one-key-second",
            CONFORMANCE,
            GOOD.token(NOW, iss=OTHER_ISSUER),
            None,
            key_sets="one-key-for-two-issuers",
            policy="other",
        ),
        vector(
            "one-key-second-not-accepted",
            ISSUER_KEYS,
            GOOD.token(NOW, iss=OTHER_ISSUER),
            foreign,
            key_sets="one-key-for-two-issuers",
        ),
    ]


def audience() -> list[Json]:
    """Check 11."""
    names: Named = {
        "other": "billing",
        "prefix": AUDIENCE[:-1],
        "suffix": AUDIENCE + "x",
        "upper": AUDIENCE.upper(),
        "other-in-list": ["billing"],
    }
    names |= {
        "empty-list": [],
        "space": AUDIENCE + " ",
        "joined": f"billing {AUDIENCE}",
        "letters": list(AUDIENCE),
        "issuer": ISSUER,
    }
    names |= {
        "homoglyph": AUDIENCE.replace("a", "\u0430"),
        "comma": f"{AUDIENCE},billing",
        "url": f"https://{AUDIENCE}",
    }
    wrong = "wrong_audience"
    return [
        *(vector(f"aud-{n}", AUDIENCE_NAME, GOOD.token(NOW, aud=value), wrong) for n, value in names.items()),
        vector("aud-list", CONFORMANCE, GOOD.token(NOW, aud=[AUDIENCE]), None),
        vector("aud-last-of-list", CONFORMANCE, GOOD.token(NOW, aud=["billing", "x", AUDIENCE]), None),
        vector("aud-twice", CONFORMANCE, GOOD.token(NOW, aud=[AUDIENCE, AUDIENCE]), None),
        vector("other-policy", AUDIENCE_NAME, GOOD.token(NOW), wrong, policy="other-audience"),
        vector("other-policy-its-own", CONFORMANCE, GOOD.token(NOW, aud="billing"), None, policy="other-audience"),
        vector("one-of-two", CONFORMANCE, GOOD.token(NOW, aud="billing"), None, policy="two-audiences"),
        vector("policy-is-no-pattern", PATTERN, GOOD.token(NOW), wrong, policy="dotted-audience"),
        vector("token-is-no-pattern", PATTERN, GOOD.token(NOW, aud="g*"), wrong),
        vector("multiple-at-signs", SPLITTING, GOOD.token(NOW, aud=f"x@billing@{AUDIENCE}"), wrong),
    ]


def time() -> list[Json]:
    """Check 12. The leeway is 5 seconds, or none."""
    token, early, later = GOOD.token(NOW), GOOD.token(NOW, nbf=NOW + 100), GOOD.token(NOW + 100)
    past, old, life = "expired", "too_old", NOW + 600
    half_ends, half_begins = GOOD.token(NOW, exp=life + 0.5), GOOD.token(NOW, nbf=NOW + 0.5)
    half_issued = GOOD.token(NOW, iat=NOW + 0.5)
    rows: list[tuple[str, bytes, float, str, str | None]] = [
        ("exp-before-end-of-leeway", token, life + 4, "default", None),
        ("exp-last-moment", token, life + 4.999, "default", None),
        ("exp-end-of-leeway", token, life + 5, "default", past),
        ("exp-after-leeway", token, life + 6, "default", past),
        ("exp-no-leeway-last-moment", token, life - 0.001, "no-leeway", None),
        ("exp-no-leeway", token, life, "no-leeway", past),
        ("exp-zero", GOOD.token(NOW, exp=1, iat=0), NOW, "default", past),
        ("nbf-before-leeway", early, NOW + 94, "default", "not_yet_valid"),
        ("nbf-just-before-leeway", early, NOW + 94.999, "default", "not_yet_valid"),
        ("nbf-start-of-leeway", early, NOW + 95, "default", None),
        ("nbf-no-leeway-before", early, NOW + 99.999, "no-leeway", "not_yet_valid"),
        ("nbf-no-leeway", early, NOW + 100, "no-leeway", None),
        ("nbf-after-exp", GOOD.token(NOW, nbf=life + 100), life + 50, "default", past),
        ("nbf-before-iat", GOOD.token(NOW + 100, nbf=NOW), NOW, "default", "not_yet_valid"),
        ("iat-before-leeway", later, NOW + 94, "default", "not_yet_valid"),
        ("iat-start-of-leeway", later, NOW + 95, "default", None),
        ("iat-an-hour-ahead", GOOD.token(NOW + 3600), NOW, "default", "not_yet_valid"),
        ("age-last-moment", token, NOW + 64.999, "fresh", None),
        ("age-end", token, NOW + 65, "fresh", old),
        ("age-expired-first", token, life + 5, "fresh", past),
        ("age-by-iat-not-nbf", GOOD.token(NOW, nbf=NOW + 60), NOW + 66, "fresh", old),
        ("age-expires-sooner", GOOD.token(NOW, exp=NOW + 10), NOW + 15, "fresh", past),
        ("age-expires-sooner-accepted", GOOD.token(NOW, exp=NOW + 10), NOW + 14, "fresh", None),
        ("age-not-demanded", token, NOW + 66, "default", None),
        ("exp-fraction-last-moment", half_ends, life + 0.499, "no-leeway", None),
        ("exp-fraction", half_ends, life + 0.5, "no-leeway", past),
        ("exp-fraction-before-end-of-leeway", half_ends, life + 5.499, "default", None),
        ("exp-fraction-end-of-leeway", half_ends, life + 5.5, "default", past),
        ("exp-fraction-that-no-double-holds", GOOD.token(NOW, exp=life + 0.1), life + 0.1, "no-leeway", past),
        ("nbf-fraction-before", half_begins, NOW + 0.499, "no-leeway", "not_yet_valid"),
        ("nbf-fraction", half_begins, NOW + 0.5, "no-leeway", None),
        ("iat-fraction-before", half_issued, NOW + 0.499, "no-leeway", "not_yet_valid"),
        ("iat-fraction", half_issued, NOW + 0.5, "no-leeway", None),
        ("iat-fraction-age-last-moment", half_issued, NOW + 65.499, "fresh", None),
        ("iat-fraction-age-end", half_issued, NOW + 65.5, "fresh", old),
    ]
    long, day, year = "lifetime_too_long", 86_400, 365 * 86_400
    lives: list[tuple[str, bytes, float, str, str | None]] = [
        ("lifetime-of-a-hundred-years", GOOD.token(NOW, exp=NOW + 100 * year), NOW, "default", long),
        (
            "lifetime-of-a-hundred-years-half-over",
            GOOD.token(NOW - 50 * year, exp=NOW + 50 * year),
            NOW,
            "default",
            long,
        ),
        ("lifetime-of-a-day", GOOD.token(NOW, exp=NOW + day), NOW, "default", None),
        ("lifetime-of-a-day-near-its-end", GOOD.token(NOW, exp=NOW + day), NOW + day + 4, "default", None),
        ("lifetime-of-a-day-and-a-second", GOOD.token(NOW, exp=NOW + day + 1), NOW, "default", long),
        ("lifetime-of-a-day-and-a-fraction", GOOD.token(NOW, exp=NOW + day + 0.5), NOW, "default", long),
        (
            "lifetime-of-a-day-between-fractions",
            GOOD.token(NOW, iat=NOW - 0.5, exp=NOW + day - 0.5),
            NOW,
            "default",
            None,
        ),
        ("lifetime-by-iat-not-nbf", GOOD.token(NOW, nbf=NOW + day, exp=NOW + day + 600), NOW + day, "default", long),
        ("lifetime-expired-first", GOOD.token(NOW, exp=NOW + 2 * day), NOW + 2 * day + 5, "default", past),
        ("lifetime-before-age", GOOD.token(NOW, exp=NOW + 2 * day), NOW + 66, "fresh", long),
        ("lifetime-of-the-policy", token, NOW, "short-lived", None),
        ("lifetime-over-the-policy", GOOD.token(NOW, exp=life + 1), NOW, "short-lived", long),
        ("lifetime-over-the-policy-near-its-end", GOOD.token(NOW, exp=life + 1), life, "short-lived", long),
    ]
    return [
        vector(name, attack if reason else CONFORMANCE, t, reason, now=now, policy=policy)
        for attack, rows in ((TIME, rows), (LIFETIME, lives))
        for name, t, now, policy, reason in rows
    ]


def status() -> list[Json]:
    """Check 13."""
    token = GOOD.token(NOW, status=_STATUS)
    beyond = GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 16}})
    far = GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 2**53 - 1}})
    last = GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 15}})
    two = {ISSUER: {**listed()[ISSUER], **listed(7, uri=STATUS_LIST + "2")[ISSUER]}}
    elsewhere = listed(7, issuer=OTHER_ISSUER)
    further = GOOD.token(NOW, status={**_STATUS, "x": {}})
    rows: list[tuple[str, bytes, str | None, Json]] = [
        ("clear", token, None, listed()),
        ("set", token, "revoked", listed(7)),
        ("another-bit", token, None, listed(*range(7), *range(8, 16))),
        ("another-list", token, None, two),
        ("last-bit", last, "revoked", listed(15)),
        ("last-bit-clear", last, None, listed(*range(15))),
        ("index-beyond-the-list", beyond, "revoked", listed()),
        ("index-far-beyond-the-list", far, "revoked", listed()),
        ("no-reference", GOOD.token(NOW), None, listed(7)),
        ("no-reference-and-no-lists", GOOD.token(NOW), None, {ISSUER: {}}),
        ("further-mechanisms", further, "revoked", listed(7)),
        ("no-lists-yet", token, "status_unavailable", {ISSUER: {}}),
        ("list-unknown", token, "status_unavailable", listed(uri=STATUS_LIST + "2")),
        ("list-by-a-longer-name", token, "status_unavailable", listed(uri=STATUS_LIST + "/")),
        ("list-by-another-case", token, "status_unavailable", listed(uri=STATUS_LIST.upper())),
        ("list-counts-still", token, None, listed(counts_until=NOW + 605)),
        ("list-counts-no-longer", token, "status_unavailable", listed(counts_until=NOW)),
        ("set-in-a-list-that-counts-no-longer", token, "status_unavailable", listed(7, counts_until=NOW - 1)),
        ("issuer-not-followed", token, None, {}),
        ("list-of-another-issuer", token, None, elsewhere),
        ("list-of-another-issuer-beside-ours", token, None, {**listed(), **elsewhere}),
        ("list-of-another-issuer-alone", token, "status_unavailable", {ISSUER: {}, **listed(issuer=OTHER_ISSUER)}),
    ]
    return [
        *(
            vector(name, REVOKED if reason else CONFORMANCE, token, reason, status_lists=lists)
            for name, token, reason, lists in rows
        ),
        vector("before-permission", REVOKED, token, "revoked", status_lists=listed(7), policy="all-scopes"),
        vector("after-time", REVOKED, token, "expired", status_lists=listed(7), now=NOW + 605),
    ]


def permission() -> list[Json]:
    """Check 14."""
    scope, role = "insufficient_scope", "insufficient_role"
    rows: list[tuple[str, Attack, Named, str, str | None]] = [
        ("all-exact", CONFORMANCE, {"scope": "invoices:read invoices:write"}, "all-scopes", None),
        ("all-more", CONFORMANCE, {"scope": "x invoices:write y invoices:read"}, "all-scopes", None),
        ("all-one-missing", PERMISSION, {"scope": "invoices:read"}, "all-scopes", scope),
        ("all-none", PERMISSION, {"scope": ""}, "all-scopes", scope),
        ("all-absent", PERMISSION, {"scope": ...}, "all-scopes", scope),
        ("all-substring", PERMISSION, {"scope": "invoices:readers invoices:write"}, "all-scopes", scope),
        ("all-upper", PERMISSION, {"scope": "Invoices:read invoices:write"}, "all-scopes", scope),
        ("all-comma", SPLITTING, {"scope": "invoices:read,invoices:write"}, "all-scopes", scope),
        ("any-first", CONFORMANCE, {"scope": "admin"}, "any-scope", None),
        ("any-second", CONFORMANCE, {"scope": "profile audit"}, "any-scope", None),
        ("any-none", PERMISSION, {"scope": "profile"}, "any-scope", scope),
        ("any-absent", PERMISSION, {"scope": ...}, "any-scope", scope),
        ("any-prefix", PERMISSION, {"scope": "administrator"}, "any-scope", scope),
        ("any-by-role", PERMISSION, {"scope": "profile", "roles": ["admin"]}, "any-scope", scope),
        ("scope-is-no-pattern", PATTERN, {"scope": "profile"}, "dotted-scope", scope),
        ("scope-literal", CONFORMANCE, {"scope": "pro.*"}, "dotted-scope", None),
        ("role-held", CONFORMANCE, {"roles": ["x", "auditor"]}, "roles", None),
        ("role-other", PERMISSION, {"roles": ["x"]}, "roles", role),
        ("role-none", PERMISSION, {"roles": []}, "roles", role),
        ("role-absent", PERMISSION, {}, "roles", role),
        ("role-substring", PERMISSION, {"roles": ["administrator"]}, "roles", role),
        ("role-by-scope", PERMISSION, {"scope": "admin"}, "roles", role),
        ("role-is-no-pattern", PATTERN, {"roles": ["admin"]}, "dotted-role", role),
    ]
    return [
        vector(name, attack, GOOD.token(NOW, **changes), reason, policy=p)
        for name, attack, changes, p, reason in rows
    ]
