"""The client IP is never an unverified string."""

import tracemalloc

import pytest

from issuer.throttling.client_ip import client_ip, network_of

PROXY = "10.0.0.9"


@pytest.mark.parametrize(
    ("forwarded", "hops", "expected"),
    [
        ([], 0, PROXY),
        (["192.0.2.7"], 0, PROXY),
        (["192.0.2.7"], 1, "192.0.2.7"),
        (["6.6.6.6, 192.0.2.7"], 1, "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7"], 1, "192.0.2.7"),
        (["6.6.6.6,192.0.2.7,10.0.0.8"], 2, "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7", "10.0.0.8"], 2, "192.0.2.7"),
        (["192.0.2.7:51234"], 1, "192.0.2.7"),
        (["[2001:db8::7]:51234"], 1, "2001:db8::7"),
        (["[2001:db8::7]"], 1, "2001:db8::7"),
        (["2001:DB8:0:0::7"], 1, "2001:db8::7"),
        (["::ffff:192.0.2.7"], 1, "192.0.2.7"),
        (["fe80::1%eth0"], 1, "fe80::1"),
        (["\t192.0.2.7 "], 1, "192.0.2.7"),
    ],
)
def test_only_the_outermost_trusted_proxy_is_trusted(forwarded: list[str], hops: int, expected: str) -> None:
    assert client_ip(PROXY, forwarded, hops) == expected


@pytest.mark.parametrize(
    ("forwarded", "hops"),
    [
        ([], 1),
        ([""], 1),
        (["192.0.2.7"], 2),
        (["192.0.2.7,"], 1),
        (["192.0.2.7, unknown"], 1),
        (["192.0.2.7, _hidden"], 1),
        (["192.0.2.7, 192.0.2.256"], 1),
        (["192.0.2.7, 192.0.2.1\r\nforged"], 1),
        (["192.0.2.7:port"], 1),
        (["192.0.2.7:"], 1),
        (["192.0.2.7:123456"], 1),
        (["192.0.2.7:\uff14\uff14\uff13"], 1),
        (["[192.0.2.7]:1"], 1),
        (["[2001:db8::7"], 1),
        (["[2001:db8::7]x"], 1),
        (["[2001:db8::7]443"], 1),
        (["0x7f.1"], 1),
        (["127.1"], 1),
        (["010.0.0.1"], 1),
        (["1" * 10_000], 1),
    ],
)
def test_without_a_valid_entry_the_socket_address_is_used(forwarded: list[str], hops: int) -> None:
    assert client_ip(PROXY, forwarded, hops) == PROXY


def test_long_entries_are_not_kept_in_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(100):
            assert client_ip(PROXY, [f"{number}" + "1" * 10_000], 1) == PROXY
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def test_the_socket_address_is_parsed_as_strictly() -> None:
    assert client_ip("::ffff:192.0.2.7", [], 0) == "192.0.2.7"
    assert client_ip(None, [], 0) is None
    assert client_ip("", ["no address"], 1) is None


def test_an_ipv6_client_is_its_64_bit_prefix() -> None:
    assert network_of("2001:db8:1:2::7") == network_of("2001:db8:1:2:ffff::1")
    assert network_of("2001:db8:1:2::7") != network_of("2001:db8:1:3::7")
    assert network_of("2001:db8:1:2::7") == "2001:db8:1:2::"
    assert network_of("192.0.2.7") == "192.0.2.7"
