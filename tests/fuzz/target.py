"""The atheris target: `python -m tests.fuzz.target FOLDER -max_total_time=600`. FOLDER gets initial inputs."""

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # not on every platform

with atheris.instrument_imports(include=["issuer", "verifier", "shared"]):
    from tests.fuzz.entry_points import run, write_corpus

_LIMITS = ["-max_len=9000", "-rss_limit_mb=1024", "-timeout=10"]

if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
    atheris.Setup([sys.argv[0], *_LIMITS, *sys.argv[1:]], run)
    atheris.Fuzz()
