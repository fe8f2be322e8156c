"""Simulates a process that ends between two changes of a folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Crash(BaseException):
    """The simulated end of the process, which does not clean up."""


@contextmanager
def crash_at(number: int) -> Iterator[None]:
    """Make every change of a folder fail from change `number` on."""
    left = number

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            return change(*arguments, **options)

        return attempt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        yield
