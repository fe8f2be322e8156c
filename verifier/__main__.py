"""`python -m verifier [serve|check-config|explain|doctor]`: the command line, and nothing else."""

import argparse
import asyncio
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from shared.logs import configure_logs
from shared.settings import SettingsError
from verifier.explain import explain
from verifier.fetch import SourceError
from verifier.key_sources import open_source, open_sources
from verifier.keyset import KeySet
from verifier.policies import PolicyError, Rules
from verifier.settings import VerifierSettings
from verifier.status import CurrentStatusList, StatusLists
from verifier.status_list_token import StatusList
from verifier.status_sources import open_aggregations, read_lists
from verifier.supervisor import ListenError, Supervisor, bind

_FAULTY_SETTINGS = 2


def main(arguments: list[str]) -> int:
    """Run a command. Returns the exit status: 0 done, 1 failed or refused, 2 faulty settings."""
    parser = _parser()
    parsed, unknown = parser.parse_known_args(arguments)
    if parsed.command == "doctor":
        return _doctor(parsed, unknown)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        settings = VerifierSettings.from_environment(os.environ)
        tls, rules = settings.trust(), settings.read_rules()
        open_sources(rules.sources, tls, allow_http=settings.jwks_allow_http)
        open_aggregations(rules.status_lists, tls, allow_http=settings.jwks_allow_http)
    except (SettingsError, PolicyError) as error:
        print(error, file=sys.stderr)
        return _FAULTY_SETTINGS
    match parsed.command:
        case "check-config":
            return _check_config(settings, rules)
        case "explain":
            return _explain(settings, rules, parsed)
        case _:
            return _serve(settings, rules)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m verifier", description="Decide about access tokens.")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="answer gateways (the default)")
    commands.add_parser("check-config", help="read settings, policies, keys and lists once and say what is wrong")
    command = commands.add_parser("explain", help="say check by check why a token is accepted or refused")
    command.add_argument(
        "token", type=Path, nargs="?", help="a file that holds the token; standard input if left out"
    )
    command.add_argument("--policy", default="default", help="the policy to judge by")
    command.add_argument("--now", type=float, help="seconds since the epoch; the present if left out")
    _add_doctor(commands)
    return parser


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
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


def _serve(settings: VerifierSettings, rules: Rules) -> int:
    configure_logs("verifier", settings.log_level)
    try:
        listeners = bind(settings)
    except ListenError as error:
        print(error, file=sys.stderr)
        return 1
    structlog.get_logger().info(
        "listening",
        subrequests=_address(listeners.subrequests.getsockname()),
        admin=_address(listeners.admin.getsockname()),
        policies=sorted(rules.policies),
        workers=settings.workers,
    )
    try:
        return Supervisor(settings, rules, listeners).run()
    finally:
        if settings.uds is not None:
            settings.uds.unlink(missing_ok=True)


def _address(name: str | tuple[str, int]) -> str:
    return name if isinstance(name, str) else f"{name[0]}:{name[1]}"


def _check_config(settings: VerifierSettings, rules: Rules) -> int:
    read = asyncio.run(_read_once(settings, rules))
    for fault in read.faults:
        print(fault, file=sys.stderr)
    for name, policy in sorted(rules.policies.items()):
        print(f"policy {name}: issuers {', '.join(sorted(policy.issuers))}")
    for issuer, lists in sorted(read.lists.items()):
        size = sum(len(known.octets) for known in lists.values())
        print(f"issuer {issuer}: {len(lists)} status lists, {size} bytes")
    print(f"{len(read.keys.issuers)} of {len(rules.sources)} issuers have keys")
    return 1 if read.faults else 0


def _explain(settings: VerifierSettings, rules: Rules, parsed: argparse.Namespace) -> int:
    if parsed.policy not in rules.policies:
        print(f"no policy {parsed.policy}: there are {', '.join(sorted(rules.policies))}", file=sys.stderr)
        return _FAULTY_SETTINGS
    try:
        token = (parsed.token.read_bytes() if parsed.token else sys.stdin.buffer.read()).strip()
    except OSError as error:
        print(f"{parsed.token}: cannot be read ({error.strerror})", file=sys.stderr)
        return _FAULTY_SETTINGS
    read = asyncio.run(_read_once(settings, rules))
    for fault in read.faults:
        print(fault, file=sys.stderr)
    now = time.time() if parsed.now is None else parsed.now
    policy = rules.policies[parsed.policy]
    lines, accepted = explain(token, keys=read.keys, policy=policy, now=now, revocations=read.revocations())
    print("\n".join(lines))
    return 0 if accepted else 1


def _doctor(parsed: argparse.Namespace, unknown: list[str]) -> int:
    if unknown:
        # Not repeated: somebody may have typed a token.
        print(
            "doctor: one URL and its options; the token comes from GATEPASS_TOKEN or standard input", file=sys.stderr
        )
        return _FAULTY_SETTINGS
    from verifier.doctor.command import DoctorError, doctor  # noqa: PLC0415 - no process that decides ever has it

    try:
        return doctor(parsed, os.environ, sys.stdin.buffer, partial(print, flush=True))
    except DoctorError as error:
        print(error, file=sys.stderr)
        return _FAULTY_SETTINGS


@dataclass(frozen=True)
class _Read:
    """Every key set and status list, read once, and what was wrong with the others."""

    keys: KeySet
    lists: dict[str, dict[str, StatusList]]
    faults: list[str]

    def revocations(self) -> StatusLists:
        return StatusLists(
            {
                issuer: {uri: CurrentStatusList(it.octets, it.bits, it.expires_at) for uri, it in lists.items()}
                for issuer, lists in self.lists.items()
            }
        )


async def _read_once(settings: VerifierSettings, rules: Rules) -> _Read:
    tls = settings.trust()
    published, faults = {}, []
    for issuer, where in rules.sources.items():
        try:
            reading = await open_source(where, tls, allow_http=settings.jwks_allow_http).read()
        except SourceError as error:
            faults.append(f"issuer {issuer}: {error}")
        else:
            assert reading.jwks is not None
            published[issuer] = reading.jwks
    keys, lists = KeySet.of(published), {}
    aggregations = open_aggregations(rules.status_lists, tls, allow_http=settings.jwks_allow_http)
    for issuer, source in aggregations.items():
        lists[issuer], wrong = await read_lists(source, keys)
        faults += [f"issuer {issuer}: {fault}" for fault in wrong]
    return _Read(keys, lists, faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
