"""`python -m stack`: starts everything, prints when it is ready and what to type next, stops on Ctrl-C."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from typing import TextIO

from shared.command_line import add_version
from stack.preflight import check_platform, check_ports, lock_home
from stack.quickstart import session
from stack.services import Services
from stack.settings import DEFAULT_PORTS, StackError, StackSettings
from stack.supervisor import Supervisor

_VARIABLES = "Environment variables: GATEPASS_HOME (the state folder; .gatepass), " + ", ".join(
    f"{name} ({default or 'a free port'})" for name, default in DEFAULT_PORTS.items()
)


def main() -> int:
    """Run the stack until a signal stops it. Return the exit status: 0, or 1 after a failure."""
    parser = argparse.ArgumentParser("python -m stack", description=__doc__, epilog=_VARIABLES)
    add_version(parser)
    parser.parse_args()
    try:
        check_platform()
        settings = StackSettings.from_environment(os.environ)
        with lock_home(settings) as lock:
            check_ports(settings)
            asyncio.run(_run(settings, lock))
    except StackError as error:
        _report(str(error), sys.stderr)
        return 1
    return 0


async def _run(settings: StackSettings, lock: TextIO) -> None:
    services = Services(settings, _report)
    work = asyncio.create_task(_start_and_supervise(settings, services, lock))
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(stop, _stop_once, work)
    try:
        await work
    except asyncio.CancelledError:
        _report("stopped")
    finally:
        services.postgres.clean_up()


async def _start_and_supervise(settings: StackSettings, services: Services, lock: TextIO) -> None:
    async with Supervisor(settings.logs, lock, _report) as supervisor:
        try:
            await services.start(supervisor)
            _report(
                f"ready: gateway {settings.url('GATEWAY_PORT')}, issuer {settings.url('ISSUER_PORT')}, "
                f"logs in {settings.logs}. Press Ctrl-C to stop everything. Try it in another terminal:"
            )
            _print(session(settings))
            await supervisor.supervise()
        finally:
            _report("stopping")


def _stop_once(work: asyncio.Task[None]) -> None:
    # Further signals must not interrupt the shutdown.
    if not work.cancelling():
        work.cancel()


def _report(text: str, stream: TextIO | None = None) -> None:
    _print(f"gatepass: {text}", stream)


def _print(text: str, stream: TextIO | None = None) -> None:
    # The terminal may be closed (SIGHUP, a closed pipe); the processes must still be stopped.
    with contextlib.suppress(OSError):
        print(text, file=stream or sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
