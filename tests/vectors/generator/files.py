"""The vectors of each file: one file for each numbered check of `verifier.decision.verification`, and four more."""

import json

from tests.vectors.generator import (
    acceptance,
    algorithms,
    claims,
    key_sets,
    lists,
    reading,
    requests,
    sequences,
    signatures,
)
from tests.vectors.generator.material import DEFAULTS, KEY_SETS, POLICIES, Json


def every_file() -> dict[str, str]:
    """Name → content, as it must be in the folder."""
    checks = {
        "01-size": reading.size(),
        "02-form": reading.form(),
        "03-header": reading.header(),
        "04-algorithm": algorithms.algorithm(),
        "05-type": algorithms.type_(),
        "06-key": algorithms.key(),
        "07-signature": signatures.signature(),
        "08-claims": claims.claims(),
        "09-sender": acceptance.sender(),
        "10-issuer": acceptance.issuer(),
        "11-audience": acceptance.audience(),
        "12-time": acceptance.time(),
        "13-status": acceptance.status(),
        "14-permission": acceptance.permission(),
    }
    policies = {name: {**DEFAULTS, **changes} for name, changes in POLICIES.items()}
    return {
        "key-sets.json": _document(
            {issuer: {n: {"keys": k} for n, k in sets.items()} for issuer, sets in KEY_SETS.items()}
        ),
        "policies.json": _document(policies),
        **{f"{name}.json": _lines(vectors) for name, vectors in checks.items()},
        "requests.json": _lines(requests.requests()),
        "sequences.json": _lines(sequences.sequences()),
        "jwks.json": _lines(key_sets.documents()),
        "status-lists.json": _lines(lists.status_lists()),
    }


def _document(value: Json) -> str:
    return json.dumps(value, indent=1) + "\n"


def _lines(vectors: list[Json]) -> str:
    """One vector a line: a change shows as the lines that it changes."""
    return "[\n" + ",\n".join(json.dumps(vector) for vector in vectors) + "\n]\n"
