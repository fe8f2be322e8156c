"""Self-service over HTTP: what users can do, and what other clients cannot find out."""

import json
import os
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.issuer_process import PASSWORD, IssuerProcess, issuer_command, running_issuer
from tests.support.plain_http import HTTP, visible
from tests.support.postgres import Postgres, execute
from tests.support.processes import wait_until
from tests.support.recovery_bench import token_in
from tests.support.smtp import read_mail

NEW = "another long and lonely walk"
WRONG = "not the right walk at all"
FROM = "no-reply@gatepass.example"


class MailingIssuer:
    """An issuer that writes its mail into a folder, and that folder."""

    def __init__(self, issuer: IssuerProcess, folder: Path) -> None:
        self.issuer = issuer
        self.folder = folder

    def token_in_mail(self, email: str, subject: str) -> str:
        """Wait for the newest mail to `email` with this subject; return its token, or an empty string."""

        def newest() -> EmailMessage | None:
            files = sorted(self.folder.glob("*.eml"), key=os.path.getmtime, reverse=True)
            mails = (read_mail(file.read_bytes()) for file in files)
            return next((mail for mail in mails if (mail["To"], mail["Subject"]) == (email, subject)), None)

        mail = wait_until(newest, f"the mail {subject} to {email}", 30)
        return token_in(mail) if "gp" in mail.get_content() else ""

    def ask(self, method: str, path: str, bearer: str | None = None, /, **body: str) -> httpx.Response:
        """Send a request with a JSON body, and a bearer token if one is given."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return HTTP.request(method, self.issuer.url + path, json=body, headers=headers)

    def login(self, email: str, password: str = PASSWORD) -> str:
        """Log in; return the access token."""
        response = self.issuer.login(email, password)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    def me(self, token: str) -> int:
        """Return the status of GET /me."""
        return self.issuer.request("GET", "/me", token).status_code

    def hashes(self) -> float:
        """Return the number of computed password hashes."""
        return self.issuer.metric("gatepass_issuer_argon2_computations_total")


@pytest.fixture(scope="module")
def post(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailingIssuer]:
    folder = tmp_path_factory.mktemp("mail")
    with running_issuer(
        postgres.migrated_database(),
        MAIL_URL=folder.as_uri(),
        MAIL_FROM=FROM,
        MAIL_LINK_BASE_URL="https://app.example/auth/",
    ) as issuer:
        yield MailingIssuer(issuer, folder)


@pytest.fixture(scope="module")
def strict(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailingIssuer]:
    """Yield an issuer that requires verified emails."""
    folder = tmp_path_factory.mktemp("strict-mail")
    with running_issuer(
        postgres.migrated_database(), MAIL_URL=folder.as_uri(), MAIL_FROM=FROM, EMAIL_VERIFICATION="required"
    ) as issuer:
        yield MailingIssuer(issuer, folder)


def test_a_password_is_reset_by_mail(post: MailingIssuer) -> None:
    email = "forgetful@example.com"
    post.issuer.register(email)
    sessions = [post.login(email) for _ in range(2)]
    assert post.ask("POST", "/password/forgot", email=email).status_code == 202
    token = post.token_in_mail(email, "Reset your Gatepass password")
    response = post.ask("POST", "/password/reset", token=token, password=NEW)
    assert (response.status_code, response.content) == (204, b"")
    assert [post.me(session) for session in sessions] == [401, 401]
    assert execute(post.issuer.database_url, "SELECT FROM sessions WHERE ended_at IS NULL") == []
    assert post.issuer.login(email).status_code == 401
    assert post.me(post.login(email, NEW)) == 200
    assert post.token_in_mail(email, "Your Gatepass password was changed") == ""


def test_a_link_leads_to_the_configured_page(post: MailingIssuer) -> None:
    post.issuer.register("link@example.com")
    post.ask("POST", "/password/forgot", email="link@example.com")
    token = post.token_in_mail("link@example.com", "Reset your Gatepass password")
    mails = [read_mail(file.read_bytes()).get_content() for file in post.folder.glob("*.eml")]
    assert any(f"https://app.example/auth/password/reset#token={token}" in mail for mail in mails)


def test_a_mail_request_does_not_show_whether_an_account_exists(post: MailingIssuer) -> None:
    post.issuer.register("here@example.com")
    post.issuer.register("shut@example.com")
    execute(post.issuer.database_url, "UPDATE users SET disabled_at = now() WHERE email_key = 'shut@example.com'")
    before = post.hashes()
    for path in ("/password/forgot", "/email/verify/resend"):
        emails = ["here@example.com", "nobody@example.com", "shut@example.com", "here@example.com"]
        responses = [visible(post.ask("POST", path, email=email)) for email in emails]
        assert responses == [responses[0]] * len(emails)
        assert responses[0][:2] == (202, b'{"status":"accepted"}')
    assert post.hashes() == before


def test_every_invalid_one_time_token_gets_the_same_response(post: MailingIssuer) -> None:
    email = "onetime@example.com"
    post.issuer.register(email)
    post.ask("POST", "/email/verify/resend", email=email)
    token = post.token_in_mail(email, "Confirm your email address for Gatepass")
    assert post.ask("POST", "/email/verify", token=token).status_code == 204
    before = post.hashes()
    invalid = [token, "", "gpw_", "gpv_" + "a" * 43, "gpw_" + "a" * 43, "x" * 60_000, "gpv_\u0130"]
    responses = [visible(post.ask("POST", "/email/verify", token=each)) for each in invalid]
    responses += [visible(post.ask("POST", "/password/reset", token=each, password=NEW)) for each in invalid]
    assert responses == [responses[0]] * len(responses)
    assert responses[0][0] == 400
    assert b"urn:gatepass:problem:invalid-or-expired-token" in responses[0][1]
    assert post.hashes() == before


def test_a_password_change_revokes_the_other_sessions(post: MailingIssuer) -> None:
    email = "changed@example.com"
    post.issuer.register(email)
    present, other = post.login(email), post.login(email)
    before = post.hashes()
    wrong = post.ask("POST", "/password", present, current_password=WRONG, new_password=NEW)
    assert (wrong.status_code, wrong.json()["type"]) == (401, "urn:gatepass:problem:invalid-credentials")
    assert post.hashes() - before == 1
    response = post.ask("POST", "/password", present, current_password=PASSWORD, new_password=NEW)
    assert (response.status_code, response.content) == (204, b"")
    assert (post.me(present), post.me(other)) == (200, 401)
    assert post.issuer.login(email).status_code == 401
    assert post.me(post.login(email, NEW)) == 200


def test_a_password_change_does_not_count_as_a_login(post: MailingIssuer) -> None:
    post.issuer.register("counted@example.com")
    token = post.login("counted@example.com")
    before = logins(post.issuer)
    for current in (WRONG, PASSWORD):
        post.ask("POST", "/password", token, current_password=current, new_password=NEW)
    post.ask("DELETE", "/me", token, password=WRONG)
    assert post.ask("DELETE", "/me", token, password=NEW).status_code == 204
    assert logins(post.issuer) == before


def logins(issuer: IssuerProcess) -> list[float]:
    """Return the number of logins by outcome."""
    outcomes = ("accepted", "rejected", "throttled")
    return [issuer.metric(f'gatepass_issuer_logins_total{{outcome="{outcome}"}}') for outcome in outcomes]


def test_a_weak_new_password_is_rejected(post: MailingIssuer) -> None:
    post.issuer.register("poor@example.com")
    token = post.login("poor@example.com")
    for members, field in [
        ({"current_password": PASSWORD, "new_password": "short"}, "new_password"),
        ({"current_password": PASSWORD, "new_password": "poor@example.com"}, "new_password"),
        ({"current_password": "x" * 5000, "new_password": NEW}, "current_password"),
    ]:
        response = post.ask("POST", "/password", token, **members)
        assert response.status_code == 422
        assert [fault["field"] for fault in response.json()["errors"]] == [field]


@pytest.mark.parametrize(("method", "path"), [("POST", "/password"), ("DELETE", "/me")])
def test_without_a_valid_session_no_body_is_read(post: MailingIssuer, method: str, path: str) -> None:
    assert post.ask(method, path, unknown="member").json()["type"] == "urn:gatepass:problem:missing-token"
    rejected = post.ask(method, path, "not.a.token", unknown="member")
    assert rejected.json()["type"] == "urn:gatepass:problem:invalid-token"


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/email/verify", {"token"}),
        ("/email/verify/resend", {"email"}),
        ("/password/forgot", {"email"}),
        ("/password/reset", {"token", "password"}),
    ],
)
@pytest.mark.parametrize("junk", [None, 7, True, [], {"$ne": ""}, "a\0b", "\ud800"])
def test_unacceptable_members_are_named(post: MailingIssuer, path: str, members: set[str], junk: object) -> None:
    for member in members:
        body: dict[str, Any] = dict.fromkeys(members, "x") | {"email": "ann@example.com", member: junk}
        body = {name: value for name, value in body.items() if name in members}
        response = HTTP.post(
            post.issuer.url + path, content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 422
        assert member in {fault["field"] for fault in response.json()["errors"]}
    assert HTTP.post(post.issuer.url + path, json=dict.fromkeys(members, "x") | {"user_id": "1"}).status_code == 422


def test_an_account_is_verified_by_mail(strict: MailingIssuer) -> None:
    email = "fresh@example.com"
    assert strict.ask("POST", "/register", email=email, password=PASSWORD).status_code == 202
    rejected = strict.issuer.login(email)
    assert visible(rejected) == visible(strict.issuer.login("nobody@example.com"))
    token = strict.token_in_mail(email, "Confirm your email address for Gatepass")
    assert strict.ask("POST", "/email/verify", token=token).status_code == 204
    assert strict.me(strict.login(email)) == 200


def test_registration_does_not_show_whether_an_email_is_registered(strict: MailingIssuer) -> None:
    responses, costs = [], []
    for email in ("alike@example.com", "ALIKE@example.com", "Alike@Example.com", "unlike@example.com"):
        before = strict.hashes()
        responses.append(visible(strict.issuer.register(email)))
        costs.append(strict.hashes() - before)
    assert responses == [responses[0]] * len(responses)
    assert responses[0][:2] == (202, b'{"status":"accepted"}')
    assert costs == [1] * len(costs)
    assert strict.token_in_mail("alike@example.com", "You already have a Gatepass account")


def test_without_a_mail_server_the_responses_are_the_same(issuer: IssuerProcess) -> None:
    issuer.register("mailless@example.com")
    for email in ("mailless@example.com", "nobody@example.com"):
        response = HTTP.post(f"{issuer.url}/password/forgot", json={"email": email})
        assert (response.status_code, response.json()) == (202, {"status": "accepted"})
    token = issuer.login("mailless@example.com").json()["access_token"]
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert issuer.request("POST", "/password", token, json=body).status_code == 204
    assert execute(issuer.database_url, "SELECT FROM outbox") == []
    assert issuer.log().count("mail_not_configured") == 1


def test_verification_without_a_mail_server_stops_the_start() -> None:
    rejected = issuer_command("serve", DATABASE_URL="postgresql://localhost/x", EMAIL_VERIFICATION="required")
    assert rejected.returncode == 2
    assert rejected.stderr == "ISSUER_EMAIL_VERIFICATION: `required` needs ISSUER_MAIL_URL\n"
