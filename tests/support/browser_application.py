"""An application for a browser: a page, a stream of events, a WebSocket, and a page that attacks from another origin.

It records what reaches it, and lets a test wait for what a page reports.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


@dataclass
class BrowserApplication:
    """The application and what it has received.

    Attributes:
        cookie: the `Set-Cookie` of its page.
        page, attack: documents; `attack` is at `/attack`, for another origin.
        received: method, path and subject of every request but those for pages.
        report: what the page reported.
    """

    cookie: str = ""
    page: str = ""
    attack: str = ""
    received: list[tuple[str, str, str]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    reported: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve on a free port."""
        application = self

        class Handler(_Handler):
            of = application

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self.port
            finally:
                server.shutdown()
                thread.join()


class _Handler(BaseHTTPRequestHandler):
    of: BrowserApplication
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Serve a page, a stream, a WebSocket or data."""
        match self.path:
            case "/admin/page":
                self._document(self.of.page, ("Set-Cookie", self.of.cookie))
            case "/admin/logout":
                name = self.of.cookie.partition("=")[0]
                self._document("", ("Set-Cookie", f"{name}=; Path=/; Secure; HttpOnly; Max-Age=0"))
            case "/attack":
                self._document(self.of.attack)
            case "/favicon.ico":
                self._document("")
            case _:
                self._data()

    def do_POST(self) -> None:
        """Take a report or data."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/admin/report":
            self.of.report = json.loads(body)
            self._document("")
            self.of.reported.set()
        else:
            self._data()

    def _data(self) -> None:
        self.of.received.append((self.command, self.path, self.headers.get("X-Auth-Subject", "")))
        if key := self.headers.get("Sec-WebSocket-Key"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "websocket")
            accepted = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(accepted).decode())
            self.end_headers()
            self.wfile.write(b"\x81\x05hello")  # one text frame
            self.close_connection = True
        elif self.path == "/events":
            self._document("data: hello\n\n", ("Content-Type", "text/event-stream"))
        else:
            self._document("data")

    def _document(self, text: str, *fields: tuple[str, str]) -> None:
        body = text.encode()
        self.send_response(200)
        for name, value in ({"Content-Type": "text/html"} | dict(fields)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
