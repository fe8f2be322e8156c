"""Ids of requests and traces are accepted in one strict form."""

import pytest

from shared.trace_context import Traceparent, parse_request_id, parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def test_a_valid_request_id_is_kept() -> None:
    for given in ("gateway-0001", "b7ad6b7169203331a1b2c3d4e5f60718", "2f6a1c5e-9d1b-4b7e-8a39-0c2f5f0d9b11"):
        assert parse_request_id([given]) == given


@pytest.mark.parametrize(
    "given",
    [
        [],
        [""],
        ["short"],
        ["x" * 65],
        ["with a space"],
        ["line\nbreak-1234"],
        ["gateway-0001\n"],
        ["\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668"],
        ["<script>alert</script>"],
        ["gateway-0001", "gateway-0001"],
    ],
)
def test_an_invalid_request_id_is_replaced_by_a_new_one(given: list[str]) -> None:
    first, second = parse_request_id(given), parse_request_id(given)
    assert first != second
    assert not {first, second} & set(given)


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
def test_a_traceparent_has_trace_parent_and_flags(flags: str, sampled: bool) -> None:  # noqa: FBT001 - a table
    assert parse_traceparent([f"00-{TRACE}-{PARENT}-{flags}"]) == Traceparent(TRACE, PARENT, sampled)


def test_a_later_version_may_have_more_parts() -> None:
    for more in ("", "-", "-what-will-be"):
        assert parse_traceparent([f"cc-{TRACE}-{PARENT}-01{more}"]) == Traceparent(TRACE, PARENT, sampled=True)


@pytest.mark.parametrize(
    "given",
    [
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00_{TRACE}_{PARENT}_01",
        f"cc-{TRACE}-{PARENT}-01more",
        f"cc-{TRACE}-{PARENT}-01-\u00e9",
        "",
    ],
)
def test_an_invalid_traceparent_is_ignored(given: str) -> None:
    assert parse_traceparent([given]) is None


def test_two_traceparents_are_ignored() -> None:
    assert parse_traceparent([f"00-{TRACE}-{PARENT}-01"] * 2) is None
    assert parse_traceparent([]) is None
