"""What `make docs` changes in pages, because its renderer reads Markdown otherwise than code hosts do."""

import pytest

from docs.build import _with_lists_of_four_spaces


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
