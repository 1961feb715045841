-- The resolver's formula in Lua: FNV-1a with 32 bits of client_id, modulo the number of instances. What
-- pinroute's `index` strategy does, and the same instance for every key: the benchmark's test compares them.

local REPLICAS = 8
local BASE = 1

local bxor, lshift, tobit = bit.bxor, bit.lshift, bit.tobit

-- A product of two 32-bit numbers does not fit the 53 bits of a Lua number. The prime is 2^24 + 403, so its
-- two parts are multiplied one by one, and `tobit` takes the sum modulo 2^32.
local function fnv1a_32(text)
  local h = tobit(0x811c9dc5)
  for i = 1, #text do
    h = bxor(h, text:byte(i))
    h = tobit(lshift(h, 24) + h * 403)
  end
  if h < 0 then
    return h + 4294967296
  end
  return h
end

local function decode(text)
  if not text:find("[%%+]") then
    return text
  end
  text = text:gsub("+", " ")
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path") or ""
  if path:sub(1, 5) ~= "/join" then
    return
  end
  local client_id = path:match("[?&]client_id=([^&]+)")
  if not client_id then
    handle:respond({ [":status"] = "400", ["content-type"] = "text/plain" }, "missing client_id")
    return
  end
  local index = fnv1a_32(decode(client_id)) % REPLICAS + BASE
  headers:replace(":authority", "poc-routing-server-" .. index .. ":8081")
end
