"""A server of key sets and status lists that can be faulty: real sockets, one thread for each connection."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

Behaviour = Callable[["Exchange"], None]
"""Handles a connection once its request has been read."""

_TIMEOUT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Exchange:
    """A request, and the socket for the response."""

    socket: socket.socket
    head: bytes
    stopping: threading.Event

    def header(self, name: str) -> str | None:
        """Return a header of the request."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            known, _, value = line.partition(":")
            if known.lower() == name.lower():
                return value.strip()
        return None

    @property
    def path(self) -> str:
        """Return the request target."""
        return self.head.split(b" ", 2)[1].decode("latin-1")

    def hang(self) -> None:
        """Wait until the client disconnects or the test ends."""
        self.stopping.wait(_TIMEOUT_SECONDS)

    def drip(self, data: bytes) -> None:
        """Send `data` repeatedly and slowly until the client disconnects."""
        while not self.stopping.wait(0.05):
            self.socket.sendall(data)

    def pour(self, data: bytes) -> None:
        """Send `data` repeatedly as fast as possible until the client disconnects."""
        while not self.stopping.is_set():
            self.socket.sendall(data)


def response(document: bytes, *lines: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return a complete HTTP response; `length` may be a wrong size."""
    size = len(document) if length is None else length
    head = [f"HTTP/1.1 {status}", "Content-Type: application/jwk-set+json", f"Content-Length: {size}", *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + document


def sends(data: bytes) -> Behaviour:
    """Return a behaviour that sends these bytes."""
    return lambda exchange: exchange.socket.sendall(data)


def serves(document: bytes, *lines: str) -> Behaviour:
    """Return a behaviour that serves a key set."""
    return sends(response(document, *lines))


def serves_with_etag(document: bytes, etag: str, *lines: str) -> Behaviour:
    """Return a behaviour that serves a key set, or 304 to a request with its ETag."""

    def respond(exchange: Exchange) -> None:
        known = exchange.header("If-None-Match") == etag
        body, status = (b"", "304 Not Modified") if known else (document, "200 OK")
        exchange.socket.sendall(response(body, f"ETag: {etag}", *lines, status=status))

    return respond


def by_path(routes: Mapping[str, Behaviour]) -> Behaviour:
    """Return a behaviour that depends on the path; other paths get 404. `routes` may be changed at any time."""

    def respond(exchange: Exchange) -> None:
        routes.get(exchange.path, sends(response(b"", status="404 Not Found")))(exchange)

    return respond


@dataclass
class JwksServer:
    """A server. `behaviour` may be changed at any time.

    Attributes:
        requests: the head of every request, in order.
        times: when each request came, by the monotonic clock.
    """

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping = threading.Event()
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return self.url_of("/.well-known/jwks.json")

    def url_of(self, path: str) -> str:
        """Return the URL of a path."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    def requests_of(self, path: str) -> int:
        """Return how often a path was requested."""
        return sum(head.startswith(f"GET {path} ".encode()) for head in self.requests)

    @contextmanager
    def running(self) -> Iterator["JwksServer"]:
        """Accept connections and respond."""
        thread = threading.Thread(target=self._accept)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            # Wakes accept(), which closing alone would not.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join()

    def _accept(self) -> None:
        serving: list[threading.Thread] = []
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            serving.append(threading.Thread(target=self._serve, args=(connection,)))
            serving[-1].start()
        for thread in serving:
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(connection)
            connection.settimeout(_TIMEOUT_SECONDS)
            if self.tls is not None:
                connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := connection.recv(65536)):
                    return
                head += more
            self.times.append(time.monotonic())
            self.requests.append(head)
            self.behaviour(Exchange(connection, head, self._stopping))


@contextmanager
def running_jwks_server(behaviour: Behaviour) -> Iterator[JwksServer]:
    """Yield a key set endpoint."""
    with JwksServer(behaviour).running() as server:
        yield server
