"""Needle indexes that are kept on disk: servers that crash while they write, kinds that change from start to start,
databases that are damaged, files of the peer's that lie beside them."""
import os
import random
import threading

import pytest
from lib.cluster import http, kelp_binary, run, wait_until

ONE = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '2'}


def restart(cluster, server, *flags):
    if flags:
        server.command = [part for part in server.command if not part.startswith('-index=')] + list(flags)
    server.start()
    cluster.wait_registered(server)


def assert_blobs(server, blobs, gone=()):
    for fid, data in blobs.items():
        reply = wait_until(lambda f=fid: http('GET', f'{server.address}/{f}'), 'an answer')
        assert reply.status == 200 and reply.body == data, (fid, reply.status)
    for fid in gone:
        assert http('GET', f'{server.address}/{fid}').status == 404, fid


class Writer(threading.Thread):
    """Puts, overwrites and deletes until the server is gone; knows what was acknowledged."""

    def __init__(self, address, volume, seed):
        super().__init__()
        self.address, self.volume, self.random = address, volume, random.Random(seed)
        self.blobs, self.gone, self.doubtful, self.is_over = {}, set(), set(), False

    def run(self):
        while not self.is_over:
            act = self.random.random()
            if act < 0.7 or not self.blobs:
                fid = f'{self.volume},{self.random.getrandbits(40) + 1:x}{self.random.getrandbits(32):08x}'
            else:
                fid = self.random.choice(list(self.blobs))
            data = None if act >= 0.85 and fid in self.blobs else self.random.randbytes(self.random.randrange(1, 3000))
            try:
                reply = http('DELETE' if data is None else 'PUT', f'{self.address}/{fid}', data,
                             {'Content-Type': 'application/octet-stream'})
            except OSError:
                self.doubtful.add(fid)  # carried out or not
                self.blobs.pop(fid, None)
                return
            assert reply.status in (201, 202), (reply.status, reply.body)
            self.blobs.pop(fid, None)
            if data is None:
                self.gone.add(fid)
            else:
                self.blobs[fid] = data


@pytest.mark.parametrize('index', ['leveldb', 'leveldbMedium', 'leveldbLarge'])
def test_a_server_that_is_killed_while_it_writes_loses_nothing(cluster, index):
    cluster.kelp_master(env=ONE)
    server = cluster.kelp_volume(f'-index={index}')
    volumes = sorted({cluster.assign()['fid'].split(',')[0] for _ in range(20)})
    blobs, gone = {}, set()
    for round_number in range(4 if index == 'leveldb' else 1):
        writers = [Writer(server.address, volumes[i % len(volumes)], 100 * round_number + i) for i in range(4)]
        for writer in writers:
            writer.start()
        shell = threading.Thread(
            target=lambda: cluster.kelp_shell('volume.vacuum -garbageThreshold=0.01', check=False))
        wait_until(lambda: sum(len(w.blobs) for w in writers) > 300 * (round_number + 1), 'some were written')
        shell.start()
        wait_until(lambda: sum(len(w.blobs) for w in writers) > 500 * (round_number + 1), 'more were written')
        server.kill()
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive()
            blobs.update(writer.blobs)
            gone |= writer.gone
        shell.join(60)
        cluster.wait_gone(server)
        restart(cluster, server)
        assert_blobs(server, blobs, gone)
        fid, _ = cluster.put(b'it takes writes')
        blobs[fid] = b'it takes writes'
    assert list(server.data.glob('kelp.ldb/CURRENT'))


def test_the_kind_may_change_with_every_start(cluster):
    cluster.kelp_master(env=ONE)
    server = cluster.kelp_volume()
    blobs, gone = {}, []
    for index in ('leveldb', 'memory', 'leveldb', 'leveldbLarge', 'redb', 'memory'):
        for _ in range(20):
            data = os.urandom(500)
            blobs[cluster.put(data)[0]] = data
        gone.append(next(iter(blobs)))
        blobs.pop(gone[-1])
        assert cluster.delete(gone[-1]).status == 202
        assert server.stop() == 0
        cluster.wait_gone(server)
        restart(cluster, server, f'-index={index}')
        assert_blobs(server, blobs, gone)


def test_a_database_that_is_damaged_is_made_anew(cluster):
    cluster.kelp_master(env=ONE)
    server = cluster.kelp_volume('-index=leveldb')
    blobs = cluster.put_many([os.urandom(300) for _ in range(100)])
    for name in ('CURRENT', 'MANIFEST-*', '*.log'):
        assert server.stop() == 0
        cluster.wait_gone(server)
        for path in (server.data / 'kelp.ldb').glob(name):
            path.write_bytes(b'this is no database' * 10)
        restart(cluster, server)
        assert_blobs(server, blobs)
        assert 'built anew' in server.log()


def test_disks_that_share_an_index_folder_have_a_database_each(cluster, tmp_path):
    cluster.kelp_master(env=ONE)
    folders = [tmp_path / name for name in ('a', 'b', 'idx')]
    for folder in folders:
        folder.mkdir()
    server = cluster.kelp_volume('-index=leveldb', f'-dir={folders[0]},{folders[1]}', f'-dir.idx={folders[2]}',
                                 '-max=5,5')
    blobs = {}
    for _ in range(40):
        data = os.urandom(100)
        blobs[cluster.put(data)[0]] = data
    assert len(list(folders[2].glob('kelp-*.ldb'))) == 2
    assert not list(folders[0].glob('*.ldb')) and not list(folders[1].glob('*.ldb'))
    server.kill()
    cluster.wait_gone(server)
    restart(cluster, server)
    assert_blobs(server, blobs)


def test_the_databases_of_the_peer_are_left_alone_until_the_volume_goes(cluster):
    cluster.kelp_master(env=ONE)
    server = cluster.kelp_volume('-index=leveldb')
    fid, _ = cluster.put(b'x', collection='c')
    base = next(server.data.glob('c_*.dat')).stem
    assert server.stop() == 0
    cluster.wait_gone(server)
    for path in server.data.glob('c_*.dat'):
        folder = server.data / f'{path.stem}.ldb'
        folder.mkdir()
        (folder / 'LOG').write_text('of the peer')
    restart(cluster, server)
    assert http('GET', f'{server.address}/{fid}').body == b'x'
    assert (server.data / f'{base}.ldb' / 'LOG').read_text() == 'of the peer'
    cluster.kelp_shell('collection.delete -collection=c -apply')
    wait_until(lambda: not list(server.data.glob('c_*')), 'the files are gone')


@pytest.mark.parametrize('flag, words', [
    ('-index=btree', '-index must be memory, leveldb, leveldbMedium or leveldbLarge, not "btree"'),
    ('-index.leveldbTimeout=-1', '-index.leveldbTimeout must be 0 or more'),
])
def test_what_is_not_understood_is_refused(tmp_path, flag, words):
    done = run([kelp_binary(), 'volume', f'-dir={tmp_path}', '-port=1', flag], check=False)
    assert done.returncode != 0 and words in done.stdout + done.stderr
