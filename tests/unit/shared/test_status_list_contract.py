"""The document of contract E agrees with the code."""

import re
from typing import Final

from tests.support.processes import ROOT
from verifier.decision import status_list_token
from verifier.decision.status_list_token import StatusListRejection

TEXT: Final = (ROOT / "specs/001-register-login-verify/contracts/status-list.md").read_text(encoding="utf-8")


def test_every_fault_is_named_with_its_check() -> None:
    results = re.findall(r"^\| *(\d*) \| *(\w*) \|[^|]*\| `(\w+)` \|$", TEXT, re.MULTILINE)
    assert [fault for _, _, fault in results] == list(StatusListRejection)
    numbered = re.findall(r"^ ?(\d+)\. (\w+) ", status_list_token.__doc__ or "", re.MULTILINE)
    assert [(number, name) for number, name, _ in results if number] == numbered
