"""Vectors of the request: which token, and by which policy."""

from typing import Any, Final

from tests.vectors.generator.material import (
    GOOD,
    NOW,
    Attack,
    Json,
    accepted,
    text,
)
from tests.vectors.generator.reading import CONFORMANCE, MALLEABLE

AMBIGUOUS: Final = Attack("ambiguous-credentials", ("RFC 6750 §2", "CVE-2026-26308", "GHSA-gv94-wp4h-vv8p"))
PATH: Final = Attack("path-confusion", ("CVE-2025-54576", "CVE-2026-41059", "CVE-2026-42274", "GHSA-p224-6x5r-fjpm"))
HEALTH: Final = Attack("health-check-bypass", ("CVE-2026-34457",))

_GOOD_TOKEN: Final = GOOD.token(NOW)


def request(
    identifier: str, attack: Attack, authorization: list[bytes], reason: str | None = None, **more: Any
) -> Json:
    """One request; accepted as the good token unless a reason is given."""
    return {
        "id": identifier,
        "attack": attack.name,
        "references": list(attack.references),
        "key_sets": "issuer",
        "now": NOW,
        "target": "/verify",
        "authorization": [text(value) for value in authorization],
        "expected": {"reason": reason} if reason else accepted(_GOOD_TOKEN),
        **more,
    }


def requests() -> list[Json]:
    """The choice of the one token and of the policy."""
    bearer = b"Bearer " + _GOOD_TOKEN
    nobody = {"identity": dict.fromkeys(accepted(_GOOD_TOKEN)["identity"], "")}
    malformed = {
        "empty-token": [b"Bearer "],
        "scheme-alone": [b"Bearer"],
        "two-spaces": [b"Bearer  " + _GOOD_TOKEN],
        "trailing-space": [bearer + b" "],
        "trailing-tab": [bearer + b"\t"],
        "second-token": [bearer + b" " + _GOOD_TOKEN],
        "parameter": [bearer + b", realm=x"],
        "two-fields": [bearer, bearer],
        "two-fields-good-and-bad": [bearer, b"Bearer x"],
        "bearer-then-basic": [bearer, b"Basic dXNlcjpwYXNz"],
        "comma-without-space": [bearer + b"," + bearer],
    }
    spelt = {
        "nul": bearer + b"\0",
        "newline": bearer + b"\n",
        "non-ascii": bearer + b"\xc3\xa9",
        "quoted": b'Bearer "' + _GOOD_TOKEN + b'"',
        "percent-encoded": b"Bearer " + _GOOD_TOKEN.replace(b".", b"%2E"),
    }
    missing: dict[str, list[bytes]] = {
        "none": [],
        "empty": [b""],
        "basic": [b"Basic dXNlcjpwYXNz"],
        "tab": [b"Bearer\t" + _GOOD_TOKEN],
        "no-space": [b"Bearer" + _GOOD_TOKEN],
        "leading-space": [b" " + bearer],
        "bare-token": [_GOOD_TOKEN],
        "dpop-scheme": [b"DPoP " + _GOOD_TOKEN],
        "basic-then-bearer": [b"Basic dXNlcjpwYXNz", bearer],
        "fullwidth-scheme": ["\uff22earer ".encode() + _GOOD_TOKEN],
    }
    refused_targets = {
        "admin-dots": b"/verify/../verify",
        "encoded-slash": b"/verify%2Fdefault",
        "encoded-name": b"/verify/%64efault",
        "upper-case": b"/verify/Default",
        "trailing-slash": b"/verify/",
        "double-slash": b"/verify//default",
        "semicolon": b"/verify/default;x=1",
        "fragment": b"/verify/default#/x",
        "nul": b"/verify/default\0",
        "no-such-policy": b"/verify/nobody-wrote-this",
        "absolute-form": b"http://verifier/verify",
        "scheme-and-path": b"http:/verify/default",
        "relative": b"x/verify",
        "no-leading-slash": b"verify",
        "asterisk": b"*",
        "empty": b"",
        "root": b"/",
        "prefix": b"/verifyx",
        "other-root": b"//verify",
        "backslash": b"/verify\\default",
        "overlong": b"/verify/\xc1\xa4efault",
        "unknown-before-query": b"/verify/unknown?/verify/default",
    }
    accepted_targets = {
        "named": b"/verify/default",
        "further-segments": b"/verify/default/anything/../x",
        "query": b"/verify?policy=other",
        "named-query": b"/verify/default?x=/../other",
        "dots-after": b"/verify/default/../other",
    }
    return [
        request("bearer", CONFORMANCE, [bearer]),
        *(
            request(f"scheme-{s}", CONFORMANCE, [f"{s} ".encode() + _GOOD_TOKEN])
            for s in ("bearer", "BEARER", "bEaReR")
        ),
        *(request(f"credentials-{n}", AMBIGUOUS, v, "malformed_credentials") for n, v in malformed.items()),
        *(request(f"credentials-{n}", MALLEABLE, [v], "malformed") for n, v in spelt.items()),
        *(request(f"no-token-{n}", AMBIGUOUS, v, "missing_token") for n, v in missing.items()),
        *(
            request(f"target-{n}", PATH, [bearer], "unknown_policy", target=text(v))
            for n, v in refused_targets.items()
        ),
        *(request(f"target-{n}", PATH, [bearer], target=text(v)) for n, v in accepted_targets.items()),
        *(
            request(f"health-{n}", HEALTH, [], reason, target=t)
            for n, t, reason in (
                ("path", "/healthz", "unknown_policy"),
                ("ready", "/readyz", "unknown_policy"),
                ("metrics", "/metrics", "unknown_policy"),
                ("below-verify", "/verify/healthz", "unknown_policy"),
                ("after-policy", "/verify/default/healthz", "missing_token"),
            )
        ),
        request("anonymous-nobody", CONFORMANCE, [], target="/verify/anonymous", expected=nobody),
        request("anonymous-somebody", CONFORMANCE, [bearer], target="/verify/anonymous"),
        request("anonymous-bad", AMBIGUOUS, [bearer[:-1]], "malformed", target="/verify/anonymous"),
        request("anonymous-basic", AMBIGUOUS, [b"Basic x"], "missing_token", target="/verify/anonymous"),
        request("anonymous-two", AMBIGUOUS, [bearer, bearer], "malformed_credentials", target="/verify/anonymous"),
    ]
