-- sessgate for lighttpd: see cookie.conf. Runs twice for a request: before the
-- gateway is asked, and when it has allowed the request (SESSION_STATE is its
-- word; no client can set it).
local cookie_name = "__Host-sid"

local r = lighty.r
local env = r.req_env

if env["SESSION_STATE"] == nil then
    -- Let the gateway say here what it would renew: its Set-Cookie is dropped.
    env["SESSGATE_SET_COOKIE"] = "1"
    return 0
end

-- To the browser, and not to the program.
local renewed = env["SESSION_SET_COOKIE"]
if renewed ~= nil then
    env["SESSION_SET_COOKIE"] = nil
    r.resp_header["Set-Cookie"] = renewed
end

-- The other cookies.
local header = r.req_header["Cookie"]
if header ~= nil then
    local others = {}
    for pair in header:gmatch("[^;]+") do
        pair = pair:match("^ *(.*)$")
        if pair:sub(1, #cookie_name + 1) ~= cookie_name .. "=" then
            others[#others + 1] = pair
        end
    end
    r.req_header["Cookie"] = table.concat(others, "; ")
end
return 0
