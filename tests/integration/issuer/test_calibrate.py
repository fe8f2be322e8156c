"""What this machine can do, as the operator is told it."""

import json

from issuer.passwords.hash_queue import usable_cores
from issuer.passwords.hasher import ARGON2_COSTS
from issuer.settings import IssuerSettings
from tests.support.issuer_process import issuer_command


def test_the_configured_set_is_measured_in_each_number_of_threads_and_the_others_beside_it() -> None:
    run = issuer_command("calibrate", "--json", "--seconds", "1", ARGON2="7m", HASH_WAIT_SECONDS="2")
    found = [json.loads(line) for line in run.stdout.splitlines()]
    cores = usable_cores()
    assert [line["threads"] for line in found if line["argon2"] == "7m"] == list(range(1, cores + 1))
    assert {line["argon2"] for line in found} == set(ARGON2_COSTS)
    assert [line["argon2"] for line in found if line["configured"]] == ["7m"]
    for line in found:
        assert line["memory_mib"] == line["threads"] * ARGON2_COSTS[line["argon2"]].memory_cost // 1024
        assert line["hashes_per_second"] > 0
        assert line["p50_milliseconds"] > 0
        assert abs(line["queue_length"] - 2 * line["hashes_per_second"]) <= 1


def test_people_are_told_it_in_columns() -> None:
    run = issuer_command("calibrate", "--seconds", "1")
    head, *rows = run.stdout.splitlines()
    assert head.endswith("ISSUER_HASH_WAIT_SECONDS=3")
    assert len([row for row in rows if row.startswith("* 19m")]) == 1
    assert all("logins/s" in row and "MiB" in row for row in rows)


def test_a_time_beyond_the_bounds_is_answered_with_the_usage() -> None:
    for seconds in ("0", "601", "nan", "soon"):
        assert issuer_command("calibrate", "--seconds", seconds).returncode == 2


def test_every_setting_of_the_cost_is_a_set_of_owasp() -> None:
    assert IssuerSettings.model_fields["argon2"].annotation.__args__ == tuple(ARGON2_COSTS)  # type: ignore[union-attr] # a Literal
