"""The peer's offline tools on a folder that kelp wrote, and kelp on what they leave."""
import os
import tarfile

import pytest
from lib.cluster import http, run, weed_binary


@pytest.fixture
def folder(cluster):
    """(cluster, stopped kelp volume server, its blobs, its volume id); half of what was written is deleted."""
    cluster.kelp_master('-volumeSizeLimitMB=256', env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    server = cluster.kelp_volume()
    blobs = cluster.put_many([os.urandom(10000 + n) for n in range(20)])
    blobs.update(cluster.put_many([b'words that compress ' * 500], collection=''))
    gone = list(blobs)[:20:2]
    for fid in gone:
        assert cluster.delete(fid).status == 202
        del blobs[fid]
    assert server.stop() == 0
    cluster.wait_gone(server)
    return cluster, server, blobs, gone, int(next(iter(blobs)).split(',')[0])


def check_served(cluster, server, blobs, gone):
    server.start()
    cluster.wait_registered(server)
    for fid, data in blobs.items():
        assert http('GET', f'{server.address}/{fid}').body == data, fid
    for fid in gone:
        assert http('GET', f'{server.address}/{fid}').status == 404, fid
    fid, _ = cluster.put(b'and it takes writes')
    assert cluster.get(fid).body == b'and it takes writes'


def weed(server, *words):
    return run([weed_binary(), *words], cwd=server.folder, timeout=60)


def test_an_export_has_every_blob(folder):
    _, server, blobs, _, vid = folder
    tar = server.folder / 'out.tar'
    weed(server, 'export', f'-dir={server.data}', f'-volumeId={vid}', f'-o={tar}', '-fileNameFormat={{.Id}}')
    with tarfile.open(tar) as archive:
        bodies = sorted(archive.extractfile(member).read() for member in archive.getmembers())
    assert bodies == sorted(blobs.values())


def test_an_index_rebuilt_by_fix_is_served(folder):
    cluster, server, blobs, gone, vid = folder
    (server.data / f'{vid}.idx').unlink()
    weed(server, 'fix', f'-volumeId={vid}', str(server.data))
    check_served(cluster, server, blobs, gone)


def test_a_volume_compacted_offline_is_served(folder):
    cluster, server, blobs, gone, vid = folder
    dat = server.data / f'{vid}.dat'
    before = dat.stat().st_size
    weed(server, 'compact', f'-dir={server.data}', f'-volumeId={vid}')
    copies = {server.data / f'{vid}.cpd': dat, server.data / f'{vid}.cpx': dat.with_suffix('.idx')}
    assert all(copy.exists() for copy in copies)
    for copy, target in copies.items():  # the tool leaves the last step to the operator
        copy.rename(target)
    assert dat.stat().st_size < before * 0.6
    check_served(cluster, server, blobs, gone)
