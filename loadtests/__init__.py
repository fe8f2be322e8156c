"""Load tests and benchmarks of running services, which never import this package."""
