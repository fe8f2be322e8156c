-- Calls the Gatepass verifier. Sets these variables for haproxy.cfg:
--   txn.gatepass_status     the verifier's status; unset if there was no response
--   txn.gatepass_challenge  its WWW-Authenticate
-- and, on 200, the identity headers of the request. haproxy.cfg removes those of the client before, and rejects every
-- request without status 200, so an error in this script rejects the request.

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

-- The headers that the verifier receives: the token, and two ids for its log.
local FORWARDED = { "authorization", "x-request-id", "traceparent" }

-- The listener `verifier` responds within 1.1 s, at worst with 503 or 504. This is a safety limit.
local TIMEOUT_MS = 2000

-- The values of a header field. HAProxy numbers them from 0, Lua's functions from 1.
local function values(headers, name)
    local found = {}
    for index, value in pairs(headers[name] or {}) do
        found[index + 1] = value
    end
    return found
end

core.register_action("gatepass", { "http-req" }, function(txn, listener)
    -- The configuration chooses the policy. If a field is repeated, all values are sent.
    local headers = { ["host"] = { "verifier" } }
    local sent = txn.http:req_get_headers()
    for _, name in ipairs(FORWARDED) do
        local found = values(sent, name)
        if #found > 0 then
            headers[name] = found
        end
    end
    local response = core.httpclient():get({
        url = "http://127.0.0.1/verify/" .. txn:get_var("txn.gatepass_policy"),
        dst = listener,
        headers = headers,
        timeout = TIMEOUT_MS,
    })
    if response.status == 200 then
        for _, name in ipairs(IDENTITY) do
            local value = values(response.headers, name)[1]
            if value ~= nil and value ~= "" then
                txn.http:req_set_header(name, value)
            end
        end
    end
    txn:set_var("txn.gatepass_challenge", values(response.headers, "www-authenticate")[1] or "")
    txn:set_var("txn.gatepass_status", response.status)
end, 1)
