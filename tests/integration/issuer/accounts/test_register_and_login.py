"""Registration and login on a real PostgreSQL."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx

from shared.jwks import parse_jwks
from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.plain_http import HTTP, visible
from tests.support.postgres import Postgres, execute
from tests.support.processes import wait_until
from tests.support.token_forge import claims_of, header_of

# Of "walrus walrus walrus", at 8 KiB and one pass.
CHEAP_HASH = "$argon2id$v=19$m=8,t=1,p=1$HnwRC06buitboCiHFdxMYg$bLQxQqhEA+Lmtx/5a54NFwDlGKRU+mcdyZ9rTkTQLlo"


def me(issuer: IssuerProcess, *fields: str) -> httpx.Response:
    return HTTP.get(f"{issuer.url}/me", headers=[("Authorization", field) for field in fields])


def test_a_user_registers_and_logs_in(issuer: IssuerProcess) -> None:
    account = issuer.register("Ann@Example.com").json()
    token = issuer.login("ann@example.com").json()["access_token"]
    assert claims_of(token)["sub"] == account["id"]
    assert me(issuer, f"Bearer {token}").json() == account
    assert account["email"] == "Ann@Example.com"
    assert account["created_at"].endswith("Z")
    assert UUID(account["id"]).version == 4


def test_a_login_response_has_the_form_of_rfc_6749(issuer: IssuerProcess) -> None:
    issuer.register("shape@example.com")
    response = issuer.login("shape@example.com")
    body = response.json()
    assert (response.headers["cache-control"], response.headers["pragma"]) == ("no-store", "no-cache")
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (body["token_type"], body["scope"]) == ("Bearer", "profile")
    assert 570 <= body["expires_in"] <= 600


def test_each_login_creates_a_session(issuer: IssuerProcess) -> None:
    issuer.register("twice@example.com")
    one, other = (claims_of(issuer.login("twice@example.com").json()["access_token"]) for _ in range(2))
    assert one["sid"] != other["sid"]
    assert one["jti"] != other["jti"]


def test_a_registered_email_is_rejected_in_every_spelling(issuer: IssuerProcess) -> None:
    assert issuer.register("taken@example.com").status_code == 201
    rejected = issuer.register("TAKEN@Example.COM", "another long and lonely walk")
    assert rejected.status_code == 409
    assert rejected.json()["type"] == "urn:gatepass:problem:email-taken"
    assert issuer.login("taken@example.com", "another long and lonely walk").status_code == 401


def test_of_forty_registrations_of_one_email_one_succeeds(issuer: IssuerProcess) -> None:
    def register(email: str) -> int:
        # A slow machine rejects some of forty with 503. Clients then wait and retry.
        deadline = time.monotonic() + 60
        while (response := issuer.register(email)).status_code == 503 and time.monotonic() < deadline:
            time.sleep(float(response.headers["retry-after"]))
        return response.status_code

    spellings = ["race@example.com", "RACE@example.com", "Race@EXAMPLE.com", "race@Example.com"] * 10
    with ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(register, spellings))
    assert sorted(statuses) == [201] + [409] * 39
    rows = execute(issuer.database_url, "SELECT id FROM users WHERE email_key = $1", "race@example.com")
    assert len(rows) == 1


def test_unknown_email_wrong_password_and_disabled_account_look_the_same(issuer: IssuerProcess) -> None:
    issuer.register("known@example.com")
    issuer.register("disabled@example.com")
    execute(issuer.database_url, "UPDATE users SET disabled_at = now() WHERE email_key = $1", "disabled@example.com")
    attempts = [
        ("nobody@example.com", PASSWORD),
        ("known@example.com", "the wrong password, sadly"),
        ("known@example.com", ""),
        ("disabled@example.com", PASSWORD),
        ("disabled@example.com", "the wrong password, sadly"),
    ]
    responses = []
    for email, password in attempts:
        before = issuer.metric("gatepass_issuer_argon2_computations_total")
        responses.append(visible(issuer.login(email, password)))
        assert issuer.metric("gatepass_issuer_argon2_computations_total") - before == 1
    assert responses == [responses[0]] * len(attempts)
    assert responses[0][0] == 401


def test_a_cheaper_hash_is_upgraded_once_at_login(issuer: IssuerProcess) -> None:
    issuer.register("old@example.com")
    execute(
        issuer.database_url,
        "UPDATE users SET password_hash = $2 WHERE email_key = $1",
        "old@example.com",
        CHEAP_HASH,
    )
    assert issuer.login("old@example.com", "walrus walrus walrus").status_code == 200
    wait_until(lambda: stored_hash(issuer, "old@example.com") != CHEAP_HASH, "the upgrade, in the background")
    upgraded = stored_hash(issuer, "old@example.com")
    assert "m=19456,t=2,p=1" in upgraded
    assert issuer.login("old@example.com", "walrus walrus walrus").status_code == 200
    assert stored_hash(issuer, "old@example.com") == upgraded


def stored_hash(issuer: IssuerProcess, email_key: str) -> str:
    rows = execute(issuer.database_url, "SELECT password_hash FROM users WHERE email_key = $1", email_key)
    return str(rows[0]["password_hash"])


def test_composed_and_decomposed_passwords_are_the_same(issuer: IssuerProcess) -> None:
    assert issuer.register("nfc@example.com", "caf\u00e9 de la gare, midi").status_code == 201
    assert issuer.login("nfc@example.com", "cafe\u0301 de la gare, midi").status_code == 200


def test_a_token_does_not_outlive_the_disabling_of_its_account(issuer: IssuerProcess) -> None:
    token = issuer.token("gone@example.com")
    execute(issuer.database_url, "UPDATE users SET disabled_at = now() WHERE email_key = $1", "gone@example.com")
    response = me(issuer, f"Bearer {token}")
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_a_missing_token_is_challenged_without_an_error_code(issuer: IssuerProcess) -> None:
    response = me(issuer)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="gatepass"'


def test_the_scheme_is_case_insensitive(issuer: IssuerProcess) -> None:
    assert me(issuer, f"bEaReR {issuer.token('scheme@example.com')}").status_code == 200


def test_a_token_outside_the_authorization_header_is_rejected(issuer: IssuerProcess) -> None:
    token = issuer.token("forms@example.com")
    forms = [
        ("Bearer",),
        (token,),
        (f"Basic {token}",),
        (f"Bearer  {token}",),
        (f"Bearer\t{token}",),
        (f"Bearer {token} {token}",),
        (f"Bearer {token},Bearer {token}",),
        (f"Bearer {token}", f"Bearer {token}"),
        (f"Bearer {token}=",),
        (f"Bearer {token[:-1]}",),
        (f"Bearer {token[:-4]}AAAA",),
        ("Bearer " + "a" * 9000,),
    ]
    responses = [me(issuer, *form) for form in forms]
    assert [response.status_code for response in responses] == [401] * len(forms)
    assert all('error="invalid_token"' in response.headers["www-authenticate"] for response in responses)
    assert HTTP.get(f"{issuer.url}/me", params={"access_token": token}).status_code == 401


def test_published_keys_verify_issued_tokens(issuer: IssuerProcess) -> None:
    response = HTTP.get(f"{issuer.url}/.well-known/jwks.json")
    header = header_of(issuer.token("keys@example.com"))
    assert header["kid"] in parse_jwks(response.content).keys
    assert response.content == (issuer.keys_dir / "public/jwks.json").read_bytes()
    assert response.headers["cache-control"] == "public, max-age=300"


def test_an_unchanged_key_set_is_a_304(issuer: IssuerProcess) -> None:
    url = f"{issuer.url}/.well-known/jwks.json"
    etag = HTTP.get(url).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = HTTP.get(url, headers={"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag
    assert HTTP.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_minimum_password_length_is_a_setting(postgres: Postgres) -> None:
    with running_issuer(postgres.migrated_database(), PASSWORD_MIN_LENGTH="8") as issuer:
        assert issuer.register("short@example.com", "walrus 8").status_code == 201
        assert issuer.login("short@example.com", "walrus 8").status_code == 200
