"""What one server has and another passes on: big bodies, slow readers, servers that die, clients that leave.

KELP_ABORTS is how many transfers of each kind are broken off; 200 when it is not set."""
import contextlib
import hashlib
import os
import re
import socket

import pytest
from lib.cluster import Cluster, http, wait_until
from lib.rough_client import MIB, connect, head, is_sanitized, put, read_all, reset, rss_bytes, sibling, sockets

BIG = (32 if is_sanitized() else 200) * MIB
ABORTS = int(os.environ.get('KELP_ABORTS', '200'))
ROOM = 12 * MIB  # what passing something on may cost


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp('proxy')) as cluster:
        cluster.kelp_master()
        holder = cluster.kelp_volume('-readMode=proxy')
        cluster.fid, _ = cluster.put(b'small')
        cluster.big = sibling(cluster.fid, 0xb16)
        piece = os.urandom(MIB)
        assert put(holder, cluster.big, piece * (BIG // MIB)).status == 201
        cluster.digest = hashlib.md5(piece * (BIG // MIB)).hexdigest()
        cluster.kelp_volume('-readMode=proxy', '-max=0')
        yield cluster
        for server in cluster.volumes:
            server.check_alive()
            assert server.stop() == 0, server.log()[-4000:]  # a sanitizer looks for leaks now


@pytest.fixture
def pair(running):
    """The server that has it all, and the one that has nothing; afterwards nothing is left in hand."""
    holder, other = running.volumes
    wait_until(lambda: http('GET', f'{other.address}/{running.fid}').body == b'small', 'it is passed on')
    yield holder, other
    wait_until(lambda: sockets(other) == 0, 'all clients are gone')
    assert http('GET', f'{other.address}/{running.fid}').body == b'small'


def peak_bytes(server):
    with open(f'/proc/{server.pid}/status') as status:
        return int(re.search(r'^VmHWM:\s+(\d+) kB', status.read(), re.M)[1]) * 1024


def forget_peak(server):
    with open(f'/proc/{server.pid}/clear_refs', 'w') as refs:
        refs.write('5')


def body_of(s):
    """Its bytes, piece by piece."""
    data = b''
    while b'\r\n\r\n' not in data:
        data += s.recv(1 << 16)
    yield data.split(b'\r\n\r\n', 1)[1]
    while piece := s.recv(1 << 20):
        yield piece


@pytest.mark.parametrize('target', ['big', 'manifest'])
def test_a_big_body_is_passed_on_in_little_memory(running, pair, target):
    holder, other = pair
    fid = running.big
    if target == 'manifest':  # one that stands for the big blob, read where the blob is not
        fid = sibling(running.fid, 0x3a91)
        manifest = f'{{"chunks":[{{"fid":"{running.big}","offset":0,"size":{BIG}}}]}}'.encode()
        assert http('PUT', f'{holder.address}/{fid}?cm=true', manifest, {'Content-Type': 'a/b'}).status == 201
    for server in pair:
        forget_peak(server)
    before = [rss_bytes(server) for server in pair]
    with connect(other, head('GET', fid, 'Connection: close'), receive_buffer=1 << 16) as s:
        digest, size = hashlib.md5(), 0
        for piece in body_of(s):
            digest.update(piece)
            size += len(piece)
    assert size == BIG and digest.hexdigest() == running.digest
    if not is_sanitized():
        assert peak_bytes(other) - before[1] < ROOM
        assert peak_bytes(holder) - before[0] < ROOM


def test_a_reader_that_stops_holds_the_other_server_back(running, pair):
    holder, other = pair
    forget_peak(other)
    before = rss_bytes(other)
    clients = [connect(other, head('GET', running.big), receive_buffer=1 << 16) for _ in range(20)]
    for s in clients:
        assert s.recv(1)
    for _ in range(20):  # others are served meanwhile
        assert http('GET', f'{other.address}/{running.fid}').body == b'small'
    for s in clients:
        reset(s)
    wait_until(lambda: sockets(other) == 0, 'they are gone')
    if not is_sanitized():
        assert peak_bytes(other) - before < ROOM


def test_a_server_that_is_killed_in_the_midst_breaks_the_answer_off(running, pair):
    holder, other = pair
    clients = [connect(other, head('GET', running.big), receive_buffer=1 << 16) for _ in range(3)]
    for s in clients:
        assert s.recv(1)
    holder.kill()
    for s in clients:
        assert len(read_all(s)) < BIG
        s.close()
    assert http('GET', f'{other.address}/{running.fid}').status in (404, 500)
    holder.start()
    running.wait_registered(holder)
    wait_until(lambda: http('GET', f'{other.address}/{running.fid}').body == b'small', 'it is there again')


def break_off(running, holder, other, number):
    """One transfer of each kind."""
    s = connect(other, head('GET', running.big, 'Range: bytes=5-'), receive_buffer=4096)
    if number % 2:
        s.recv(1)
    reset(s)
    with connect(other, head('GET', running.fid)) as s:
        s.shutdown(socket.SHUT_WR)
        if number % 2:
            assert read_all(s).endswith(b'small')
    for server in (holder, other):  # here, and on its way to where it is stored
        fid = sibling(running.fid, 0x50000 + number)
        s = connect(server, head('PUT', fid, 'Content-Length: 100000') + b'x' * (99999 if number % 2 else 100000))
        with contextlib.suppress(OSError):
            reset(s)


def test_transfers_that_are_broken_off_leave_nothing(running, pair):
    holder, other = pair
    for number in range(100):
        break_off(running, holder, other, number)
    wait_until(lambda: sockets(other) == 0, 'they are gone')
    before = [rss_bytes(server) for server in pair]
    for number in range(ABORTS):
        break_off(running, holder, other, 1000 + number)
    wait_until(lambda: sockets(other) == 0, 'they are gone')
    growth = [rss_bytes(server) - size for server, size in zip(pair, before)]
    if not is_sanitized():  # which keeps what was freed
        assert max(growth) < 16 * MIB, growth
