"""Programs that the tests need. CI installs all of them, so that no test is skipped there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tests.support.real_providers.install import Unavailable


def program(name: str, package: str = "") -> str:
    """Return the path of a program. If it is missing, skip the test, or fail in CI, and name its Debian package."""
    path = found(name)
    where = f" (it is in the package {package})" if package else ""
    return path if path is not None else absent(f"{name} is not installed{where}")


def found(name: str) -> str | None:
    """Return the path of a program, or None."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def absent(what: str) -> NoReturn:
    """Skip the test since something is missing; in CI, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and in CI it has to be")
    pytest.skip(what)


@contextmanager
def absent_if_unavailable() -> Iterator[None]:
    """Treat what cannot be installed in the block as absent."""
    try:
        yield
    except Unavailable as reason:
        absent(str(reason))
