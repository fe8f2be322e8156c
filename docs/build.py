"""Builds the documentation as a site with a search: `make docs`, into `.docs/site`.

The Markdown of the tree is copied as it is, so that every relative link works both on a code host and in the site.
The copies are changed only where the site's renderer reads Markdown differently than code hosts.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
OUTPUT: Final = ROOT / ".docs"
PAGES: Final = OUTPUT / "pages"
SITE: Final = OUTPUT / "site"
OPENAPI: Final = "specs/001-register-login-verify/contracts/issuer.openapi.yaml"
API_PAGE: Final = "docs/reference/api.md"
_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
_LINK_OR_IMAGE: Final = re.compile(r"\]\(([^)\s]+)\)")
_LOADING_TAG: Final = re.compile(r"<(?:link|script|img|iframe|source)\b[^>]*>")
_OTHER_HOST: Final = re.compile(r"""(?:href|src)=["']?((?:https?:)?//[^"'\s>]+)""")
_LIST_ITEM: Final = re.compile(r"(?:[-*]|\d+\.) ")


def main() -> int:
    """Build the site; return the exit status. A broken link fails it."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for source in _markdown():
        target = PAGES / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8")
        _copy_linked_files(source, text)
        target.write_text(_for_the_site(source, text), encoding="utf-8")
    if _run("openapidocs", "gen-docs", "-s", ROOT / OPENAPI, "-d", PAGES / API_PAGE):
        return 1
    shutil.copy(ROOT / "docs/site.css", PAGES / "docs/site.css")
    # Not --quiet: warnings that are not shown do not count as errors.
    if _run("mkdocs", "build", "--strict", "--config-file", ROOT / "docs/mkdocs.yml"):
        return 1
    if loaded := sorted(_loaded_from_other_hosts()):
        print("The site loads files from other hosts:", *loaded, sep="\n", file=sys.stderr)
        return 1
    print(SITE / "index.html")
    return 0


def _run(program: str, *arguments: str | Path) -> int:
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [str(Path(sys.executable).parent / program), *map(str, arguments)]
    return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - programs of our lock


def _loaded_from_other_hosts() -> set[str]:
    """Return the URLs of scripts, styles, fonts and images of other hosts that a page would load."""
    return {
        url
        for page in SITE.rglob("*.html")
        for tag in _LOADING_TAG.findall(page.read_text(encoding="utf-8"))
        for url in _OTHER_HOST.findall(tag)
    }


def _markdown() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.md")):
        top = path.relative_to(ROOT).parts[0]
        if top == ".github" or not top.startswith("."):
            yield path


def _copy_linked_files(source: Path, text: str) -> None:
    """Copy the files other than Markdown to which a page links: images, configurations, code."""
    for link in _LINK_OR_IMAGE.findall(text):
        path = (source.parent / link.partition("#")[0]).resolve()
        if "://" not in link and path.suffix != ".md" and path.is_file():
            target = PAGES / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def _for_the_site(source: Path, text: str) -> str:
    def link(found: re.Match[str]) -> str:
        label, target = found.groups()
        path = (source.parent / target.partition("#")[0]).resolve()
        if path == ROOT / OPENAPI:
            target = "/".join([*[".."] * len(source.relative_to(ROOT).parent.parts), API_PAGE])
        if path.is_dir() and "://" not in target and not target.startswith("#"):
            return label  # A folder is not a page.
        return f"[{label}]({target})"

    return _with_lists_of_four_spaces(_LINK.sub(link, text))


def _with_lists_of_four_spaces(text: str) -> str:
    """Indent the contents of list items by four spaces for each level, and begin each list after an empty line.

    CommonMark needs the width of the marker (two or three), Python-Markdown four. The lines of a code block move with
    its fence.
    """
    lines: list[str] = []
    fence: tuple[str, int] | None = None
    after_paragraph = False  # of the same list item
    for line in text.splitlines():
        stripped = line.lstrip(" ")
        indent = len(line) - len(stripped)
        if fence is not None:
            lines.append(" " * fence[1] + line if line else line)
            fence = None if stripped.startswith(fence[0]) else fence
            continue
        moved = 4 * ((indent + 1) // 3) - indent if indent > 1 else 0
        if stripped.startswith("```"):
            fence = ("```", moved)
        if _LIST_ITEM.match(stripped):
            previous = lines[-1] if lines else ""
            in_list = previous.startswith(" ") or _LIST_ITEM.match(previous)
            if previous and (after_paragraph or not in_list):
                lines.append("")
            after_paragraph = False
        elif not stripped:
            after_paragraph = True
        lines.append(" " * (indent + moved) + stripped if stripped else "")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
