"""Authenticates the client of a request: RFC 6749 §2.3, RFC 7521 §4.2."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import unquote_plus

from issuer.errors import InvalidClientError, InvalidRequestError
from issuer.oauth.clients import ClientAuthenticator
from issuer.oauth.models import BasicCredentials, Client, ClientAssertion, ClientCredentials, OAuthRequest

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""RFC 7523 §2.2."""

_BASIC: Final = re.compile(r"basic ([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)


async def authenticate_client(clients: ClientAuthenticator, request: OAuthRequest) -> Client | None:
    """Return the authenticated client, or None if the request carries no credentials.

    Raises:
        InvalidRequestError: the request authenticates in two ways at once (RFC 6749 §2.3).
        InvalidClientError: the credentials are wrong, or of a kind that is not supported.
        UnavailableError: the database is unavailable.
    """
    credentials = read_credentials(request)
    if credentials is None:
        return None
    return await clients.authenticate(credentials, replace(request.context, actor="client"))


def read_credentials(request: OAuthRequest) -> ClientCredentials | None:
    """Return the unverified credentials of a request, or None if it carries none.

    Raises:
        InvalidRequestError: the request authenticates in two ways at once (RFC 6749 §2.3).
        InvalidClientError: it names two clients, or its credentials are malformed or of an unsupported kind.
    """
    form, fields = request.parameters, request.authorization
    has_assertion = "client_assertion" in form or "client_assertion_type" in form
    if len(fields) + has_assertion + ("client_secret" in form) > 1:
        raise InvalidRequestError
    if "client_secret" in form:
        # client_secret_post is not supported: request bodies are logged more often than this header field.
        raise InvalidClientError
    if fields:
        return _basic(fields[0], form.get("client_id"))
    return _assertion(form) if has_assertion else None


def _basic(field: str, named: str | None) -> BasicCredentials:
    """Decode a Basic field. RFC 6749 §2.3.1: id and secret are each form-urlencoded before they are joined."""
    found = _BASIC.fullmatch(field)
    if found is None:
        raise InvalidClientError
    try:
        client_id, separator, secret = base64.b64decode(found[1], validate=True).decode("ascii").partition(":")
        credentials = BasicCredentials(
            unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
        )
    except (binascii.Error, ValueError):
        raise InvalidClientError from None
    if not separator or named not in {None, credentials.client_id}:
        raise InvalidClientError
    return credentials


def _assertion(form: Mapping[str, str]) -> ClientAssertion:
    assertion, kind = form.get("client_assertion"), form.get("client_assertion_type")
    if assertion is None or kind is None:
        raise InvalidRequestError
    if kind != ASSERTION_TYPE:
        raise InvalidClientError
    return ClientAssertion(assertion, form.get("client_id"))
