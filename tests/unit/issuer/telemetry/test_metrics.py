"""Every metric has help and the common prefix."""

import asyncio

from issuer.db.pool import Database
from issuer.telemetry.metrics import Metrics


def test_every_metric_has_the_prefix_and_help() -> None:
    for family in Metrics().registry.collect():
        assert family.name.startswith("gatepass_issuer_")
        assert family.documentation.endswith(".")


def test_every_database_failure_has_a_counter_from_the_start() -> None:
    metrics = Metrics()

    async def make() -> None:
        Database("postgresql://localhost/x", 1, metrics=metrics)

    asyncio.run(make())
    shown = metrics.exposition().decode()
    for failure in ("outage", "connection", "no_connection", "too_slow", "read_only", "no_resources"):
        assert f'gatepass_issuer_database_failures_total{{failure="{failure}"}} 0.0' in shown
    for state in ("open", "idle", "awaited"):
        assert f'gatepass_issuer_database_connections{{state="{state}"}} 0.0' in shown
