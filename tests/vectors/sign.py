"""`python -m tests.vectors.sign KEY`: sign the header and the claims on standard input, to make a new vector.

Standard input is `{"header": {…}, "claims": {…}}`: changes to those of the token that every verifier accepts; null
removes a member. KEY is the name of an RSA key in `private-keys.test-only.json`.
"""

import json
import sys
from typing import Any

from tests.support.token_forge import ISSUER, Forge
from tests.support.vector_keys import NOW, rsa_key


def signed(key: str, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return the compact token."""
    changes = [{name: ... if value is None else value for name, value in part.items()} for part in (header, claims)]
    return Forge(ISSUER, rsa_key(key)).token(NOW, changes[0], **changes[1]).decode()


if __name__ == "__main__":
    given = json.load(sys.stdin)
    sys.stdout.write(signed(sys.argv[1], given.get("header", {}), given.get("claims", {})) + "\n")
