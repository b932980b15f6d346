"""The peer's command line clients on a cluster of kelp alone."""
import hashlib
import json
import os
import re

from lib.cluster import http, run, wait_until, weed_binary


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weed(cluster, *words, timeout=120):
    return run([weed_binary(), *words], cwd=cluster.folder, timeout=timeout)


def upload(cluster, *words):
    """One row for each file: fileName, fid, size; some commands print one list, some one list a file."""
    text = weed(cluster, 'upload', f'-master={cluster.master}', *words).stdout
    rows, decoder = [], json.JSONDecoder()
    while text.strip():
        part, end = decoder.raw_decode(text.lstrip())
        rows += part if isinstance(part, list) else [part]
        text = text.lstrip()[end:]
    assert rows and not any(row.get('error') for row in rows), rows
    return rows


def test_single_files_go_up_and_come_down(kelp, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    paths = []
    for name, data in (('small.txt', b'hello'), ('b.bin', os.urandom(70000)), ('c.txt', b'words, ' * 9000)):
        (tmp_path / name).write_bytes(data)
        paths.append(tmp_path / name)
    rows = upload(kelp, *paths)
    assert [row['fileName'] for row in rows] == [p.name for p in paths]
    for row, path in zip(rows, paths):
        assert row['size'] == path.stat().st_size
        weed(kelp, 'download', f'-master={kelp.master}', f'-dir={out}', row['fid'])
        assert digest(out / path.name) == digest(path)
        assert kelp.get(row['fid']).body == path.read_bytes()


def test_a_folder_goes_up(kelp, tmp_path):
    top = tmp_path / 'tree'
    (top / 'deep').mkdir(parents=True)
    for index in range(20):
        (top / ('deep' if index % 2 else '.') / f'{index}.dat').write_bytes(os.urandom(1000 + index))
    rows = upload(kelp, f'-dir={top}', '-collection=folder')
    assert len(rows) == 20
    for row in rows:
        path = next(top.rglob(row['fileName']))
        assert kelp.get(row['fid']).body == path.read_bytes()
    assert 'folder' in kelp.kelp_shell('collection.list').stdout


def test_a_chunked_file_goes_up_comes_down_and_is_deleted_whole(kelp, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    path = tmp_path / 'big.bin'
    path.write_bytes(os.urandom(9 << 20))
    row, = upload(kelp, '-maxMB=4', path)
    weed(kelp, 'download', f'-master={kelp.master}', f'-dir={out}', row['fid'])
    assert digest(out / 'big.bin') == digest(path)
    # the server joins the pieces, whole and in part
    assert hashlib.sha256(kelp.get(row['fid']).body).hexdigest() == digest(path)
    url = f'{kelp.lookup(row["fid"])[0]}/{row["fid"]}'
    begin, end = (4 << 20) - 100, (4 << 20) + 99
    part = http('GET', url, headers={'Range': f'bytes={begin}-{end}'})
    assert part.status == 206 and part.body == path.read_bytes()[begin:end + 1]
    manifest = http('GET', f'{url}?cm=false').json
    pieces = [chunk['fid'] for chunk in manifest['chunks']]
    assert len(pieces) == 3
    assert kelp.delete(row['fid']).status == 202
    for fid in [row['fid'], *pieces]:
        assert kelp.get(fid).status == 404, fid


def test_a_benchmark_has_no_failed_request(kelp):
    done = weed(kelp, 'benchmark', '-n=20000', '-c=16', '-size=1024', f'-master={kelp.master}',
                f'-list={kelp.folder}/list.txt', timeout=200)
    said = done.stdout + done.stderr
    assert re.findall(r'^Completed requests:\s+(\d+)', said, re.M) == ['20000', '20000'], said
    assert re.findall(r'^Failed requests:\s+(\d+)', said, re.M) == ['0', '0'], said
    assert len((kelp.folder / 'list.txt').read_text().split()) == 20000


def test_a_benchmark_that_deletes_and_a_vacuum_after_it(kelp):
    done = weed(kelp, 'benchmark', '-n=2000', '-c=4', '-deletePercent=50', '-collection=half',
                f'-master={kelp.master}', f'-list={kelp.folder}/half.txt')
    said = done.stdout + done.stderr
    assert re.findall(r'^Failed requests:\s+(\d+)', said, re.M)[0] == '0', said

    def dat_bytes():
        return sum(p.stat().st_size for s in kelp.volumes for p in s.data.glob('half_*.dat'))
    before = dat_bytes()
    kelp.weed_shell('volume.vacuum -garbageThreshold=0.01 -collection=half')
    wait_until(lambda: dat_bytes() < before * 0.8, 'the garbage is gone')
