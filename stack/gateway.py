"""Fills the addresses into the gateway configurations of `deploy/gateways/`, and nothing but the addresses.

`python3 -m stack.gateway NAME` prints the one file of a gateway, with the addresses of the environment;
`python3 -m stack.gateway NAME FOLDER` writes its files, however many, into a folder that is there.
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
    """The gateways that have a configuration to fill in: a folder with templates."""
    return sorted({template.parent.name for template in GATEWAYS.glob(f"*/*{_SUFFIX}")})


def files(gateway: str, addresses: Mapping[str, str]) -> dict[str, str]:
    """The configuration files of `gateway` by name, `addresses` filled in before the defaults; Lua as it is."""
    filled = _DEFAULTS | {name: addresses[name] for name in _DEFAULTS if addresses.get(name)}
    found = {}
    for template in sorted((GATEWAYS / gateway).glob(f"*{_SUFFIX}")):
        text = template.read_text(encoding="utf-8")
        text = re.sub(r"\$\{([A-Z_]+)\}", lambda placeholder: filled[placeholder[1]], text)
        found[template.name.removesuffix(_SUFFIX)] = text
    scripts = (GATEWAYS / gateway).glob("*.lua")
    return found | {script.name: script.read_text(encoding="utf-8") for script in scripts}


def write(gateway: str, folder: Path, addresses: Mapping[str, str]) -> None:
    """Write these files into `folder`."""
    for name, text in files(gateway, addresses).items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Do what was asked; what is wrong with it, if something is."""
    if len(arguments) not in {1, 2} or arguments[0] not in names():
        return f"usage: python3 -m stack.gateway {{{'|'.join(names())}}} [FOLDER]"
    name, *folder = arguments
    if folder:
        try:
            write(name, Path(folder[0]), environ)
        except OSError as error:
            return f"{error.filename} can't be written ({error.strerror}): name a folder that is there and yours"
        return None
    found = files(name, environ)
    if len(found) > 1:
        return f"{name} needs {len(found)} files ({', '.join(found)}): say into which folder as well"
    (text,) = found.values()
    sys.stdout.write(text)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
