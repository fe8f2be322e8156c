-- Asks the Gatepass verifier about a request. For haproxy.cfg, which acts on what this sets:
--   txn.gatepass_status     the verifier's status; unset if there was no answer
--   txn.gatepass_challenge  its WWW-Authenticate
-- and, on 200, the identity headers of the request. haproxy.cfg has removed the client's own before, and refuses
-- whatever has not the status 200: an error in here leaves the request refused.

local IDENTITY = {
    "x-auth-issuer",
    "x-auth-subject",
    "x-auth-client",
    "x-auth-scope",
    "x-auth-roles",
    "x-auth-session",
    "x-auth-token",
    "x-auth-expires",
}

-- What the verifier gets of a request: what it judges, and two ids for its log.
local ASKED_ABOUT = { "authorization", "x-request-id", "traceparent" }

-- The listener `verifier` answers within 1.1 s, if only with 503 or 504. This is for when it does not.
local TIMEOUT_MS = 2000

-- The values of a header field; Lua tables of HAProxy begin at 0.
local function values(headers, name)
    local found = {}
    for index, value in pairs(headers[name] or {}) do
        found[index + 1] = value
    end
    return found
end

core.register_action("gatepass", { "http-req" }, function(txn, listener)
    -- The policy is the configuration's. Every field is sent, should there be two.
    local headers = { ["host"] = { "verifier" } }
    local sent = txn.http:req_get_headers()
    for _, name in ipairs(ASKED_ABOUT) do
        local found = values(sent, name)
        if #found > 0 then
            headers[name] = found
        end
    end
    local answer = core.httpclient():get({
        url = "http://127.0.0.1/verify/" .. txn:get_var("txn.gatepass_policy"),
        dst = listener,
        headers = headers,
        timeout = TIMEOUT_MS,
    })
    if answer.status == 200 then
        for _, name in ipairs(IDENTITY) do
            local value = values(answer.headers, name)[1]
            if value ~= nil and value ~= "" then
                txn.http:req_set_header(name, value)
            end
        end
    end
    txn:set_var("txn.gatepass_challenge", values(answer.headers, "www-authenticate")[1] or "")
    txn:set_var("txn.gatepass_status", answer.status)
end, 1)
