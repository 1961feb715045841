-- Shuffle sharding as Lua filters do it today. pinroute reproduces this assignment bit for bit with
-- `algorithm: lua_djb2`. The end-to-end tests and the benchmark compare the two.

local TOTAL_HOSTS = 8
local SHARD_SIZE = 2
local MODULUS = 2147483647

local function hash(text)
  local h = 0
  for i = 1, #text do
    h = (h * 33 + text:byte(i)) % MODULUS
  end
  return h
end

local function shard_of(key, total, size)
  local shard, taken = {}, {}
  for slot = 0, size - 1 do
    local h = hash(key .. "_salt_" .. slot)
    local host = h % total
    local attempt = 0
    while taken[host] and attempt < total do
      h = (h * 31 + attempt) % MODULUS
      host = h % total
      attempt = attempt + 1
    end
    taken[host] = true
    shard[#shard + 1] = host
  end
  return shard
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local customer = headers:get("x-customer-id")
  if not customer or customer == "" then
    handle:respond({ [":status"] = "400", ["content-type"] = "text/plain" }, "missing x-customer-id")
    return
  end
  local shard = shard_of(customer, TOTAL_HOSTS, SHARD_SIZE)
  local host = shard[hash(headers:get(":path")) % #shard + 1]
  local assignment = table.concat(shard, ",")
  headers:replace("x-shard-assignment", assignment)
  headers:replace("x-shard-config", SHARD_SIZE .. "/" .. TOTAL_HOSTS)
  headers:replace("x-target-host", tostring(host))
  headers:replace("x-target-cluster", "backend_" .. host)
  handle:streamInfo():dynamicMetadata():set("shuffle_shard", "assignment", assignment)
  handle:streamInfo():dynamicMetadata():set("shuffle_shard", "host", host)
end

function envoy_on_response(handle)
  local chosen = handle:streamInfo():dynamicMetadata():get("shuffle_shard")
  if chosen then
    local headers = handle:headers()
    headers:replace("x-shard-assignment", chosen["assignment"])
    headers:replace("x-shard-config", SHARD_SIZE .. "/" .. TOTAL_HOSTS)
    headers:replace("x-target-host", string.format("%d", chosen["host"]))
  end
end
