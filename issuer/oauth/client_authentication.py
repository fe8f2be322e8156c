"""How a request says which client it is from: RFC 6749 §2.3, RFC 7521 §4.2. What it says is not proven here."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

from starlette.requests import Request

from issuer.errors import InvalidClientError, InvalidTokenRequestError
from issuer.oauth.models import BasicCredentials, ClientAssertion, ClientCredentials

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""RFC 7523 §2.2."""

_BASIC: Final = re.compile(r"basic ([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)


def client_proof(request: Request, form: Mapping[str, str]) -> ClientCredentials | None:
    """What the request proves its client with; None if it does not try to.

    Raises:
        InvalidTokenRequestError: it tries in two ways at once (RFC 6749 §2.3).
        InvalidClientError: it names two clients, or tries in a way that is not offered or cannot be read.
    """
    fields = request.headers.getlist("authorization")
    asserted = "client_assertion" in form or "client_assertion_type" in form
    if len(fields) + asserted + ("client_secret" in form) > 1:
        raise InvalidTokenRequestError
    if "client_secret" in form:
        # client_secret_post is not offered: bodies are logged where fields are not.
        raise InvalidClientError
    if fields:
        return _basic(fields[0], form.get("client_id"))
    return _assertion(form) if asserted else None


def _basic(field: str, named: str | None) -> BasicCredentials:
    """RFC 6749 §2.3.1: id and secret are each form-urlencoded before they are joined."""
    found = _BASIC.fullmatch(field)
    if found is None:
        raise InvalidClientError
    try:
        client_id, separator, secret = base64.b64decode(found[1], validate=True).decode("ascii").partition(":")
        proof = BasicCredentials(unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict"))
    except (binascii.Error, ValueError):
        raise InvalidClientError from None
    if not separator or named not in {None, proof.client_id}:
        raise InvalidClientError
    return proof


def _assertion(form: Mapping[str, str]) -> ClientAssertion:
    assertion, kind = form.get("client_assertion"), form.get("client_assertion_type")
    if assertion is None or kind is None:
        raise InvalidTokenRequestError
    if kind != ASSERTION_TYPE:
        raise InvalidClientError
    return ClientAssertion(assertion, form.get("client_id"))
