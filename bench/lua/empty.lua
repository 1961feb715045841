-- Does nothing: what any Lua filter costs at least.

function envoy_on_request(handle)
end
