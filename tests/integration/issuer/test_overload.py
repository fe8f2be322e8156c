"""More logins than the machine can hash: some are served, the rest are told when to come back."""

from concurrent.futures import ThreadPoolExecutor

import httpx

from issuer.admission import usable_cores
from tests.support.issuer_process import running_issuer


def test_logins_beyond_capacity_are_refused_unhashed_and_the_rest_is_served(database_url: str) -> None:
    with running_issuer(database_url, HASH_WAIT_SECONDS="0.05") as issuer:
        issuer.register("ann@example.com")
        before = issuer.metric("gatepass_issuer_argon2_computations_total")
        with ThreadPoolExecutor(60) as pool:
            logins = [pool.submit(issuer.login, "ann@example.com") for _ in range(60)]
            assert httpx.get(f"{issuer.url}/.well-known/jwks.json", timeout=5).status_code == 200
            answers = [login.result() for login in logins]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) == issuer.metric("gatepass_issuer_argon2_computations_total") - before
        assert statuses.count(503) == issuer.metric("gatepass_issuer_hash_refusals_total")
        assert statuses.count(503) > 0 or usable_cores() > 8
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["type"] == "urn:gatepass:problem:overloaded"
                assert 1 <= int(answer.headers["retry-after"]) <= 3
        assert issuer.login("ann@example.com").status_code == 200
