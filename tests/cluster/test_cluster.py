"""A cluster of kelp alone: one master, volume servers, clients over HTTP, and what happens when they die."""
import concurrent.futures
import hashlib
import os
import re

from lib.cluster import http, run, wait_until, kelp_binary


def dat_bytes(server):
    return sum(p.stat().st_size for p in server.data.glob('*.dat'))


def test_blobs_are_stored_on_every_replica(cluster):
    cluster.kelp_master('-defaultReplication=001')
    servers = [cluster.kelp_volume() for _ in range(3)]
    data = os.urandom(5000)
    fid, _ = cluster.put(data)
    holders = cluster.lookup(fid)
    assert len(holders) == 2 and set(holders) <= {s.address for s in servers}
    for holder in holders:
        assert http('GET', f'{holder}/{fid}').body == data
    assert cluster.delete(fid).status == 202
    for holder in holders:
        assert http('GET', f'{holder}/{fid}').status == 404
    # a server without the volume passes the request on
    other = next(s for s in servers if s.address not in holders)
    fid, _ = cluster.put(data)
    for server in servers:
        assert http('GET', f'{server.address}/{fid}').body == data
    assert other.is_running()


def test_a_vacuum_gives_the_space_back_on_all_replicas(cluster):
    cluster.kelp_master('-defaultReplication=001', env={'WEED_MASTER_VOLUME_GROWTH_COPY_2': '1'})
    servers = [cluster.kelp_volume() for _ in range(2)]
    blobs = {}
    for index in range(40):
        data = os.urandom(20000 + index)
        blobs[cluster.put(data)[0]] = data
    gone = list(blobs)[::2]
    before = [dat_bytes(s) for s in servers]
    for fid in gone:
        assert cluster.delete(fid).status == 202
        blobs.pop(fid)
    done = cluster.kelp_shell('volume.vacuum -garbageThreshold=0.1')
    assert len(re.findall(r'^volume \d+ on .*-> \d+ bytes$', done.stdout, re.M)) == 2, done.stdout
    for server, old in zip(servers, before):
        assert dat_bytes(server) < old * 0.6
        for fid, data in blobs.items():
            assert http('GET', f'{server.address}/{fid}').body == data
        for fid in gone:
            assert http('GET', f'{server.address}/{fid}').status == 404


def test_the_automatic_vacuum_runs_by_itself(cluster):
    cluster.kelp_master('-vacuumIntervalSeconds=1', '-vacuumJitterSeconds=1', '-garbageThreshold=0.2',
                        env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    server = cluster.kelp_volume()
    kept = os.urandom(1000)
    kept_fid, _ = cluster.put(kept)
    fid, _ = cluster.put(os.urandom(1 << 20))
    assert cluster.delete(fid).status == 202
    wait_until(lambda: dat_bytes(server) < 100000, 'the garbage is gone')
    assert cluster.get(kept_fid).body == kept
    # switched off, it stays away; switched on, it comes back
    cluster.kelp_shell('volume.vacuum.disable')
    fid, _ = cluster.put(os.urandom(1 << 20))
    assert cluster.delete(fid).status == 202
    jobs = http('GET', f'{cluster.master}/kelp/vacuum/jobs').json
    assert jobs['enabled'] is False and dat_bytes(server) > 1 << 20
    cluster.kelp_shell('volume.vacuum.enable')
    wait_until(lambda: dat_bytes(server) < 100000, 'the garbage is gone again')


def test_ids_and_keys_are_never_handed_out_twice(cluster):
    master = cluster.kelp_master()
    server = cluster.kelp_volume()
    seen, volumes = set(), set()
    for round_number in range(3):
        for _ in range(20):
            fid = cluster.assign()['fid']
            volume, rest = fid.split(',')
            assert rest[:-8] not in seen
            seen.add(rest[:-8])
            volumes.add(volume)
        master.kill()
        master.start()
        wait_until(lambda: cluster.nodes() == [server.address], 'the volume server is back')
    before = {v['id'] for v in cluster.volumes_listed()}
    cluster.kelp_shell('volume.grow -count=1 -collection=new')
    after = {v['id'] for v in wait_until(
        lambda: len(cluster.volumes_listed()) > len(before) and cluster.volumes_listed(), 'a new volume')}
    assert min(after - before) > max(before)


def test_a_server_that_restarts_serves_what_it_had(cluster):
    cluster.kelp_master()
    server = cluster.kelp_volume()
    blobs = {}
    for index in range(50):
        data = os.urandom(100 * index)
        blobs[cluster.put(data)[0]] = data
    assert server.stop() == 0
    cluster.wait_gone(server)
    server.start()
    cluster.wait_registered(server)
    for fid, data in blobs.items():
        reply = http('GET', f'{server.address}/{fid}')
        assert reply.status == 200 and reply.body == data
    server.kill()  # and after a crash
    server.start()
    cluster.wait_registered(server)
    for fid, data in blobs.items():
        assert wait_until(lambda f=fid: http('GET', f'{server.address}/{f}'), 'an answer').body == data
    cluster.put(b'and it takes writes')


def test_a_server_that_dies_in_a_vacuum_harms_nothing(cluster):
    cluster.kelp_master('-defaultReplication=001', env={'WEED_MASTER_VOLUME_GROWTH_COPY_2': '1'})
    servers = [cluster.kelp_volume('-compactionMBps=1') for _ in range(2)]
    blobs = {}
    for index in range(30):
        data = os.urandom(200000)
        blobs[cluster.put(data)[0]] = data
    for fid in list(blobs)[::2]:
        assert cluster.delete(fid).status == 202
        blobs.pop(fid)
    shell = cluster.kelp_shell
    import threading
    thread = threading.Thread(target=lambda: shell('volume.vacuum -garbageThreshold=0.1', check=False))
    thread.start()
    wait_until(lambda: list(servers[0].data.glob('*.cpd')), 'the copy has begun')
    servers[0].kill()
    thread.join(60)
    assert not thread.is_alive()
    cluster.wait_gone(servers[0])
    wait_until(lambda: not list(servers[1].data.glob('*.cp?')), 'the other cleaned up or committed')
    for fid, data in blobs.items():
        assert http('GET', f'{servers[1].address}/{fid}').body == data
    servers[0].start()
    cluster.wait_registered(servers[0])
    wait_until(lambda: not list(servers[0].data.glob('*.cp?')), 'the restarted one rolled back')
    for server in servers:
        for fid, data in blobs.items():
            assert http('GET', f'{server.address}/{fid}').body == data
    data = os.urandom(100)
    fid, _ = cluster.put(data)
    assert cluster.get(fid).body == data


def test_many_clients_at_once_get_the_last_slot(cluster):
    cluster.kelp_master()
    cluster.kelp_volume('-max=1')
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: http('GET', f'{cluster.master}/dir/assign'), range(64)))
    assert {r.status for r in replies} == {200}, {r.body for r in replies if r.status != 200}
    assert len({r.json['fid'] for r in replies}) == 64


def test_collections_come_and_go(cluster):
    cluster.kelp_master()
    server = cluster.kelp_volume('-max=100')
    fid, _ = cluster.put(b'picture', collection='my_pictures')
    assert [p.name for p in server.data.glob('my_pictures_*.dat')]
    assert 'my_pictures' in cluster.kelp_shell('collection.list').stdout
    assert 'would be deleted' in cluster.kelp_shell('collection.delete -collection=my_pictures').stdout
    assert cluster.get(fid).body == b'picture'
    cluster.put(b'x', collection='my_other')  # grows seven volumes; the deletion ends that
    cluster.kelp_shell('collection.delete -collection=my_other -apply')
    wait_until(lambda: not list(server.data.glob('my_other_*')), 'the files are gone')
    cluster.kelp_shell('collection.delete -collection=my_pictures -apply')
    wait_until(lambda: not list(server.data.glob('my_pictures_*')), 'the files are gone')
    assert http('GET', f'{server.address}/{fid}').status == 404


def test_upload_and_download_keep_files_whole(cluster, tmp_path):
    cluster.kelp_master()
    cluster.kelp_volume()
    digests, source, target = {}, tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    target.mkdir()
    for name, size in (('empty', 0), ('small.txt', 100), ('chunked.bin', 9 << 20)):
        data = os.urandom(size)
        (source / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    import json
    rows = json.loads(run([kelp_binary(), 'upload', f'-master={cluster.master}', f'-dir={source}']).stdout)
    assert sorted(r['fileName'] for r in rows) == sorted(digests)
    for row in rows:
        if row['fileName'] == 'empty':
            assert cluster.get(row['fid']).body == b''
            continue
        run([kelp_binary(), 'download', f'-master={cluster.master}', f'-dir={target}', row['fid']])
        data = (target / row['fileName']).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digests[row['fileName']]


def test_server_runs_both_in_one_process(tmp_path):
    from lib.cluster import Cluster, Server, free_port
    with Cluster(tmp_path) as cluster:
        master_port, volume_port = free_port(), free_port()
        (tmp_path / 'data').mkdir()
        server = Server('server', [kelp_binary(), 'server', '-ip=127.0.0.1', f'-dir={tmp_path}/data',
                                   f'-master.port={master_port}', f'-volume.port={volume_port}',
                                   '-volume.preStopSeconds=0'], tmp_path)
        server.address = f'127.0.0.1:{master_port}'
        cluster.servers.append(server)
        cluster.masters.append(server)
        server.start()
        fid, url = cluster.put(b'hello')
        assert url == f'127.0.0.1:{volume_port}' and cluster.get(fid).body == b'hello'
        assert server.stop() == 0
