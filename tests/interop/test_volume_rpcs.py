"""The rpcs on single needles and whole volumes, asked of a kelp and of a weed volume server that were fed the same
blobs: the same fields, codes and words, byte for byte but for what is each server's own (paths, clocks)."""
import re
import struct
import time

import grpc
import pytest
from lib.cluster import Cluster, http
from lib.rpc import call_volume, stream_volume

KINDS = ('weed', 'kelp')
RAW = {'Content-Type': 'application/octet-stream'}


class Side:
    """One kind's volume server, and what it says."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.cluster = Cluster(folder)
        self.cluster.__enter__()
        self.cluster.any_master('weed', '-volumeSizeLimitMB=64')
        self.cluster.any_volume(kind, '-max=50')
        self.server = self.cluster.volumes[0]

    def put(self, volume, key, cookie, data, query='?ts=1700000000'):
        url = f'{self.server.address}/{volume},{key:x}{cookie:08x}{query}'
        assert http('PUT', url, data, RAW).status in (201, 204), url

    def get(self, volume, key, cookie):
        reply = http('GET', f'{self.server.address}/{volume},{key:x}{cookie:08x}')
        return reply.status, reply.body

    def delete(self, volume, key, cookie):
        assert http('DELETE', f'{self.server.address}/{volume},{key:x}{cookie:08x}').status == 202

    def allocate(self, volume, **fields):
        call_volume(self.server.address, 'AllocateVolume', volume_id=volume, version=3, replication='000', **fields)

    def rows(self, volume):
        """(key, offset, size) of each row of the .idx."""
        data = (self.server.data / f'{volume}.idx').read_bytes()
        found = []
        for at in range(0, len(data), 17):
            key, low, high, size = struct.unpack('>QIBi', data[at:at + 17])
            found.append((key, (low | high << 32) * 8, size))
        return found

    def patch(self, volume, offset):
        """Flips a byte of the .dat behind the server's back."""
        path = self.server.data / f'{volume}.dat'
        with open(path, 'r+b') as f:
            f.seek(offset)
            byte = f.read(1)[0]
            f.seek(offset)
            f.write(bytes([byte ^ 0xff]))

    def neutral(self, text):
        return text.replace(str(self.server.data), 'FOLDER').replace(self.server.address, 'ADDRESS')

    def ask(self, method, **fields):
        """('OK', the answer) or (code, text)."""
        try:
            return 'OK', call_volume(self.server.address, method, **fields)
        except grpc.RpcError as e:
            return e.code().name, self.neutral(e.details())

    def ask_stream(self, method, **fields):
        try:
            return 'OK', stream_volume(self.server.address, method, **fields)
        except grpc.RpcError as e:
            return e.code().name, self.neutral(e.details())


@pytest.fixture(scope='module')
def sides(tmp_path_factory):
    made = [Side(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS]
    yield made
    for side in made:
        side.cluster.__exit__(None, None, None)


def without(answer, *names):
    """A comparable form of an answer."""
    code, message = answer
    if code != 'OK':
        return answer
    copy = type(message)()
    copy.CopyFrom(message)
    for name in names:
        copy.ClearField(name)
    return code, re.sub(r'volume_id:(\d+) +replication', r'volume_id:\1 replication', str(copy))


def same(sides, method, drop=(), **fields):
    """Asks both; they must answer the same. Returns the answer."""
    theirs, ours = (without(side.ask(method, **fields), *drop) for side in sides)
    assert ours == theirs, (method, fields)
    return ours


def both(sides, method, *args, **fields):
    for side in sides:
        getattr(side, method)(*args, **fields)


@pytest.fixture(scope='module')
def filled(sides):
    """Volume 5 with all kinds of needles, volume 6 with a TTL and a collection."""
    now = int(time.time())  # a volume with a TTL goes once its blobs are that old
    for side in sides:
        side.allocate(5)
        side.allocate(6, collection='pics', ttl='3h')
        side.put(5, 1, 0xaa, b'hello')
        side.put(5, 2, 0xbb, b'x' * 3000)
        side.put(5, 3, 0xcc, b'')
        side.put(5, 4, 0xdd, b'four', '?ts=1700000000&ttl=5d')
        side.put(5, 5, 0xee, b'five')
        side.delete(5, 5, 0xee)
        side.put(5, 2, 0xbb, b'y' * 100)
        side.put(6, 1, 0xaa, b'of a volume with a TTL', f'?ts={now}')
    assert sides[0].rows(5) == sides[1].rows(5)
    return sides


def test_sync_status(filled):
    for volume in (5, 6, 9):
        same(filled, 'VolumeSyncStatus', volume_id=volume)


def test_needle_status(filled):
    for key in (1, 2, 3, 4, 5, 77):
        same(filled, 'VolumeNeedleStatus', volume_id=5, needle_id=key)
    same(filled, 'VolumeNeedleStatus', volume_id=6, needle_id=1)
    same(filled, 'VolumeNeedleStatus', volume_id=9, needle_id=1)


def test_needle_meta(filled):
    places = filled[0].rows(5) + [(1, 8, 0), (1, 8, 7), (1, 8, -1), (1, 8, -44), (1, -8, 10), (1, 1 << 40, 10),
                                  (1, 0, 10), (1, 16, 8)]
    for key, offset, size in places:
        same(filled, 'ReadNeedleMeta', drop=('append_at_ns',), volume_id=5, needle_id=key, offset=offset, size=size)
    same(filled, 'ReadNeedleMeta', volume_id=9, needle_id=1, offset=8, size=1)


def test_needle_blobs(filled):
    for _, offset, size in filled[0].rows(5):
        answers = [side.ask('ReadNeedleBlob', volume_id=5, offset=offset, size=size) for side in filled]
        assert answers[0][0] == answers[1][0]
        if answers[0][0] != 'OK':
            assert answers[0] == answers[1]
            continue
        theirs, ours = (answer[1].needle_blob for answer in answers)
        stamp = 16 + size + 4
        assert len(ours) == len(theirs)
        assert ours[:stamp] == theirs[:stamp]
    for offset, size in ((8, -1), (8, -44), (-8, 10), (1 << 40, 10), (8, 2**31 - 1)):
        same(filled, 'ReadNeedleBlob', volume_id=5, offset=offset, size=size)
    same(filled, 'ReadNeedleBlob', volume_id=5, offset=0, size=10)
    same(filled, 'ReadNeedleBlob', volume_id=9, offset=8, size=1)


def test_needle_blobs_are_written(filled):
    _, offset, size = filled[0].rows(5)[0]
    blob = filled[0].ask('ReadNeedleBlob', volume_id=5, offset=offset, size=size)[1].needle_blob

    def write(key, data, size=size, volume=5):
        return same(filled, 'WriteNeedleBlob', volume_id=volume, needle_id=key, size=size, needle_blob=data)

    def tail():
        same(filled, 'VolumeSyncStatus', volume_id=5)

    assert write(1, blob, volume=9)[0] == 'UNKNOWN'
    assert write(1, blob)[0] == 'OK'
    tail()  # what is there already is not written
    write(1001, blob)
    tail()
    assert filled[0].get(5, 1001, 0xaa) == filled[1].get(5, 1001, 0xaa) == (200, b'hello')
    for data in (b'', blob[:10], blob[:30], blob + bytes(8)):
        assert write(7, data)[0] == 'UNKNOWN'
    for wrong in (size + 1, -3):
        assert write(7, blob, wrong)[0] == 'UNKNOWN'
    assert write(7, blob[:12] + struct.pack('>i', -3) + blob[16:], -3)[0] == 'UNKNOWN'
    write(1, struct.pack('>I', 0x99) + blob[4:])  # another cookie is another blob
    assert filled[0].get(5, 1, 0x99) == filled[1].get(5, 1, 0x99) == (200, b'hello')
    empty = struct.pack('>IQi', 0x77, 30, 0) + bytes(16)
    write(30, empty, 0)
    tail()
    write(30, empty, 0)
    tail()
    own = blob[:4] + struct.pack('>Q', 12) + blob[12:]
    write(12, own)
    both(filled, 'delete', 5, 12, 0xaa)
    write(12, own)  # a deleted one comes back
    tail()
    assert filled[0].get(5, 12, 0xaa) == filled[1].get(5, 12, 0xaa) == (200, b'hello')
    same(filled, 'VolumeMarkReadonly', volume_id=5)
    for data in (blob, b'short'):
        assert 'is read only' in write(7, data)[1]
    same(filled, 'VolumeMarkWritable', volume_id=5)


def needles(answer):
    assert answer[0] == 'OK'
    return [without(('OK', n)) for n in answer[1]]


def test_all_needles_are_read(filled):
    """The peer's memory index also gives away what was deleted since the last vacuum; ours does not."""
    for side in filled:
        side.allocate(15)
        for key in range(1, 7):
            side.put(15, key, key, bytes([key]) * 100 * (key - 1))
        side.delete(15, 4, 4)
        side.put(15, 2, 2, b'anew')
    theirs, ours = (needles(side.ask_stream('ReadAllNeedles', volume_ids=[6, 15])) for side in filled)
    assert len(theirs) == len(ours) + 1
    assert [n for n in theirs if 'needle_id: 4\n' not in n[1]] == ours
    for ids in ([], [9], [6, 9]):
        answers = [side.ask_stream('ReadAllNeedles', volume_ids=ids) for side in filled]
        assert answers[0][0] == answers[1][0]
        if answers[0][0] != 'OK':
            assert answers[0] == answers[1]


def test_configure(filled):
    both(filled, 'allocate', 11)
    both(filled, 'put', 11, 1, 1, b'kept')
    for volume, replication in ((9, '001'), (11, '00/'), (11, '999'), (11, '001'), (11, '1'), (11, '')):
        same(filled, 'VolumeConfigure', volume_id=volume, replication=replication)
        same(filled, 'VolumeSyncStatus', volume_id=volume)
        assert filled[0].get(11, 1, 1) == filled[1].get(11, 1, 1) == (200, b'kept')


def test_the_replication_is_kept_for_either(filled):
    """What one server wrote into the .vif, the other reads."""
    for side, other in (filled, filled[::-1]):
        side.allocate(12)
        side.ask('VolumeConfigure', volume_id=12, replication='010')
        side.ask('VolumeUnmount', volume_id=12)
        for suffix in ('dat', 'idx', 'vif'):
            data = (side.server.data / f'12.{suffix}').read_bytes()
            (other.server.data / f'12.{suffix}').write_bytes(data)
        assert other.ask('VolumeMount', volume_id=12)[0] == 'OK'
        assert other.ask('VolumeSyncStatus', volume_id=12)[1].replication == '010'
        other.ask('VolumeDelete', volume_id=12)
        side.ask('VolumeMount', volume_id=12)
        side.ask('VolumeDelete', volume_id=12)


def test_scrub_of_good_volumes_and_bad_requests(filled):
    both(filled, 'allocate', 13)
    both(filled, 'put', 13, 1, 1, b'one')
    for mode in (0, 1, 2, 3, 4, 5, 9):
        same(filled, 'ScrubVolume', mode=mode, volume_ids=[13, 6])
    for ids in ([99], [13, 99]):
        same(filled, 'ScrubVolume', mode=2, volume_ids=ids)
    same(filled, 'ScrubVolume', mode=9, volume_ids=[99])


def test_scrub_of_damaged_records(filled):
    for volume, where in ((20, 25), (21, 15)):  # a byte of the data, of the size in the header
        for side in filled:
            side.allocate(volume)
            for key in range(1, 6):
                side.put(volume, key, 0x10 + key, bytes([64 + key]) * 50 * key)
            side.patch(volume, 8 + where)
        same(filled, 'ScrubVolume', mode=1, volume_ids=[volume])
        same(filled, 'ScrubVolume', mode=2, volume_ids=[volume])
    same(filled, 'VolumeNeedleStatus', volume_id=20, needle_id=1)
    same(filled, 'ScrubVolume', mode=2, volume_ids=[20, 21], mark_broken_volumes_readonly=True)
    for volume in (20, 21):
        assert all(side.ask('VolumeStatus', volume_id=volume)[1].is_read_only for side in filled)


def test_maintenance(filled):
    for side in filled:
        version = side.ask('GetState')[1].state.version
        side.ask('SetState', state={'maintenance': True, 'version': version})
    asked = (('VolumeConfigure', dict(volume_id=6, replication='000')),
             ('WriteNeedleBlob', dict(volume_id=6, needle_id=1, size=1, needle_blob=b'')),
             ('ReadNeedleBlob', dict(volume_id=6, offset=-8, size=1)),
             ('ReadNeedleMeta', dict(volume_id=6, offset=8, size=1)),
             ('VolumeNeedleStatus', dict(volume_id=6, needle_id=1)),
             ('VolumeSyncStatus', dict(volume_id=6)),
             ('VacuumVolumeCheck', dict(volume_id=6)),
             ('VacuumVolumeCommit', dict(volume_id=6)),
             ('VacuumVolumeCleanup', dict(volume_id=6)),
             ('ScrubVolume', dict(mode=1, volume_ids=[6])))
    for method, fields in asked:
        same(filled, method, **fields)
    assert filled[1].ask_stream('VacuumVolumeCompact', volume_id=6) == \
        filled[0].ask_stream('VacuumVolumeCompact', volume_id=6)
    assert len({str(needles(side.ask_stream('ReadAllNeedles', volume_ids=[6]))) for side in filled}) == 1
    for side in filled:
        version = side.ask('GetState')[1].state.version
        side.ask('SetState', state={'maintenance': False, 'version': version})


def test_vacuum_of_a_volume_in_its_parts(filled):
    both(filled, 'allocate', 14)
    for method in ('VacuumVolumeCheck', 'VacuumVolumeCommit', 'VacuumVolumeCleanup'):
        same(filled, method, volume_id=99)
    assert filled[0].ask_stream('VacuumVolumeCompact', volume_id=99) == \
        filled[1].ask_stream('VacuumVolumeCompact', volume_id=99)
    same(filled, 'VacuumVolumeCheck', volume_id=14)
    for key in range(1, 6):
        both(filled, 'put', 14, key, key, bytes([key]) * 1000)
    for key in (1, 3):
        both(filled, 'delete', 14, key, key)
    same(filled, 'VacuumVolumeCheck', volume_id=14)
    same(filled, 'VacuumVolumeCleanup', volume_id=14)
    theirs, ours = (side.ask_stream('VacuumVolumeCompact', volume_id=14) for side in filled)
    assert theirs == ours == ('OK', [])  # small: no message
    same(filled, 'VacuumVolumeCommit', volume_id=14)
    same(filled, 'VolumeSyncStatus', volume_id=14)
    same(filled, 'VacuumVolumeCheck', volume_id=14)
    for key in (2, 4, 5):
        assert filled[0].get(14, key, key) == filled[1].get(14, key, key) == (200, bytes([key]) * 1000)


def test_vacuum_tells_its_progress_at_the_same_places(filled):
    """Once a live record lies beyond the next 128 MiB, its offset; the one before is garbage."""
    both(filled, 'allocate', 16)
    blob = bytes(range(256)) * (8 << 12)
    for key in range(1, 19):
        both(filled, 'put', 16, key, key, blob)
    for key in range(1, 18, 2):
        both(filled, 'delete', 16, key, key)
    theirs, ours = ([m.processed_bytes for m in side.ask_stream('VacuumVolumeCompact', volume_id=16)[1]]
                    for side in filled)
    assert theirs == ours and len(ours) == 1
    same(filled, 'VacuumVolumeCommit', volume_id=16)
    for side in filled:
        assert side.ask('VolumeDelete', volume_id=16)[0] == 'OK'
