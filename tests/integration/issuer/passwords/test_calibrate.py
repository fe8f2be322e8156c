"""`calibrate` measures password hashes on this machine."""

import json

from issuer.passwords.hasher import ARGON2_COSTS
from issuer.passwords.resources import available_cpus
from tests.support.issuer_process import issuer_command


def test_the_configured_set_is_measured_in_each_number_of_threads_and_the_others_beside_it() -> None:
    run = issuer_command(
        "calibrate", "--json", "--seconds", "1", ARGON2_MEMORY_MIB="7", PASSWORD_HASH_TIMEOUT_SECONDS="2"
    )
    found = [json.loads(line) for line in run.stdout.splitlines()]
    cores = available_cpus()
    assert [line["threads"] for line in found if line["argon2_memory_mib"] == 7] == list(range(1, cores + 1))
    assert {line["argon2_memory_mib"] for line in found} == set(ARGON2_COSTS)
    assert [line["argon2_memory_mib"] for line in found if line["configured"]] == [7]
    for line in found:
        assert line["memory_mib"] == line["threads"] * ARGON2_COSTS[line["argon2_memory_mib"]].memory_cost // 1024
        assert line["hashes_per_second"] > 0
        assert line["p50_milliseconds"] > 0
        assert abs(line["queue_length"] - 2 * line["hashes_per_second"]) <= 1


def test_the_configured_number_of_threads_is_that_of_serve() -> None:
    run = issuer_command("calibrate", "--json", "--seconds", "1", HASH_THREADS="1")
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(line["argon2_memory_mib"], line["threads"]) for line in found if line["configured"]] == [(19, 1)]
    assert {line["threads"] for line in found} == {1}


def test_the_result_is_printed_in_columns() -> None:
    run = issuer_command("calibrate", "--seconds", "1")
    head, *rows = run.stdout.splitlines()
    assert head.endswith("ISSUER_PASSWORD_HASH_TIMEOUT_SECONDS=3")
    assert len([row for row in rows if row.startswith("* argon2 19 MiB")]) == 1
    assert all("logins/s" in row and "MiB" in row for row in rows)


def test_a_time_out_of_range_prints_the_usage() -> None:
    for seconds in ("0", "601", "nan", "soon"):
        assert issuer_command("calibrate", "--seconds", seconds).returncode == 2
