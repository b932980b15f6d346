"""`kelp upload` and `kelp download`: names, sizes, pipes, folders, copies, and what is said when it does not work."""
import json
import os
import pathlib

import pytest
from lib.cluster import Cluster, http, kelp_binary, run


def upload(cluster, folder, *words, **options):
    done = run([kelp_binary(), 'upload', f'-master={cluster.master}', *words], cwd=folder, **options)
    return json.loads(done.stdout)


def download(cluster, folder, *words):
    run([kelp_binary(), 'download', f'-master={cluster.master}', *words], cwd=folder)


def fails(folder, *words, status=1, **options):
    done = run([kelp_binary(), *words], cwd=folder, check=False, **options)
    assert done.returncode == status, done
    return done.stderr


def test_names_survive_the_way_up_and_down(kelp, tmp_path):
    (tmp_path / 'out').mkdir()
    blobs = {'größe 漢字.txt': b'words', 'with blanks and ;=,.bin': os.urandom(100), "it's 100% 'so'": b'x', '.hidden': b'h'}
    for name, data in blobs.items():
        (tmp_path / name).write_bytes(data)
    rows = upload(kelp, tmp_path, *blobs)
    assert [row['fileName'] for row in rows] == list(blobs) and [row['size'] for row in rows] == [len(d) for d in blobs.values()]
    download(kelp, tmp_path, '--dir', 'out', *(row['fid'] for row in rows))
    assert {p.name: p.read_bytes() for p in (tmp_path / 'out').iterdir()} == blobs
    # fids of one list follow each other
    assert [row['fid'] for row in rows[1:]] == [f'{rows[0]["fid"]}_{n}' for n in range(1, len(rows))]


@pytest.mark.parametrize('size', [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (9 << 20) + 5])
def test_every_size_goes_through_a_file_and_a_pipe(kelp, tmp_path, size):
    """Chunks are of a megabyte, downloads come in pieces of eight."""
    data = os.urandom(size)
    (tmp_path / 'file.bin').write_bytes(data)
    row, = upload(kelp, tmp_path, '-maxMB=1', 'file.bin')
    with open(tmp_path / 'file.bin', 'rb') as file:
        piped, = json.loads(run(['sh', '-c', f'cat | {kelp_binary()} upload -master={kelp.master} -maxMB=1 -'],
                                stdin=file).stdout)
    assert piped['fileName'] == 'stdin'
    (tmp_path / 'file.bin').unlink()
    for fid, name, size_told in (row['fid'], 'file.bin', row['size']), (piped['fid'], 'stdin', piped['size']):
        assert size_told == size
        download(kelp, tmp_path, fid)
        # an empty blob keeps no name
        assert (tmp_path / (name if size else fid)).read_bytes() == data
        reply = http('GET', f'{kelp.lookup(fid)[0]}/{fid}?cm=false')
        assert reply.headers['X-File-Store'] is None
        assert len(reply.json['chunks']) == -(-size // (1 << 20)) if size > 1 << 20 else reply.body == data
    assert not list(tmp_path.glob('*.tmp'))


def test_what_has_no_size_to_go_by_is_read_to_its_end(kelp, tmp_path):
    row, = upload(kelp, tmp_path, '/proc/version')
    assert row['size'] > 0 and kelp.get(row['fid']).body == pathlib.Path('/proc/version').read_bytes()
    assert 'give a -maxMB above 0' in fails(tmp_path, 'upload', f'-master={kelp.master}', '-maxMB=0', '/dev/null')


def test_a_folder_goes_up_with_collection_copies_and_ttl(kelp, tmp_path):
    (tmp_path / 'tree/deep er').mkdir(parents=True)
    for name in 'a.txt', 'deep er/b.txt', 'deep er/c.bin':
        (tmp_path / 'tree' / name).write_bytes(name.encode())
    (tmp_path / 'tree/link').symlink_to('a.txt')
    rows = upload(kelp, tmp_path, '-dir=tree', '-include=*.txt,*.pdf', '-collection=trees', '-replication=001', '-ttl=3h')
    assert sorted(row['fileName'] for row in rows) == ['a.txt', 'b.txt']
    volumes = {volume['id']: volume for volume in kelp.volumes_listed()}
    for row in rows:
        volume = volumes[int(row['fid'].split(',')[0])]
        assert (volume['collection'], volume['ttl']) == ('trees', '3h')
        assert len(kelp.lookup(row['fid'])) == 2
        for server in kelp.volumes:
            assert http('GET', f'{server.address}/{row["fid"]}').status == 200


def test_one_bad_file_does_not_stop_the_others(kelp, tmp_path):
    (tmp_path / 'good').write_bytes(b'good')
    (tmp_path / 'folder').mkdir()
    done = run([kelp_binary(), 'upload', f'-master={kelp.master}', 'folder', 'none', 'good'], cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert 'folder is a folder; give it with -dir=folder' in done.stderr and 'open none: No such file' in done.stderr
    rows = json.loads(done.stdout)
    assert [bool(row.get('error')) for row in rows] == [True, True, False]
    assert kelp.get(rows[2]['fid']).body == b'good'


def test_an_upload_says_what_is_wrong_with_its_flags(kelp, tmp_path):
    (tmp_path / 'a').write_bytes(b'a')
    master = f'-master={kelp.master}'
    for flag, text in (('-ttl=5x', 'is no time to live; write'), ('-ttl=x', 'is no time to live'),
                       ('-replication=abc', 'want three digits'), ('-collection=a/b', 'can have no /'),
                       ('-maxMb=1', 'did you mean -maxMB?')):
        assert text in fails(tmp_path, 'upload', master, flag, 'a', status=2)
    assert 'name files' in fails(tmp_path, 'upload', master, status=2)
    assert 'DataCenter:nowhere' in fails(tmp_path, 'upload', master, '-dataCenter=nowhere', 'a')
    assert 'want host:port' in fails(tmp_path, 'upload', '-master=nothing', 'a')


def test_a_download_leaves_nothing_when_it_fails(kelp, tmp_path):
    master = f'-master={kelp.master}'
    fid, _ = kelp.put(b'here')
    volume = fid.split(',')[0]
    assert 'none is not there; create it first' in fails(tmp_path, 'download', master, '-dir=none', fid)
    assert 'is no folder' in fails(tmp_path, 'download', master, '-dir=/dev/null', fid)
    assert 'no such blob' in fails(tmp_path, 'download', master, f'{volume},ffffffff01234567')
    assert 'no server has volume 99999' in fails(tmp_path, 'download', master, '99999,0123456789')
    assert 'wrong fid format' in fails(tmp_path, 'download', master, 'what')
    assert 'name file ids' in fails(tmp_path, 'download', master, status=2)
    assert list(tmp_path.iterdir()) == []
    # one that fails does not stop the next; what is there is replaced
    (tmp_path / fid).write_bytes(b'older and longer')
    fails(tmp_path, 'download', master, f'{volume},ffffffff01234567', fid)
    assert (tmp_path / fid).read_bytes() == b'here'


def test_whichever_master_and_copy_answers_is_taken(tmp_path):
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        for _ in range(2):
            cluster.kelp_volume()
        (tmp_path / 'twice.bin').write_bytes(os.urandom(20000))
        said = fails(tmp_path, 'upload', '-master=127.0.0.1:1', 'twice.bin')
        assert 'no master answers at 127.0.0.1:1; see that it runs' in said and 'Connection refused' in said
        masters = f'-master=127.0.0.1:1,{cluster.master}'
        row, = json.loads(run([kelp_binary(), 'upload', masters, '-replication=001', 'twice.bin'], cwd=tmp_path).stdout)
        (tmp_path / 'twice.bin').rename(tmp_path / 'kept')
        cluster.volumes[0].process.kill()  # the master may not have noticed
        run([kelp_binary(), 'download', masters, row['fid']], cwd=tmp_path)
        assert (tmp_path / 'twice.bin').read_bytes() == (tmp_path / 'kept').read_bytes()
