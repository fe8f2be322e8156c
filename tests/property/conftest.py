"""Profiles of Hypothesis: a few hundred fixed examples, or random ones with `--hypothesis-profile=long`."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "short",
    max_examples=300,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("short")
