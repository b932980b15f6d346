"""Vacuum jobs in the hands of an operator, and vacuums of a disk that uploads have filled to the brim."""
import contextlib
import os
import re
import subprocess
import threading
import time

import pytest

from lib.cluster import http, wait_until

ONE_VOLUME = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'}
BLOB = 100_000


def put_with_garbage(cluster, count, collection=''):
    """Blobs of which every second one is deleted again: {fid: data} of the others."""
    blobs = {}
    for index in range(count):
        data = os.urandom(BLOB)
        fid = cluster.put(data, collection=collection)[0]
        if index % 2:
            blobs[fid] = data
        else:
            assert cluster.delete(fid).status == 202
    return blobs


def jobs(cluster):
    return http('GET', f'{cluster.master}/kelp/vacuum/jobs').json


def progress(cluster):
    """Of the first replica of the job that runs; None when it has told nothing yet."""
    running = jobs(cluster)['running']
    return running and running[0]['replicas'] and running[0]['replicas'][0].get('progress')


def test_a_job_is_shown_paused_resumed_and_cancelled(cluster):
    cluster.kelp_master(env=ONE_VOLUME)
    server = cluster.kelp_volume('-compactionMBps=1')
    blobs = put_with_garbage(cluster, 120)
    vacuum = threading.Thread(target=lambda: cluster.kelp_shell('volume.vacuum -garbageThreshold=0.1', check=False))
    vacuum.start()
    shown = wait_until(lambda: progress(cluster), 'progress is told')
    job = jobs(cluster)['running'][0]['id']
    assert shown['phase'] == 'copying' and shown['recordsTotal'] == len(blobs)
    assert shown['bytesTotal'] > 100 * BLOB

    cluster.kelp_shell(f'volume.vacuum.pause -job={job}')
    wait_until(lambda: progress(cluster)['phase'] == 'paused', 'the copy holds still')
    before = progress(cluster)['bytesDone']
    assert 'paused' in cluster.kelp_shell('volume.vacuum.jobs').stdout
    fid, _ = cluster.put(b'meanwhile')
    assert cluster.get(fid).body == b'meanwhile'
    assert progress(cluster)['bytesDone'] == before

    cluster.kelp_shell(f'volume.vacuum.resume -job={job}')
    wait_until(lambda: progress(cluster)['bytesDone'] > before, 'the copy goes on')
    now = wait_until(lambda: progress(cluster)['bytesPerSecond'] and progress(cluster), 'a rate is known')
    assert now['phase'] == 'copying' and now['secondsLeft'] > 0

    start = time.monotonic()
    cluster.kelp_shell(f'volume.vacuum.cancel -job={job}')
    wait_until(lambda: not jobs(cluster)['running'], 'the job has ended')
    assert time.monotonic() - start < 2  # one for the copy, one for the shell and the looks
    vacuum.join(30)
    assert jobs(cluster)['history'][-1]['result'] == 'cancelled'
    assert not list(server.data.glob('*.cp?'))
    assert re.search(rf'job {job}, volume \d+: cancelled', cluster.kelp_shell('volume.vacuum.jobs').stdout)
    for fid, data in blobs.items():
        assert cluster.get(fid).body == data
    refused = cluster.kelp_shell(f'volume.vacuum.pause -job={job}', check=False)
    assert refused.returncode != 0


# ---- a disk without room ----

@contextlib.contextmanager
def small_disk(folder, size):
    """An ext4 of so many bytes, on a file."""
    image, mount = folder / 'disk', folder / 'mnt'
    mount.mkdir()
    with open(image, 'wb') as file:
        file.truncate(size)
    try:
        subprocess.run(['mkfs.ext4', '-q', '-m', '0', '-F', str(image)], check=True, capture_output=True)
        subprocess.run(['mount', '-o', 'loop', str(image), str(mount)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f'SKIPPED: nothing can be mounted here: {error}')
    try:
        yield mount
    finally:
        subprocess.run(['umount', '-l', str(mount)], check=True)
        image.unlink()


def free_bytes(mount):
    stat = os.statvfs(mount)
    return stat.f_bavail * stat.f_frsize


def upload_until_refused(cluster):
    """Into one volume, as fast as one client can: {fid: data}."""
    target = cluster.assign(collection='brim')
    blobs = {}
    while True:
        data = os.urandom(BLOB)
        fid = f'{target["fid"].split(",")[0]},{len(blobs) + 1:x}00001234'
        reply = http('PUT', f'{target["url"]}/{fid}', data, {'Content-Type': 'application/octet-stream'})
        if reply.status != 201:
            assert b'low on space' in reply.body or b'read only' in reply.body, reply.body
            return blobs
        blobs[fid] = data


def delete_all_but(server, blobs, count):
    for fid in list(blobs)[count:]:
        assert http('DELETE', f'{server.address}/{fid}').status == 202
        del blobs[fid]


def test_a_disk_that_uploads_have_filled_is_vacuumed(cluster, tmp_path):
    with small_disk(tmp_path, 96 << 20) as mount:
        cluster.kelp_master(env=ONE_VOLUME)
        data = mount / 'data'
        data.mkdir()
        server = cluster.kelp_volume('-minFreeSpace=1MiB', data=data)
        blobs = upload_until_refused(cluster)
        assert len(blobs) * BLOB > 48 << 20
        # tombstones are still taken, and what was kept free is enough for the vacuum
        room = free_bytes(mount)
        delete_all_but(server, blobs, int((room - (2 << 20)) / 1.02 / BLOB))
        done = cluster.kelp_shell('volume.vacuum -garbageThreshold=0.1')
        assert re.search(r'^volume \d+ on .*-> \d+ bytes$', done.stdout, re.M), done.stdout
        for fid, body in blobs.items():
            assert cluster.get(fid).body == body
        wait_until(lambda: http('PUT', f'{server.address}/{next(iter(blobs))}', b'it takes writes again').status < 300,
                   'the volume is writable again')
        server.stop()


def test_a_vacuum_needs_what_is_live_and_one_percent(cluster, tmp_path):
    with small_disk(tmp_path, 96 << 20) as mount:
        cluster.kelp_master(env=ONE_VOLUME)
        data = mount / 'data'
        data.mkdir()
        server = cluster.kelp_volume('-minFreeSpace=1MiB', data=data)
        blobs = upload_until_refused(cluster)
        delete_all_but(server, blobs, 100)
        live = 101 * BLOB * 101 // 100  # records are a little longer than what is in them

        def fill_up(free):
            excess = free_bytes(mount) - free
            with open(mount / 'filler', 'wb') as file:
                os.posix_fallocate(file.fileno(), 0, excess)

        fill_up(90 * BLOB)
        done = cluster.kelp_shell('volume.vacuum -garbageThreshold=0.1', check=False)
        assert done.returncode != 0
        assert re.search(r'need \d+ bytes .* \d+ are missing: delete or move a volume', done.stdout + done.stderr), done
        (mount / 'filler').unlink()
        fill_up(live + (1 << 20))
        cluster.kelp_shell('volume.vacuum -garbageThreshold=0.1')
        for fid, body in blobs.items():
            assert cluster.get(fid).body == body
        server.stop()
