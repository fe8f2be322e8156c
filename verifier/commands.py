"""The commands of `python -m verifier`: serve, check-config, explain, discover."""

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Final

import structlog
import uvloop

from shared.logs import configure_logs
from verifier.decision.profile import RFC9068
from verifier.discover import DiscoveryError, write_tables
from verifier.discover import discover as discover_issuer
from verifier.explain import explain as explain_token
from verifier.explain_profile import describe, explain_profile
from verifier.listeners import BindError, open_listeners
from verifier.metrics import Metrics
from verifier.policy_file import Configuration
from verifier.refresh.refresher import Refresher
from verifier.server import VerifierServer
from verifier.settings import VerifierSettings

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
_FETCH_ALL_SECONDS: Final = 60.0


def serve(settings: VerifierSettings, configuration: Configuration) -> int:
    """Respond to subrequests until a signal, then end the process. Return only if a socket cannot be bound."""
    configure_logs("verifier", settings.log_level)
    try:
        listeners = open_listeners(settings, os.environ)
    except BindError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    structlog.get_logger().info("verifier_started", **listeners.addresses(), policies=sorted(configuration.policies))
    status = EXIT_FAILED
    try:
        server = VerifierServer(settings, configuration)
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(server.run(listeners))
        status = 0
    except Exception:  # noqa: BLE001 - any error ends the process and is logged
        structlog.get_logger().exception("verifier_failed")
    finally:
        if listeners.bound_path is not None:
            listeners.bound_path.unlink(missing_ok=True)
        sys.stderr.flush()
        # A normal exit would wait for a thread that hangs while it reads a file from a network file system.
        os._exit(status)


def check_config(settings: VerifierSettings, configuration: Configuration) -> int:
    """Fetch every key set and status list once and print what is wrong."""
    fetched = _fetch_all(settings, configuration)
    for name, policy in sorted(configuration.policies.items()):
        print(f"policy {name}: issuers {', '.join(sorted(policy.issuers))}")
    for name, issuer in sorted(configuration.issuers.items()):
        if issuer.profile is not RFC9068:
            print(f"issuer {name}: profile {issuer.profile.name}")
            print("\n".join(f"  {line}" for line in describe(issuer.profile)))
    for name, lists in sorted(fetched.status_lists.by_issuer.items()):
        size = sum(len(current.octets) for current in lists.values())
        print(f"issuer {name}: {len(lists)} status lists, {size} bytes")
    print(f"{len(fetched.keys.issuers)} of {len(configuration.issuers)} issuers have keys")
    return EXIT_FAILED if fetched.errors() else 0


def explain(
    settings: VerifierSettings, configuration: Configuration, token_file: Path | None, policy: str, now: float | None
) -> int:
    """Print check by check why a token is accepted or rejected."""
    if policy not in configuration.policies:
        print(f"no policy {policy}: there are {', '.join(sorted(configuration.policies))}", file=sys.stderr)
        return EXIT_USAGE
    try:
        token = (token_file.read_bytes() if token_file else sys.stdin.buffer.read()).strip()
    except OSError as error:
        print(f"{token_file}: cannot be read ({error.strerror})", file=sys.stderr)
        return EXIT_USAGE
    fetched = _fetch_all(settings, configuration)
    lines, accepted = explain_token(
        token,
        keys=fetched.keys,
        policy=configuration.policies[policy],
        now=time.time() if now is None else now,
        revocations=fetched.status_lists,
    )
    *checks, verdict = lines
    details = explain_profile(token, keys=fetched.keys, policy=configuration.policies[policy])
    print("\n".join([*checks, *details, verdict]))
    return 0 if accepted else EXIT_FAILED


def discover(settings: VerifierSettings, url: str) -> int:
    """Print the tables of a policy file for the issuer whose metadata are at `url`, or near it."""
    if settings.ca_file is not None:
        # Unreadable authorities are an error of every command, also where the first document is fetched by http.
        settings.ssl_context()
    try:
        found = asyncio.run(discover_issuer(url, settings.ssl_context, allow_http=settings.allow_http))
    except DiscoveryError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED if error.unreachable else EXIT_USAGE
    print("\n".join(write_tables(found)))
    return 0


def _fetch_all(settings: VerifierSettings, configuration: Configuration) -> Refresher:
    """Return a refresher that has fetched every key set and status list once; print what was wrong with each."""
    # Cached copies would hide that a source is down; log lines would repeat the errors that are printed below.
    settings = settings.model_copy(update={"cache_dir": None})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    refresher = Refresher(settings, Metrics(), publish_keys=lambda _: None, publish_status_lists=lambda _: None)

    async def fetch() -> None:
        refresher.configure(configuration)
        await refresher.wait_until_attempted(_FETCH_ALL_SECONDS)

    asyncio.run(fetch())
    for line in refresher.errors():
        print(line, file=sys.stderr)
    return refresher
