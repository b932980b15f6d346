"""kelp's offline tools beside the peer's: on the golden volumes, on crafted ones, and on each other's results."""
import gzip
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tarfile
import threading

import pytest
from lib.cluster import http, kelp_binary, run, weed_binary
from lib.volume_writer import BEGUN, VolumeWriter

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / 'fixtures/golden'
WHOLE = ['garbage', 'copied', 'vacuumed', 'ttl', 'collection']
NAMES = {'garbage': ('', 1), 'copied': ('', 1), 'vacuumed': ('', 1), 'ttl': ('', 3),
         'collection': ('photos_2026', 2), 'crafted': ('', 5)}


def kelp(*words, status=0, says=()):
    done = subprocess.run([kelp_binary(), *map(str, words)], capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    text = (done.stdout + done.stderr).decode(errors='replace')
    assert done.returncode == status, (words, done.returncode, text)
    for part in [says] if isinstance(says, str) else says:
        assert part in text, f'{part!r} is missing in:\n{text}'
    return done.stdout


def weed(folder, *words):
    done = subprocess.run([weed_binary(), *map(str, words)], capture_output=True, timeout=60, cwd=folder)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def golden(tmp_path, name, width=5):
    folder = tmp_path / f'{name}{width}'
    shutil.copytree(GOLDEN / f'offset{width}' / name, folder)
    return folder


def crafted(tmp_path):
    """What uploads can name, and what a volume can hold. Nothing that stops the peer's export."""
    volume, zipped = VolumeWriter(), gzip.compress(b'zipped' * 50)
    volume.put(1, b'plain', b'a.txt', b'text/plain')
    volume.put(2, zipped, b'b.txt', b'text/plain', flags=1)
    volume.put(3, zipped, b'c.gz', b'', flags=1)
    volume.put(4, zipped, b'noext', b'', flags=1)
    volume.put(5, b'noname', None, b'image/png')
    volume.put(6, b'emptyname', b'', b'image/jpeg')
    volume.put(7, b'evil', b'../../evil', b'text/html')
    volume.put(8, b'absolute', b'/etc/abs.txt', b'../../m')
    volume.put(9, b'control', b'ta\tb\nnl"q.txt', b'a/b')
    volume.put(10, b'long', b'l' * 200 + b'.txt', b'a/b')
    volume.put(11, b'nomtime', b'nm', b'a/b', modified=None)
    volume.put(12, b'bigmtime', b'bm', b'a/b', modified=0xFFFFFFFFFF)
    volume.put(13, b'pairs', b'p', b'a/b', pairs=b'{"a":"b"}')
    volume.put(14, b'', b'empty')
    volume.put(15, b'v1', b'first')
    volume.put(15, b'v2', b'second')
    volume.put(16, b'gone', b'gone.txt')
    volume.delete(16)
    volume.put(17, b'manifest', b'man', b'application/json', flags=0x80)
    volume.put(18, b'ttl1m', b'ttl', b'a/b', ttl=(1, 1))
    volume.put(19, b'badutf', b'\xff\xfe.bin', b'a/b')
    volume.put(20, b'newer', b'newer', b'a/b', modified=BEGUN + 1)
    volume.put(21, b'dots', b'..', b'a/b')
    volume.put(22, b'x.tar.gz', b'x.tar.gz', b'a/b')
    volume.put(23, b'hidden', b'.hidden', b'application/x-gzip')
    volume.delete(24)
    volume.put(25, b'big' * 700000, 'größer.bin'.encode(), b'')
    volume.save(tmp_path / 'crafted', 5)
    return tmp_path / 'crafted'


def volume_of(tmp_path, name):
    return crafted(tmp_path) if name == 'crafted' else golden(tmp_path, name)


def flags_of(folder, name):
    collection, vid = NAMES[name]
    return [f'-dir={folder}', f'-volumeId={vid}', f'-collection={collection}']


def base_of(name):
    collection, vid = NAMES[name]
    return f'{collection}_{vid}' if collection else str(vid)


def members(path):
    with tarfile.open(path, errors='surrogateescape') as tar:
        return [(m.name, m.size, m.mode, m.uid, m.gid, m.mtime, m.type, tar.extractfile(m).read())
                for m in tar.getmembers()]


def rows(path, width=5):
    data = path.read_bytes()
    size = 12 + width
    assert len(data) % size == 0
    for at in range(0, len(data), size):
        key, low = struct.unpack_from('>QI', data, at)
        high = data[at + 12] if width == 5 else 0
        yield key, (high << 32 | low) * 8, struct.unpack_from('>i', data, at + 8 + width)[0]


def live(path, width=5):
    last = {}
    for key, offset, size in rows(path, width):
        last[key] = (offset, size)
    return {key: where for key, where in last.items() if where[0] and where[1] > 0}


# ---- export ----

@pytest.mark.parametrize('name', [*WHOLE, 'crafted'])
def test_a_list_is_the_peers(tmp_path, name):
    folder = volume_of(tmp_path, name)
    filters = [['-limit=3'], ['-newer=2025-10-09T08:53:21'], ['-deleted', '-limit=17'],
               ['-limit=2', '-newer=2025-10-09T08:53:21'], ['-deleted', '-newer=2025-10-09T08:53:20']]
    for more in ([], ['-deleted'], *(filters if name in ('garbage', 'crafted') else [])):
        flags = [*flags_of(folder, name), *more]
        assert kelp('export', *flags) == weed(tmp_path, 'export', *flags), more


@pytest.mark.parametrize('name', WHOLE)
def test_a_tar_has_what_the_peers_has(tmp_path, name):
    folder = volume_of(tmp_path, name)
    forms = ['{{.Name}}', 'x/{{.Id}}:{{.Name}}', '{{.Key}}', '{{.Mime}}-{{.Id}}{{.Ext}}'] if name == 'garbage' else []
    for more in ([], ['-deleted', '-limit=20'], *([f'-fileNameFormat={form}'] for form in forms)):
        flags = [*flags_of(folder, name), *more]
        weed(tmp_path, 'export', *flags, f'-o={tmp_path}/weed.tar')
        kelp('export', *flags, f'-o={tmp_path}/kelp.tar')
        assert members(tmp_path / 'kelp.tar') == members(tmp_path / 'weed.tar')


def test_a_tar_of_odd_names_has_what_the_peers_has_made_safe(tmp_path):
    flags = flags_of(crafted(tmp_path), 'crafted')
    weed(tmp_path, 'export', *flags, f'-o={tmp_path}/weed.tar')
    kelp('export', *flags, f'-o={tmp_path}/kelp.tar')
    theirs = [(m[0].replace('/../', '/__/').replace('8_//', '8_/'), *m[1:]) for m in members(tmp_path / 'weed.tar')]
    assert members(tmp_path / 'kelp.tar') == theirs
    (tmp_path / 'out').mkdir()
    run(['tar', '-xf', tmp_path / 'kelp.tar', '-C', tmp_path / 'out'])
    assert (tmp_path / 'out/7_../__/evil').read_bytes() == b'evil'


def test_a_tar_can_be_piped(tmp_path):
    folder = golden(tmp_path, 'garbage')
    (tmp_path / 'pipe.tar').write_bytes(kelp('export', *flags_of(folder, 'garbage'), '-o=-'))
    kelp('export', *flags_of(folder, 'garbage'), f'-o={tmp_path}/file.tar')
    assert members(tmp_path / 'pipe.tar') == members(tmp_path / 'file.tar')


def test_files_stay_within_their_folder(tmp_path):
    flags, out = flags_of(crafted(tmp_path), 'crafted'), tmp_path / 'a/b/out'
    out.parent.mkdir(parents=True)
    kelp('export', *flags, f'-o={out}/')
    everything = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file()}
    assert all(p.startswith(('a/b/out/', 'crafted/')) for p in everything)
    assert (out / '1_a.txt.txt').read_bytes() == b'plain'
    assert (out / '1_a.txt.txt').stat().st_mtime == BEGUN
    assert gzip.decompress((out / '2_b.txt.txt.gz').read_bytes()) == b'zipped' * 50
    assert (out / '8_/etc/abs.txt.txt').read_bytes() == b'absolute'
    kelp('export', *flags, f'-o={out}', status=1, says='is in')  # again: nothing is overwritten
    assert len([p for p in out.rglob('*') if p.is_file()]) == 22


def test_no_symbolic_link_leads_out_of_the_folder(tmp_path):
    flags, out = flags_of(crafted(tmp_path), 'crafted'), tmp_path / 'out'
    out.mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (out / '8_').symlink_to(tmp_path / 'elsewhere')
    (out / '1_a.txt.txt').symlink_to(tmp_path / 'elsewhere/1')
    kelp('export', *flags, f'-o={out}', status=1, says=['5,081a2b3c4d', '5,011a2b3c4d', 'is no folder'])
    assert list((tmp_path / 'elsewhere').iterdir()) == []
    assert (out / '22_newer').exists() is False and (out / '14_newer').read_bytes() == b'newer'


def test_one_name_for_all_keeps_the_first(tmp_path):
    flags, out = flags_of(golden(tmp_path, 'garbage'), 'garbage'), tmp_path / 'out'
    kelp('export', *flags, f'-o={out}/', '-fileNameFormat=x', status=1, says='{{.Id}} in -fileNameFormat')
    assert (out / 'x').stat().st_size == 1


def test_a_damaged_needle_is_named_and_the_others_exported(tmp_path):
    folder = crafted(tmp_path)
    data = bytearray((folder / '5.dat').read_bytes())
    data[data.index(b'noname')] ^= 1
    (folder / '5.dat').write_bytes(data)
    kelp('export', *flags_of(folder, 'crafted'), f'-o={tmp_path}/x.tar', status=1, says='CRC')
    assert len(members(tmp_path / 'x.tar')) == 21
    assert not list(tmp_path.glob('*.tmp'))


# ---- fix ----

@pytest.mark.parametrize('name', [*WHOLE, 'crafted'])
def test_an_index_that_is_right_stays(tmp_path, name):
    folder = volume_of(tmp_path, name)
    before = (folder / f'{base_of(name)}.idx').read_bytes()
    kelp('fix', '-apply', folder, says='right as it is')
    assert (folder / f'{base_of(name)}.idx').read_bytes() == before
    assert not list(folder.glob('*.tmp')) and not list(folder.glob('*.bak'))


@pytest.mark.parametrize('name', [*WHOLE, 'crafted'])
def test_a_lost_index_is_made_as_the_peer_makes_it(tmp_path, name):
    """The peer's has no rows for what was overwritten; with live rows only both are equal byte for byte."""
    folder, theirs = volume_of(tmp_path, name), tmp_path / 'theirs'
    idx = folder / f'{base_of(name)}.idx'
    idx.unlink()
    shutil.copytree(folder, theirs)
    kelp('fix', folder, says='-apply writes it')
    assert not idx.exists()
    kelp('fix', '-apply', folder)
    weed(tmp_path, 'fix', theirs)
    ours = list(rows(idx))
    assert all(row in ours for row in rows(theirs / idx.name))
    assert live(idx) == live(theirs / idx.name)
    kelp('check', folder, says='no damage')
    kelp('check', theirs, says='no damage')
    flags = flags_of(folder, name)
    assert kelp('export', *flags) == weed(tmp_path, 'export', *flags)

    kelp('fix', '-apply', '-includeDeleted=false', folder, says='.bak')
    weed(tmp_path, 'fix', '-includeDeleted=false', theirs)
    assert idx.read_bytes() == (theirs / idx.name).read_bytes()


def test_a_volume_without_overwrites_gets_the_peers_index_byte_for_byte(tmp_path):
    folder, theirs = golden(tmp_path, 'vacuumed'), tmp_path / 'theirs'
    (folder / '1.idx').unlink()
    shutil.copytree(folder, theirs)
    kelp('fix', '-apply', folder)
    weed(tmp_path, 'fix', theirs)
    assert (folder / '1.idx').read_bytes() == (theirs / '1.idx').read_bytes()


def test_only_the_volumes_that_were_named_are_fixed(tmp_path):
    folder = golden(tmp_path, 'garbage')
    for file in golden(tmp_path, 'collection').glob('photos*'):
        shutil.copy(file, folder)
    for idx in folder.glob('*.idx'):
        idx.unlink()
    kelp('fix', '-apply', '-collection=photos_2026', folder)
    assert not (folder / '1.idx').exists() and (folder / 'photos_2026_2.idx').exists()
    kelp('fix', '-apply', '-volumeId=7', folder, status=2, says='no such volume')
    kelp('fix', '-apply', folder / '1.dat')
    assert (folder / '1.idx').exists()


# ---- compact ----

@pytest.mark.parametrize('name, method', [('garbage', 'index'), *((name, 'data') for name in [*WHOLE, 'crafted'])])
def test_a_compacted_volume_has_what_it_had(tmp_path, name, method):
    folder = volume_of(tmp_path, name)
    dat, flags = folder / f'{base_of(name)}.dat', flags_of(folder, name)
    weed(tmp_path, 'export', *flags, f'-o={tmp_path}/before.tar', '-fileNameFormat={{.Key}}')
    before = dat.read_bytes()
    kelp('compact', *flags, f'-method={method}', says=['to be gained', '-apply does it'])
    assert dat.read_bytes() == before
    kelp('compact', *flags, f'-method={method}', '-apply')
    assert not [p for p in folder.iterdir() if p.suffix in ('.cpd', '.cpx', '.cpc', '.tmp')]
    assert len(dat.read_bytes()) <= len(before)
    weed(tmp_path, 'export', *flags, f'-o={tmp_path}/after.tar', '-fileNameFormat={{.Key}}')
    assert sorted(members(tmp_path / 'after.tar')) == sorted(members(tmp_path / 'before.tar'))
    kelp('check', folder, says='no damage')


def test_what_the_peer_compacted_is_taken(tmp_path):
    folder = golden(tmp_path, 'garbage')
    for method in ('data', 'index'):
        weed(tmp_path, 'compact', f'-dir={folder}', '-volumeId=1', f'-method={method}')
        (folder / '1.cpd').rename(folder / '1.dat')
        (folder / '1.cpx').rename(folder / '1.idx')
        kelp('check', folder, says='no damage')


# ---- convert ----

@pytest.mark.parametrize('name', WHOLE)
def test_a_converted_volume_is_read_by_the_peer(tmp_path, name):
    folder = golden(tmp_path, name, width=4)
    flags, idx = flags_of(folder, name), folder / f'{base_of(name)}.idx'
    ours, before = kelp('export', *flags), idx.read_bytes()
    kelp('convert', f'-dir={folder}', '-offsetBytes=5', says='-apply does it')
    assert idx.read_bytes() == before
    kelp('convert', f'-dir={folder}', '-offsetBytes=5', '-apply')
    assert json.loads((folder / f'{base_of(name)}.vif').read_text())['bytesOffset'] == 5
    assert weed(tmp_path, 'export', *flags) == ours == kelp('export', *flags)
    kelp('check', folder, says='no damage')
    kelp('convert', f'-dir={folder}', '-offsetBytes=4', '-apply')
    assert idx.read_bytes() == before
    kelp('convert', f'-dir={folder}', '-offsetBytes=4', '-apply', says='already')


# ---- check and dump ----

def test_damage_is_found_listed_and_counted(tmp_path):
    folder = crafted(tmp_path)
    kelp('check', '-quiet', folder)
    data = bytearray((folder / '5.dat').read_bytes())
    for word in (b'noname', b'emptyname', b'pairs', b'v1'):
        data[data.index(word)] ^= 1
    (folder / '5.dat').write_bytes(data)
    kelp('check', folder, status=1, says=['needle 5: CRC', 'needle f (not live)', '4 damaged, 3 of them live'])
    kelp('check', '-limit=1', folder, status=1, says=['and 3 more', '4 damaged'])
    kelp('check', '-index', folder)
    said = json.loads(kelp('check', '-json', folder, status=1))
    assert said['total']['damaged'] == 4 and said['total']['damagedLive'] == 3
    assert [p['needle'] for p in said['volumes'][0]['problems']] == ['5', '6', 'd', 'f']
    assert {p['kind'] for p in said['volumes'][0]['problems']} == {'crc'}
    kelp('dump', f'-dir={folder}', '-needle=5,051a2b3c4d', status=1, says=['crcMatches      no', 'index           live'])


def test_what_cannot_be_checked_says_so(tmp_path):
    folder = golden(tmp_path, 'garbage')
    shutil.copy(folder / '1.dat', folder / '2.dat')
    shutil.copy(folder / '1.idx', folder / '3.idx')
    (folder / '4.dat').write_bytes(b'\3\0')
    (folder / '4.idx').write_bytes(b'')
    kelp('check', folder, status=2,
         says=['/2: could not be checked: it has no .idx', '/3: could not be checked: it has an .idx and no .dat',
               '/4: could not be checked', '/1: 40 rows', '3 volumes could not be checked'])
    kelp('check', tmp_path / 'none', status=2, says='No such file')


def test_many_volumes_are_checked_side_by_side(tmp_path):
    folder = golden(tmp_path, 'garbage')
    for vid in range(2, 31):
        for kind in ('dat', 'idx', 'vif'):
            shutil.copy(folder / f'1.{kind}', folder / f'{vid}.{kind}')
    data = bytearray((folder / '17.dat').read_bytes())
    data[300] ^= 1
    (folder / '17.dat').write_bytes(data)
    said = json.loads(kelp('check', '-json', '-workers=16', folder, status=1))
    assert [v['id'] for v in said['volumes']] == list(range(1, 31))
    assert [v['id'] for v in said['volumes'] if v['damaged']] == [17]
    assert not any(v['inUse'] for v in said['volumes'])


def test_checking_changes_nothing(tmp_path):
    folder = golden(tmp_path, 'copied')
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    kelp('check', folder)
    kelp('dump', f'-dir={folder}', '-volumeId=1')
    kelp('export', f'-dir={folder}', '-volumeId=1')
    kelp('fix', folder)
    kelp('compact', f'-dir={folder}', '-volumeId=1')
    kelp('convert', f'-dir={folder}', '-offsetBytes=4')
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before


def test_a_dump_shows_what_there_is(tmp_path):
    folder = crafted(tmp_path)
    at = [f'-dir={folder}', '-volumeId=5']
    kelp('dump', *at, says=['version         3', 'offsetBytes     5'])
    said = [json.loads(line) for line in kelp('dump', *at, '-needle=d', '-json', '-data=3').splitlines()]
    assert [s['what'] for s in said] == ['row', 'record']
    record = said[1]
    assert record['fid'] == '5,0d1a2b3c4d' and record['pairs'] == '{"a":"b"}' and record['data'] == b'pai'.hex()
    assert record['crcMatches'] and record['index'] == 'live' and record['modified'] == '2025-10-09T08:53:20Z'
    said = [json.loads(line)['index'] for line in kelp('dump', *at, '-offset=8:100000', '-json').splitlines()]
    assert len(said) == 27 and said.count('overwritten') == 1 and said.count('deleted') == 2
    said = [json.loads(line) for line in kelp('dump', *at, '-row=0:100', '-json').splitlines()]
    assert len(said) == 27 and said[-1]['needle'] == '19'
    assert len(kelp('dump', *at, '-row=0:100', '-limit=2', '-json').splitlines()) == 2
    kelp('dump', *at, '-needle=5,091a2b3c4d', says='ta\\x09b\\x0anl')
    kelp('dump', *at, '-needle=ffff', status=1, says='knows no needle ffff')


@pytest.mark.parametrize('words, says', [
    (['export', '-volumeId=1', '-o=x.zip'], "should be '-', end with .tar"),
    (['export'], '-volumeId is needed'),
    (['export', '-volumeId=9'], 'no volume 9'),
    (['export', '-volumeId=1', '-newer=yesterday'], "cannot parse 'newer' argument"),
    (['export', '-volumeId=1', '-fileNameFormat={{.Size}}'], '"{{.Size}}" is no field'),
    (['export', '-volumeId=1', '-fileNameFormat={{.Name'], 'is no field'),
    (['fix'], 'name a folder'),
    (['compact'], '-volumeId is needed'),
    (['compact', '-volumeId=1', '-method=both'], '-method is data or index'),
    (['compact', '-volumeId=1', '-preallocateMB=-1'], '-preallocateMB goes from 0'),
    (['convert'], '-offsetBytes is needed: 4 or 5'),
    (['convert', '-offsetBytes=6'], '-offsetBytes is needed: 4 or 5'),
    (['check', '-workers=1000'], '-workers goes from 1'),
    (['check', 'manifest.json'], 'is no file of a volume'),
    (['check', '-volumeId=77'], 'no such volume'),
    (['dump'], '-volumeId is needed'),
    (['dump', '-volumeId=1', '-offset=8', '-row=1'], 'one of -needle, -offset and -row'),
    (['dump', '-volumeId=1', '-offset=x'], 'give a number, or two'),
    (['dump', '-volumeId=1', '-offset=9'], 'multiples of 8'),
    (['dump', '-volumeId=1', '-row=40'], 'the .idx has 40 rows'),
    (['dump', '-volumeId=1', '-needle=2,101a2b3c4d'], '-needle is of volume 2'),
    (['dump', '-volumeId=1', '-needle=xyz'], 'give a file id'),
    (['fix', '-aply', '.'], 'did you mean -apply?'),
    (['export', '-volumeId=1', '-collection=none'], 'is in . as 1'),
])
def test_wrong_words_are_explained(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(golden(tmp_path, 'garbage'))
    kelp(*words, status=2, says=says)


@pytest.mark.parametrize('name, flags', [
    ('check', ['-json', '-workers', 'Exit status']), ('dump', ['-needle', '-row', 'Exit status']),
    ('fix', ['-includeDeleted', '-apply', 'Stop the volume server']), ('export', ['-fileNameFormat', '-newer', '-o ']),
    ('compact', ['-method', '-preallocateMB', '-apply']), ('convert', ['-offsetBytes', '-apply', '32 GiB']),
])
def test_help_says_what_there_is(name, flags):
    text = kelp('help', name).decode()
    assert f'kelp {name}' in text
    for flag in flags:
        assert flag in text, flag


# ---- beside servers ----

def test_a_folder_in_use_is_checked_and_not_changed(cluster):
    """Writes, deletes and vacuums go on while the checks run; none of them is taken for damage."""
    cluster.kelp_master('-volumeSizeLimitMB=256', env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    server = cluster.kelp_volume()
    blobs = cluster.put_many([os.urandom(3000 + n) for n in range(200)])
    vid = next(iter(blobs)).split(',')[0]
    is_over, failures = threading.Event(), []

    def write():
        try:
            while not is_over.is_set():
                for fid in list(blobs)[:50]:
                    http('DELETE', f'{server.address}/{fid}')
                    http('PUT', f'{server.address}/{fid}', blobs[fid])
                cluster.kelp_shell(f'volume.vacuum -volumeId={vid} -garbageThreshold=0', check=False)
        except Exception as error:  # shown by the test's own thread
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(25):
            kelp('check', server.data, says='in use by a server')
    finally:
        is_over.set()
        writer.join()
    assert not failures
    kelp('fix', '-apply', server.data, status=1, says='in use by a volume server')
    kelp('compact', f'-dir={server.data}', f'-volumeId={vid}', '-apply', status=1, says='stop it first')
    kelp('convert', f'-dir={server.data}', '-offsetBytes=4', '-apply', status=1, says='in use')
    for fid, data in blobs.items():
        assert http('GET', f'{server.address}/{fid}').body == data


def test_what_a_peer_is_writing_is_no_damage(cluster):
    cluster.weed_master(env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    server = cluster.weed_volume()
    blobs = cluster.put_many([os.urandom(3000 + n) for n in range(100)])
    is_over, failures = threading.Event(), []

    def write():
        try:
            while not is_over.is_set():
                for fid in list(blobs)[:50]:
                    http('DELETE', f'{server.address}/{fid}')
                    http('PUT', f'{server.address}/{fid}', blobs[fid])
        except Exception as error:  # shown by the test's own thread
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(15):
            kelp('check', server.data, says='no damage')
    finally:
        is_over.set()
        writer.join()
    assert not failures


def test_what_the_tools_leave_is_served_by_both(cluster):
    cluster.kelp_master('-volumeSizeLimitMB=256', env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    server = cluster.kelp_volume()
    blobs = cluster.put_many([os.urandom(1000 + n) for n in range(30)])
    vid = next(iter(blobs)).split(',')[0]
    for fid in list(blobs)[:10]:
        assert cluster.delete(fid).status == 202
        del blobs[fid]
    assert server.stop() == 0
    cluster.wait_gone(server)
    (server.data / f'{vid}.idx').unlink()
    kelp('fix', '-apply', server.data)
    kelp('compact', f'-dir={server.data}', f'-volumeId={vid}', '-apply')
    kelp('convert', f'-dir={server.data}', '-offsetBytes=4', '-apply')
    kelp('convert', f'-dir={server.data}', '-offsetBytes=5', '-apply')
    kelp('check', server.data, says='no damage')
    for is_weed in (False, True):
        if is_weed:
            server = cluster.weed_volume(data=server.data, port=server.port)
        else:
            server.start()
        cluster.wait_registered(server)
        for fid, data in blobs.items():
            assert http('GET', f'{server.address}/{fid}').body == data
        fid, _ = cluster.put(b'and it takes writes')
        blobs[fid] = b'and it takes writes'
        server.stop()
        cluster.wait_gone(server)
    kelp('check', server.data, says='no damage')
