-- What wrk sends in all measurements of the data path.
-- Environment: BENCH_LUA, the folder of these scripts. Arguments: METHOD, the file of keys, then for
-- GET nothing: keys at random; for RANGE, a GET of a part somewhere, the size of the blobs and of the part;
-- for PUT the query (or -) and the file of the body, and for FORM, a POST of them as a file with a name, likewise:
-- keys in a row, each once; for DELETE the number of keys that each thread may delete: in the order in which PUT
-- stored them.
local keys = dofile(os.getenv('BENCH_LUA') .. '/keys.lua')

sent = 0

function setup(thread)
    thread:set('threads', 2)
    keys.setup(thread)
end

local set, head, tail, limit, path, ending

local function read_file(path)
    local file = assert(io.open(path, 'rb'))
    local body = file:read('*a')
    file:close()
    return body
end

local function next_in_a_row()
    local i = number + threads * sent
    sent = sent + 1
    return keys.path(set, i % set.total)
end

function init(args)
    local method, rest = args[1], ' HTTP/1.1\r\nHost: bench\r\n'
    set = keys.load(args[2])
    head = (({FORM = 'POST', RANGE = 'GET'})[method] or method) .. ' '
    if method == 'PUT' or method == 'FORM' then
        local body, type = read_file(args[4]), 'application/octet-stream'
        local query = args[3] ~= '-' and '?' .. args[3] or ''
        if method == 'FORM' then
            body = '--limit\r\nContent-Disposition: form-data; name="file"; filename="some name.bin"\r\n' ..
                   'Content-Type: ' .. type .. '\r\n\r\n' .. body .. '\r\n--limit--\r\n'
            type = 'multipart/form-data; boundary=limit'
        end
        tail = query .. rest .. 'Content-Type: ' .. type .. '\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
        path = next_in_a_row
    elseif method == 'DELETE' then
        limit = tonumber(args[3])
        tail = rest .. '\r\n'
        path = next_in_a_row
    else
        math.randomseed(number * 7919 + 1)
        tail = rest .. '\r\n'
        if method == 'RANGE' then
            local last, size = args[3] - args[4], tonumber(args[4])
            tail = rest .. 'Range: bytes='
            ending = function()
                local first = math.random(0, last)
                return first .. '-' .. first + size - 1 .. '\r\n\r\n'
            end
        end
        path = function() return keys.path(set, math.random(0, set.total - 1)) end
    end
end

function request()
    if limit and sent >= limit then
        wrk.thread:stop()
    end
    if ending then
        return head .. path() .. tail .. ending()
    end
    return head .. path() .. tail
end

function done(summary, latency)
    keys.report(summary, latency)
end
