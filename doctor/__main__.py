"""`python -m doctor URL`: parses the command line, and prints."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from doctor.command import DoctorError, doctor
from shared.version import add_version

_USAGE = 2


def main(arguments: list[str]) -> int:
    """Examine a gateway. Returns the exit status: 0 nothing leaks, 1 something does, 2 not everything was judged."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # Not repeated: it may be a token.
        print(
            "doctor: one URL and its options; the token comes from GATEPASS_TOKEN or standard input", file=sys.stderr
        )
        return _USAGE
    try:
        return doctor(options, os.environ, sys.stdin.buffer, partial(print, flush=True))
    except DoctorError as error:
        print(error, file=sys.stderr)
        return _USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m doctor",
        description="Test a gateway from outside: send spoofed, doubled and ambiguous requests to one test route and "
        "to nothing else, and report what leaks. The access token comes from GATEPASS_TOKEN or standard input.",
        epilog="Exit status: 0 nothing leaks, 1 something does, 2 not everything could be judged. Example: "
        'printf %s "$TOKEN" | python -m doctor https://app.example/hello --admin-path /admin/',
    )
    add_version(parser)
    parser.add_argument("url", help="a test route behind the gateway, with an echo: https://app.example/hello")
    parser.add_argument("--admin-path", metavar="PATH", help="a path that needs a scope which the token lacks")
    parser.add_argument("--gateway", metavar="NAME", help="the gateway, if its responses do not tell: nginx, …")
    parser.add_argument("--ca-file", type=Path, help="certificate authorities to trust instead of the system's, PEM")
    parser.add_argument("--allow-http", action="store_true", help="allow plain http to a private address")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
