"""The files beside an .idx that either server makes from it, in the hands of the other: sorted files of closed
volumes, databases."""
import os

import pytest
from lib.cluster import http, wait_until

ONE = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'}
OTHER = {'kelp': 'weed', 'weed': 'kelp'}


def exchange(cluster, old, kind, *flags):
    assert old.stop() == 0
    cluster.wait_gone(old)
    cluster.volumes.remove(old)
    return cluster.any_volume(kind, *flags, data=old.data, port=old.port, name=f'{kind}-{len(cluster.servers)}')


def assert_blobs(server, blobs, gone):
    for fid, data in blobs.items():
        reply = wait_until(lambda f=fid: http('GET', f'{server.address}/{f}'), 'an answer')
        assert reply.status == 200 and reply.body == data, (fid, reply.status)
    for fid in gone:
        assert http('GET', f'{server.address}/{fid}').status == 404, fid


def mark(cluster, server, volume, how):
    cluster.weed_shell(f'volume.mark -node {server.address} -volumeId {volume} -{how}')


def fill(cluster):
    blobs = cluster.put_many([os.urandom(100 + 7 * i) for i in range(200)])
    blobs.update({fid: os.urandom(50) for fid in list(blobs)[:20]})
    for fid in list(blobs)[:20]:
        assert http('PUT', f'{cluster.lookup(fid)[0]}/{fid}', blobs[fid],
                    {'Content-Type': 'application/octet-stream'}).status == 201
    gone = list(blobs)[10:40]
    for fid in gone:
        assert cluster.delete(fid).status == 202
        blobs.pop(fid)
    return blobs, gone, gone[0].split(',')[0]


@pytest.mark.parametrize('first', ['weed', 'kelp'])
def test_a_sorted_file_of_one_is_used_by_the_other(cluster, first):
    cluster.kelp_master(env=ONE)
    server = cluster.any_volume(first)
    blobs, gone, volume = fill(cluster)
    mark(cluster, server, volume, 'readonly')
    server = exchange(cluster, server, first)  # which loads it as it is marked
    assert_blobs(server, blobs, gone)
    path = server.data / f'{volume}.sdx'
    made, content = path.stat(), path.read_bytes()
    assert made.st_mtime_ns > (server.data / f'{volume}.idx').stat().st_mtime_ns
    server = exchange(cluster, server, OTHER[first])
    assert_blobs(server, blobs, gone)
    found = path.stat()
    assert (found.st_ino, found.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert path.read_bytes() == content
    # and what the other makes of the same volume is the same, to the byte
    path.unlink()
    server = exchange(cluster, server, OTHER[first])
    assert_blobs(server, blobs, gone)
    assert path.read_bytes() == content
    mark(cluster, server, volume, 'writable')
    fid = next(iter(blobs))
    assert http('DELETE', f'{server.address}/{fid}').status == 202
    blobs.pop(fid)
    gone.append(fid)
    server = exchange(cluster, server, first)
    assert_blobs(server, blobs, gone)
    blobs.update(cluster.put_many([b'it takes writes']))
    assert_blobs(server, blobs, gone)


def test_databases_of_both_lie_side_by_side(cluster):
    """Each finds the .idx grown by the other, and goes on from where its own database ends."""
    cluster.kelp_master(env=ONE)
    server = cluster.any_volume('weed', '-index=leveldb')
    blobs, gone, volume = fill(cluster)
    for kind in ('kelp', 'weed', 'kelp', 'weed'):
        server = exchange(cluster, server, kind, '-index=leveldb')
        assert_blobs(server, blobs, gone)
        blobs.update(cluster.put_many([os.urandom(300) for _ in range(20)]))
        gone.append(list(blobs)[30])
        blobs.pop(gone[-1])
        assert cluster.delete(gone[-1]).status == 202
        assert_blobs(server, blobs, gone)
    assert (server.data / f'{volume}.ldb').is_dir() and (server.data / 'kelp.ldb').is_dir()
    server = exchange(cluster, server, 'kelp', '-index=leveldb')
    cluster.kelp_shell('volume.vacuum -garbageThreshold=0.01')
    assert not (server.data / f'{volume}.ldb').exists()  # it is of offsets that are no more
    assert_blobs(server, blobs, gone)
    server = exchange(cluster, server, 'weed', '-index=leveldb')
    assert_blobs(server, blobs, gone)
