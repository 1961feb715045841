-- Sends /join?client_id=… to the host that the cluster `resolver` names. This is the kind of script that
-- pinroute replaces. The end-to-end tests compare the filter with it.

local function reject(handle, status, message)
  handle:respond({ [":status"] = status, ["content-type"] = "text/plain" }, message)
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path") or ""
  if path:sub(1, 5) ~= "/join" then
    return
  end

  local client_id = path:match("[?&]client_id=([^&]+)")
  if not client_id then
    return reject(handle, "400", "missing client_id")
  end
  handle:logDebug("Lua: resolving client_id=" .. client_id)

  local headers, body = handle:httpCall("resolver", {
    [":method"] = "GET",
    [":path"] = "/where?client_id=" .. client_id,
    [":authority"] = "resolver",
  }, "", 1000)
  if not headers then
    return reject(handle, "502", "resolver httpCall failed")
  end
  if headers[":status"] ~= "200" then
    return reject(handle, "502", "resolver returned " .. tostring(headers[":status"]))
  end

  local hostport = (body or ""):match('"hostport"%s*:%s*"([^"]+)"')
  if not hostport then
    return reject(handle, "502", "no hostport in resolver body")
  end
  handle:logDebug("Lua: parsed hostport=" .. hostport)

  -- Fetch the headers again: an object from before the call is out of scope after it.
  handle:headers():replace(":authority", hostport)
end
