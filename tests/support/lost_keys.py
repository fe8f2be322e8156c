"""The ways in which a running issuer loses its keys folder."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final


def move_away(keys: Path) -> None:
    """Unmount the folder together with its mount point."""
    keys.rename(keys.with_name("away"))


def bring_back(keys: Path) -> None:
    """Undo `move_away`."""
    keys.with_name("away").rename(keys)


def empty_mount_point(keys: Path) -> None:
    """Unmount the folder, which leaves empty directories."""
    move_away(keys)
    (keys / "private").mkdir(parents=True, mode=0o700)
    (keys / "public").mkdir()


def remove_private(keys: Path) -> None:
    """Remove all private files."""
    shutil.rmtree(keys / "private")


def remove_key_file(keys: Path) -> None:
    """Remove the key records."""
    (keys / "private/keys.json").unlink()


def empty_key_file(keys: Path) -> None:
    """Leave a valid file without keys."""
    (keys / "private/keys.json").write_text('{"format": 1, "keys": []}')


LOSSES: Final[tuple[Callable[[Path], None], ...]] = (
    move_away,
    empty_mount_point,
    remove_private,
    remove_key_file,
    empty_key_file,
)
