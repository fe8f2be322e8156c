"""HTTP servers in a thread of the test."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_POLL_SECONDS = 0.02


class Handler(BaseHTTPRequestHandler):
    """Base class of handlers, which implement `on_request`."""

    def on_request(self) -> None:
        """Handle a request of any method."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Handle a GET."""
        self.on_request()

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def body(self) -> bytes:
        """Return the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def respond(self, status: int, *fields: tuple[str, str], body: bytes = b"") -> None:
        """Send a complete response."""
        self.send_response(status)
        for name, value in (*fields, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def serving(handler: type[Handler], port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve on a loopback port, by default a free one; yield the URL without a slash at its end."""
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        if tls is not None:
            # The handshake is in the thread of a connection: one that sends nothing must not block the others.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,))
        thread.start()
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
