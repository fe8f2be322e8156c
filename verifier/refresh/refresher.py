"""Refreshes all metadata, keys and status lists, and publishes keys and lists as snapshots.

Keys come first: status lists are verified by them. Requests (`request_keys`, `request_status_lists`) come from
decisions that lack a key or a list. The schedules of the documents limit their rate.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from shared.jwks import MAX_DOCUMENT_BYTES
from verifier.decision.keyset import TrustedKeys
from verifier.decision.status import StatusLists
from verifier.metrics import Metrics
from verifier.policy_file import Configuration, Issuer
from verifier.refresh.aggregation import MAX_AGGREGATION_BYTES
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_cache import DocumentCache
from verifier.refresh.document_log import DocumentLog
from verifier.refresh.file_source import FileSource
from verifier.refresh.http_fetch import HttpSource
from verifier.refresh.key_sets import FILE_SCHEDULE, URL_SCHEDULE, KeySetDocument
from verifier.refresh.metadata import (
    MAX_METADATA_BYTES,
    METADATA_SCHEDULE,
    DiscoveredKeySet,
    MetadataDocument,
    build_key_set_source,
    build_metadata_source,
)
from verifier.refresh.schedule import Schedule
from verifier.refresh.source import Source
from verifier.refresh.status_lists import STALE_AFTER_POLLS, IssuerLists
from verifier.settings import VerifierSettings

_log = structlog.get_logger()


class Refresher:
    """The keys and status lists of every issuer.

    Args:
        publish_keys: receives each new snapshot of the keys; must not block.
        publish_status_lists: receives each new snapshot of the lists; must not block.
        now: seconds since the epoch.

    Attributes:
        keys: the latest snapshot of the keys of all issuers.
        status_lists: the latest snapshot of their lists.
    """

    def __init__(
        self,
        settings: VerifierSettings,
        metrics: Metrics,
        *,
        publish_keys: Callable[[TrustedKeys], None],
        publish_status_lists: Callable[[StatusLists], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._metrics, self._now = settings, metrics, now
        self._publish_keys, self._publish_status_lists = publish_keys, publish_status_lists
        self.keys, self.status_lists = TrustedKeys(), StatusLists()
        self._metadata: Mapping[str, MetadataDocument] = {}
        self._key_sets: Mapping[str, KeySetDocument] = {}
        self._lists: Mapping[str, IssuerLists] = {}
        self._key_log = DocumentLog("jwks", metrics.jwks_failures, detailed=True)
        self._metadata_log = DocumentLog("metadata", metrics.jwks_failures, detailed=True)
        self._list_log = DocumentLog("status_list", metrics.status_list_failures, detailed=False)

    def configure(self, configuration: Configuration) -> None:
        """Refresh the documents of these issuers at once and from now on, and drop all others.

        Documents of an issuer that stays are valid no longer than before: a reload alone confirms nothing.
        Tokens of a new issuer that have a status are undecidable until its lists are fetched.
        """
        self.stop()
        issuers, key_sets, lists = configuration.issuers, self._key_sets, self._lists
        self._metadata = {
            name: self._metadata_document(name, build_metadata_source(issuer.discovery, self._settings.ssl_context))
            for name, issuer in issuers.items()
            if issuer.discovery
        }
        self._key_sets = {name: self._key_set(name, issuer) for name, issuer in issuers.items()}
        self._lists = {
            name: self._issuer_lists(name, issuer.status_lists)
            for name, issuer in issuers.items()
            if issuer.status_lists
        }
        for name in key_sets.keys() - self._key_sets.keys():
            _log.warning("jwks_removed", issuer=name, reason="no longer configured")
        for name in lists.keys() - self._lists.keys():
            _log.warning("status_lists_removed", issuer=name, reason="no longer configured")
        self._set_gauges()
        self.status_lists = StatusLists({name: issuer_lists.current() for name, issuer_lists in self._lists.items()})
        self._publish_status_lists(self.status_lists)
        self._keys_changed()
        for _, document in self._documents():
            document.start()

    def stop(self) -> None:
        """Stop refreshing. The documents stay as they are."""
        for _, document in self._documents():
            document.stop()

    def request_keys(self, issuer: str) -> None:
        """Refresh the keys of an issuer soon: a token or a list names an unknown key. Does not block."""
        if document := self._key_sets.get(issuer):
            document.request_refresh()

    def request_status_lists(self) -> None:
        """Refresh missing lists soon: a token refers to a list that is missing. Does not block."""
        for lists in self._lists.values():
            lists.request_refresh()

    async def wait_until_attempted(self, seconds: float) -> None:
        """Wait until each missing document was attempted once, for `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for document in self._key_sets.values():
                    await document.attempted.wait()
                for lists in self._lists.values():
                    await lists.wait_until_attempted()

    def is_ready(self) -> bool:
        """Return whether the tokens of at least one issuer can be verified.

        One issuer that is unavailable must not stop traffic with tokens of the others (ADR 0120).
        """
        return any(
            document.current() is not None and (issuer not in self._lists or self._lists[issuer].is_ready())
            for issuer, document in self._key_sets.items()
        )

    def missing(self) -> list[str]:
        """Return what is missing to verify the tokens of each issuer."""
        without_keys = [issuer for issuer, document in self._key_sets.items() if document.current() is None]
        without_lists = [issuer for issuer, lists in self._lists.items() if not lists.is_ready()]
        missing = {"key": without_keys, "status list": without_lists}
        return [f"no {what} yet for {', '.join(sorted(issuers))}" for what, issuers in missing.items() if issuers]

    def ended_tasks(self) -> list[str]:
        """Return the names of refresh tasks that have ended, which they never should."""
        return [task for _, document in self._documents() for task in document.ended_tasks()]

    def errors(self) -> list[str]:
        """Return what was wrong with each document at its last attempt."""
        # Without metadata the key set is not fetched, which is not a second error.
        undiscovered = [self._key_sets[issuer] for issuer, found in self._metadata.items() if found.value is None]
        errors = [(name, document.error()) for name, document in self._documents() if document not in undiscovered]
        return [f"{name}: {error}" for name, error in errors if error is not None]

    def _documents(self) -> Iterator[tuple[str, Document[Any]]]:
        for issuer, metadata in self._metadata.items():
            yield f"issuer {issuer}: metadata", metadata
        for issuer, document in self._key_sets.items():
            yield f"issuer {issuer}: key set", document
        for issuer, lists in self._lists.items():
            yield f"issuer {issuer}: status lists", lists.aggregation
            for uri, status_list in lists.lists.items():
                yield f"issuer {issuer}: status list {uri}", status_list

    def _metadata_document(self, issuer: str, source: HttpSource) -> MetadataDocument:
        document = MetadataDocument(
            issuer,
            source,
            self._options(
                self._metadata_log, METADATA_SCHEDULE, ".metadata.json", MAX_METADATA_BYTES, issuer, source.url
            ),
            allow_http=self._settings.allow_http,
            on_move=partial(self.request_keys, issuer),
        )
        if previous := self._metadata.get(issuer):
            document.inherit(previous)
        return document

    def _key_set(self, name: str, issuer: Issuer) -> KeySetDocument:
        source: Source
        valid_seconds: float = self._settings.jwks_max_stale_seconds
        options = self._options(self._key_log, URL_SCHEDULE, ".json", MAX_DOCUMENT_BYTES, name)
        if issuer.discovery:
            source = DiscoveredKeySet(self._metadata[name])
        elif issuer.jwks_url:
            source = build_key_set_source(issuer.jwks_url, self._settings.ssl_context)
        else:
            assert issuer.jwks_file is not None
            source = FileSource(issuer.jwks_file, MAX_DOCUMENT_BYTES)
            # A file is a local copy already: it is not cached, and its keys do not expire.
            valid_seconds, options = math.inf, replace(options, schedule=FILE_SCHEDULE, cache=None)
        document = KeySetDocument(
            name,
            source,
            options,
            algorithms=issuer.profile.algorithms,
            valid_seconds=valid_seconds,
            publish=self._keys_changed,
        )
        # Keys for algorithms that are no longer accepted may stay until the next fetch: check 8 rejects their tokens.
        if previous := self._key_sets.get(name):
            document.inherit(previous)
        return document

    def _issuer_lists(self, issuer: str, url: str) -> IssuerLists:
        poll = self._settings.status_poll_seconds
        schedule = Schedule(interval=poll, max_age_bounds=None, max_backoff=poll, min_interval=1)
        lists = IssuerLists(
            issuer,
            HttpSource(url, "application/json", MAX_AGGREGATION_BYTES, self._settings.ssl_context),
            document_options=partial(self._options, self._list_log, schedule),
            stale_seconds=STALE_AFTER_POLLS * poll if self._settings.status_stale == "reject" else None,
            publish=partial(self._lists_changed, issuer),
            request_key_refresh=partial(self.request_keys, issuer),
        )
        if previous := self._lists.get(issuer):
            lists.inherit(previous)
        return lists

    def _options(
        self, log: DocumentLog, schedule: Schedule, suffix: str, max_bytes: int, *names: str
    ) -> DocumentOptions:
        directory = self._settings.cache_dir
        cache = DocumentCache(directory, suffix, max_bytes, *names) if directory else None
        return DocumentOptions(log, schedule, cache, self._now)

    def _keys_changed(self) -> None:
        current = {issuer: document.current() for issuer, document in self._key_sets.items()}
        self.keys = TrustedKeys.from_issuers({issuer: key_set for issuer, key_set in current.items() if key_set})
        self._publish_keys(self.keys)
        for lists in self._lists.values():
            lists.set_keys(self.keys)

    def _lists_changed(self, issuer: str) -> None:
        self.status_lists = self.status_lists.with_lists(issuer, self._lists[issuer].current())
        self._publish_status_lists(self.status_lists)

    def _set_gauges(self) -> None:
        metrics = self._metrics
        for gauge in (metrics.jwks_keys, metrics.jwks_refreshed_at):
            gauge.clear()
        for issuer, document in self._key_sets.items():
            metrics.jwks_keys.labels(issuer).set_function(document.key_count)
            metrics.jwks_refreshed_at.labels(issuer).set_function(document.refreshed_at)
        for gauge in (metrics.status_lists, metrics.status_list_bytes, metrics.status_lists_refreshed_at):
            gauge.clear()
        for issuer, lists in self._lists.items():
            metrics.status_lists.labels(issuer).set_function(lists.count)
            metrics.status_list_bytes.labels(issuer).set_function(lists.held_bytes)
            metrics.status_lists_refreshed_at.labels(issuer).set_function(lists.refreshed_at)
