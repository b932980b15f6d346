"""Memory of the needle index: what the server process holds resident with millions of blobs, over the same
process with none. And how fast kelp's index is by itself (index_bench.c), which cannot be asked of a server."""
import json
import os
import shutil
import subprocess
import time

from meters import KINDS, copy_files, make_volume, rss_bytes, servers, start_until_served

ROUNDS = 1
VOLUMES = (  # keys, sizes of the blobs; offsets in key order can be told from sizes, sizes that are equal take no room
    ('sequential', 1024, 1024),
    ('sequential', 500, 2500),
    ('random', 1024, 1024),
    ('random', 500, 2500),
)


def settled_rss(server, options):
    time.sleep(options.settle)
    return rss_bytes(server)


def measure_one(results, folder, kind, made, options, name):
    source, last = made
    with servers(folder, kind) as (_, server):
        idle = settled_rss(server, options)
        server.stop()
        copy_files(source, server.data)
        start_until_served(server, f'/{last}')
        rss = settled_rss(server, options)
    results.add(name, 'RSS B/needle', kind, (rss - idle) / options.needles, digits=2)
    results.add(name, 'RSS MB', kind, rss / 1e6)


def measure_engine(results, folder, keys, options):
    command = [os.environ['KELP_INDEX_BENCH'], '--json', '--keys', keys, '--count', options.needles, '--folder', folder]
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    name = f'engine alone, {keys} keys'
    results.add(name, 'own B/needle', 'kelp', figures['own_bytes_per_needle'], digits=2)
    results.add(name, 'lookup ns', 'kelp', figures['lookup_ns'], digits=0)
    results.add(name, 'insert ns', 'kelp', figures['insert_ns'], digits=0)
    results.add(name, 'longest put us', 'kelp', figures['longest_put_us'], digits=0)
    results.add(name, 'load CPU s', 'kelp', figures['load_cpu_s'], digits=3)
    results.add(name, 'load from checkpoint CPU s', 'kelp', figures['checkpoint_load_cpu_s'], digits=3)


def measure(results, folder, options, _stack):
    for keys, low, high in VOLUMES[::2] if options.quick else VOLUMES:
        size = f'{low} B' if low == high else f'{low} to {high} B'
        source = folder / f'{keys}-{low}-{high}'
        last = make_volume(source, options.needles, keys, low, high, 'sparse')
        for number in range(options.rounds or ROUNDS):
            for kind in KINDS:
                if kind in options.kinds:
                    run_folder = folder / f'run-{keys}-{low}-{high}-{number}-{kind}'
                    run_folder.mkdir()
                    measure_one(results, run_folder, kind, (source, last), options,
                                f'index, {keys} keys, {size}')
                    shutil.rmtree(run_folder)
        shutil.rmtree(source)
    if 'kelp' in options.kinds:
        for _ in range(options.rounds or ROUNDS):
            for keys in ('sequential', 'random'):
                measure_engine(results, folder, keys, options)
