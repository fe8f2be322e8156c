"""One worker process: the decider, its keys, lists and connections, on one event loop hosted by uvicorn."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any, Final, cast

import structlog
import uvicorn

from verifier.acceptor import Acceptor, has_more_than_its_share
from verifier.admin import AdminApp
from verifier.cache import DecisionCache
from verifier.decider import Decider
from verifier.key_refresh import KeyRefresh
from verifier.key_sources import KeySource, open_sources
from verifier.keyset import KeySet
from verifier.metrics import ConnectionCounts, Name, Pages
from verifier.policies import PolicyError, Rules
from verifier.protocol import Front
from verifier.settings import VerifierSettings
from verifier.status import StatusLists
from verifier.status_refresh import StatusRefresh
from verifier.status_sources import AggregationSource, open_aggregations

FIRST_LOOK_SECONDS: Final = 2.0
"""How long a worker waits for its first keys and lists before it accepts connections all the same."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Listeners:
    """Bound sockets that the supervisor owns and every worker accepts on."""

    subrequests: socket
    admin: socket


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to the worker: it hosts two servers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _SubrequestServer(_Server):
    """Hosts our connections instead of uvicorn's own; what it would call an application is never called."""

    def __init__(self, front: Front, counts: ConnectionCounts) -> None:
        super().__init__(
            uvicorn.Config(
                _no_application,
                ws="none",
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=front.drain_seconds + 1,
            )
        )
        self._front, self._counts = front, counts
        # uvicorn asks these to stop, and waits until there are none.
        self.server_state.connections = cast("Any", front.connections)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        acceptors = [Acceptor(listener, self._front.connect, self._is_ahead) for listener in sockets or []]
        self.servers = cast("Any", acceptors)
        self.started = True

    def _is_ahead(self, opening: int) -> bool:
        ours = len(self._front.connections) + opening
        return has_more_than_its_share(ours, self._counts.fewest_elsewhere())


class Worker:
    """Wires the parts of one process together.

    Args:
        settings: of the process.
        rules: as they were read at the start.
        pages: the numbers of all workers.
        number: which of the pages is ours.
        kept: a folder where fetched key sets and status lists survive a worker, if there is one.
    """

    def __init__(
        self, settings: VerifierSettings, rules: Rules, pages: Pages, number: int, kept: Path | None
    ) -> None:
        self._settings, self._rules, self._page = settings, rules, pages[number]
        self._tls = settings.trust()
        cache = DecisionCache(settings.cache_entries, settings.cache_bytes // 2) if settings.cache_entries else None
        self._keys = KeyRefresh(
            self._use_keys,
            page=self._page,
            max_stale_seconds=settings.jwks_max_stale_seconds,
            cache_dir=kept,
        )
        self._cpu_seconds = 0.0
        self._lists = StatusRefresh(
            self._use_status_lists,
            page=self._page,
            poll_seconds=settings.status_poll_seconds,
            refuse_stale=settings.status_stale == "refuse",
            cache_dir=kept,
            on_unknown_key=self._keys.look_sooner,
        )
        self._decider = Decider(
            rules,
            realm=settings.realm,
            page=self._page,
            cache=cache,
            on_unknown_key=self._keys.look_sooner,
            on_unknown_list=self._lists.look_sooner,
        )
        counts = pages.connection_counts(number)
        counts.tell(0)  # not those of a predecessor that was killed
        self._front = Front(self._decider, settings.max_connections, settings.drain_seconds, counts.tell)
        self._subrequests = _SubrequestServer(self._front, counts)
        self._admin = _Server(_admin_config(AdminApp(pages, self._lacking, self._report)))

    async def serve(self, listeners: Listeners, supervisor: int) -> None:
        """Answer until told to stop.

        Args:
            listeners: where to accept.
            supervisor: a descriptor that becomes readable when the supervisor is gone.
        """
        loop = asyncio.get_running_loop()
        loop.add_reader(supervisor, self._outlive, supervisor)
        for number, handler in {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
        }.items():
            loop.add_signal_handler(number, handler)
        self._lists.follow(self._aggregations(self._rules))
        self._keys.follow(self._sources(self._rules))
        deadline = loop.time() + FIRST_LOOK_SECONDS
        await self._keys.first_look(FIRST_LOOK_SECONDS)
        await self._lists.first_look(deadline - loop.time())
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(self._tick())
            group.create_task(self._admin.serve([listeners.admin]))
            await self._subrequests.serve([listeners.subrequests])
            self._admin.should_exit = True
            ticking.cancel()

    def _outlive(self, supervisor: int) -> None:
        asyncio.get_running_loop().remove_reader(supervisor)
        self._stop()

    def _stop(self) -> None:
        self._front.draining = True
        self._report()
        self._subrequests.should_exit = True

    def _reload(self) -> None:
        """Take the policy file as it is now, or keep what we have and say why."""
        try:
            rules = self._settings.read_rules()
            sources, aggregations = self._sources(rules), self._aggregations(rules)
        except PolicyError as error:
            self._page.add(Name.RELOAD_FAILURES)
            _log.error("policies_not_taken", detail=str(error), policies_kept=sorted(self._rules.policies))
            return
        self._rules = rules
        self._decider.replace_rules(rules)
        self._lists.follow(aggregations)
        self._keys.follow(sources)
        _log.info("policies_taken", policies=sorted(rules.policies), issuers=sorted(rules.sources))

    def _sources(self, rules: Rules) -> dict[str, KeySource]:
        return open_sources(rules.sources, self._tls, allow_http=self._settings.jwks_allow_http)

    def _aggregations(self, rules: Rules) -> dict[str, AggregationSource]:
        return open_aggregations(rules.status_lists, self._tls, allow_http=self._settings.jwks_allow_http)

    def _use_keys(self, keys: KeySet) -> None:
        self._decider.replace_keys(keys)
        self._lists.use_keys(keys)
        self._report()

    def _use_status_lists(self, lists: StatusLists) -> None:
        self._decider.replace_status_lists(lists)

    def _lacking(self) -> list[str]:
        """What we can't decide without, for people."""
        lacking = {"key": self._keys.missing(frozenset(self._rules.sources)), "status list": self._lists.missing()}
        return [f"no {what} yet for {', '.join(sorted(issuers))}" for what, issuers in lacking.items() if issuers]

    def _report(self) -> None:
        """Bring this worker's gauges up to date."""
        self._page.set(Name.READY, not self._lacking() and not self._front.draining)
        self._decider.report()
        self._lists.report()
        # Added up, so that what a worker's predecessor used is not forgotten with it.
        used = time.process_time()
        self._page.add(Name.CPU_SECONDS, amount=used - self._cpu_seconds)
        self._cpu_seconds = used

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._front.tick()
            self._report()


def _admin_config(app: AdminApp) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", app),
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=5,
        limit_concurrency=64,
        timeout_graceful_shutdown=1,
    )


async def _no_application(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError
