"""Connection URIs of libpq, and the errors of malformed ones."""

import pytest

from issuer.db.url import Server, parse_database_url


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("postgresql://u@a/db", [("a", 5432)]),
        ("postgres://u:p@a:6000/db", [("a", 6000)]),
        ("postgresql://u@a:5432,b:5433,c/db", [("a", 5432), ("b", 5433), ("c", 5432)]),
        ("postgresql://u@[::1]:6000,b/db", [("::1", 6000), ("b", 5432)]),
        ("postgresql://u@a,[2001:db8::1]:6000/db", [("a", 5432), ("2001:db8::1", 6000)]),
        ("postgresql://%2Frun%2Fpostgresql/db", [("/run/postgresql", 5432)]),
        ("postgresql://u@/db?host=%2Frun%2Fpostgresql", [("/run/postgresql", 5432)]),
        ("postgresql:///db?host=/run/postgresql,b&port=6000", [("/run/postgresql", 6000), ("b", 6000)]),
        ("postgresql:///db?host=a,b:7000", [("a", 5432), ("b", 7000)]),
        ("postgresql://a,b/db?port=6000,6001", [("a", 6000), ("b", 6001)]),
        ("postgresql:///db", []),
        ("postgresql://", []),
    ],
)
def test_the_servers_of_a_url_are_read_in_order(url: str, servers: list[tuple[str, int]]) -> None:
    assert list(parse_database_url(url).servers) == [Server(host, port) for host, port in servers]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:hunter2@a/db", "must be postgresql://"),
        ("u:hunter2@a/db", "must be postgresql://"),
        ("postgresql://u:hunter2@home@a/db", "%40"),
        ("postgresql://u:hunter2#@a/db", "%23"),
        ("postgresql://u:hunter2/@a/db", "%2F"),
        ("postgresql://u:hunter2%@a/db", "two hexadecimal digits"),
        ("postgresql://u:hunter2@a,,b/db", "must have hosts"),
        ("postgresql://u:hunter2@a,b,/db", "must have hosts"),
        ("postgresql://u:hunter2@:5432/db", "must have hosts"),
        ("postgresql://u:hunter2@::1/db", "must have hosts"),
        ("postgresql://u:hunter2@[::1/db", "must have hosts"),
        ("postgresql://u:hunter2@a b/db", "must have hosts"),
        ("postgresql://u:hunter2@a:0/db", "ports of 1 to 65535"),
        ("postgresql://u:hunter2@a:65536,b/db", "ports of 1 to 65535"),
        ("postgresql://u:hunter2@a/db?port=x", "ports of 1 to 65535"),
        ("postgresql://u:hunter2@a:1,b/db?port=2", "name its ports once"),
        ("postgresql://u:hunter2@a,b,c/db?port=1,2", "as many ports as hosts"),
        ("postgresql:///db?port=1&password=hunter2", "name a host where it names a port"),
        ("postgresql://u:hunter2@a/db?host=b", "name its hosts once"),
        ("postgresql://u:hunter2@a/db?sslmode", "name=value"),
        ("postgresql://u:hunter2@a/db?=x", "name=value"),
        ("postgresql://u:hunter2@a/db?sslmode=require&sslmode=disable", "twice"),
        ("postgresql://u:hunter2@a/db?sslmode=always", "sslmode of disable"),
        (
            "postgresql://u:hunter2@a/db?target_session_attrs=standby",
            "target_session_attrs of any, primary, read-write",
        ),
        ("postgresql://u:hunter2@a/db?connect_timeout=3&channel_binding=require", "channel_binding, connect_timeout"),
    ],
)
def test_a_malformed_url_is_explained_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as rejected:
        parse_database_url(url)
    assert "hunter2" not in str(rejected.value)


def test_of_several_servers_the_writable_one_is_requested() -> None:
    assert "read-write" in parse_database_url("postgresql://a,b/db").dsn
    assert "read-write" in parse_database_url("postgresql://a,b/db?target_session_attrs=any").dsn
    assert "primary" in parse_database_url("postgresql://a,b/db?target_session_attrs=primary").dsn
    assert "target_session_attrs" not in parse_database_url("postgresql://a/db").dsn


def test_other_parts_of_the_url_are_passed_to_asyncpg() -> None:
    url = parse_database_url("postgresql://u%40x:p%2Bq@a,b/my%20db?sslmode=require&password=a+b%26")
    assert url.dsn == (
        "postgresql://u%40x:p%2Bq@/my%20db?sslmode=require&password=a%2Bb%26&target_session_attrs=read-write"
    )


def test_a_database_is_named_without_user_and_password() -> None:
    url = parse_database_url("postgresql://ann:hunter2@a:1,[::1]:2/my%20db?password=hunter3")
    assert url.name == "a:1, [::1]:2, database my db"
    assert "hunter" not in repr(url)
