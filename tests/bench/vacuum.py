"""Vacuum of a volume of which half is garbage, with nobody else there: how fast, and at what cost; beside it cp of
the file that came out, with sync. And a vacuum on a disk that has room for little more than what is alive.

Each vacuum runs on a fresh copy of one prepared folder. The master's steps are called one by one."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

import grpc

from lib.rpc import call_volume, stream_volume
from meters import BLOB_SIZE, KINDS, copy_files, cpu_seconds, make_volume, servers, touch_memory

ROUNDS = 5


def vacuum(server, volume_id=1):
    """Compacts and commits; the monotonic times of start, begin of commit, end."""
    times = [time.monotonic()]
    stream_volume(server.address, 'VacuumVolumeCompact', timeout=600, volume_id=volume_id)
    times.append(time.monotonic())
    call_volume(server.address, 'VacuumVolumeCommit', timeout=600, volume_id=volume_id)
    times.append(time.monotonic())
    return times


def check_compacted(server, times):
    """The .dat, which says how many vacuums it has gone through: nothing was measured otherwise."""
    dat = server.data / 'bench_1.dat'
    with open(dat, 'rb') as file:
        revision = int.from_bytes(file.read(8)[4:6], 'big')
    if revision != times:
        raise RuntimeError(f'{server.name}: {revision} vacuums took place, not {times}')
    return dat


def copy_by_cp(results, dat, live_mb):
    """The bytes of the vacuumed file, from the page cache as they were for the vacuum, into a new file."""
    target = dat.with_suffix('.copy')
    subprocess.run(['cat', str(dat)], stdout=subprocess.DEVNULL, check=True)
    touch_memory(dat.parent, dat.stat().st_size)
    start, before = time.monotonic(), os.times()
    subprocess.run(['cp', '--reflink=never', str(dat), str(target)], check=True)
    subprocess.run(['sync', str(target)], check=True)
    took, after = time.monotonic() - start, os.times()
    target.unlink()
    results.add('vacuum', 'MB/s live', 'cp', live_mb / took, more_is_better=True)
    results.add('vacuum', 'CPU s', 'cp', after.children_user + after.children_system -
                before.children_user - before.children_system, digits=2)


def one_round(results, folder, kind, source, blobs):
    folder.mkdir()
    data = folder / 'data'
    data.mkdir()
    copy_files(source, data)
    with servers(folder, kind, data=data) as (_, server):
        live_mb = blobs // 2 * BLOB_SIZE / 1e6
        touch_memory(folder, live_bytes(blobs))
        before = cpu_seconds(server)
        start, _, end = vacuum(server)
        results.add('vacuum', 'MB/s live', kind, live_mb / (end - start), more_is_better=True)
        results.add('vacuum', 'CPU s', kind, cpu_seconds(server) - before, digits=2)
        dat = check_compacted(server, 1)
        if kind == 'kelp':
            os.sync()
            copy_by_cp(results, dat, live_mb)
    shutil.rmtree(folder)


# ---- little room ----

@contextlib.contextmanager
def small_disk(folder, size):
    """An ext4 of so many bytes, on a file."""
    image, mount = folder / 'disk', folder / 'mnt'
    mount.mkdir()
    with open(image, 'wb') as file:
        file.truncate(size)
    subprocess.run(['mkfs.ext4', '-q', '-m', '0', '-F', str(image)], check=True)
    subprocess.run(['mount', '-o', 'loop', str(image), str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(['umount', str(mount)], check=True)
        image.unlink()


def fill_up(mount, free):
    """Until so many bytes are free: (within a few blocks)."""
    stat = os.statvfs(mount)
    excess = stat.f_bavail * stat.f_frsize - free
    with open(mount / 'filler', 'wb') as file:
        os.posix_fallocate(file.fileno(), 0, excess)


def live_bytes(blobs):
    """Records and rows of the half that is not deleted; a record of make_volume.c."""
    body = 4 + BLOB_SIZE + 1 + 5
    base = 16 + body + 4 + 8
    return blobs // 2 * (base + 8 - base % 8 + 17)


def one_round_in_little_room(results, folder, kind, source, blobs):
    folder.mkdir()
    size = sum(f.stat().st_size for f in source.iterdir())
    with small_disk(folder, size * 2 + (64 << 20)) as mount:
        data = mount / 'data'
        data.mkdir()
        copy_files(source, data)
        with servers(folder, kind, data=data) as (_, server):
            fill_up(mount, live_bytes(blobs) * 101 // 100)
            try:
                start, _, end = vacuum(server)
                check_compacted(server, 1)
            except (grpc.RpcError, RuntimeError) as error:
                text = error.details() if isinstance(error, grpc.RpcError) else error
                print(f'{kind} with room for live + 1 %: {text}', file=sys.stderr)
                start = end = None
        results.add('vacuum with live + 1 % free', 'succeeded', kind, int(start is not None), more_is_better=True,
                    digits=0)
        if start is not None:
            results.add('vacuum with live + 1 % free', 'MB/s live', kind, blobs // 2 * BLOB_SIZE / 1e6 / (end - start),
                        more_is_better=True)
    shutil.rmtree(folder)


def can_mount(folder):
    try:
        with small_disk(folder, 8 << 20):
            return True
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'SKIPPED: vacuum with live + 1 % free: no file system can be mounted here: {error}', file=sys.stderr)
        return False
    finally:
        with contextlib.suppress(OSError):
            (folder / 'mnt').rmdir()


def measure(results, folder, options, _stack):
    kinds = [kind for kind in KINDS if kind in options.kinds]
    source, small = folder / 'made', folder / 'small'
    make_volume(source, options.blobs, 'sequential', BLOB_SIZE, BLOB_SIZE, 'garbage')
    for number in range(options.rounds or ROUNDS):
        for kind in kinds:
            one_round(results, folder / f'{kind}-{number}', kind, source, options.blobs)
    shutil.rmtree(source)
    if can_mount(pathlib.Path(folder)):
        blobs = max(options.blobs * 3 // 10, 20_000)
        make_volume(small, blobs, 'sequential', BLOB_SIZE, BLOB_SIZE, 'garbage')
        for kind in kinds:
            one_round_in_little_room(results, folder / f'{kind}-small', kind, small, blobs)
