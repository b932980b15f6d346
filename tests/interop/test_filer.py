"""A filer of the peer, with its S3 gateway, on a kelp master and kelp volume servers."""
import hashlib
import os
import random
import re
import shutil
import subprocess

import pytest
from lib.cluster import Cluster, Server, free_port, http, run, wait_until, weed_binary

GROWTH = 6  # volumes at a time, so that both servers get some


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp('filer')
    with Cluster(folder) as cluster:
        cluster.kelp_master('-volumeSizeLimitMB=256', env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': str(GROWTH)})
        for _ in range(2):
            cluster.kelp_volume()
        filer_port, s3_port = free_port(), free_port()
        command = [weed_binary(), 'filer', f'-master={cluster.master}', '-ip=127.0.0.1', '-ip.bind=127.0.0.1',
                   f'-port={filer_port}', f'-defaultStoreDir={folder}', f'-localSocket={folder}/filer.sock',
                   '-maxMB=1', '-s3', '-s3.ip.bind=127.0.0.1', f'-s3.port={s3_port}', '-s3.port.iceberg=0',
                   '-s3.port.lance=0', f'-s3.localSocket={folder}/s3.sock']
        server = Server('filer', command, folder, {'HOME': str(folder)})
        server.address, cluster.s3 = f'127.0.0.1:{filer_port}', f'127.0.0.1:{s3_port}'
        cluster.servers.append(server)
        cluster.filer = server.start()
        wait_until(lambda: server.check_alive() and http('GET', f'{server.address}/').status == 200,
                   'the filer answers', pause=0.2)
        wait_until(lambda: server.check_alive() and http('GET', f'{cluster.s3}/').status < 500, 'S3 answers',
                   pause=0.2)
        yield cluster


def tree(count):
    """Small files, empty ones, words, and a few of several pieces."""
    chance = random.Random(count)
    for index in range(count):
        size = 0 if index % 50 == 7 else (5 << 19) + index if index % 50 in (11, 12) else chance.randrange(1, 20000)
        data = b'many words ' * (size // 11 + 1) if index % 3 == 0 and size else os.urandom(size)
        yield f'd{index % 7}/e{index % 3}/file{index}.{"txt" if index % 3 == 0 else "bin"}', data


def check(base, files, gone=()):
    for path, data in files.items():
        reply = http('GET', f'{base}/{path}')
        assert reply.status == 200 and reply.body == data, (path, reply.status, len(reply.body), len(data))
    for path in gone:
        assert http('GET', f'{base}/{path}').status == 404, path


def dat_bytes(cluster):
    return sum(p.stat().st_size for s in cluster.volumes for p in s.data.glob('*.dat'))


def vacuum(cluster, share):
    """The filer deletes its blobs in the background; then a vacuum makes the files smaller."""
    def shrunk():
        cluster.weed_shell('volume.vacuum -garbageThreshold=0.01')
        return dat_bytes(cluster) < before * share
    before = dat_bytes(cluster)
    wait_until(shrunk, 'the space of what was deleted is back', pause=1)


def test_a_tree_over_the_filers_http(store):
    base, files = f'{store.filer.address}/tree', {}
    for path, data in tree(250):
        assert http('PUT', f'{base}/{path}', data, {'Content-Type': 'application/x-any'}).status == 201, path
        files[path] = data
    check(base, files)
    listed = http('GET', f'{base}/d0/e0/?limit=1000', headers={'Accept': 'application/json'}).json
    names = [os.path.basename(entry['FullPath']) for entry in listed['Entries'] or []]
    assert sorted(names) == sorted(p.rsplit('/', 1)[1] for p in files if p.startswith('d0/e0/')) and names
    large = next(p for p, d in files.items() if len(d) > 2 << 20)
    part = http('GET', f'{base}/{large}', headers={'Range': 'bytes=1048000-1049999'})
    assert part.status == 206 and part.body == files[large][1048000:1050000]
    # one alone, then a folder
    gone = list(files)[1::3]
    for path in gone:
        assert http('DELETE', f'{base}/{path}').status == 204
        del files[path]
    assert http('DELETE', f'{base}/d6?recursive=true').status == 204
    below = [path for path in files if path.startswith('d6/')]
    for path in below:
        del files[path]
    vacuum(store, 0.75)
    check(base, files, gone + below)


def s3(store, method, path, body=None, headers=None):
    return http(method, f'{store.s3}/{path}', body, headers)


def test_a_tree_over_s3(store):
    assert s3(store, 'PUT', 'bucket').status == 200
    files = {}
    for path, data in tree(150):
        reply = s3(store, 'PUT', f'bucket/{path}', data, {'Content-Type': 'application/x-any'})
        assert reply.status == 200, (path, reply.status, reply.body)
        assert reply.headers['ETag'].strip('"') == hashlib.md5(data).hexdigest() or len(data) > 1 << 20
        files[path] = data
    check(f'{store.s3}/bucket', files)
    listed = s3(store, 'GET', 'bucket?list-type=2&max-keys=1000').body.decode()
    assert sorted(re.findall('<Key>(.*?)</Key>', listed)) == sorted(files)
    listed = s3(store, 'GET', 'bucket?list-type=2&prefix=d1/&delimiter=/').body.decode()
    assert re.findall('<Prefix>(d1/e.*?)</Prefix>', listed) == ['d1/e0/', 'd1/e1/', 'd1/e2/']
    gone = list(files)[::2]
    for path in gone:
        assert s3(store, 'DELETE', f'bucket/{path}').status == 204
        del files[path]
    vacuum(store, 0.9)
    check(f'{store.s3}/bucket', files, gone)
    assert any(p.name.startswith('bucket_') for s in store.volumes for p in s.data.glob('*.dat'))


def test_a_multipart_upload_over_s3(store):
    s3(store, 'PUT', 'parts')
    begun = s3(store, 'POST', 'parts/large.bin?uploads').body.decode()
    upload_id = re.search('<UploadId>(.*?)</UploadId>', begun)[1]
    pieces = [os.urandom(5 << 20), os.urandom(3 << 20)]
    tags = [s3(store, 'PUT', f'parts/large.bin?partNumber={n}&uploadId={upload_id}', piece,
               {'Content-Type': 'application/octet-stream'}).headers['ETag']
            for n, piece in enumerate(pieces, 1)]
    body = ''.join(f'<Part><PartNumber>{n}</PartNumber><ETag>{t}</ETag></Part>' for n, t in enumerate(tags, 1))
    done = s3(store, 'POST', f'parts/large.bin?uploadId={upload_id}',
              f'<CompleteMultipartUpload>{body}</CompleteMultipartUpload>'.encode())
    assert done.status == 200, done.body
    got = s3(store, 'GET', 'parts/large.bin').body
    assert hashlib.sha256(got).digest() == hashlib.sha256(b''.join(pieces)).digest()


def test_a_tree_goes_in_by_filer_copy(store, tmp_path):
    files = {}
    for path, data in tree(60):
        (tmp_path / 'copied' / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'copied' / path).write_bytes(data)
        files[path] = data
    run([weed_binary(), 'filer.copy', '-maxMB=1', '-c=4', tmp_path / 'copied', f'http://{store.filer.address}/in/'],
        cwd=store.folder)
    check(f'{store.filer.address}/in/copied', files)


def why_not_mounted():
    if os.geteuid() != 0:
        return 'a mount needs root'
    if not os.path.exists('/dev/fuse'):
        return 'there is no /dev/fuse'
    if not shutil.which('fusermount3') and not shutil.which('fusermount'):
        return 'there is no fusermount'
    return None


@pytest.fixture
def mounted(store):
    """A folder that is the filer's, through the kernel."""
    reason = why_not_mounted()
    folder, cache = store.folder / 'mounted', store.folder / 'mount-cache'
    if reason is None:
        folder.mkdir()
        cache.mkdir()
        server = Server('mount', [weed_binary(), 'mount', f'-filer={store.filer.address}', f'-dir={folder}',
                                  '-filer.path=/mounted', f'-cacheDir={cache}', '-chunkSizeLimitMB=1',
                                  f'-localSocket={store.folder}/mount.sock', '-dirAutoCreate'],
                        store.folder, {'HOME': str(store.folder)}).start()
        store.servers.append(server)

        def is_there():
            return os.path.ismount(folder) or not server.is_running()
        wait_until(is_there, 'it is mounted')
        if not server.is_running():
            reason = server.log().strip()[-500:]
    if reason:
        pytest.skip(f'weed mount: {reason}')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], capture_output=True)  # and with that the process ends
        server.stop()


def test_a_tree_through_a_mount(store, mounted):
    files = dict(tree(60))
    for path, data in files.items():
        (mounted / path).parent.mkdir(parents=True, exist_ok=True)
        (mounted / path).write_bytes(data)
    for path, data in files.items():
        assert (mounted / path).read_bytes() == data, path
    check(f'{store.filer.address}/mounted', files)  # closed files are the filer's
    # in place: the middle of a file of several pieces, its end, its length, its name
    large = next(p for p, d in files.items() if len(d) > 2 << 20)
    with open(mounted / large, 'r+b') as file:
        file.seek(1 << 20)
        file.write(b'middle')
        file.seek(0, os.SEEK_END)
        file.write(b'end')
        os.fsync(file.fileno())
    data = files[large][:1 << 20] + b'middle' + files[large][(1 << 20) + 6:] + b'end'
    assert (mounted / large).read_bytes() == data
    os.truncate(mounted / large, 1_500_000)
    os.rename(mounted / large, mounted / 'moved')
    assert (mounted / 'moved').read_bytes() == data[:1_500_000]
    assert http('GET', f'{store.filer.address}/mounted/moved').body == data[:1_500_000]
    shutil.rmtree(mounted / 'd0')
    assert http('GET', f'{store.filer.address}/mounted/d0/').status == 404


def test_the_filer_is_seen_by_the_shells(store):
    assert store.filer.address in store.kelp_shell('cluster.ps').stdout
    said = store.weed_shell('cluster.check', 'cluster.ps').stdout
    assert store.filer.address in said and 'has 1 filers' in said
    assert 'fail' not in said.lower(), said
    assert 'tree' in subprocess.run(
        [weed_binary(), 'shell', f'-master={store.master}', f'-filer={store.filer.address}'], cwd=store.folder,
        input='fs.ls /\nexit\n', capture_output=True, text=True, timeout=60).stdout


def test_a_deleted_bucket_takes_its_volumes_along(store):
    s3(store, 'PUT', 'brief')
    assert s3(store, 'PUT', 'brief/one', b'x' * 100, {'Content-Type': 'text/plain'}).status == 200
    files = lambda: [p for s in store.volumes for p in s.data.glob('brief_*')]
    wait_until(lambda: [v['collection'] for v in store.volumes_listed()].count('brief') == GROWTH,
               'the growth is over: what it makes after the delete would stay')
    assert files()
    assert s3(store, 'DELETE', 'brief/one').status == 204
    assert s3(store, 'DELETE', 'brief').status == 204
    wait_until(lambda: not files(), 'its volumes are deleted')
