-- The load: GET with one of the tokens after the other, every head built before the clock starts.
-- Arguments after `--`: the file of tokens; `same` or `varied` heads; the mean think time in milliseconds.
local heads, sent, request_id = {}, 0, "00000000000000000000000000000000"

local function varied()
  sent = sent + 1
  local head = heads[sent % #heads + 1]
  return head.before .. string.format("%032x", sent) .. head.after
end

local function same()
  sent = sent + 1
  return heads[sent % #heads + 1]
end

function init(arguments)
  local vary = arguments[2] == "varied"
  for token in io.lines(arguments[1]) do
    local fields = { Authorization = "Bearer " .. token, ["X-Request-Id"] = request_id }
    local head = wrk.format("GET", nil, fields)
    local first, last = head:find(request_id, 1, true)
    heads[#heads + 1] = vary and { before = head:sub(1, first - 1), after = head:sub(last + 1) } or head
  end
  request = vary and varied or same
  local think = tonumber(arguments[3])
  if think > 0 then
    -- Exponential pauses make many clients look like Poisson arrivals; the second random number rounds to
    -- wrk's whole milliseconds without bias.
    delay = function() return math.floor(-think * math.log(1 - math.random()) + math.random()) end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'result {"requests": %d, "microseconds": %d, "p50": %d, "p90": %d, "p99": %d, "p99.9": %d, "max": %d, ' ..
    '"status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency:percentile(99.9), latency.max, errors.status, errors.connect, errors.read, errors.write,
    errors.timeout))
end
