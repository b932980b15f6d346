"""A kelp volume server under a weed master, and a weed volume server under a kelp master: blobs, and both
shells on both. One cluster of each kind serves all tests; each test keeps to a collection of its own."""
import os
import re

import pytest
from lib.cluster import Cluster, http, wait_until
from lib.rpc import call_volume

KINDS = [('weed', 'kelp'), ('kelp', 'weed')]  # master, volume server
ONE = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'}


@pytest.fixture(scope='module', params=KINDS, ids=[f'{m}_master_{v}_volume' for m, v in KINDS])
def pair(request, tmp_path_factory):
    master, volume = request.param
    with Cluster(tmp_path_factory.mktemp('pair')) as cluster:
        cluster.any_master(master, '-volumeSizeLimitMB=64', env=ONE)
        cluster.any_volume(volume)
        yield cluster


def server_of(cluster):
    return cluster.volumes[0]


def fill(cluster, collection, count=20, size=30000):
    return cluster.put_many([os.urandom(size + index) for index in range(count)], collection=collection)


def check(cluster, blobs, gone=()):
    for fid, data in blobs.items():
        reply = http('GET', f'{server_of(cluster).address}/{fid}')
        assert (reply.status, reply.body) == (200, data), fid
    for fid in gone:
        assert http('GET', f'{server_of(cluster).address}/{fid}').status == 404, fid


def volume_of(blobs):
    return next(iter(blobs)).split(',')[0]


def dat_bytes(cluster, collection):
    return sum(p.stat().st_size for p in server_of(cluster).data.glob(f'{collection}_*.dat'))


def is_assignable(cluster, collection):
    return http('GET', f'{cluster.master}/dir/assign?collection={collection}').status == 200


def test_blobs_are_put_got_headed_and_deleted(pair):
    for size in (0, 1, 1000, 3 << 20):
        data = os.urandom(size)
        fid, url = pair.put(data, collection='blobs')
        assert url == server_of(pair).address
        got = http('GET', f'{url}/{fid}')
        head = http('HEAD', f'{url}/{fid}')
        assert got.body == data and head.body == b''
        assert got.status == head.status == 200
        for name in ('Content-Length', 'ETag', 'Last-Modified'):
            assert head.headers[name] == got.headers[name], name
        assert int(head.headers['Content-Length']) == size
        if size > 0:  # nothing is kept of an empty one that a cookie could be held against
            assert http('GET', f'{url}/{fid[:-8]}00000000').status == 404
        assert pair.delete(fid).status == 202
        assert http('GET', f'{url}/{fid}').status == http('HEAD', f'{url}/{fid}').status == 404


def test_a_batch_delete_answers_for_each_file(pair):
    blobs = fill(pair, 'batch', 3)
    fids = list(blobs)
    wrong = fids[1][:-8] + '00000000'
    asked = [fids[0], wrong, '999999,0163703700', 'not a file id']
    results = call_volume(server_of(pair).address, 'BatchDelete', file_ids=asked).results
    assert [r.file_id for r in results] == asked
    assert results[0].status == 202 and results[0].size > 0 and not results[0].error
    assert results[1].status == 400 and results[1].error
    assert results[2].status == 404 and results[2].error
    assert results[3].status == 400 and results[3].error
    gone = fids[0]
    del blobs[gone]
    check(pair, blobs, [gone])
    assert call_volume(server_of(pair).address, 'BatchDelete', file_ids=[gone]).results[0].status in (304, 404)


@pytest.mark.parametrize('shell', ['weed', 'kelp'])
def test_a_vacuum_from_the_shell_gives_the_space_back(pair, shell):
    collection = f'vacuum{shell}'
    blobs = fill(pair, collection)
    gone = list(blobs)[::2]
    for fid in gone:
        assert pair.delete(fid).status == 202
        del blobs[fid]
    before = dat_bytes(pair, collection)
    getattr(pair, f'{shell}_shell')(f'volume.vacuum -garbageThreshold=0.1 -collection={collection}')
    wait_until(lambda: dat_bytes(pair, collection) < before * 0.6, 'the space is back')
    check(pair, blobs, gone)
    blobs.update(fill(pair, collection, 3))  # it takes writes
    check(pair, blobs)


def test_the_cluster_is_checked_by_both_shells(pair):
    said = pair.weed_shell('cluster.check', 'volume.list').stdout
    address = server_of(pair).address
    assert len(re.findall(r'\.\.\. ok', said)) == 2, said
    assert f'DataNode {address} ' in said
    said = pair.kelp_shell('cluster.check').stdout
    assert address in said
    assert address in pair.kelp_shell('volume.list').stdout


def test_both_shells_list_the_same_tree(pair):
    blobs = fill(pair, 'listed', 2)
    vid = int(volume_of(blobs))
    wait_until(lambda: any(v['id'] == vid and v['fileCount'] == 2 for v in pair.volumes_listed()),
               'a heartbeat with both files')

    def lines(text):
        return [line for line in text.splitlines() if re.match(r'\s*(D|Rack|Topology|volume|total)', line)]
    theirs = lines(pair.weed_shell('volume.list').stdout)
    ours = lines(pair.kelp_shell('volume.list').stdout)
    assert ours == theirs and len(ours) > 6


@pytest.mark.parametrize('holder,other', [('weed', 'kelp'), ('kelp', 'weed')])
def test_the_lock_keeps_the_other_shell_out(pair, holder, other):
    import subprocess
    from lib.cluster import kelp_binary, weed_binary
    binary = weed_binary() if holder == 'weed' else kelp_binary()
    shell = subprocess.Popen([binary, 'shell', f'-master={pair.master}'], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, cwd=pair.folder)
    try:
        from lib.rpc import call_master

        def held():
            return call_master(pair.master, 'GetAdminLockStatus', lock_name='shell').is_locked
        assert not held()
        shell.stdin.write('lock\n')
        shell.stdin.flush()
        wait_until(held, 'the lock is held')
        if other == 'kelp':
            assert pair.kelp_shell('lock -timeout=1s', check=False).returncode != 0
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                from lib.cluster import run
                run([weed_binary(), 'shell', f'-master={pair.master}'], input='lock\nexit\n', timeout=3)
        shell.stdin.write('unlock\nexit\n')
        shell.stdin.close()
        shell.wait(20)
        wait_until(lambda: not held(), 'the lock is free')
    finally:
        shell.kill()
        shell.wait()


@pytest.mark.parametrize('shell', ['weed', 'kelp'])
def test_a_marked_volume_refuses_writes_until_it_is_marked_back(pair, shell):
    collection = f'mark{shell}'
    blobs = fill(pair, collection, 2)
    vid, node = volume_of(blobs), server_of(pair).address
    target = pair.assign(collection=collection)['fid']
    command = getattr(pair, f'{shell}_shell')
    command(f'volume.mark -node={node} -volumeId={vid} -readonly')
    assert http('PUT', f'{node}/{target}', b'x').status >= 400
    assert pair.delete(next(iter(blobs))).status >= 400
    check(pair, blobs)
    command(f'volume.mark -node={node} -volumeId={vid} -writable')
    assert http('PUT', f'{node}/{target}', b'x').status == 201
    wait_until(lambda: pair.assign(collection=collection)['fid'].split(',')[0] == vid, 'it is assigned again')
    check(pair, blobs)


@pytest.mark.parametrize('shell', ['weed', 'kelp'])
def test_a_volume_is_unmounted_and_mounted(pair, shell):
    collection = f'mount{shell}'
    blobs = fill(pair, collection, 2)
    vid, node = volume_of(blobs), server_of(pair).address
    command = getattr(pair, f'{shell}_shell')
    command(f'volume.unmount -node={node} -volumeId={vid}')
    wait_until(lambda: not pair.lookup(f'{vid},01'), 'the master has forgotten it')
    assert http('GET', f'{node}/{next(iter(blobs))}').status == 404
    assert list(server_of(pair).data.glob(f'{collection}_{vid}.dat'))
    command(f'volume.mount -node={node} -volumeId={vid}')
    wait_until(lambda: pair.lookup(f'{vid},01') == [node], 'the master knows it')
    check(pair, blobs)


@pytest.mark.parametrize('shell', ['weed', 'kelp'])
def test_collections_grow_are_listed_and_deleted(pair, shell):
    collection = f'grow{shell}'
    command = getattr(pair, f'{shell}_shell')
    files = lambda: list(server_of(pair).data.glob(f'{collection}_*.dat'))
    blobs = fill(pair, collection, 3)
    command(f'volume.grow -collection={collection} -count=2')
    wait_until(lambda: len(files()) == 3, 'two more volumes')
    assert collection in pair.weed_shell('collection.list').stdout
    assert collection in pair.kelp_shell('collection.list').stdout
    command(f'collection.delete -collection={collection} -apply')
    wait_until(lambda: not files(), 'the files are gone')
    check(pair, {}, blobs)
    wait_until(lambda: collection not in pair.weed_shell('collection.list').stdout, 'it is not listed')


@pytest.mark.parametrize('shell', ['weed', 'kelp'])
def test_a_volume_is_deleted(pair, shell):
    collection = f'drop{shell}'
    blobs = fill(pair, collection, 2)
    vid, node = volume_of(blobs), server_of(pair).address
    getattr(pair, f'{shell}_shell')(f'volume.delete -node={node} -volumeId={vid}')
    wait_until(lambda: not list(server_of(pair).data.glob(f'{collection}_*')), 'the files are gone')
    wait_until(lambda: not pair.lookup(f'{vid},01'), 'the master has forgotten it')
    check(pair, {}, blobs)
