"""Additions to a gateway's configuration: the diffs of its README, which a reader applies by hand."""

import re
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

_BLOCK: Final = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CONFIGURATIONS: Final = {".conf", ".cfg", ".yaml", ".caddy", ".lua"}


def apply_diffs(gateway: str, section: str, folder: Path) -> None:
    """Apply the diffs of a section of `deploy/gateways/<gateway>/README.md` to the configuration in `folder`.

    Indentation is that of the configuration. A section may have diffs for the complete configuration and others for a
    site; AssertionError if none fits.
    """
    readme = (ROOT / "deploy/gateways" / gateway.partition("/")[0] / "README.md").read_text(encoding="utf-8")
    written = readme.partition(f"## {section}\n")[2].partition("\n## ")[0]
    diffs = _BLOCK.findall(written)
    assert diffs, f"{gateway}: no diff in section {section!r}"
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in _CONFIGURATIONS or path.name == "Caddyfile"]
    applied = []
    for diff in diffs:
        lines = diff.splitlines()
        old = [line[1:] for line in lines if line[:1] in {" ", "-"}]
        new = [line[1:] for line in lines if line[:1] in {" ", "+"}]
        applied += [path for path in files if _replace(path, old, new)]
    assert applied, f"{gateway}: no diff of section {section!r} fits"


def _replace(path: Path, old: list[str], new: list[str]) -> bool:
    """Replace each occurrence of `old` in a file, whatever its indentation."""
    lines = path.read_text(encoding="utf-8").splitlines()
    result: list[str] = []
    found = False
    while lines:
        indentation = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
        if lines[: len(old)] == [indentation + line for line in old]:
            result += [indentation + line for line in new]
            del lines[: len(old)]
            found = True
        else:
            result.append(lines.pop(0))
    if found:
        path.write_text("\n".join([*result, ""]), encoding="utf-8")
    return found
