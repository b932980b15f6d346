"""Start of a volume server with millions of blobs in one volume, until it serves the last of them: with each kind
of index, the first time and again. What the first start leaves behind (a checkpoint, a database) is for the next."""
import shutil

from meters import KINDS, copy_files, make_volume, servers, start_until_served

ROUNDS = 3
FIRST = {'memory': 'start, memory', 'leveldb': 'first start, leveldb'}
AGAIN = {'memory': 'start, memory, after a clean stop', 'leveldb': 'start, leveldb, after a clean stop'}
AFTER_KILL = {'memory': 'start, memory, after a kill', 'leveldb': 'start, leveldb, after a kill'}


def measure_start(results, name, kind, server, last):
    wall, cpu = start_until_served(server, f'/{last}')
    results.add(name, 'CPU s', kind, cpu, digits=3)
    results.add(name, 'wall s', kind, wall, digits=3)


def one_round(results, folder, kind, source, last):
    for index in FIRST:
        run_folder = folder / index
        run_folder.mkdir(parents=True)
        with servers(run_folder, kind, f'-index={index}') as (_, server):
            server.stop()
            copy_files(source, server.data)
            measure_start(results, FIRST[index], kind, server, last)
            server.stop()
            measure_start(results, AGAIN[index], kind, server, last)
            server.kill()
            measure_start(results, AFTER_KILL[index], kind, server, last)
        shutil.rmtree(run_folder)


def measure(results, folder, options, _stack):
    source = folder / 'made'
    last = make_volume(source, options.needles, 'sequential', 1024, 1024, 'sparse')
    for number in range(options.rounds or ROUNDS):
        for kind in KINDS:
            if kind in options.kinds:
                one_round(results, folder / f'{kind}-{number}', kind, source, last)
