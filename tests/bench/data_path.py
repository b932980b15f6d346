"""GET, PUT, durable PUT and DELETE of 1 KiB at 64 connections, by wrk: requests a second, and the server's
own CPU time for each."""
import json
import os
import random
import subprocess

from meters import BLOB_SIZE, HERE, KINDS, assign_on_all_volumes, cpu_seconds, drop_collection, run_client, servers

ROUNDS = 5
CONNECTIONS = 64
THREADS = 2


def wrk(server, seconds, *arguments):
    command = ['wrk', f'-t{THREADS}', f'-c{CONNECTIONS}', f'-d{seconds}s', '--timeout=10s', '-s',
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
    if result['status_errors'] or result['socket_errors'] > CONNECTIONS or not result['requests']:
        raise RuntimeError(f'wrk {arguments[0]} on {server.name}: {result}')
    result['per_second'] = result['requests'] / result['us'] * 1e6
    result['cpu_us'] = used / result['requests'] * 1e6
    return result


def write_keys(path, bases):
    path.write_text(''.join(f'{fid} {count}\n' for fid, count in bases.items()))
    return path


class DataPath:
    """One kind's servers with the blobs that GET reads."""

    def __init__(self, folder, kind, options, stack):
        self.folder, self.kind, self.options = folder / kind, kind, options
        self.folder.mkdir(parents=True)
        self.cluster, self.server = stack.enter_context(servers(self.folder, kind))
        self.body = self.folder / 'body'
        self.body.write_bytes(random.Random(1).randbytes(BLOB_SIZE))
        bases = assign_on_all_volumes(self.cluster, 'read', options.keys)
        self.read_keys = write_keys(self.folder / 'read.keys', bases)
        for fid, count in bases.items():
            run_client('send', 'PUT', self.server.port, fid, 0, 1, count)

    def add(self, results, name, result):
        results.add(name, 'requests/s', self.kind, result['per_second'], more_is_better=True, digits=0)
        results.add(name, 'server CPU us', self.kind, result['cpu_us'])
        results.add(name, 'p99 us', self.kind, result['p99_us'], digits=0)

    def get(self, results):
        self.add(results, 'GET', wrk(self.server, self.options.seconds, 'GET', self.read_keys))

    def put_and_delete(self, results, number):
        collection = f'written{number}'
        keys = write_keys(self.folder / 'write.keys',
                          assign_on_all_volumes(self.cluster, collection, self.options.seconds * 1_000_000))
        put = wrk(self.server, self.options.seconds, 'PUT', keys, '-', self.body)
        self.add(results, 'PUT', put)
        # what is surely stored, on the thread that stored least; wrk leaves when it is used up
        limit = max(1, min(put['sent']) - 2 * CONNECTIONS)
        self.add(results, 'DELETE', wrk(self.server, self.options.seconds, 'DELETE', keys, limit))
        drop_collection(self.cluster, collection)

    def put_durably(self, results, number):
        collection = f'durable{number}'
        keys = write_keys(self.folder / 'durable.keys',
                          assign_on_all_volumes(self.cluster, collection, self.options.seconds * 1_000_000))
        put = wrk(self.server, self.options.seconds, 'PUT', keys, 'fsync=true', self.body)
        self.add(results, 'PUT ?fsync=true', put)
        drop_collection(self.cluster, collection)


def measure(results, folder, options, stack):
    runs = [DataPath(folder, kind, options, stack) for kind in KINDS if kind in options.kinds]
    for number in range(options.rounds or ROUNDS):
        for step in ('get', 'put_and_delete', 'put_durably'):
            for run in runs:
                getattr(run, step)(results, *(() if step == 'get' else (number,)))
