"""`python -m tests.vectors URL`: send the vectors to an endpoint, and report what it decides wrongly.

README.md explains. Exit status: 0 everything is right, 1 something is wrong, 2 the suite cannot run.
"""

import argparse
import json
import sys
from pathlib import Path

from shared.command_line import add_version
from tests.vectors.suite.cases import KEY_SETS, Selection
from tests.vectors.suite.report import to_json, to_text
from tests.vectors.suite.running import UnfitEndpointError, run
from tests.vectors.suite.sending import Endpoint, InvalidUrlError

WRONG, CANNOT_RUN = 1, 2


def main() -> int:
    """Run the command and return the exit status."""
    options = _parse_arguments()
    if options.print_jwks:
        return _print_jwks(options.key_set)
    if not options.url:
        print("the URL of an endpoint is required", file=sys.stderr)
        return CANNOT_RUN
    try:
        endpoint = Endpoint.of(options.url, options.header, options.timeout)
        selection = Selection(endpoint, options.key_set, options.paths, tuple(options.vectors))
        report = run(selection, identity=options.identity, progress=lambda line: print(line, file=sys.stderr))
    except (InvalidUrlError, UnfitEndpointError) as error:
        print(error, file=sys.stderr)
        return CANNOT_RUN
    print(to_json(report, url=options.url, key_set=options.key_set) if options.json else to_text(report))
    return WRONG if report.wrong(strict=not options.must_only) else 0


def _print_jwks(key_set: str) -> int:
    """Print the JWK Set of `key_set`, which must have one issuer."""
    issuers = KEY_SETS[key_set]
    if len(issuers) != 1:
        print(f"{key_set} has the keys of {len(issuers)} issuers: see key-sets.json", file=sys.stderr)
        return CANNOT_RUN
    print(json.dumps(next(iter(issuers.values())), indent=1))
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vectors", description=__doc__)
    add = parser.add_argument
    add("url", nargs="?", metavar="URL", help="like http://127.0.0.1:8001/verify/{policy}; {policy} is optional")
    add("--key-set", default="issuer", choices=sorted(KEY_SETS), help="what the endpoint has (%(default)s)")
    add("--print-jwks", action="store_true", help="print the key set to give to the endpoint, and end")
    add("--header", action="append", default=[], metavar="'NAME: VALUE'", help="sent with each request")
    add("--vectors", action="append", default=[], type=Path, metavar="FILE", help="a further file of tokens")
    add("--paths", action="store_true", help="the paths are those of our contract: test them too")
    add("--identity", action="store_true", help="compare the X-Auth response headers too")
    add("--must-only", action="store_true", help="exit with 0 if only vectors of severity strict are wrong")
    add("--timeout", type=float, default=5.0, metavar="SECONDS", help="(%(default)s)")
    add("--json", action="store_true", help="print JSON")
    add_version(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
