"""The HTTP data path, by wrk at 64 connections: GET, PUT, durable PUT, POST of a form and DELETE of 1 KiB, then GET of
large blobs and of ranges of them: requests a second, latencies, and the server's own CPU time for each. nginx serves
files of the same names and sizes."""
import json
import os
import random
import subprocess

from meters import (BLOB_SIZE, HERE, KINDS, assign_on_all_volumes, cpu_seconds, drop_collection, http, run_client,
                    servers)
import nginx

ROUNDS = 5
CONNECTIONS = 64
CONNECTIONS_FOR_LARGE = 16  # from 1 MiB on
THREADS = 2
LARGE = {64 << 10: 512, 1 << 20: 64, 16 << 20: 8}  # bytes: so many blobs
RANGE_SIZE = 4096


def wrk(server, seconds, *arguments, connections=CONNECTIONS):
    command = ['wrk', f'-t{THREADS}', f'-c{connections}', f'-d{seconds}s', '--timeout=10s', '-s',
               HERE / 'blobs.lua', f'http://{server.address}', '--', *arguments]
    before = cpu_seconds(server)
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True,
                          env={**os.environ, 'BENCH_LUA': str(HERE)})
    used = cpu_seconds(server) - before
    lines = [line for line in done.stdout.splitlines() if line.startswith('RESULT ')]
    if not lines:
        raise RuntimeError(f'wrk: {done.stdout} {done.stderr}')
    result = json.loads(lines[0][7:])
    # the last requests of a run are cut off by wrk itself
    if result['status_errors'] or result['socket_errors'] > connections or not result['requests']:
        raise RuntimeError(f'wrk {arguments[0]} on {server.name}: {result}')
    result['per_second'] = result['requests'] / result['us'] * 1e6
    result['cpu_us'] = used / result['requests'] * 1e6
    return result


def write_keys(path, bases):
    path.write_text(''.join(f'{fid} {count}\n' for fid, count in bases.items()))
    return path


def size_name(size):
    return f'{size >> 20} MiB' if size >= 1 << 20 else f'{size >> 10} KiB'


class Reading:
    """What can be read of a server: one of blobs, or nginx. `small` and `large` are files of keys."""

    def __init__(self, folder, kind, options):
        self.folder, self.kind, self.options = folder / kind, kind, options
        self.folder.mkdir(parents=True)
        self.body = self.folder / 'body'
        self.body.write_bytes(random.Random(1).randbytes(BLOB_SIZE))
        self.server = self.small = None
        self.large = {}
        self.large_counts = {min(LARGE): 4} if options.quick else LARGE

    def add(self, results, name, result):
        results.add(name, 'requests/s', self.kind, result['per_second'], more_is_better=True, digits=0)
        results.add(name, 'server CPU us', self.kind, result['cpu_us'])
        results.add(name, 'p50 us', self.kind, result['p50_us'], digits=0)
        results.add(name, 'p99 us', self.kind, result['p99_us'], digits=0)

    def get(self, results, _number):
        self.add(results, 'GET', wrk(self.server, self.options.seconds, 'GET', self.small))

    def get_large(self, results, _number):
        for size, keys in self.large.items():
            connections = CONNECTIONS_FOR_LARGE if size >= 1 << 20 else CONNECTIONS
            seconds = self.options.seconds
            self.add(results, f'GET {size_name(size)}', wrk(self.server, seconds, 'GET', keys, connections=connections))
            self.add(results, f'GET {size_name(RANGE_SIZE)} of {size_name(size)}',
                     wrk(self.server, seconds, 'RANGE', keys, size, RANGE_SIZE))


class Files(Reading):
    """nginx."""

    def __init__(self, folder, options, stack):
        super().__init__(folder, 'nginx', options)
        self.server = stack.enter_context(nginx.running(self.folder / 'server'))
        self.small = self.make_files('', BLOB_SIZE, min(options.keys, nginx.FILES), 'small.keys')
        (self.server.root / 'large').mkdir()
        for size, count in self.large_counts.items():
            self.large[size] = self.make_files('large/', size, count, f'{size}.keys')

    def make_files(self, prefix, size, count, keys):
        base, body = f'{prefix}1,{size:x}12345678', random.Random(size).randbytes(size)
        for i in range(count):
            (self.server.root / (f'{base}_{i}' if i else base)).write_bytes(body)
        return write_keys(self.folder / keys, {base: count})


class DataPath(Reading):
    """One kind's servers with the blobs that GET reads."""

    def __init__(self, folder, kind, options, stack):
        super().__init__(folder, kind, options)
        self.cluster, self.server = stack.enter_context(servers(self.folder, kind))
        bases = assign_on_all_volumes(self.cluster, 'read', options.keys)
        self.small = write_keys(self.folder / 'read.keys', bases)
        for fid, count in bases.items():
            run_client('send', 'PUT', self.server.port, fid, 0, 1, count)
        for size, count in self.large_counts.items():
            fid = self.cluster.assign(collection='large', count=count, dataSize=size)['fid']
            body = random.Random(size).randbytes(size)
            for i in range(count):
                answer = http('PUT', f'{self.server.address}/{fid}' + (f'_{i}' if i else ''), body,
                              {'Content-Type': 'application/octet-stream'})
                assert answer.status == 201, answer.body
            self.large[size] = write_keys(self.folder / f'{size}.keys', {fid: count})

    def new_keys(self, collection):
        return write_keys(self.folder / 'write.keys',
                          assign_on_all_volumes(self.cluster, collection, self.options.seconds * 1_000_000))

    def put_and_delete(self, results, number):
        keys = self.new_keys(f'written{number}')
        put = wrk(self.server, self.options.seconds, 'PUT', keys, '-', self.body)
        self.add(results, 'PUT', put)
        # what is surely stored, on the thread that stored least; wrk leaves when it is used up
        limit = max(1, min(put['sent']) - 2 * CONNECTIONS)
        self.add(results, 'DELETE', wrk(self.server, self.options.seconds, 'DELETE', keys, limit))
        drop_collection(self.cluster, f'written{number}')

    def store(self, results, number, name, method, query):
        keys = self.new_keys(f'{method.lower()}{number}')
        self.add(results, name, wrk(self.server, self.options.seconds, method, keys, query, self.body))
        drop_collection(self.cluster, f'{method.lower()}{number}')

    def put_durably(self, results, number):
        self.store(results, number, 'PUT ?fsync=true', 'PUT', 'fsync=true')

    def post_form(self, results, number):
        self.store(results, number, 'POST of a form', 'FORM', '-')


def measure(results, folder, options, stack):
    runs = [DataPath(folder, kind, options, stack) for kind in KINDS if kind in options.kinds]
    if 'nginx' in options.kinds:
        runs.append(Files(folder, options, stack))
    for number in range(options.rounds or ROUNDS):
        for step in ('get', 'put_and_delete', 'put_durably', 'post_form', 'get_large'):
            for run in runs:
                if hasattr(run, step):
                    getattr(run, step)(results, number)
