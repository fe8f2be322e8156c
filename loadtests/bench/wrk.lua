-- The load: GET with one of the tokens after the other, heads prepared before the clock starts.
-- Each request has an X-Request-Id of its own, as gateways send them.
-- Arguments after `--`: the file of tokens; the mean think time in milliseconds.
local heads, sent, request_id = {}, 0, "00000000000000000000000000000000"

function request()
  sent = sent + 1
  local head = heads[sent % #heads + 1]
  return head.before .. string.format("%032x", sent) .. head.after
end

function init(arguments)
  for token in io.lines(arguments[1]) do
    local fields = { Authorization = "Bearer " .. token, ["X-Request-Id"] = request_id }
    local head = wrk.format("GET", nil, fields)
    local first, last = head:find(request_id, 1, true)
    heads[#heads + 1] = { before = head:sub(1, first - 1), after = head:sub(last + 1) }
  end
  local think = tonumber(arguments[2])
  if think > 0 then
    -- Exponential pauses make many clients look like Poisson arrivals; the second random number rounds to
    -- wrk's whole milliseconds without bias.
    delay = function() return math.floor(-think * math.log(1 - math.random()) + math.random()) end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'result {"requests": %d, "requests_per_second": %.1f, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, ' ..
    '"p999_ms": %.3f, "max_ms": %.3f, "error_responses": %d, "socket_errors": %d}\n',
    summary.requests, summary.requests / math.max(summary.duration, 1) * 1e6, latency:percentile(50) / 1000,
    latency:percentile(90) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000,
    latency.max / 1000, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
