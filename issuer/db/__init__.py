"""PostgreSQL: the pool, the outage detector, migrations."""
