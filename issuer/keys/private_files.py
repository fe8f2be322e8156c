"""Reads files that hold secrets, and rejects those to which the group or others have any access."""

import os
import stat
from pathlib import Path
from typing import Final

from issuer.errors import KeyStoreError

_GROUP_OTHER_BITS: Final = 0o077


def read_private(path: Path) -> bytes:
    """Return the content of `path`.

    Raises:
        FileNotFoundError: there is no such file.
        KeyStoreError: it cannot be read, or its group or others have access.
    """
    try:
        # Check the open file, not the path: the path may name another file a moment later.
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _GROUP_OTHER_BITS:
                raise KeyStoreError(
                    f"{path}: mode {mode:04o} gives access to others; chmod 600 and rotate the secret"
                )
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyStoreError(f"{path}: cannot be read ({error.strerror})") from error
