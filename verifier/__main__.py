"""`python -m verifier [serve|check-config|explain|discover]`: parses the command line, and dispatches."""

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.command_line import add_version, help_with_example, program, program_name
from shared.settings import ConfigurationError
from verifier import commands
from verifier.settings import VerifierSettings


@program(failure=commands.EXIT_FAILED)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 done, 1 failed or rejected, 2 invalid settings or usage."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command == "discover":
            return commands.discover(VerifierSettings.for_fetching(os.environ), parsed.url)
        settings = VerifierSettings.from_environment(os.environ)
        configuration = settings.load_configuration()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return commands.EXIT_USAGE
    match parsed.command:
        case "check-config":
            return commands.check_config(settings, configuration)
        case "explain":
            return commands.explain(settings, configuration, parsed.token, parsed.policy, parsed.now)
        case _:
            return commands.serve(settings, configuration)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program_name("verifier"), **help_with_example("Verify access tokens for API gateways", "check-config")
    )
    subparsers = parser.add_subparsers(dest="command", metavar="command")
    _add(subparsers, "serve", "respond to the subrequests of gateways (the default)")
    _add(subparsers, "check-config", "fetch keys and status lists once and print what is wrong")
    command = _add(
        subparsers,
        "explain",
        "print check by check why a token is accepted or rejected",
        "--policy admin < token.txt",
    )
    command.add_argument("token", type=Path, nargs="?", help="a file that holds the token; standard input by default")
    command.add_argument("--policy", default="default", help="the policy to check against")
    command.add_argument("--now", type=_seconds, help="seconds since the epoch; the current time by default")
    command = subparsers.add_parser(
        "discover",
        help="read an issuer's metadata and print its tables for the policy file",
        **help_with_example(
            "Fetch the metadata and the key set of an issuer, and print the tables for the policy file.\n"
            "What the metadata do not say is marked FILL IN. VERIFIER_CA_FILE and VERIFIER_ALLOW_HTTP\n"
            "are used as by the verifier; no other setting is needed. Exit status: 0 printed, 1 the issuer\n"
            "does not respond, 2 its metadata or keys cannot be used",
            "https://login.example/realms/shop >> policies.toml",
        ),
    )
    command.add_argument("url", help="the issuer, which is the iss of its tokens; or the whole URL of its metadata")
    add_version(parser)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, example: str = ""
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=summary, **help_with_example(summary, example))


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        # Every comparison with NaN is false, so no token would be expired.
        if math.isfinite(seconds := float(text)):
            return seconds
    raise argparse.ArgumentTypeError("must be seconds since the epoch, such as 1800000000")


if __name__ == "__main__":
    sys.exit(main())
