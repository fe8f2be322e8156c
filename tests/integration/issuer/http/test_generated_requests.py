"""Requests generated from the contract get only responses that the contract documents.

Schemathesis tries the boundaries of each operation and random requests, well-formed and not: the same ones in every
run. They have no credentials, those of a user or those of a client. For the latter two, valid tokens are put into
well-formed requests, because random values are never valid. All checks of Schemathesis run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, Config

from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.machines import Machine, basic, with_secret
from tests.support.openapi import SERVED
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres

EXAMPLES: Final = 15
ACCEPTED: Final = ["2xx", "3xx", "401", "403", "404", "409", "429"]
"""Statuses that any well-formed request may get; no 5xx."""

ADDRESSES = "422"
"""`format: email` is not the whole grammar (RFC 5321 §4.1.2), and some domains are reserved (RFC 6761 §6)."""
PASSWORDS = "422"
"""A password may be too short for a setting, or too common (NIST SP 800-63B §3.1.1.2); no schema states this."""
OAUTH = "400"
"""A well-formed form may have an unknown token, scope or client (RFC 6749 §5.2)."""
MAILED = "400"
"""A token is a string; no schema states whether it was issued (RFC 9110 §15.5.1)."""

REJECTED_FOR_ITS_VALUES: Final = {
    "register": {ADDRESSES, PASSWORDS},
    "login": {ADDRESSES, OAUTH},
    "forgotPassword": {ADDRESSES},
    "resendVerification": {ADDRESSES},
    "changePassword": {PASSWORDS},
    "resetPassword": {PASSWORDS, MAILED},
    "verifyEmail": {MAILED},
    "token": {OAUTH},
}
"""Operations that may reject well-formed requests, with the status of that rejection."""


def configured(*, invented_credentials: bool) -> Config:
    """Return the configuration of the generator, with random credentials or none."""
    generation = {
        "max-examples": EXAMPLES,
        "deterministic": True,
        "database": "none",
        "no-shrink": True,
        "with-security-parameters": invented_credentials,
    }
    operations = [
        {
            "include-operation-id": operation,
            "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED + sorted(statuses)}},
        }
        for operation, statuses in REJECTED_FOR_ITS_VALUES.items()
    ]
    acceptance = {"positive_data_acceptance": {"expected-statuses": ACCEPTED}}
    return Config.from_dict({"seed": 1, "generation": generation, "checks": acceptance, "operations": operations})


def takes(context: Any, *schemes: str) -> bool:
    """Return whether an operation accepts credentials of one of these schemes."""
    requirements = context.operation.definition.raw.get("security", [])
    return any(scheme in requirement for requirement in requirements for scheme in schemes)


# test_contract checks that this document is the one that is served.
ANONYMOUS: Final = schemathesis.openapi.from_path(SERVED, config=configured(invented_credentials=True))
_KNOWN: Final = schemathesis.openapi.from_path(SERVED, config=configured(invented_credentials=False))
OF_CLIENTS: Final = _KNOWN.exclude(lambda context: not takes(context, "client"))
OF_OWNERS: Final = _KNOWN.exclude(lambda context: not takes(context, "bearer", "client")).exclude(
    operation_id="introspect"
)


@dataclass
class Owner:
    """An account and a session that exist: they are created again when a request has removed them."""

    issuer: IssuerProcess
    tokens: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def come_back(self) -> None:
        if not self.tokens or HTTP.get(f"{self.issuer.url}/me", headers=self.bearer).status_code != 200:
            email = f"owner-{next(self._numbers)}@example.com"
            assert self.issuer.register(email).status_code == 201
            self.tokens = self.issuer.login(email).json()

    def session_id(self) -> str:
        sessions = HTTP.get(f"{self.issuer.url}/sessions", headers=self.bearer).json()["sessions"]
        return str(sessions[0]["id"])

    def fill(self, case: Case[Any]) -> None:
        """Put existing tokens and ids into a well-formed request."""
        match case.operation.label:
            case "DELETE /me":
                case.body = {"password": PASSWORD}
            case "POST /password":
                case.body = {"current_password": PASSWORD, "new_password": PASSWORD}
            case "DELETE /sessions/{id}":
                case.path_parameters = {"id": self.session_id()}
            case "POST /token":
                put(case, grant_type="refresh_token", refresh_token=self.tokens["refresh_token"])
            case "POST /revoke":
                put(case, token=self.tokens["refresh_token"], client_id="first-party")
            case _:
                pass


def put(case: Case[Any], **parameters: str) -> None:
    """Set these parameters of a form; of the generated ones, keep those that are unknown."""
    assert isinstance(case.body, dict)
    known = case.operation.get_body_for_media_type("application/x-www-form-urlencoded").definition["schema"]
    unknown = {name: value for name, value in case.body.items() if name not in known["properties"]}
    case.body = {**unknown, **parameters}


def is_well_formed(case: Case[Any]) -> bool:
    """Return whether a case is random and well-formed; boundary cases are not changed."""
    return (
        case.meta is not None
        and case.meta.generation.mode.is_positive
        and case.meta.phase.name is schemathesis.generation.meta.TestPhase.FUZZING
    )


@pytest.fixture(scope="module")
def issuer(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IssuerProcess]:
    folder = tmp_path_factory.mktemp("mail").as_uri()
    with running_issuer(postgres.migrated_database(), MAIL_URL=folder, MAIL_FROM="no-reply@example.com") as process:
        yield process
        assert process.process.poll() is None
        assert "unexpected_exception" not in process.log()


@pytest.fixture(scope="module")
def connection() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def owner(issuer: IssuerProcess) -> Owner:
    return Owner(issuer)


@pytest.fixture(scope="module")
def machine(issuer: IssuerProcess) -> Machine:
    return with_secret(issuer, scope="reports:read")


@pytest.fixture
def statuses() -> Iterator[set[int]]:
    """Return the statuses of an operation's responses; some must not be rejections."""
    given: set[int] = set()
    yield given
    assert given & {200, 204}, given
    assert given - {200, 204}, given


of_one_operation = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANONYMOUS.parametrize()
def test_anonymous_requests_get_documented_responses(
    case: Case[Any], issuer: IssuerProcess, connection: requests.Session
) -> None:
    case.call_and_validate(base_url=issuer.url, session=connection)


@OF_OWNERS.parametrize()
@of_one_operation
def test_requests_of_a_user_get_documented_responses(
    case: Case[Any], issuer: IssuerProcess, connection: requests.Session, owner: Owner, statuses: set[int]
) -> None:
    owner.come_back()
    if is_well_formed(case):
        owner.fill(case)
    # With a client's operation it is the token in the form that shows the owner.
    headers = {} if takes(case, "client") else owner.bearer
    response = case.call_and_validate(base_url=issuer.url, session=connection, headers=headers)
    statuses.add(response.status_code)
    if case.path == "/token" and response.status_code == HTTPStatus.OK:
        owner.tokens = response.json()


@OF_CLIENTS.parametrize()
@of_one_operation
def test_requests_of_a_client_get_documented_responses(
    case: Case[Any], issuer: IssuerProcess, connection: requests.Session, machine: Machine, statuses: set[int]
) -> None:
    if is_well_formed(case):
        put(case, **{"grant_type": "client_credentials"} if case.path == "/token" else {"token": machine.token()})
    headers = basic(machine.id, machine.secret or "")
    statuses.add(case.call_and_validate(base_url=issuer.url, session=connection, headers=headers).status_code)
