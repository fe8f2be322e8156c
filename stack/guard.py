"""Ends the stack's processes when the supervisor is gone, even by `kill -9`. Run as a script, by path.

The supervisor holds the other end of our standard input and never writes to it: end of file is its death.
All processes share the process group that this one leads, so none can be missed, grandchildren included.
Works on any POSIX system, unlike PR_SET_PDEATHSIG, and reaches grandchildren, which that does not.
"""

import os
import signal
import sys
import time

# SIGTERM lets PostgreSQL wait for its clients; SIGINT makes it stop at once and cleanly ("fast").
STEPS = ((signal.SIGTERM, 1.0), (signal.SIGINT, 2.5), (signal.SIGKILL, 0.5))


def main() -> None:
    """Wait for the supervisor's death, then stop the group in steps."""
    for unwanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unwanted, signal.SIG_IGN)
    group = os.getpid()
    sys.stdin.buffer.read()
    if os.fork():
        # The leader leaves, so that an empty group means that everything has stopped.
        os._exit(0)
    os.setsid()
    for step, seconds in STEPS:
        deadline = time.monotonic() + seconds
        if not _alive(group, step):
            return
        while time.monotonic() < deadline and _alive(group):
            time.sleep(0.02)


def _alive(group: int, send: int = 0) -> bool:
    """Whether the group still has a member; each gets the signal `send`."""
    try:
        os.killpg(group, send)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
