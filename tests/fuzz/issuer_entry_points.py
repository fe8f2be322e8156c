"""Entry points for the fuzzer: everything that the issuer reads from clients, operators and its own disk."""

import json
import tempfile
from base64 import b64encode
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.types import Message

from issuer.accounts.bulk_import import ImportRules, InvalidRecordError, read_line
from issuer.context import RequestContext
from issuer.email_address import InvalidEmailError, parse_email, parse_new_email
from issuer.errors import InvalidFieldsError, IssuerError, KeyStoreError, OAuthError, RequestError
from issuer.http import request_body
from issuer.http.forms import parse_form
from issuer.http.problems import problem_response
from issuer.http.request_body import read_body
from issuer.keys.mac_secrets import MacSecret, MacSecretRecord, format_mac_secrets, mac_secrets_file, read_mac_secrets
from issuer.keys.models import format_key_records, key_records_file, read_key_records
from issuer.keys.rotation import add_key
from issuer.oauth.client_assertion import (
    MAX_ASSERTION_LIFETIME,
    ClientKeysError,
    InvalidAssertionError,
    load_keys,
    read_assertion,
    register_keys,
    verify_assertion,
)
from issuer.oauth.client_authentication import read_credentials
from issuer.oauth.models import BasicCredentials, OAuthRequest
from issuer.throttling.client_ip import client_ip
from issuer.tokens.additional_claims import ClaimTypes
from issuer.tokens.refresh_token import RefreshToken, RefreshTokens
from issuer.tokens.size import TokenBudget
from tests.support.token_forge import ISSUER
from tests.support.vector_keys import GOOD, NOW, OTHER

_CONTEXT: Final = RequestContext("self")
_TIME: Final = datetime.fromtimestamp(NOW, UTC)
_ID: Final = UUID("7b7f6f3e-3a51-4f0e-9d0c-3f1f6c1c2a10")
_SECRET: Final = MacSecret("0123abcd", bytes(range(32)))
_REFRESH_TOKENS: Final = RefreshTokens(lambda: (_SECRET,))
_BODIES: Final = sorted(request_body._Body.__subclasses__(), key=lambda model: model.__name__)
_RULES: Final = ImportRules(
    TokenBudget(ISSUER, "gatepass"), claim_types=ClaimTypes.parse("tenant:string, seats:number")
)
_CLIENT_KEYS: Final = register_keys(GOOD.jwks)
_AUDIENCES: Final = frozenset({ISSUER})
_HEADER: Final = json.dumps({"alg": "RS256", "kid": GOOD.kid}).encode()
_FOLDER: Final = tempfile.TemporaryDirectory(prefix="gatepass-fuzz-")
_KEYS_DIR: Final = Path(_FOLDER.name)
(_KEYS_DIR / "private").mkdir()


def body(data: bytes) -> None:
    """Parse a JSON body: number of the model, content type, line feed, body."""
    content_type, _, content = data[1:].partition(b"\n")
    model = _BODIES[(data[0] if data else 0) % len(_BODIES)]
    try:
        found = _finish(read_body(_request(content_type, content), model))
    except RequestError as error:
        _check_problem(error)
    else:
        texts = [value for value in found.model_dump().values() if isinstance(value, str)]
        assert not any("\0" in text for text in texts)
        assert "".join(texts).encode(), "no unpaired surrogate"


def form(data: bytes) -> None:
    """Parse the form of a request to an OAuth endpoint, and the credentials in it."""
    with suppress(OAuthError):
        parameters = parse_form(data)
        assert all(value and "\0" not in value for value in parameters.values())
        read_credentials(OAuthRequest(parameters, (), _CONTEXT))


def basic(data: bytes) -> None:
    """Parse one Authorization field and the client of the form, separated by a line feed."""
    field, named, client_id = data.decode("latin-1").partition("\n")
    with suppress(OAuthError):
        found = read_credentials(OAuthRequest({"client_id": client_id} if named else {}, (field,), _CONTEXT))
        assert isinstance(found, BasicCredentials)
        assert not named or found.client_id == client_id


def refresh_token(data: bytes) -> None:
    """Parse a refresh token, which has one spelling."""
    text = data.decode("utf-8", "surrogateescape")
    found = _REFRESH_TOKENS.read(text)
    assert found is None or _REFRESH_TOKENS.write(found) == text


def assertion(data: bytes) -> None:
    """Verify a client assertion: header and claims, separated by a line feed; signed, and also as they are."""
    header, _, payload = data.partition(b"\n")
    for text in (GOOD.sign(header or _HEADER, payload).decode(), data.decode("latin-1")):
        with suppress(InvalidAssertionError):
            unverified = read_assertion(text)
            found = verify_assertion(unverified, load_keys(_CLIENT_KEYS), _AUDIENCES, _TIME)
            assert found.jti
            assert _TIME < found.expires_at <= _TIME + MAX_ASSERTION_LIFETIME + timedelta(minutes=1)


def client_keys(data: bytes) -> None:
    """Parse the key set of a client."""
    with suppress(ClientKeysError):
        keys = register_keys(data)
        assert len(load_keys(keys)) == len(keys) > 0


def import_line(data: bytes) -> None:
    """Parse one line of an import."""
    try:
        account = read_line(data, _ID, _TIME, _RULES)
    except InvalidRecordError as error:
        _check_message(error)
    else:
        assert parse_email(account.email.given).key == account.email.key
        assert account.created_at <= _TIME
        assert _RULES.budget.account_fault(account.scope, account.roles, account.claims) is None


def key_file(data: bytes) -> None:
    """Parse the records of the signing keys; valid ones are written and read again."""
    path = key_records_file(_KEYS_DIR)
    path.write_bytes(data)
    with suppress(KeyStoreError):
        records = read_key_records(_KEYS_DIR)
        path.write_bytes(format_key_records(records))
        assert [(key.kid, key.state) for key in read_key_records(_KEYS_DIR)] == [
            (key.kid, key.state) for key in records
        ]


def mac_secrets(data: bytes) -> None:
    """Parse the file of MAC secrets; an error quotes none of them."""
    path = mac_secrets_file(_KEYS_DIR)
    path.touch(0o600)
    path.write_bytes(data)
    try:
        records = read_mac_secrets(_KEYS_DIR, None)
    except KeyStoreError as error:
        _check_message(error)
    else:
        path.write_bytes(format_mac_secrets(records, None))
        assert read_mac_secrets(_KEYS_DIR, None) == records


def email(data: bytes) -> None:
    """Parse an email; the key of a key is the same key."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(InvalidEmailError):
        address = parse_email(text)
        assert address.key.isascii()
        assert address.key == address.key.lower()
        assert parse_email(address.key).key == address.key
        assert parse_email(address.mailbox).key == address.key
        assert parse_new_email(text) == address


def forwarded(data: bytes) -> None:
    """Determine the client IP: the number of proxies, then X-Forwarded-For fields, one on each line."""
    fields = data[1:].decode("latin-1").split("\n")
    found = client_ip("192.0.2.1", fields, data[0] % 4 if data else 1)
    assert found is not None
    assert str(ip_address(found)) == found


def _request(content_type: bytes, content: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    headers = [(b"content-type", content_type)]
    return Request({"type": "http", "headers": headers, "state": {"body_too_large": False}}, receive)


def _finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def _check_message(error: Exception) -> None:
    assert error.__cause__ is None, "the message of a parser may quote a secret"
    assert str(error).isprintable()


def _check_problem(error: IssuerError) -> None:
    response = problem_response(error)
    assert 400 <= response.status_code < 500
    assert isinstance(json.loads(bytes(response.body)), dict)
    if isinstance(error, InvalidFieldsError):
        assert 0 < len(error.faults) <= 16


ENTRY_POINTS: Final[dict[bytes, Callable[[bytes], None]]] = {
    b"b": body,
    b"f": form,
    b"h": basic,
    b"t": refresh_token,
    b"a": assertion,
    b"c": client_keys,
    b"i": import_line,
    b"k": key_file,
    b"m": mac_secrets,
    b"e": email,
    b"x": forwarded,
}
"""Entry points by the first byte of an input; the verifier's are capital letters."""


def corpus() -> list[bytes]:
    """Return initial inputs: one that passes each check, and some that nearly do."""
    claims = {"iss": "reporting", "sub": "reporting", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "1"}
    values = {"email": "ann@example.com", "scope": "a", "resource": ["a", "b"]}
    bodies = [json.dumps({name: values.get(name, "some text") for name in model.model_fields}) for model in _BODIES]
    password_hash = (
        "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    )
    line = {
        "email": "ann@example.com",
        "password_hash": password_hash,
        "created_at": "2026-03-01T12:00:00Z",
        "email_verified": True,
        "scope": "profile",
        "roles": ["admin"],
        "claims": {"tenant": "acme", "seats": 3},
    }
    records = add_key(add_key((), GOOD.key.public_key(), _TIME), OTHER.key.public_key(), _TIME)
    others = (
        "$2b$12$" + "a" * 21 + "u" + "a" * 30 + "O",
        "pbkdf2_sha256$600000$salt$" + b64encode(bytes(32)).decode(),
    )
    return [
        *(b"b" + bytes([number]) + b"application/json\n" + text.encode() for number, text in enumerate(bodies)),
        b"fgrant_type=refresh_token&refresh_token=gpr_x&scope=a%20b&resource=https%3A%2F%2Fapi.example",
        b"fclient_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c",
        b"hBasic " + b64encode(b"reporting:a%20secret") + b"\nreporting",
        b"t" + _REFRESH_TOKENS.write(RefreshToken(_ID, 7)).encode(),
        b"a\n" + json.dumps(claims).encode(),
        b"a" + _HEADER + b"\n" + json.dumps({**claims, "aud": [ISSUER], "nbf": NOW}).encode(),
        b"c" + GOOD.jwks,
        *(b"i" + json.dumps({**line, "password_hash": text}).encode() for text in (password_hash, *others)),
        b"k" + format_key_records(records[:1]),
        b"k" + format_key_records(records),
        b"m" + format_mac_secrets((MacSecretRecord(_SECRET, created_at=_TIME, activated_at=_TIME),), None),
        b"eAnn+tag@Example.COM",
        "eann@b\u00fccher.example".encode(),
        b"x\x01192.0.2.1, [2001:db8::1]:443",
        b"x\x02::ffff:192.0.2.1\nfe80::1%eth0",
    ]
