"""The authorizer with its keys, status lists and policies, which are refreshed in the background; it has no listener.

`verifier.server` puts it behind a listener for gateways, `verifier.asgi` into the process of an application.
"""

import asyncio
from typing import Final

import structlog

from shared.settings import ConfigurationError
from verifier.decision.keyset import TrustedKeys
from verifier.decision.status import StatusLists
from verifier.metrics import Metrics
from verifier.policy_file import Configuration
from verifier.refresh.refresher import Refresher
from verifier.settings import VerifierSettings
from verifier.subrequest.authorizer import Authorizer
from verifier.subrequest.decision_cache import DecisionCache

INITIAL_FETCH_SECONDS: Final = 2.0
"""Longest wait for the first keys and lists before requests are accepted without them."""

_log = structlog.get_logger()


class VerifierCore:
    """An authorizer whose keys, status lists and policies are kept current; `reload` reads the policies again."""

    def __init__(self, settings: VerifierSettings, configuration: Configuration) -> None:
        self._settings, self.configuration = settings, configuration
        self.metrics = Metrics()
        self.refresher = Refresher(
            settings,
            self.metrics,
            publish_keys=self._use_keys,
            publish_status_lists=self._use_status_lists,
        )
        self.authorizer = Authorizer(
            configuration,
            realm=settings.realm,
            metrics=self.metrics,
            cache=DecisionCache(settings.cache_entries, settings.cache_bytes, self.metrics.cache_evictions.inc),
            request_key_refresh=self.refresher.request_keys,
            request_status_refresh=self.refresher.request_status_lists,
        )
        self._first_attempts: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Refresh keys and lists from now on, and wait for the first attempts; a repeated call only waits."""
        if self._first_attempts is None:
            self.refresher.configure(self.configuration)
            self._first_attempts = asyncio.create_task(self.refresher.wait_until_attempted(INITIAL_FETCH_SECONDS))
        # A request that is cancelled must not cancel the wait of other requests.
        await asyncio.shield(self._first_attempts)

    def stop(self) -> None:
        """Stop refreshing until the next `start`."""
        self.refresher.stop()
        self._first_attempts = None

    def reload(self) -> None:
        """Apply the policy file as it is now, or keep the present policies and log why."""
        try:
            configuration = self._settings.load_configuration()
        except ConfigurationError as error:
            self.metrics.reload_failures.inc()
            _log.error(
                "policies_reload_failed", detail=str(error), policies_in_use=sorted(self.configuration.policies)
            )
            return
        self.configuration = configuration
        self.authorizer.replace_configuration(configuration)
        self.refresher.configure(configuration)
        _log.info("policies_reloaded", policies=sorted(configuration.policies), issuers=sorted(configuration.issuers))

    def _use_keys(self, keys: TrustedKeys) -> None:
        self.authorizer.replace_keys(keys)

    def _use_status_lists(self, lists: StatusLists) -> None:
        self.authorizer.replace_status_lists(lists)
