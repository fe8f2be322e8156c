"""Files that hold secrets: read only if they are their owner's alone."""

import os
import stat
from pathlib import Path
from typing import Final

from issuer.errors import KeyringError

_OTHERS_MAY: Final = 0o077


def read_private(path: Path) -> bytes:
    """The content of `path`.

    Raises:
        FileNotFoundError: there is no such file.
        KeyringError: it cannot be read, or its group or others can reach it.
    """
    try:
        # Judged by the open file: what is at the path may be another one a moment later.
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _OTHERS_MAY:
                raise KeyringError(f"{path}: mode {mode:04o} lets others at it: chmod 600, and replace what it holds")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error
