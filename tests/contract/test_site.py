"""The site of `make docs`: its navigation, and the changes to pages that its renderer needs."""

import re

import pytest

from docs.build import API_PAGE, ROOT, _with_lists_of_four_spaces


@pytest.mark.parametrize(
    ("written", "copied"),
    [
        ("Do this:\n- one\n- two\n", "Do this:\n\n- one\n- two\n"),
        ("- one\n  goes on\n- two\n", "- one\n    goes on\n- two\n"),
        ("1. one\n   - deeper\n     on\n", "1. one\n    - deeper\n        on\n"),
        ("1. one\n\n   more\n2. two\n", "1. one\n\n    more\n\n2. two\n"),
        ("1. one:\n\n   ```\n   a\n     b\n   ```\n", "1. one:\n\n    ```\n    a\n      b\n    ```\n"),
        ("```\n  - code\n - code\n```\n", "```\n  - code\n - code\n```\n"),
    ],
)
def test_lists_are_written_for_the_renderer_of_the_site(written: str, copied: str) -> None:
    assert _with_lists_of_four_spaces(written) == copied


def test_every_page_of_the_documentation_is_in_the_navigation() -> None:
    named = re.findall(r": (\S+\.md)$", (ROOT / "docs/mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(named)
    assert len(named) == len(set(named))
    assert [name for name in named if not (ROOT / name).is_file()] == [API_PAGE]
