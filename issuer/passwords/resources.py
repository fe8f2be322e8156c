"""The CPUs and the memory that this process may use, and a check that password hashing fits into the memory."""

import os
from pathlib import Path
from typing import Final

from issuer.errors import CommandError

_CGROUP_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_MEMORY: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_OWN_MEMORY_BYTES: Final = 96 * 1024 * 1024
"""Memory that the issuer needs besides its hashes: 92 MiB resident after the start, measured."""


def available_cpus() -> int:
    """Return the number of CPUs in this process's affinity mask, or fewer if its cgroup has a quota."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CGROUP_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cpus, int(quota) // int(period)))
    except (OSError, ValueError):
        return cpus


def available_memory() -> int:
    """Return the machine's memory in bytes, or less if the cgroup has a limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_MEMORY:
        try:
            limits.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return min(limits)


def ensure_memory(threads: int, hash_bytes: int, available_bytes: int) -> None:
    """Check that concurrent hashes fit into memory; otherwise the kernel would kill the process at a burst of logins.

    Raises:
        CommandError: `threads` hashes of `hash_bytes` each do not fit into `available_bytes`.
    """
    needed = threads * hash_bytes + _OWN_MEMORY_BYTES
    if needed > available_bytes:
        raise CommandError(
            f"{threads} concurrent password hashes need {needed >> 20} MiB of memory, but {available_bytes >> 20} MiB"
            " are available: raise the memory limit, or lower ISSUER_HASH_THREADS or ISSUER_ARGON2_MEMORY_MIB"
        )
