"""`python -m verifier [serve|check-config|explain|doctor]`: parses the command line, and dispatches."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from shared.settings import ConfigurationError
from shared.version import VERSION
from verifier import commands
from verifier.settings import VerifierSettings


def main(arguments: list[str]) -> int:
    """Run a command. Returns the exit status: 0 done, 1 failed or rejected, 2 invalid settings or usage."""
    parser = _parser()
    parsed, unknown = parser.parse_known_args(arguments)
    if parsed.command == "doctor":
        return _doctor(parsed, unknown)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        settings = VerifierSettings.from_environment(os.environ)
        settings.ssl_context()
        rules = settings.read_rules()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return commands.EXIT_USAGE
    match parsed.command:
        case "check-config":
            return commands.check_config(settings, rules)
        case "explain":
            return commands.explain(settings, rules, parsed.token, parsed.policy, parsed.now)
        case _:
            return commands.serve(settings, rules)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m verifier", description="Verify access tokens for API gateways.")
    _add_version(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="command")
    subparsers.add_parser("serve", help="answer gateways (the default)")
    subparsers.add_parser("check-config", help="fetch keys and status lists once and say what is wrong")
    command = subparsers.add_parser("explain", help="say check by check why a token is accepted or rejected")
    command.add_argument(
        "token", type=Path, nargs="?", help="a file that holds the token; standard input if left out"
    )
    command.add_argument("--policy", default="default", help="the policy to check against")
    command.add_argument("--now", type=float, help="seconds since the epoch; the present if left out")
    _add_doctor(subparsers)
    for subparser in subparsers.choices.values():
        _add_version(subparser)
    return parser


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"gatepass {VERSION}")


def _add_doctor(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = subparsers.add_parser(
        "doctor",
        help="examine a gateway from outside and say what leaks",
        description="Sends spoofed, doubled and ambiguous requests to a test route, and to nothing else. The access "
        "token comes from GATEPASS_TOKEN or standard input. Exit status: 0 nothing leaked, 1 something did, 2 not "
        "all could be judged.",
    )
    command.add_argument("url", help="a test route behind the gateway, with an echo: https://app.example/hello")
    command.add_argument("--admin-path", metavar="PATH", help="a path that needs a scope which the token lacks")
    command.add_argument(
        "--gateway", metavar="NAME", help="which one it is, if its answers don't say: nginx, envoy, …"
    )
    command.add_argument("--ca-file", type=Path, help="certificate authorities to trust instead of the usual, PEM")
    command.add_argument("--allow-http", action="store_true", help="plain http to a private address")
    command.add_argument("--json", action="store_true", help="print one JSON object a line")


def _doctor(parsed: argparse.Namespace, unknown: list[str]) -> int:
    if unknown:
        # Not repeated: somebody may have typed a token.
        print(
            "doctor: one URL and its options; the token comes from GATEPASS_TOKEN or standard input", file=sys.stderr
        )
        return commands.EXIT_USAGE
    from verifier.doctor.command import DoctorError, doctor  # noqa: PLC0415 - no process that decides ever has it

    try:
        return doctor(parsed, os.environ, sys.stdin.buffer, partial(print, flush=True))
    except DoctorError as error:
        print(error, file=sys.stderr)
        return commands.EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
