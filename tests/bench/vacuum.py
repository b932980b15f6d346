"""Vacuum of a volume with half garbage: how fast, at what cost, and what clients feel meanwhile.

The master's steps are called one by one (compact, commit), so that the client's pauses can be told apart.
Each vacuum runs on a fresh copy of one prepared folder: first with nobody else there, then with a client
that reads and one that writes, one request at a time each, all through."""
import array
import os
import shutil
import subprocess
import time

from lib.rpc import call_volume, stream_volume
from meters import BLOB_SIZE, KINDS, cpu_seconds, run_client, servers

QUIET = 1.0  # seconds of clients without a vacuum, before it and after it
AROUND = 0.05  # seconds on either side that count as commit, too


def prepare(folder, kind, blobs):
    """A stopped volume server's data, half of it garbage: (its folder, the first file id)."""
    with servers(folder, kind) as (cluster, server):
        fid = cluster.assign(collection='bench', count=blobs, dataSize=BLOB_SIZE)['fid']
        run_client('send', 'PUT', server.port, fid, 0, 1, blobs)
        run_client('send', 'DELETE', server.port, fid, 0, 2, blobs // 2)
        server.stop()
        return server.data, fid


def vacuum(server, fid):
    """Compacts and commits; the monotonic times of start, begin of commit, end."""
    volume_id = int(fid.split(',')[0])
    times = [time.monotonic()]
    stream_volume(server.address, 'VacuumVolumeCompact', timeout=600, volume_id=volume_id)
    times.append(time.monotonic())
    call_volume(server.address, 'VacuumVolumeCommit', timeout=600, volume_id=volume_id)
    times.append(time.monotonic())
    return times


def compacted(server, fid, blobs):
    """Half is gone: nothing was measured otherwise."""
    size = next(server.data.glob(f'bench_{fid.split(",")[0]}.dat')).stat().st_size
    if size > blobs * BLOB_SIZE:
        raise RuntimeError(f'{server.name}: {size} bytes are left of {blobs} blobs: no vacuum took place')


def vacuum_alone(results, kind, server, fid, blobs):
    before = cpu_seconds(server)
    start, _, end = vacuum(server, fid)
    compacted(server, fid, blobs)
    results.add('vacuum alone', 'MB/s live', kind, blobs // 2 * BLOB_SIZE / 1e6 / (end - start), more_is_better=True)
    results.add('vacuum alone', 'server CPU s', kind, cpu_seconds(server) - before, digits=2)


def read_times(path):
    """(start s, duration ms) of each request of a client, in order."""
    raw = array.array('Q', path.read_bytes())
    return [(raw[i] / 1e9, raw[i + 1] / 1e6) for i in range(0, len(raw), 2)]


def add_stalls(results, kind, who, rows, times):
    start, commit, end = times
    phases = {
        'before': (0, start),
        'in copy': (start, commit - AROUND),
        'in commit': (commit - AROUND, end + AROUND),
    }
    for phase, (first, last) in phases.items():
        within = sorted(ms for at, ms in rows if at < last and at + ms / 1e3 > first)
        if within:
            results.add(f'longest {who} {phase}', 'ms', kind, within[-1], digits=2)
            results.add(f'{who} p99.9 {phase}', 'ms', kind, within[min(len(within) - 1, int(len(within) * 0.999))],
                        digits=2)


def vacuum_under_load(results, kind, server, fid, blobs, folder):
    command = [os.environ['KELP_BLOB_CLIENTS'], 'watch', server.port, fid, 1, 2, blobs // 2, folder]
    clients = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE)
    try:
        time.sleep(QUIET)
        times = vacuum(server, fid)
        time.sleep(QUIET)
        clients.stdin.close()
        if clients.wait(30) != 0:
            raise RuntimeError(f'a client of {server.name} failed')
    finally:
        clients.kill()
        clients.wait()
    live = blobs // 2 * BLOB_SIZE / 1e6
    results.add('vacuum under load', 'MB/s live', kind, live / (times[2] - times[0]), more_is_better=True)
    reads, writes = (read_times(folder / name) for name in ('read', 'write'))
    served = sum(1 for at, _ in reads + writes if times[0] < at < times[2])
    results.add('served meanwhile', 'requests/s', kind, served / (times[2] - times[0]), more_is_better=True, digits=0)
    add_stalls(results, kind, 'read', reads, times)
    add_stalls(results, kind, 'write', writes, times)


def one_round(results, folder, kind, prepared, blobs):
    data, fid = prepared
    for is_loaded in (False, True):
        run_folder = folder / ('load' if is_loaded else 'alone')
        run_folder.mkdir(parents=True)
        copy = run_folder / 'data'
        shutil.copytree(data, copy)
        os.sync()  # or the kernel writes the copy back while it is measured
        with servers(run_folder, kind, data=copy) as (_, server):
            if is_loaded:
                vacuum_under_load(results, kind, server, fid, blobs, run_folder)
            else:
                vacuum_alone(results, kind, server, fid, blobs)
        shutil.rmtree(run_folder)


def measure(results, folder, options, _stack):
    kinds = [kind for kind in KINDS if kind in options.kinds]
    prepared = {}
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        prepared[kind] = prepare(folder / kind, kind, options.blobs)
    for number in range(options.rounds):
        for kind in kinds:
            one_round(results, folder / f'{kind}-{number}', kind, prepared[kind], options.blobs)
