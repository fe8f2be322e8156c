"""Stops the stack's processes when the supervisor exits, even by `kill -9`. Run as a script, by path.

The supervisor holds the other end of the reaper's standard input and never writes to it: end of file means that the
supervisor has exited. All processes are in the process group that the reaper leads, so grandchildren are stopped too.
Unlike PR_SET_PDEATHSIG this works on any POSIX system and reaches grandchildren.
"""

import os
import signal
import sys
import time

# On SIGTERM PostgreSQL waits for its clients; on SIGINT it disconnects them and stops cleanly ("fast shutdown").
STEPS = ((signal.SIGTERM, 1.0), (signal.SIGINT, 2.5), (signal.SIGKILL, 0.5))


def main() -> None:
    """Wait until the supervisor exits, then stop the process group in steps."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    group = os.getpid()
    sys.stdin.buffer.read()
    if os.fork():
        # The leader exits and its child leaves the group, so that an empty group means that everything has stopped.
        os._exit(0)
    os.setsid()
    for step, seconds in STEPS:
        deadline = time.monotonic() + seconds
        if not _signal(group, step):
            return
        while time.monotonic() < deadline and _signal(group, 0):
            time.sleep(0.02)


def _signal(group: int, number: int) -> bool:
    """Send a signal (0 for none) to the group, and return whether the group still has a member."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
