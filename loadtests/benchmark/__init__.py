"""The side-by-side benchmark, `python -m loadtests.benchmark`; `loadtests/README.md` says what it means."""
