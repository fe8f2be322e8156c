"""Refreshes all metadata, keys and status lists, and publishes keys and lists as snapshots.

Keys come first: status lists are verified by them. Requests (`request_keys`, `request_status_lists`) come from
decisions that lack something, and are rate-limited by the schedules of the documents.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import structlog

from shared.jwks import MAX_DOCUMENT_BYTES
from verifier.decision.keyset import TrustedKeys
from verifier.decision.profile import RFC9068
from verifier.decision.status import StatusLists
from verifier.metrics import Metrics
from verifier.policy_file import Configuration
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_cache import DocumentCache
from verifier.refresh.document_log import DocumentLog
from verifier.refresh.http_fetch import HttpSource
from verifier.refresh.key_sets import KeySetDocument, KeySource, build_key_source
from verifier.refresh.metadata import (
    MAX_METADATA_BYTES,
    METADATA_SCHEDULE,
    MetadataDocument,
    build_metadata_source,
)
from verifier.refresh.schedule import Schedule
from verifier.refresh.status_lists import STALE_AFTER_POLLS, IssuerLists, StatusOptions, build_aggregation_source
from verifier.settings import VerifierSettings

_log = structlog.get_logger()


class Refresher:
    """The keys and status lists of every issuer.

    Args:
        settings: of the process.
        metrics: of documents and failures.
        publish_keys: receives each new snapshot of the keys; must not block.
        publish_status_lists: receives each new snapshot of the lists; must not block.
        now: seconds since the epoch.
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
        self._keys, self._status_lists = TrustedKeys(), StatusLists()
        self._metadata: Mapping[str, MetadataDocument] = {}
        self._key_sets: Mapping[str, KeySetDocument] = {}
        self._lists: Mapping[str, IssuerLists] = {}
        self._key_log = DocumentLog("jwks", metrics.jwks_failures, detailed=True)
        self._metadata_log = DocumentLog("metadata", metrics.jwks_failures, detailed=True)
        poll = settings.status_poll_seconds
        list_log = DocumentLog("status_list", metrics.status_list_failures, detailed=False)
        list_schedule = Schedule(interval=poll, max_age_bounds=None, max_backoff=poll, min_interval=1)
        self._status_options = StatusOptions(
            partial(self._options, list_log, list_schedule),
            STALE_AFTER_POLLS * poll if settings.status_stale == "reject" else None,
            self._lists_changed,
            self.request_keys,
        )

    def configure(self, configuration: Configuration) -> None:
        """Refresh the documents that the configuration names, as `set_sources` does."""
        ssl_context = self._settings.ssl_context(uses_tls=configuration.uses_tls)
        metadata = {
            issuer: self._metadata_document(issuer, build_metadata_source(it.discovery, ssl_context))
            for issuer, it in configuration.sources.items()
            if it.discovery is not None
        }
        key_sources = {
            issuer: build_key_source(
                it, ssl_context, metadata.get(issuer), configuration.profiles.get(issuer, RFC9068).algorithms
            )
            for issuer, it in configuration.sources.items()
        }
        aggregations = {
            issuer: build_aggregation_source(url, ssl_context) for issuer, url in configuration.status_lists.items()
        }
        self.set_sources(key_sources, aggregations, metadata)

    def set_sources(
        self,
        key_sources: Mapping[str, KeySource],
        aggregations: Mapping[str, HttpSource],
        metadata: Mapping[str, MetadataDocument] = MappingProxyType({}),
    ) -> None:
        """Refresh the documents of these issuers from now on, at once, and drop all others.

        Documents of an issuer that stays are valid no longer than before: a reload alone confirms nothing.
        Tokens of a new issuer that have a status are undecidable until its lists are here.
        """
        self.stop()
        key_sets, lists = self._key_sets, self._lists
        self._metadata = metadata
        self._key_sets = {
            issuer: self._key_set(issuer, source, key_sets.get(issuer)) for issuer, source in key_sources.items()
        }
        self._lists = {
            issuer: IssuerLists(issuer, source, self._status_options, lists.get(issuer))
            for issuer, source in aggregations.items()
        }
        for issuer in key_sets.keys() - key_sources.keys():
            _log.warning("jwks_removed", issuer=issuer, reason="no longer configured")
        for issuer in lists.keys() - aggregations.keys():
            _log.warning("status_lists_removed", issuer=issuer, reason="no longer configured")
        self._set_gauges()
        self._status_lists = StatusLists({issuer: it.current() for issuer, it in self._lists.items()})
        self._publish_status_lists(self._status_lists)
        self._keys_changed()
        for _, document in self._documents():
            document.start()

    def stop(self) -> None:
        """Stop refreshing. The documents stay as they are."""
        for _, document in self._documents():
            document.stop()

    def request_keys(self, issuer: str) -> None:
        """Refresh the keys of an issuer soon: a token or a list names an unknown one. Does not block."""
        if document := self._key_sets.get(issuer):
            document.request_refresh()

    def request_status_lists(self) -> None:
        """Refresh missing lists soon: a token refers to one. Does not block."""
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
        undiscovered = [self._key_sets[issuer] for issuer, it in self._metadata.items() if it.value is None]
        errors = [(name, it.error()) for name, it in self._documents() if it not in undiscovered]
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

    def _key_set(self, issuer: str, source: KeySource, previous: KeySetDocument | None) -> KeySetDocument:
        options = self._options(self._key_log, source.schedule, ".json", MAX_DOCUMENT_BYTES, issuer)
        if not source.remote:
            options = replace(options, cache=None)
        max_stale_seconds = self._settings.jwks_max_stale_seconds
        document = KeySetDocument(issuer, source, options, max_stale_seconds, self._keys_changed)
        # Keys for algorithms that are no longer accepted may stay until the next fetch: check 8 rejects their tokens.
        if previous is not None:
            document.inherit(previous)
        return document

    def _options(
        self, log: DocumentLog, schedule: Schedule, suffix: str, max_bytes: int, *names: str
    ) -> DocumentOptions:
        directory = self._settings.cache_dir
        cache = DocumentCache(directory, suffix, max_bytes, *names) if directory else None
        return DocumentOptions(log, schedule, cache, self._now)

    def _keys_changed(self) -> None:
        current = {issuer: document.current() for issuer, document in self._key_sets.items()}
        self._keys = TrustedKeys.from_issuers(
            {issuer: key_set for issuer, key_set in current.items() if key_set is not None}
        )
        self._publish_keys(self._keys)
        for lists in self._lists.values():
            lists.set_keys(self._keys)

    def _lists_changed(self, issuer: str) -> None:
        self._status_lists = self._status_lists.with_lists(issuer, self._lists[issuer].current())
        self._publish_status_lists(self._status_lists)

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
