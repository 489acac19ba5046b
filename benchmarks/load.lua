-- wrk: POST the body, with the tokens of a file in turn; print one JSON line at the end.
-- The requests are made beforehand, so that making them is not measured.
local requests, turn = {}, 0

function init(arguments)
  for token in io.lines(arguments[2]) do
    requests[#requests + 1] = wrk.format("POST", nil, {
      ["content-type"] = "application/json", ["authorization"] = "Bearer " .. token,
    }, arguments[1])
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %f, "failed": %d}\n', summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
