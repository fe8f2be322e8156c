"""A listener without TLS in front of one with TLS, so that tests of plain bytes work with a TLS gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.processes import free_port, listens, running
from tests.support.programs import program

_HAPROXY: Final = """\
listen bridge
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    bind 127.0.0.1:{plain}
    server gateway 127.0.0.1:{secure} ssl verify none sni str(app.example.com) alpn http/1.1
"""


@contextmanager
def tls_bridge(port: int, folder: Path) -> Iterator[int]:
    """Forward the bytes of plain connections as TLS ones to `port`; yield the port of the plain listener."""
    plain, conf = free_port(), folder / "bridge.cfg"
    conf.write_text(_HAPROXY.format(plain=plain, secure=port), encoding="utf-8")
    command = [program("haproxy"), "-db", "-f", str(conf)]
    with running(command, folder / "bridge.log", ready=lambda: listens(plain)):
        yield plain
