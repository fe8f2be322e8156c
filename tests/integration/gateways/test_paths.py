"""Ambiguous paths: the application never gets a path other than the one that the verifier decided on.

The application is as lenient as possible (`_as_an_application_might`): it decodes, takes backslashes for slashes,
drops path parameters and resolves dots.
"""

import posixpath
import re
from urllib.parse import unquote

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import Difference

TRICKS = (
    "//admin/",
    "/./admin/",
    "/x/../admin/",
    "/x/./../admin/",
    "/x//../admin/",
    "/../admin/",
    "/x/%2e%2e/admin/",
    "/x/%2E./admin/",
    "/.%2e/admin/",
    "/%61dmin/",
    "/%61%64%6d%69%6e",
    "/admi%6E/users",
    "/admin%2fusers",
    "/admin%2Fusers",
    "/x%2f..%2fadmin/",
    "/%2fadmin/",
    "/%2e%2e%2fadmin/",
    "/x/..%5cadmin/",
    "/x\\..\\admin/",
    "\\admin/",
    "/admin\\users",
    "/admin;x/users",
    "/admin;/users",
    "/;x/admin/",
    "/x/..;/admin/",
    "/x/.;/../admin/",
    "/admin%3bx/users",
    "/admin/.",
    "/admin//",
    "/admin/x/..",
    "/admin#",
    "/admin?",
    "/admin%00",
    "/admin%00/users",
    "/admin\t/",
    "/admin%0a",
    "/admin%0D%0A",
    "/admin%7f",
    "/admin/%zz",
    "/admin/users/x%",
    "/%61dmin/%2",
    "/x/%252e%252e/admin/",
    "/%c0%afadmin/",
    "/%c0%ae%c0%ae/admin/",
    "http://app.example/admin/",
    "http://app.example//admin/",
    "http://elsewhere.example/admin",
    "admin/",
    "*",
)

CONTROLS = ("/x%0a", "/x%0D%0Ay", "/x%09", "/x%1Fy", "/x%7f")
"""Python's `$` also matches before a final newline, so that Starlette reads `/admin%0a` as `/admin`."""
INVALID = ("/x%", "/x%2", "/x/%zz", "/%u0061dmin/")
"""Percent-encodings that applications decode in part, or by a rule of their own."""


@pytest.mark.parametrize("path", TRICKS)
def test_no_spelling_of_a_path_evades_its_policy(gateway: Gateway, path: str) -> None:
    response = gateway.ask(path, token=gateway.token())
    if response.status == 200:
        assert not _as_an_application_might_read(response.application["path"]).startswith("/admin")
    else:
        assert response.status in {400, 403, 404}


@pytest.mark.parametrize("path", ["/admin/../x", "/admin/%2e%2e/x", "/admin/..", "/x/../y", "/x//y", "/x/./y"])
def test_the_application_gets_the_checked_path(gateway: Gateway, path: str) -> None:
    response = gateway.ask(path, token=gateway.token())
    if gateway.differs(Difference.REJECTS_UNNORMALISED_PATHS):
        assert response.status == 400
    else:
        assert response.status == 200
        assert not re.search(r"admin|/\.|//", response.application["path"])


@pytest.mark.parametrize("path", ["/%7Ex", "/caf%C3%A9/a%20b", "/.well-known/x", "/a.b/..c/d...", "/x:y@z,w=(v)/"])
def test_an_ordinary_path_arrives_unchanged(gateway: Gateway, path: str) -> None:
    response = gateway.ask(path, token=gateway.token())
    assert response.status == 200
    assert unquote(response.application["path"]) == unquote(path)


@pytest.mark.parametrize(
    "path", [*("/x%2fy", "/x%2Fy", "/x%5cy", "/x;y", "/x;/y", "/x%3by", "/x%00y"), *CONTROLS, *INVALID]
)
def test_an_ambiguous_path_is_rejected(gateway: Gateway, path: str) -> None:
    assert gateway.ask(path, token=gateway.token(scope="profile admin")).status == 400


@pytest.mark.parametrize("encoded", ["%25", "%23", "%3F", "%2e"])
def test_an_encoded_character_is_rejected_only_as_documented(gateway: Gateway, encoded: str) -> None:
    rejected = {
        Difference.REJECTS_ENCODED_DOTS: {"%2e", "%23"},
        Difference.REJECTS_ENCODED_PERCENT_SIGNS: {"%25", "%23", "%3F"},
    }
    held = any(gateway.differs(difference) and encoded in those for difference, those in rejected.items())
    response = gateway.ask(f"/x{encoded}y", token=gateway.token())
    assert response.status == (400 if held else 200)
    if not held:
        assert unquote(response.application["path"]) == unquote(f"/x{encoded}y")


@pytest.mark.parametrize("path", ["/Admin/", "/ADMIN", "/aDmin/users"])
def test_case_sensitivity_of_paths_is_as_documented(gateway: Gateway, path: str) -> None:
    held = gateway.differs(Difference.IGNORES_CASE)
    assert gateway.ask(path, token=gateway.token()).status == (403 if held else 200)


@pytest.mark.parametrize("query", ["?policy=default", "?/../x", "?;", "?%2f..%2f", "?x=/x&scope=admin"])
def test_no_query_changes_the_policy(gateway: Gateway, query: str) -> None:
    assert gateway.ask(f"/admin/{query}", token=gateway.token()).status == 403
    assert gateway.ask(f"/x{query}", token=gateway.token()).status == 200


def test_a_path_that_only_begins_like_a_protected_one_is_another(gateway: Gateway) -> None:
    assert gateway.ask("/administrators", token=gateway.token()).status == 200


def _as_an_application_might_read(path: str) -> str:
    decoded = unquote(path, errors="replace").replace("\\", "/")
    return posixpath.normpath("/" + re.sub(r";[^/]*", "", decoded).lstrip("/"))
