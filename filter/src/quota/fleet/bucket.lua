local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local term, most = 3600, 1e14
local buckets, fit = {}, true
for i, key in ipairs(KEYS) do
  local at = 7 * (i - 1)
  local function arg(n) return tonumber(ARGV[at + n]) end
  local b = {rate = arg(1) / arg(2), burst = arg(3), want = arg(4), ahead = arg(5)}
  local released, used = arg(6), arg(7)
  local since, last = now, now
  b.taken, b.paid, b.young, b.old = 0, 0, 0, 0
  local state = redis.call('GET', key)
  if state then
    last, since, b.taken, b.paid, b.young, b.old = struct.unpack('<dddddd', state)
  end
  local drained = math.max(0, now - last) * b.rate
  b.taken = math.max(0, b.taken - drained)
  b.paid = math.max(0, b.paid - drained)
  if b.young + b.old == 0 then
    since = now
  elseif now - since >= 2 * term then
    b.paid = b.paid + b.young + b.old
    b.young, b.old, since = 0, 0, now
  elseif now - since >= term then
    b.paid = b.paid + b.old
    b.young, b.old, since = 0, b.young, now
  end
  b.paid, b.since = math.min(b.paid, b.taken), since
  local gone = math.max(0, b.paid + b.young + b.old - b.taken)
  local held = math.min(released, b.young + b.old)
  local owed = math.max(0, used - (released - held))
  local younger = math.min(b.young, held)
  b.young, b.old = b.young - younger, b.old - (held - younger)
  b.taken = b.taken - math.max(0, held - owed - gone) + math.max(0, used - released)
  b.paid = math.min(b.paid + owed, b.taken)
  b.fits = b.want == 0 or b.taken + b.want <= b.burst
  fit = fit and b.fits
  buckets[i] = b
end
local told = {ARGV[#ARGV]}
for i, key in ipairs(KEYS) do
  local b = buckets[i]
  local granted, wait = 0, 0
  if not b.fits then
    granted = -1
    wait = math.max(0, b.taken + b.want - b.burst) / b.rate
  elseif fit then
    granted = b.want + math.min(b.ahead, math.max(0, math.floor(b.burst - b.taken - b.want)))
    b.taken, b.young = b.taken + granted, b.young + granted
  end
  local lasts = b.taken / b.rate
  if b.young + b.old > 0 then
    lasts = math.max(lasts, b.since + 2 * term - now)
  end
  if lasts > 0 then
    local state = struct.pack('<dddddd', now, b.since, b.taken, b.paid, b.young, b.old)
    redis.call('SET', key, state, 'PX', math.min(most, math.ceil(1000 * lasts) + 1))
  else
    redis.call('DEL', key)
  end
  local left = math.max(0, math.floor(b.burst - b.taken))
  local more = math.max(0, b.taken + math.min(left + 1, b.burst) - b.burst) / b.rate
  for _, number in ipairs({granted, 1e6 * wait, left, 1e6 * more, 1e6 * b.taken / b.rate}) do
    told[#told + 1] = math.min(most, math.ceil(number))
  end
end
return told
