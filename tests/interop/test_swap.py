"""A running cluster whose servers are exchanged, one after the other, for those of the other project."""
import os

import pytest
from lib.cluster import http, wait_until

ONE = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '2'}
OTHER = {'kelp': 'weed', 'weed': 'kelp'}


def key_of(fid):
    return int(fid.split(',')[1][:-8], 16)


@pytest.mark.parametrize('first', ['weed', 'kelp'])
def test_a_master_is_exchanged_under_running_volume_servers(cluster, first):
    old = cluster.any_master(first, '-volumeSizeLimitMB=64', env=ONE)
    servers = [cluster.any_volume(kind) for kind in ('kelp', 'weed')]
    blobs = {}
    for index in range(20):
        data = os.urandom(1000 + index)
        blobs[cluster.put(data, collection=f'c{index % 2}')[0]] = data
    volumes = {fid.split(',')[0] for fid in blobs}
    old.stop()
    cluster.masters.clear()
    cluster.any_master(OTHER[first], '-volumeSizeLimitMB=64', env=ONE, port=old.port)
    for server in servers:
        cluster.wait_registered(server)
    for fid, data in blobs.items():
        assert wait_until(lambda f=fid: cluster.lookup(f), 'the volume is known')
        assert cluster.get(fid).body == data, fid
    # neither keys nor volume ids are handed out again
    fresh = [cluster.put(b'new', collection=f'c{index % 2}')[0] for index in range(10)]
    assert min(map(key_of, fresh)) > max(map(key_of, blobs))
    fid, _ = cluster.put(b'new', collection='new')
    assert int(fid.split(',')[0]) > max(map(int, volumes))
    for fid, data in blobs.items():
        assert cluster.get(fid).body == data, fid
    cluster.weed_shell('cluster.check')


@pytest.mark.parametrize('first', ['weed', 'kelp'])
def test_a_volume_server_is_exchanged_in_its_place(cluster, first):
    cluster.any_master(OTHER[first], '-volumeSizeLimitMB=64', env=ONE)
    old = cluster.any_volume(first)
    blobs = cluster.put_many([os.urandom(1000) for _ in range(20)])
    assert old.stop() == 0
    cluster.wait_gone(old)
    new = cluster.any_volume(OTHER[first], data=old.data, port=old.port)
    assert new.address == old.address
    for fid, data in blobs.items():
        assert wait_until(lambda f=fid: cluster.lookup(f), 'the volume is known') == [old.address]
        assert http('GET', f'{new.address}/{fid}').body == data, fid
    blobs.update(cluster.put_many([os.urandom(1000) for _ in range(5)]))
    for fid, data in blobs.items():
        assert cluster.get(fid).body == data, fid
