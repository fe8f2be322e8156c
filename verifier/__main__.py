"""`python -m verifier [serve|check-config|explain|discover]`: parses the command line, and dispatches."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.command_line import add_version, program_name
from shared.settings import ConfigurationError
from verifier import commands
from verifier.settings import VerifierSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 done, 1 failed or rejected, 2 invalid settings or usage."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command == "discover":
            return commands.discover(VerifierSettings.for_fetching(os.environ), parsed.url)
        settings = VerifierSettings.from_environment(os.environ)
        configuration = settings.load_configuration()
        settings.ssl_context(configuration)
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
        prog=program_name("verifier"), description="Verify access tokens for API gateways."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="command")
    subparsers.add_parser("serve", help="answer gateways (the default)")
    subparsers.add_parser("check-config", help="fetch keys and status lists once and say what is wrong")
    command = subparsers.add_parser("explain", help="say check by check why a token is accepted or rejected")
    command.add_argument(
        "token", type=Path, nargs="?", help="a file that holds the token; standard input if left out"
    )
    command.add_argument("--policy", default="default", help="the policy to check against")
    command.add_argument("--now", type=float, help="seconds since the epoch; the present if left out")
    command = subparsers.add_parser(
        "discover",
        help="read an issuer's metadata and print its tables for the policy file",
        description="Fetch the metadata and the key set of an issuer, and print the tables for the policy file. What"
        " the metadata do not say is marked FILL IN. VERIFIER_CA_FILE and VERIFIER_ALLOW_HTTP are used as by the"
        " verifier; no other setting is needed.",
        epilog="Exit status: 0 printed, 1 the issuer does not respond, 2 its metadata or keys cannot be used."
        " Example: python -m verifier discover https://login.example/realms/shop >> policies.toml",
    )
    command.add_argument("url", help="the issuer, which is the iss of its tokens; or the whole URL of its metadata")
    add_version(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
