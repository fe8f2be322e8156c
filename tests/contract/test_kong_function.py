"""The Lua function in deploy/gateways/kong/kong.yaml, run by HAProxy with replacements for Kong.

Kong itself does not run: the tests show what the function does with each response of the verifier.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from shared.identity_headers import IDENTITY_HEADERS
from tests.support.clusters.documents import documents
from tests.support.processes import finished
from tests.support.programs import program

# Each scenario is a response (nil: none came) and a path. What the function does is printed, a line for each.
_HARNESS: Final = """
local done
kong = {
  log = { err = function() end },
  request = {
    get_raw_path = function() return PATH end,
    get_header = function(name) return "client's " .. name end,
  },
  response = {
    exit = function(status, body, headers)
      done[#done + 1] = "exit " .. status
      for name, value in pairs(headers or {}) do done[#done + 1] = name .. ": " .. value end
    end,
  },
  service = { request = {
    set_header = function(name, value) done[#done + 1] = "set " .. name .. ": " .. value end,
    clear_header = function(name) done[#done + 1] = "clear " .. name end,
  } },
}
package.preload["resty.http"] = function()
  return { new = function() return {
    set_timeouts = function(_, ...)
      local limits = {...}
      done[#done + 1] = "timeouts " .. table.concat(limits, " ")
    end,
    request_uri = function(_, url, options)
      done[#done + 1] = options.method .. " " .. url .. " " .. options.headers.Authorization
      if options.body or options.ssl_verify == false then done[#done + 1] = "more than was to be sent" end
      if RESPONSE then return RESPONSE end
      return nil, "timeout"
    end,
  } end }
end
local act = assert(load(FUNCTION))()
for _, scenario in ipairs(SCENARIOS) do
  done, PATH, RESPONSE = {}, scenario.path or "/", scenario.response
  act()
  print("did " .. table.concat(done, "|"))
end
"""


def _functions() -> dict[str, str]:
    kong = documents("kong/kong.yaml")[0]
    routes = {route["name"]: route for route in kong["services"][0]["routes"]}
    plugins = {"default": kong["plugins"][0], "admin": routes["admin"]["plugins"][0]}
    return {policy: plugin["config"]["access"][0] for policy, plugin in plugins.items()}


@pytest.fixture(params=["default", "admin"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _did(function: str, folder: Path, *scenarios: dict[str, Any]) -> list[list[str]]:
    """Return what the function does in each scenario."""
    lua = f"FUNCTION = {_lua(function)}\nSCENARIOS = {_lua(list(scenarios))}\n{_HARNESS}"
    (folder / "harness.lua").write_text(lua, encoding="utf-8")
    (folder / "haproxy.cfg").write_text(f"global\n    lua-load {folder}/harness.lua\n", encoding="utf-8")
    command = [program("haproxy"), "-c", "-f", str(folder / "haproxy.cfg")]
    ran = finished(command)
    did = [line.removeprefix("did ").split("|") for line in ran.stdout.splitlines() if line.startswith("did ")]
    assert len(did) == len(scenarios), ran.stdout + ran.stderr
    return did


def _lua(value: Any) -> str:
    """Return a literal of Lua."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{_lua(key)}] = {_lua(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(_lua, value)) + "}"
    return json.dumps(value)


def _response(status: int, headers: dict[str, str]) -> dict[str, Any]:
    return {"response": {"status": status, "headers": headers}}


def test_the_subrequest_has_only_the_authorization_and_waits_half_a_second(policy: str, tmp_path: Path) -> None:
    [did] = _did(_functions()[policy], tmp_path, _response(401, {}))
    assert did[:2] == ["timeouts 200 500 500", f"GET http://verifier:8001/verify/{policy} client's Authorization"]


def test_on_200_every_identity_header_is_the_verifiers_or_removed(policy: str, tmp_path: Path) -> None:
    full = {name: f"value of {name}" for name in IDENTITY_HEADERS}
    empty = dict.fromkeys(IDENTITY_HEADERS, "")
    results, silent, missing = _did(
        _functions()[policy], tmp_path, _response(200, full), _response(200, empty), _response(200, {})
    )
    assert set(results[2:]) == {f"set {name}: {value}" for name, value in full.items()}
    assert set(silent[2:]) == set(missing[2:]) == {f"clear {name}" for name in IDENTITY_HEADERS}


def test_a_rejection_is_passed_on_with_its_challenge(policy: str, tmp_path: Path) -> None:
    challenge = {"WWW-Authenticate": "Bearer realm=x"}
    rejected, forbidden, unknown = _did(
        _functions()[policy], tmp_path, _response(401, challenge), _response(403, challenge), _response(403, {})
    )
    assert rejected[2:] == ["exit 401", "WWW-Authenticate: Bearer realm=x"]
    assert forbidden[2:] == ["exit 403", "WWW-Authenticate: Bearer realm=x"]
    assert unknown[2:] == ["exit 403"]


def test_no_response_or_any_other_is_a_503(policy: str, tmp_path: Path) -> None:
    others = [_response(status, {}) for status in (204, 201, 302, 404, 500, 503)]
    for did in _did(_functions()[policy], tmp_path, {}, *others):
        assert did[2:] == ["exit 503", "Retry-After: 1"]


def test_an_ambiguous_path_is_rejected_without_a_subrequest(policy: str, tmp_path: Path) -> None:
    ambiguous = ["/admin%2Fx", "/x%2f..", "/a%5cb", "/a\\b", "/admin;x/", "/admin%3Bx", "/admin%0A", "/x%1F", "/%7Fx"]
    plain = ["/", "/admin/", "/a.b/%20-%7E"]
    did = _did(_functions()[policy], tmp_path, *({"path": path} for path in (*ambiguous, *plain)))
    assert [steps == ["exit 400"] for steps in did] == [True] * len(ambiguous) + [False] * len(plain)
