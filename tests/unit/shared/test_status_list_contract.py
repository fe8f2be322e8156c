"""The document of contract E agrees with the code."""

import re
from typing import Final

from shared import status_list
from tests.support.processes import ROOT
from verifier.decision import status_list_token
from verifier.decision.status_list_token import StatusListRejection
from verifier.refresh import status_lists
from verifier.settings import VerifierSettings

TEXT: Final = (ROOT / "specs/001-register-login-verify/contracts/status-list.md").read_text(encoding="utf-8")


def test_every_fault_is_named_with_its_check() -> None:
    results = re.findall(r"^\| *(\d*) \| *(\w*) \|[^|]*\| `(\w+)` \|$", TEXT, re.MULTILINE)
    assert [fault for _, _, fault in results] == list(StatusListRejection)
    numbered = re.findall(r"^ ?(\d+)\. (\w+) ", status_list_token.__doc__ or "", re.MULTILINE)
    assert [(number, name) for number, name, _ in results if number] == numbered


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"≤ {status_list.MAX_LIST_TOKEN_BYTES} bytes" in TEXT
    assert f"has {status_list.LIST_BITS:,} indices; none is longer than {status_list.MAX_LIST_BYTES:,} bytes" in TEXT
    assert f"at most {status_list.MAX_LISTS:,}." in TEXT
    assert f"at most {status_list_token.MAX_VALIDITY_SECONDS // 86_400} days after it" in TEXT
    assert f"now + {status_list_token.MAX_CLOCK_SKEW_SECONDS} s" in TEXT
    assert f"over {status_lists.MAX_BYTES_PER_ISSUER // 2**20} MiB" in TEXT
    assert f"{status_lists.STALE_AFTER_POLLS} polls" in TEXT
    assert f"`typ` | `{status_list.STATUS_LIST_TYPE}`" in TEXT
    assert f"`{status_list.STATUS_LIST_MEDIA_TYPE}`" in TEXT


def test_the_settings_and_their_defaults_are_those_of_the_code() -> None:
    fields = VerifierSettings.model_fields
    assert f"`VERIFIER_STATUS_POLL_SECONDS` ({fields['status_poll_seconds'].default:g} s," in TEXT
    assert f"`VERIFIER_STATUS_STALE={fields['status_stale'].default}`, the default" in TEXT
    assert "`VERIFIER_STATUS_LISTS`" in TEXT
