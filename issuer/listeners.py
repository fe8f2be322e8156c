"""The two sockets of the process, and uvicorn behind each: started together, drained in order.

On SIGTERM or SIGINT the public listener stops accepting and ends what it has begun; the operator's one
answers until then.
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from issuer.errors import ListenError
from issuer.protocol import BoundedHttpProtocol

_CONNECTIONS: Final = 4096
"""Who waits for a password hash holds one, and so does whoever may ask again: a thousand people need many."""

_OTHER_DESCRIPTORS: Final = 512
_IDLE_SECONDS: Final = 75
_DRAIN_SECONDS: Final = 2


class Listener(uvicorn.Server):
    """One application on one socket."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedHttpProtocol,
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, which has two listeners, and not to one of them."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ListenError: the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_CONNECTIONS)
    except OSError as error:
        # The system's own words: create_server repeats the address after them. It hands on the negative numbers of
        # the resolver, which the system has no words for.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else "not an address of this machine"
        raise ListenError(f"cannot listen on {host} port {port}: {why}") from error


def allow_descriptors() -> None:
    """Ask the system for as many as there may be connections: the usual 1,024 are fewer."""
    wanted = 2 * _CONNECTIONS + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # then there are fewer connections
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


async def listen(public: tuple[ASGIApp, socket.socket], admin: tuple[ASGIApp, socket.socket]) -> None:
    """Serve both until a signal to stop."""
    front, back = Listener(public[0]), Listener(admin[0])

    def stop() -> None:
        front.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(back.serve([admin[1]]))
        await front.serve([public[1]])
        back.should_exit = True
