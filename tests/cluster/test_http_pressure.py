"""Clients that are slow, broken, many or gone: none of them costs the others anything, and nothing of them stays."""
import contextlib
import os
import re
import resource
import signal
import socket
import threading
import time

import pytest
from lib.cluster import Cluster, free_port, http, wait_until
from lib.rough_client import MIB, connect, head, is_sanitized, put, read_all, reset, rss_bytes, sibling, sockets

IDLE = 2  # seconds
MANY = 400


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Cluster(tmp_path_factory.mktemp('pressure')) as cluster:
        cluster.kelp_master()
        metrics = free_port()
        server = cluster.kelp_volume(f'-idleTimeout={IDLE}', '-concurrentUploadLimitMB=1', '-inflightUploadDataTimeout=300ms',
                                     '-concurrentDownloadLimitMB=4', '-inflightDownloadDataTimeout=300ms',
                                     f'-metricsPort={metrics}')
        server.metrics = f'127.0.0.1:{metrics}'
        cluster.small, _ = cluster.put(b'small')
        cluster.big = sibling(cluster.small, 0xb16)
        cluster.big_data = os.urandom(MIB) * 24
        assert put(server, cluster.big, cluster.big_data).status == 201
        yield cluster
        server.check_alive()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(running):
    """With a check that afterwards all is as it was: descriptors, bytes in hand, and that it serves."""
    server = running.volumes[0]
    wait_until(lambda: sockets(server) == 0, 'connections of the test before are closed')
    yield server
    wait_until(lambda: sockets(server) == 0, f'all connections are closed, {sockets(server)} are left')
    wait_until(lambda: in_hand(server) == (0, 0), 'no bytes in hand')
    assert http('GET', f'{server.address}/{running.small}').body == b'small'


def in_hand(server):
    page = http('GET', f'{server.metrics}/metrics').body.decode()
    return tuple(float(re.search(rf'^SeaweedFS_volumeServer_in_flight_{kind}_size (\S+)$', page, re.M)[1])
                 for kind in ('upload', 'download'))


class Others:
    """A client that reads all the while, and how long it ever waited."""

    def __init__(self, server, fid):
        self.server, self.fid, self.longest, self.count, self.is_over = server, fid, 0, 0, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with connect(self.server) as s:
            request = head('GET', self.fid)
            while not self.is_over:
                start = time.monotonic()
                s.sendall(request)
                assert s.recv(4096).startswith(b'HTTP/1.1 200')
                self.longest = max(self.longest, time.monotonic() - start)
                self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.is_over = True
        self.thread.join()
        assert self.count > 10 and self.longest < 1, (self.count, self.longest)


# ---- slow ----

def test_headers_that_never_end_are_cut_off_and_stall_nobody(running, server):
    with Others(server, running.small):
        clients = [connect(server, b'GET /' + running.small.encode() + b' HTTP/1.1\r\nHost: kelp\r\n') for _ in range(MANY)]
        began = time.monotonic()
        for number in range(5):  # a field now and then does not buy time
            time.sleep(IDLE / 10)  # this is the attack's own pace
            for s in clients:
                s.sendall(b'X-%d: x\r\n' % number)
        for s in clients:
            assert read_all(s).startswith(b'HTTP/1.1 400')
            s.close()
    assert time.monotonic() - began < IDLE * 4


def test_connections_that_say_nothing_are_closed(running, server):
    silent = [connect(server) for _ in range(MANY)]
    used = [connect(server, head('GET', running.small)) for _ in range(MANY)]
    for s in silent:
        assert read_all(s) == b''
        s.close()
    for s in used:
        assert read_all(s).startswith(b'HTTP/1.1 200')
        s.close()


def test_bodies_that_stop_are_given_up_and_store_nothing(running, server):
    fids = [sibling(running.small, 0x1000 + n) for n in range(50)]
    clients = [connect(server, head('PUT', fid, 'Content-Length: 1000') + b'x' * 500) for fid in fids]
    for s, fid in zip(clients, fids):
        assert b'i/o timeout' in read_all(s)
        s.close()
        assert http('GET', f'{server.address}/{fid}').status == 404


def test_half_closed_uploads_store_nothing(running, server):
    for number, framing in enumerate((b'Content-Length: 1000\r\n\r\nabc', b'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')):
        fid = sibling(running.small, 0x2000 + number)
        with connect(server, f'PUT /{fid} HTTP/1.1\r\nHost: kelp\r\n'.encode() + framing) as s:
            s.shutdown(socket.SHUT_WR)
            assert read_all(s).startswith(b'HTTP/1.1 400')
        assert http('GET', f'{server.address}/{fid}').status == 404


# ---- broken ----

def test_resets_in_the_middle_of_a_body_store_nothing(running, server):
    fids = [sibling(running.small, 0x3000 + n) for n in range(MANY)]
    with Others(server, running.small):
        for number, fid in enumerate(fids):
            framing = 'Content-Length: 1000' if number % 2 else 'Transfer-Encoding: chunked'
            reset(connect(server, head('PUT', fid, framing) + b'1f4\r\n' + b'x' * 400))
    wait_until(lambda: sockets(server) == 0, 'all are gone')
    for fid in fids[::10]:
        assert http('GET', f'{server.address}/{fid}').status == 404


def test_a_client_that_asks_for_all_and_takes_nothing_costs_little(running, server):
    one = sibling(running.small, 0x1b1b)
    assert put(server, one, os.urandom(MIB)).status == 201
    clients = [connect(server, head('GET', one) * 1000, receive_buffer=4096) for _ in range(3)]
    for s in clients:
        assert s.recv(1)  # it is being answered
    before = rss_bytes(server)
    wait_until(lambda: sockets(server) == 0, 'it is given up')
    if not is_sanitized():
        assert rss_bytes(server) - before < 8 * MIB
    for s in clients:
        assert len(read_all(s)) < 100 * MIB
        s.close()


def test_resets_in_the_middle_of_a_download_give_all_back(running, server):
    with Others(server, running.small):
        for _ in range(50):
            s = connect(server, head('GET', running.big, 'Range: bytes=0-'), receive_buffer=4096)
            s.recv(100)
            reset(s)
    wait_until(lambda: in_hand(server)[1] == 0, 'no download is in hand')
    assert http('GET', f'{server.address}/{running.big}').body == running.big_data


# ---- limits ----

def test_an_upload_over_the_limit_is_told_to_come_again(running, server):
    first, second = (sibling(running.small, 0x4000 + n) for n in range(2))
    with connect(server, head('PUT', first, f'Content-Length: {2 * MIB}') + b'x' * (2 * MIB - 1)) as s:
        wait_until(lambda: in_hand(server)[0] == 2 * MIB - 1, 'it has come')
        reply = put(server, second, b'hello')
        assert reply.status == 429 and reply.headers['Retry-After'] == '1'
        assert reply.json['error'] == f'reject because inflight upload data {2 * MIB - 1} > {MIB}, and wait timeout'
        assert http('GET', f'{server.address}/{second}').status == 404
        s.sendall(b'x')
        assert s.recv(4096).startswith(b'HTTP/1.1 201')


def test_a_download_over_the_limit_is_told_to_come_again(running, server):
    with connect(server, head('GET', running.big), receive_buffer=1 << 16) as s:
        s.recv(100)
        reply = http('GET', f'{server.address}/{running.small}')
        assert reply.status == 429 and reply.headers['Retry-After'] == '1'
        assert 'because inflight download data' in reply.json['error']
        assert len(read_all(s)) > len(running.big_data) - 100
    assert http('GET', f'{server.address}/{running.small}').status == 200


# ---- many ----

@pytest.fixture
def patient(tmp_path, running):
    """A server that waits for its clients as long as servers do."""
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        server = cluster.kelp_volume()
        cluster.small, _ = cluster.put(b'small')
        yield cluster, server


def test_idle_connections_cost_little_and_harm_nobody(patient):
    cluster, server = patient
    count = min(10000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    before = rss_bytes(server)
    with Others(server, cluster.small), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(count)]
        for s in clients:
            s.sendall(head('GET', cluster.small))
            assert s.recv(4096).startswith(b'HTTP/1.1 200')
        after = rss_bytes(server)
        assert sockets(server) >= count
    if not is_sanitized():
        assert (after - before) / count < 2048, (before, after)
    wait_until(lambda: sockets(server) == 0, 'all are closed')
    assert http('GET', f'{server.address}/{cluster.small}').body == b'small'


def test_an_idle_server_is_small(tmp_path):
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        size = rss_bytes(cluster.kelp_volume())
    if not is_sanitized():
        assert size <= 15 * 1000 * 1000, size


# ---- the end ----

def is_refused(server):
    try:
        connect(server).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_a_stop_leaves_first_then_finishes_what_runs(tmp_path):
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        server = cluster.kelp_volume('-preStopSeconds=4')
        fid, _ = cluster.put(b'hello')
        late = sibling(fid, 0x5000)
        with connect(server, head('PUT', late, 'Content-Length: 10') + b'12345') as upload, connect(server) as idle:
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: http('GET', f'{server.address}/healthz').status == 503, 'it says that it stops')
            cluster.wait_gone(server)  # no new write is sent here any more,
            assert http('GET', f'{server.address}/{fid}').body == b'hello'  # and what comes is served
            assert put(server, sibling(fid, 0x5001), b'still').status == 201
            assert read_all(idle) == b''  # closed when nobody is let in any more
            wait_until(lambda: is_refused(server), 'all listeners are closed')
            upload.sendall(b'67890')  # what had begun is finished
            assert read_all(upload).startswith(b'HTTP/1.1 201')
        assert server.stop() == 0
        server.start()
        cluster.wait_registered(server)
        assert http('GET', f'{server.address}/{late}').body == b'1234567890'
        assert http('GET', f'{server.address}/{sibling(fid, 0x5001)}').body == b'still'
