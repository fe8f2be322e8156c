"""The documents and files of the source tree."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT, finished
from tests.support.programs import absent

SPECS: Final = sorted(folder for folder in (ROOT / "specs").iterdir() if re.match(r"\d{3}-", folder.name))
ADR_INDEX: Final = ROOT / "specs/adr/README.md"
ADRS: Final = sorted((ROOT / "specs/adr").glob("[0-9]*.md"))


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in the tree; skip the test where the tree is no checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        absent("this is no git checkout")
    return finished(["git", *arguments])


@cache
def files() -> tuple[Path, ...]:
    """Return every file that is, or would be, committed."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    return tuple(path for name in sorted(set(listed.split("\0"))) if name and (path := ROOT / name).is_file())


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the fragment that each relative link of a document leads to."""
    prose = re.sub(r"^```.*?^```", "", text(document), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target:
            path, _, fragment = target.partition("#")
            yield (document.parent / path if path else document), fragment


def anchors(document: Path) -> set[str]:
    """Return the fragments by which code hosts link to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", text(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def requirements(spec: Path) -> list[str]:
    """Return the numbers of a specification's requirements, in order."""
    return re.findall(r"^- \*\*(FR-\d{3})\*\*", text(spec / "spec.md"), re.MULTILINE)
