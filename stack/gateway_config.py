"""Fills hosts and ports into the gateway configurations of `deploy/gateways/`, and changes nothing else.

`python3 -m stack.gateway_config NAME` prints the configuration of a gateway, filled in from the environment;
`python3 -m stack.gateway_config NAME FOLDER` writes its files into an existing folder.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from stack.settings import ROOT

GATEWAYS: Final = ROOT / "deploy/gateways"
_DEFAULTS: Final = {
    "GATEWAY_HOST": "127.0.0.1",
    "GATEWAY_PORT": "8080",
    "VERIFIER_HOST": "127.0.0.1",
    "VERIFIER_PORT": "8001",
    "APPLICATION_HOST": "127.0.0.1",
    "APPLICATION_PORT": "8090",
    "CHECK_PORT": "8002",
}
_SUFFIX: Final = ".template"


def names() -> list[str]:
    """Return the gateways whose folder has templates."""
    return sorted({template.parent.name for template in GATEWAYS.glob(f"*/*{_SUFFIX}")})


def files(gateway: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the files of `gateway` by name, filled in from `variables` or defaults; Lua is unchanged."""
    filled = _DEFAULTS | {name: variables[name] for name in _DEFAULTS if variables.get(name)}
    found = {}
    for template in sorted((GATEWAYS / gateway).glob(f"*{_SUFFIX}")):
        text = template.read_text(encoding="utf-8")
        text = re.sub(r"\$\{([A-Z_]+)\}", lambda placeholder: filled[placeholder[1]], text)
        found[template.name.removesuffix(_SUFFIX)] = text
    scripts = (GATEWAYS / gateway).glob("*.lua")
    return found | {script.name: script.read_text(encoding="utf-8") for script in scripts}


def write(gateway: str, folder: Path, variables: Mapping[str, str]) -> None:
    """Write the configuration files of `gateway` into `folder`."""
    for name, text in files(gateway, variables).items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Run the command. Return an error message, or None."""
    if len(arguments) not in {1, 2} or arguments[0] not in names():
        return f"usage: python3 -m stack.gateway_config {{{'|'.join(names())}}} [FOLDER]"
    name, *folder = arguments
    if folder:
        try:
            write(name, Path(folder[0]), environ)
        except OSError as error:
            return f"cannot write {error.filename} ({error.strerror}): give an existing folder that you may write to"
        return None
    found = files(name, environ)
    if len(found) > 1:
        return f"{name} has {len(found)} files ({', '.join(found)}): give a folder to write them to"
    (text,) = found.values()
    sys.stdout.write(text)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
