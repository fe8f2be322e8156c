"""CPUs and memory that a process may use."""

import pytest

from issuer.errors import CommandError
from issuer.passwords.resources import available_cpus, available_memory, ensure_memory


def test_at_least_one_cpu_is_available() -> None:
    assert available_cpus() >= 1


def test_the_available_memory_is_read() -> None:
    assert available_memory() > 64 << 20


def test_hashes_that_do_not_fit_into_memory_prevent_the_start() -> None:
    ensure_memory(4, 19 << 20, 256 << 20)
    with pytest.raises(CommandError, match="16 concurrent password hashes need 400 MiB"):
        ensure_memory(16, 19 << 20, 256 << 20)
