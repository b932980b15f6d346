-- The keys of a run: file ids assigned in bulk, FID, FID_1, FID_2 and so on, as one line "FID COUNT" a volume.
-- Key i lies in volume i mod (volumes), so that a run spreads over all of them.
local keys = {}

function keys.load(path)
    local bases, total = {}, 0
    for line in io.lines(path) do
        local fid, count = line:match('^(%S+) (%d+)$')
        bases[#bases + 1] = '/' .. fid
        total = total + tonumber(count)
    end
    return {bases = bases, total = total}
end

function keys.path(set, i)
    local n = #set.bases
    local base = set.bases[i % n + 1]
    local rank = math.floor(i / n)
    if rank == 0 then
        return base
    end
    return base .. '_' .. rank
end

-- Numbers the threads from 0; each then walks the keys number, number + threads, ...
local threads = {}

function keys.setup(thread)
    thread:set('number', #threads)
    threads[#threads + 1] = thread
end

-- One line of JSON. `sent` of each thread bounds which keys the run can have touched.
function keys.report(summary, latency)
    local sent = {}
    for i, thread in ipairs(threads) do
        sent[i] = tostring(thread:get('sent') or 0)
    end
    local e = summary.errors
    io.write(string.format(
        'RESULT {"requests": %d, "us": %d, "status_errors": %d, "socket_errors": %d, "p50_us": %d, "p99_us": %d, "sent": [%s]}\n',
        summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
        latency:percentile(50), latency:percentile(99), table.concat(sent, ', ')))
end

return keys
