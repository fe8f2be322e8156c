"""`python -m doctor URL`: parses the command line and prints."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from doctor.command import EXIT_INCONCLUSIVE, doctor
from doctor.errors import DoctorError
from shared.command_line import add_version, help_with_example, program, program_name


@program(failure=EXIT_INCONCLUSIVE)
def main(arguments: Sequence[str] | None = None) -> int:
    """Test a gateway. Return the exit status: 0 no vulnerability, 1 vulnerable, 2 inconclusive or not run."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # The arguments are not quoted: one of them may be a token.
        print(
            "doctor: unexpected arguments: give one URL and options; the token is read from GATEPASS_TOKEN or"
            " standard input",
            file=sys.stderr,
        )
        return EXIT_INCONCLUSIVE
    try:
        return doctor(options, os.environ, sys.stdin.buffer, partial(print, flush=True))
    except DoctorError as error:
        print(error, file=sys.stderr)
        return EXIT_INCONCLUSIVE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program_name("doctor"),
        **help_with_example(
            "Test a gateway from outside. Send spoofed, duplicate and ambiguous requests to one test route,\n"
            "and report what is vulnerable and how to fix it. The access token is read from GATEPASS_TOKEN\n"
            "or standard input. Exit status: 0 no vulnerability found, 1 vulnerable, 2 some checks were inconclusive",
            "https://app.example/hello --admin-path /admin/ < token.txt",
        ),
    )
    add_version(parser)
    parser.add_argument("url", help="a test route behind the gateway with an echo: https://app.example/hello")
    parser.add_argument("--admin-path", metavar="PATH", help="a path that requires a scope the token lacks")
    parser.add_argument(
        "--claim-header",
        metavar="NAME",
        action="append",
        default=[],
        help="an additional identity header of the policy file, X-Auth-Claim-…; may be repeated",
    )
    parser.add_argument("--gateway", metavar="NAME", help="the gateway, if its responses hide it: nginx, envoy, …")
    parser.add_argument(
        "--ca-file", type=Path, help="PEM file of certificate authorities to trust instead of the system's"
    )
    parser.add_argument("--allow-http", action="store_true", help="allow plain http to a private IP address")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
