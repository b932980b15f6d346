"""Replication 001 across one kelp and one weed volume server, under a master of each kind.

Both serve with -readMode=local, so that each answer shows what that server itself holds."""
import os
import threading

import pytest
from lib.cluster import Cluster, http, wait_until

TWO = {'WEED_MASTER_VOLUME_GROWTH_COPY_2': '1'}
HEADERS = ('ETag', 'Content-Type', 'Content-Length', 'Content-Disposition', 'Last-Modified')


@pytest.fixture(scope='module', params=['weed', 'kelp'], ids=lambda kind: f'{kind}_master')
def pair(request, tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp('mixed')) as cluster:
        cluster.any_master(request.param, '-volumeSizeLimitMB=64', '-defaultReplication=001', env=TWO)
        for kind in ('kelp', 'weed'):
            cluster.any_volume(kind, '-readMode=local')
        yield cluster


def addresses(cluster):
    return [server.address for server in cluster.volumes]


def put_at(cluster, address, target, data, name='x.bin'):
    border = 'interopborder'
    body = (f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            'Content-Type: image/x-test\r\n\r\n').encode() + data + f'\r\n--{border}--\r\n'.encode()
    reply = http('POST', f'{address}/{target["fid"]}', body,
                 {'Content-Type': f'multipart/form-data; boundary={border}', 'Seaweed-Colour': 'green'})
    assert reply.status == 201, (address, reply.status, reply.body)
    return target['fid']


def check_both(cluster, blobs, gone=()):
    """Body and headers are the same on both."""
    for fid, data in blobs.items():
        replies = [http('GET', f'{a}/{fid}') for a in addresses(cluster)]
        for reply in replies:
            assert (reply.status, reply.body) == (200, data), fid
        for name in (*HEADERS, 'Seaweed-Colour'):
            assert replies[0].headers[name] == replies[1].headers[name], (fid, name)
    for fid in gone:
        for address in addresses(cluster):
            assert http('GET', f'{address}/{fid}').status == 404, (address, fid)


def vid_of(fid):
    return fid.split(',')[0]


def dat_bytes(cluster, collection):
    return [sum(p.stat().st_size for p in s.data.glob(f'{collection}_*.dat')) for s in cluster.volumes]


@pytest.mark.parametrize('writer', [0, 1], ids=['through_kelp', 'through_weed'])
def test_a_write_and_a_delete_reach_both(pair, writer):
    collection = f'both{writer}'
    address = addresses(pair)[writer]
    blobs = {}
    for size in (0, 1, 100, 5000, 2 << 20):
        target = pair.assign(collection=collection)
        assert sorted(pair.lookup(target['fid'])) == sorted(addresses(pair))
        data = os.urandom(size)
        blobs[put_at(pair, address, target, data)] = data
    text = b'words that compress well, ' * 1000
    blobs[put_at(pair, address, pair.assign(collection=collection), text, name='words.txt')] = text
    check_both(pair, {fid: data for fid, data in blobs.items() if data})
    for fid, data in blobs.items():
        if not data:
            assert [http('GET', f'{a}/{fid}').body for a in addresses(pair)] == [b'', b'']
    # overwritten through the other
    fid = list(blobs)[2]
    blobs[fid] = b'another content'
    put_at(pair, addresses(pair)[1 - writer], {'fid': fid}, blobs[fid])
    gone = list(blobs)[1::2]
    for index, fid in enumerate(gone):
        reply = http('DELETE', f'{addresses(pair)[index % 2]}/{fid}')
        assert reply.status == 202, (reply.status, reply.body)
        del blobs[fid]
    check_both(pair, {fid: data for fid, data in blobs.items() if data}, gone)


def test_the_pair_is_vacuumed(pair):
    blobs = pair.put_many([os.urandom(20000) for _ in range(20)], collection='vacuum')
    gone = list(blobs)[::2]
    for fid in gone:
        assert pair.delete(fid).status == 202
        del blobs[fid]
    before = dat_bytes(pair, 'vacuum')
    assert min(before) > 400000
    pair.weed_shell('volume.vacuum -garbageThreshold=0.1 -collection=vacuum')
    wait_until(lambda: all(now < old * 0.6 for now, old in zip(dat_bytes(pair, 'vacuum'), before)),
               'the space is back on both')
    check_both(pair, blobs, gone)
    fid, _ = pair.put(b'after it', collection='vacuum')
    check_both(pair, {**blobs, fid: b'after it'}, gone)


@pytest.mark.parametrize('victim', [0, 1], ids=['kelp_dies', 'weed_dies'])
def test_one_is_killed_and_comes_back(pair, victim):
    collection = f'kill{victim}'
    blobs = pair.put_many([os.urandom(3000) for _ in range(5)], collection=collection)
    dead, survivor = pair.volumes[victim], pair.volumes[1 - victim]
    dead.kill()
    pair.wait_gone(dead)
    fid = next(iter(blobs))
    assert http('GET', f'{survivor.address}/{fid}').body == blobs[fid]
    # half of a pair is no place for a write: it is refused, not kept on one alone
    lost = f'{vid_of(fid)},ffff01234567'
    assert http('PUT', f'{survivor.address}/{lost}', b'half').status >= 500
    dead.start()
    pair.wait_registered(dead)
    wait_until(lambda: len(pair.lookup(fid)) == 2, 'both hold the volume')
    check_both(pair, blobs)
    fresh = wait_until(lambda: pair.assign(collection=collection), 'it is assigned again')
    blobs[put_at(pair, addresses(pair)[0], fresh, b'back')] = b'back'
    gone = [fid]
    assert wait_until(lambda: http('DELETE', f'{survivor.address}/{fid}').status == 202, 'the delete passes')
    del blobs[fid]
    check_both(pair, blobs, gone)


def test_a_pair_is_vacuumed_under_load(pair):
    """Writes, overwrites and deletes go on through both servers; what was acknowledged is on both."""
    blobs = pair.put_many([os.urandom(60000) for _ in range(30)], collection='load')
    vid = vid_of(next(iter(blobs)))
    gone, failures, over = [], [], threading.Event()
    for fid in list(blobs)[::2]:
        assert pair.delete(fid).status == 202
        gone.append(fid)
        del blobs[fid]

    def client(number):
        mine, count = {}, 0
        while not over.is_set() or count < 30:
            fid = f'{vid},{0x900000 + number * 0x10000 + count % 200:x}00abcdef'
            data = os.urandom(2000 + count)
            count += 1
            if http('PUT', f'{addresses(pair)[number]}/{fid}', data, {'Content-Type': 'image/x-load'}).status == 201:
                mine[fid] = data
            else:  # half of it may have been kept
                failures.append(fid)
                mine.pop(fid, None)
            if count % 3 == 0 and mine:
                victim = next(iter(mine))
                if http('DELETE', f'{addresses(pair)[number]}/{victim}').status == 202:
                    gone.append(victim)
                else:
                    failures.append(victim)
                del mine[victim]
        blobs.update(mine)
    threads = [threading.Thread(target=client, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            pair.kelp_shell(f'volume.vacuum -garbageThreshold=0.001 -volumeId={vid}')
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures
    gone = [fid for fid in gone if fid not in blobs]
    check_both(pair, blobs, gone)
    for server in pair.volumes:  # bytes 4 and 5 of a .dat count its vacuums
        head = (server.data / f'load_{vid}.dat').read_bytes()[:8]
        assert int.from_bytes(head[4:6], 'big') == 3, server.name
