"""The version of Gatepass, from pyproject.toml, and the source revision of an image or executable."""

import os
import tomllib
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"

VERSION: Final[str] = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"]
REVISION: Final = os.environ.get("GATEPASS_REVISION") or "unknown"
"""Set in the images and executables; `unknown` in a source tree."""
