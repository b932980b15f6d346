"""Volume folders that change hands: written by one server, served, vacuumed, written by the other, and back;
also when the first was killed in the middle of a vacuum or of its commit. And the golden volumes.

One server at a time owns a folder; a kelp master serves them all. What is compared between the two is the
whole answer: status, body, and the headers that come from the record."""
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import grpc
import pytest
from lib.cluster import Cluster, http, wait_until
from lib.rpc import call_volume, stream_volume

HEADERS = ('ETag', 'Content-Type', 'Content-Disposition', 'Last-Modified', 'Content-Length', 'Content-Encoding',
           'Seaweed-Colour')
OTHER = {'kelp': 'weed', 'weed': 'kelp'}
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / 'fixtures/golden'
GOLDEN_FOLDERS = sorted(p.parent for p in GOLDEN.glob('*/*/manifest.json'))


@pytest.fixture(scope='module')
def master(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp('folders')) as cluster:
        cluster.kelp_master('-volumeSizeLimitMB=256', env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
        yield cluster


@contextlib.contextmanager
def served(cluster, kind, data, *flags):
    server = cluster.any_volume(kind, '-readMode=local', *flags, name=f'{kind}{len(cluster.servers)}', data=data)
    try:
        yield server
        if server.is_running():
            assert server.stop() == 0
    finally:
        server.kill()
        cluster.wait_gone(server)


def put_form(address, fid, data, name, mime):
    border = 'interopborder'
    body = (f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f'Content-Type: {mime}\r\n\r\n').encode() + data + f'\r\n--{border}--\r\n'.encode()
    reply = http('POST', f'{address}/{fid}?ts=1700000000', body,
                 {'Content-Type': f'multipart/form-data; boundary={border}', 'Seaweed-Colour': 'green'})
    assert reply.status == 201, (fid, reply.status, reply.body)


def fill(cluster, collection, count=40, size=5000):
    """Blobs of all sorts; a third of them is deleted or overwritten. (live file ids, deleted ones)"""
    fids = list(cluster.put_many([os.urandom(size + index) for index in range(count)], collection=collection))
    address = cluster.lookup(fids[0])[0]
    vid = fids[0].split(',')[0]
    for index, data in enumerate((b'', b'x', b'a picture', b'compresses well ' * 2000, os.urandom(1 << 20))):
        fid = f'{vid},{index + 1:x}00abcdef'
        put_form(address, fid, data, f'name {index}.{"txt" if index == 3 else "jpg"}',
                 'text/plain' if index == 3 else 'image/jpeg')
        fids.append(fid)
    for fid in fids[1:count:6]:  # another body under the same id
        put_form(address, fid, os.urandom(size), 'again.bin', 'application/x-again')
    gone = fids[:count:3]
    for fid in gone:
        assert cluster.delete(fid).status == 202
    return [fid for fid in fids if fid not in gone], gone


def answers(server, fids):
    result = {}
    for fid in fids:
        reply = http('GET', f'{server.address}/{fid}')
        assert reply.status == 200, (fid, reply.status)
        result[fid] = (reply.body, {name: reply.headers[name] for name in HEADERS})
    return result


def check(server, expected, gone):
    for fid, answer in answers(server, expected).items():
        assert answer == expected[fid], fid
    for fid in gone:
        assert http('GET', f'{server.address}/{fid}').status == 404, fid


def volume_ids(data):
    return sorted(int(re.search(r'(\d+)\.dat$', p.name)[1]) for p in pathlib.Path(data).glob('*.dat'))


def compact(server, vid):
    stream_volume(server.address, 'VacuumVolumeCompact', volume_id=vid)


def commit(server, vid):
    call_volume(server.address, 'VacuumVolumeCommit', volume_id=vid)
    call_volume(server.address, 'VacuumVolumeCleanup', volume_id=vid)


def write_more(cluster, server, live, gone):
    """New blobs, one delete and one overwrite of what the other server had written."""
    vid = live[0].split(',')[0]
    fids = [f'{vid},{0x700000 + len(gone) * 100 + n:x}00fedcba' for n in range(5)]
    for fid in fids + [live[1]]:
        put_form(server.address, fid, os.urandom(3000), 'more.bin', 'application/x-more')
    assert http('DELETE', f'{server.address}/{live[0]}').status == 202
    return live[1:] + fids, gone + live[:1]


@contextlib.contextmanager
def traced(server, *flags):
    """The running server under strace, which slows or kills it as the flags say."""
    tracer = subprocess.Popen(['strace', '-f', '-qq', '-o', '/dev/null', '-p', str(server.pid), *map(str, flags)],
                              stderr=subprocess.PIPE, text=True)

    def is_traced():
        assert tracer.poll() is None, f'strace: {tracer.stderr.read()}'
        return all(re.search(rf'^TracerPid:\t{tracer.pid}$', (task / 'status').read_text(), re.M)
                   for task in pathlib.Path(f'/proc/{server.pid}/task').iterdir())
    try:
        wait_until(is_traced, 'strace is attached')
        yield tracer
    finally:
        tracer.kill()
        tracer.communicate()


def is_vacuumed(data):
    return not list(pathlib.Path(data).glob('*.cp?'))


@pytest.mark.parametrize('first', ['weed', 'kelp'])
def test_a_folder_moves_to_the_other_and_back(master, tmp_path, first):
    collection = f'move{first}'
    with served(master, first, tmp_path) as server:
        live, gone = fill(master, collection)
        expected = answers(server, live)
    vid, = volume_ids(tmp_path)
    dat = next(tmp_path.glob('*.dat'))
    for kind in (OTHER[first], first, OTHER[first]):
        before = dat.stat().st_size
        with served(master, kind, tmp_path) as server:
            check(server, expected, gone)
            compact(server, vid)
            live, gone = write_more(master, server, live, gone)  # replayed at the commit
            expected = answers(server, live)
            commit(server, vid)
            assert dat.stat().st_size < before + 30000
            check(server, expected, gone)
            live, gone = write_more(master, server, live, gone)
            expected = answers(server, live)
        assert is_vacuumed(tmp_path)
    with served(master, first, tmp_path) as server:
        check(server, expected, gone)


@pytest.mark.parametrize('first', ['weed', 'kelp'])
def test_a_server_killed_in_the_copy_leaves_its_folder_to_the_other(master, tmp_path, first):
    with served(master, first, tmp_path, '-compactionMBps=1') as server:
        live, gone = fill(master, f'copy{first}', size=400000)
        expected = answers(server, live)
        vid, = volume_ids(tmp_path)

        def attempt():
            with contextlib.suppress(grpc.RpcError):
                compact(server, vid)
        thread = threading.Thread(target=attempt)
        copy = next(tmp_path.glob('*.dat')).with_suffix('.cpd')
        # -compactionMBps slows kelp; weed starts to heed it after more than a test can write
        with traced(server, '-P', copy, '-e', 'inject=write,pwrite64:delay_enter=200ms') if first == 'weed' \
                else contextlib.nullcontext():
            thread.start()
            wait_until(lambda: copy.exists() and copy.stat().st_size > 8, 'the copy has begun', pause=0.005)
            live, gone = write_more(master, server, live, gone)
            expected = answers(server, live)
            assert copy.exists() and thread.is_alive(), 'the copy was over too soon'
            server.kill()
        thread.join()
    with served(master, OTHER[first], tmp_path) as server:
        assert is_vacuumed(tmp_path)
        check(server, expected, gone)
        compact(server, vid)
        commit(server, vid)
        check(server, expected, gone)
        live, gone = write_more(master, server, live, gone)
        expected = answers(server, live)
    with served(master, first, tmp_path) as server:
        check(server, expected, gone)


# What a commit changes a folder by: killed before each of them, a server leaves every state that there is between.
CHANGES = ('rename,renameat,renameat2', 'unlink,unlinkat', 'fsync,fdatasync', 'ftruncate,fallocate')
CALLS_MAX = 40


def kill_in_commit(master, folder, first, live, gone, calls, when):
    """What the folder must hold then, and whether there was a kill."""
    vid, = volume_ids(folder)
    with served(master, first, folder) as server:
        compact(server, vid)
        live, gone = write_more(master, server, live, gone)
        expected = answers(server, live)
        with traced(server, '-e', f'inject={calls}:signal=KILL:when={when}'):
            try:
                call_volume(server.address, 'VacuumVolumeCommit', volume_id=vid)
                was_killed = False
            except grpc.RpcError:
                assert server.process.wait(20) == -signal.SIGKILL
                was_killed = True
    return expected, live, gone, was_killed


def kill_at_every_call(master, begun, first, live, gone, calls):
    """How many kills there were, and how many of them after the marker was written."""
    decided = 0
    for when in range(1, CALLS_MAX):
        folder = begun.parent / 'killed'
        shutil.copytree(begun, folder)
        expected, now_live, now_gone, was_killed = kill_in_commit(master, folder, first, live, gone, calls, when)
        decided += was_killed and bool(list(folder.glob('*.cpc')))
        with served(master, OTHER[first], folder) as server:
            assert is_vacuumed(folder), (calls, when)
            check(server, expected, now_gone)
            now_live, now_gone = write_more(master, server, now_live, now_gone)
            expected = answers(server, now_live)
        with served(master, first, folder) as server:
            check(server, expected, now_gone)
        shutil.rmtree(folder)
        if not was_killed:
            return when - 1, decided
    pytest.fail(f'a commit of so many {calls}?')


@pytest.mark.parametrize('first', ['weed', 'kelp'])
def test_a_server_killed_at_any_call_of_the_commit_leaves_its_folder_to_the_other(master, tmp_path, first, capsys):
    begun = tmp_path / 'begun'
    begun.mkdir()
    with served(master, first, begun) as server:
        live, gone = fill(master, f'commit{first}')
    counts = [kill_at_every_call(master, begun, first, live, gone, calls) for calls in CHANGES]
    points, decided = (sum(column) for column in zip(*counts))
    assert counts[0][0] >= 2 and counts[1][0] >= 1, counts  # both renames, and the removal of the marker
    assert decided >= 3, counts
    with capsys.disabled():
        print(f'\ntally: {points} kills in a commit of {first}')


def check_golden(server, manifest, skipped=()):
    for fid, want in manifest['live'].items():
        if fid in skipped:
            continue
        reply = http('GET', f'{server.address}/{fid}', headers={'Accept-Encoding': 'identity'})
        assert reply.status == want['status'], fid
        assert len(reply.body) == want['size'] and hashlib.sha256(reply.body).hexdigest() == want['sha256'], fid
        for name, value in want['headers'].items():
            assert reply.headers[name] == value, (fid, name)
    for fid in manifest['deleted']:
        assert http('GET', f'{server.address}/{fid}').status == 404, fid


@pytest.mark.parametrize('folder', GOLDEN_FOLDERS, ids=lambda f: f'{f.parent.name}_{f.name}')
def test_a_golden_volume_is_served_and_vacuumed(master, tmp_path, folder):
    manifest = json.loads((folder / 'manifest.json').read_text())
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    vid, = volume_ids(tmp_path)
    with served(master, 'kelp', tmp_path) as server:
        check_golden(server, manifest)
        compact(server, vid)
        commit(server, vid)
        check_golden(server, manifest)
        fid = f'{vid},77777700abcdef'
        put_form(server.address, fid, b'one more', 'more.bin', 'application/x-more')
    with served(master, 'kelp', tmp_path) as server:
        check_golden(server, manifest)
        assert http('GET', f'{server.address}/{fid}').body == b'one more'
    if folder.parent.name == 'offset5':  # the width that the released peer reads
        with served(master, 'weed', tmp_path) as server:
            check_golden(server, manifest)
            assert http('GET', f'{server.address}/{fid}').body == b'one more'


def test_there_are_ten_golden_volumes():
    assert len(GOLDEN_FOLDERS) == 10
