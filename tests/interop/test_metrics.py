"""The metrics of a volume server beside the peer's: the same names, types and labels, moved by the same requests; each of
ours moves or is set; and pages are pushed to the gateway that the master names."""
import contextlib
import gzip
import http.server
import io
import os
import re
import socket
import threading
import time

import pytest
from PIL import Image

from lib.cluster import free_port, http as ask, wait_until

OURS = 'SeaweedFS_volumeServer_'
PUSHED = '/metrics/job/{}/instance/'


class Page:
    """A scrape: types by family, values by family and labels."""

    def __init__(self, address):
        reply = ask('GET', f'{address}/metrics')
        assert reply.status == 200
        assert reply.headers['Content-Type'].startswith('text/plain; version=0.0.4; charset=utf-8')
        self.types, self.values, self.labels = {}, {}, {}
        for line in reply.body.decode().splitlines():
            if line.startswith('# TYPE '):
                _, _, family, kind = line.split(' ')
                self.types[family] = kind
            elif not line.startswith('#'):
                self._take(line)

    def _take(self, line):
        series, value = line.rsplit(' ', 1)
        name, _, labels = series.partition('{')
        pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        family = name if name in self.types else re.sub('_(bucket|sum|count)$', '', name)
        assert family in self.types, line
        self.labels.setdefault(family, set()).update(set(pairs) - {'le'})
        if name.endswith('_bucket') and self.types[family] == 'histogram':
            return
        self.values[name + ''.join(f'{{{k}={v}}}' for k, v in sorted(pairs.items()))] = float(value)

    def get(self, name, **labels):
        return self.values.get(name + ''.join(f'{{{k}={v}}}' for k, v in sorted(labels.items())), 0)

    def sum(self, name):
        return sum(value for key, value in self.values.items() if key.partition('{')[0] == name)


def volume(cluster, kind, *flags, **options):
    port = free_port()
    server = cluster.any_volume(kind, f'-metricsPort={port}', '-metricsIp=127.0.0.1', *flags, **options)
    server.metrics = f'127.0.0.1:{port}'
    return server


def requests(fid):
    """What both are asked, in this order: good, bad and absent."""
    vid, rest = fid.split(',')
    other = rest[:-2] + ('00' if rest[-2:] != '00' else '11')  # another cookie
    return [
        ('PUT', f'/{fid}', b'x' * 2000, {}), ('PUT', f'/{fid}', b'x' * 2000, {}), ('GET', f'/{fid}', None, {}),
        ('HEAD', f'/{fid}', None, {}), ('GET', '/999,0101010101', None, {}), ('GET', f'/{vid},{other}', None, {}),
        ('GET', f'/{vid},7701010101', None, {}), ('GET', f'/{vid},02', None, {}), ('PATCH', f'/{vid},02', None, {}),
        ('GET', f'/{fid}', None, {'Range': 'bytes=5000-6000'}), ('POST', '/999,0101010101', b'x', {}),
        ('POST', '/xx', b'x', {}), ('PUT', f'/{vid},{other}', b'y', {}), ('PUT', f'/{vid},7801010101', b'y', {}),
        ('DELETE', '/999,0101010101', None, {}), ('DELETE', f'/{vid},7701010101', None, {}),
        ('DELETE', f'/{vid},{other}', None, {}), ('DELETE', f'/{fid}', None, {}), ('OPTIONS', f'/{fid}', None, {}),
        ('GET', '/status', None, {}), ('GET', '/favicon.ico', None, {}), ('GET', '/ui/index.html', None, {}),
    ]


COUNTED = ('request_total', 'request_seconds_count', 'handler_total', 'replication_targets_count', 'file_read_failures',
           'file_read_invalid_needles', 'file_write_failures')


def counts(server):
    page = Page(server.metrics)
    return {key: value for key, value in page.values.items()
            if key.startswith(tuple(OURS + name for name in COUNTED)) and value}


def moves(cluster, server):
    """For each request, what it added to which counter."""
    target = cluster.assign()
    done, before = [], counts(server)
    for method, path, body, headers in requests(target['fid']):
        if body:
            headers = {'Content-Type': 'application/octet-stream', **headers}
        status = ask(method, f'{server.address}{path}', body, headers).status
        after = counts(server)
        done.append((method, re.sub(r'\d+,\w+', 'fid', path), status,
                     {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}))
        before = after
    return done


def test_the_same_requests_move_the_same_counters(tmp_path):
    from lib.cluster import Cluster
    found = {}
    for kind in ('weed', 'kelp'):
        (tmp_path / kind).mkdir()
        with Cluster(tmp_path / kind) as cluster:
            cluster.any_master(kind)
            found[kind] = moves(cluster, volume(cluster, kind))
    for weed, kelp in zip(found['weed'], found['kelp'], strict=True):
        assert weed == kelp


def act(cluster, servers):
    """A little of everything that counts."""
    shell = cluster.weed_shell
    for replication in ('000', '001'):
        blobs = cluster.put_many([os.urandom(3000) for _ in range(20)], replication=replication)
        for fid in list(blobs)[::2]:
            assert cluster.delete(fid).status == 202
    vid = next(iter(blobs)).split(',')[0]
    for server in servers:
        ask('GET', f'{server.address}/999,0101010101')
        ask('GET', f'{server.address}/{vid},0101010101')
        ask('POST', f'{server.address}/xx', b'x')
    shell('volume.vacuum -garbageThreshold=0.01')
    shell('volume.scrub -mode=index', check=False)


def two(cluster, kind):
    cluster.any_master(kind)
    limits = ('-concurrentUploadLimitMB=64', '-concurrentDownloadLimitMB=64')
    return [volume(cluster, kind, *limits, name=f'{kind}{i}') for i in range(2)]


def test_every_family_of_the_peer_is_there_with_its_type_and_labels(tmp_path):
    from lib.cluster import Cluster
    types, labels = {}, {}
    for kind in ('weed', 'kelp'):
        (tmp_path / kind).mkdir()
        types[kind], labels[kind] = {}, {}
        with Cluster(tmp_path / kind) as cluster:
            servers = two(cluster, kind)
            act(cluster, servers)
            for server in servers:
                page = Page(server.metrics)
                types[kind].update(page.types)
                for family, names in page.labels.items():
                    labels[kind].setdefault(family, set()).update(names)
    wanted = {family for family in types['weed'] if family.startswith((OURS, 'SeaweedFS_build_info'))}
    assert len(wanted) > 25
    for family in sorted(wanted):
        assert types['kelp'].get(family) == types['weed'][family], family
        assert labels['kelp'].get(family) == labels['weed'].get(family), family


def test_a_scraper_that_takes_gzip_gets_it(cluster):
    cluster.kelp_master()
    server = volume(cluster, 'kelp')
    reply = ask('GET', f'{server.metrics}/metrics', headers={'Accept-Encoding': 'gzip'})
    assert reply.headers['Content-Encoding'] == 'gzip'
    assert gzip.decompress(reply.body).startswith(b'# HELP SeaweedFS_')
    assert ask('GET', f'{server.metrics}/').status == 404


# ---- ours ----

# What only a failing disk, a slow loop or a crowd moves: the unit tests of the same names do that.
ELSEWHERE = {OURS + 'storage_io_error_total', OURS + 'io_quarantine', OURS + 'disk_error_status',
             'kelp_loop_slow_turns_total', 'kelp_volumes_loading', 'kelp_image_source_bytes',
             'kelp_image_refused_total'}


class Watch:
    """Which families of a server have shown a value that is not zero, in any scrape."""

    def __init__(self, server):
        self.server, self.families, self.moved = server, set(), set()

    def look(self):
        page = Page(self.server.metrics)
        self.families |= set(page.types)
        for key, value in page.values.items():
            name = key.partition('{')[0]
            family = name if name in page.types else re.sub('_(sum|count)$', '', name)
            if value != 0:
                self.moved.add(family)
        return page

    def until(self, *families):
        wait_until(lambda: self.look() and self.moved.issuperset(families), f'{families} move')


def damage(server, vid, blob):
    """Changes a byte in the middle of the blob's data."""
    path = next(server.data.glob(f'*{vid}.dat'))
    data = path.read_bytes()
    at = data.index(blob) + len(blob) // 2
    with open(path, 'r+b') as file:
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))


@contextlib.contextmanager
def in_background(work):
    """Again and again until the block ends."""
    is_over = threading.Event()

    def run():
        while not is_over.is_set():
            work()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def hold_download(address, fid, size):
    """Asks for a big blob and does not read it."""
    host, port = address.split(':')
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(f'GET /{fid} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
    return connection


def test_each_of_ours_moves_or_is_set(cluster):
    master = cluster.kelp_master(env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    broken = cluster._folder('kelp0')
    for suffix in ('dat', 'idx'):
        (broken / f'77.{suffix}').write_bytes(b'no volume at all')
    limits = ('-concurrentUploadLimitMB=64', '-concurrentDownloadLimitMB=64', '-compactionMBps=2')
    first, second = (volume(cluster, 'kelp', *limits, name=f'kelp{i}') for i in range(2))
    watch = Watch(first)
    watch.until(OURS + 'start_time_seconds', OURS + 'max_volumes', OURS + 'resource', 'SeaweedFS_build_info',
                OURS + 'concurrent_upload_limit', OURS + 'concurrent_download_limit', 'kelp_volumes_not_loaded')
    act(cluster, (first, second))

    # Both have the volumes of a pair, so the first one sees all their writes.
    pair = cluster.assign(replication='001', collection='pair')

    def put_pair():
        key = int.from_bytes(os.urandom(5), 'big') | 1
        vid = pair['fid'].split(',')[0]
        assert ask('PUT', f'{first.address}/{vid},{key:x}01020304', os.urandom(500),
                   {'Content-Type': 'application/octet-stream'}).status == 201
    with in_background(put_pair):
        watch.until('kelp_commit_group_size', 'kelp_foreground_p99_seconds', OURS + 'request_seconds',
                    OURS + 'request_total', OURS + 'in_flight_requests', OURS + 'replication_targets',
                    OURS + 'replication_operations_total', 'kelp_loop_lag_seconds', 'kelp_index_memory_bytes',
                    'kelp_index_file_bytes', OURS + 'volumes', OURS + 'total_disk_size')

    vid = pair['fid'].split(',')[0]
    text = b'the quick brown fox ' * 200_000

    def upload():
        key = int.from_bytes(os.urandom(5), 'big') | 1
        form = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\n' + text + b'\r\n--B--\r\n'
        ask('POST', f'{first.address}/{vid},{key:x}01020304?type=replicate', form,
            {'Content-Type': 'multipart/form-data; boundary=B'})
    with in_background(upload):
        watch.until(OURS + 'in_flight_upload_size')

    big = os.urandom(8 << 20)
    assert ask('PUT', f'{first.address}/{vid},abc01020304', big,
               {'Content-Type': 'application/octet-stream'}).status == 201
    connection = hold_download(first.address, f'{vid},abc01020304', len(big))
    watch.until(OURS + 'in_flight_download_size', 'kelp_http_connections', 'kelp_http_unsent_bytes')
    connection.close()

    picture = io.BytesIO()
    Image.new('RGB', (40, 20)).save(picture, 'PNG')
    assert ask('PUT', f'{first.address}/{vid},ccc01020304.png', picture.getvalue(),
               {'Content-Type': 'image/png'}).status == 201
    for _ in range(2):
        assert ask('GET', f'{first.address}/{vid},ccc01020304.png?width=10').body != picture.getvalue()
    watch.until('kelp_image_made_total', 'kelp_image_cache_bytes', 'kelp_image_cache_entries',
                'kelp_image_cache_hits_total', 'kelp_image_cache_misses_total')

    small = os.urandom(5000)
    assert ask('PUT', f'{first.address}/{vid},def01020304', small,
               {'Content-Type': 'application/octet-stream'}).status == 201
    damage(first, vid, small)
    assert ask('GET', f'{first.address}/{vid},def01020304').body == small  # of the replica
    watch.until('kelp_damaged_records')
    assert watch.look().get(OURS + 'handler_total', type='errorCRC') == 1

    cluster.weed_shell('volume.scrub -mode=full', check=False)
    watch.until(OURS + 'scrub_last_time_seconds', OURS + 'scrub_volume_failures')

    # The replica has it under another cookie.
    octets = {'Content-Type': 'application/octet-stream'}
    assert ask('PUT', f'{second.address}/{vid},aaa05060708?type=replicate', b'theirs', octets).status == 201
    assert ask('PUT', f'{first.address}/{vid},aaa01020304', b'ours', octets).status == 500
    watch.until(OURS + 'replication_failures_total', 'SeaweedFS_upload_error_total')
    assert watch.look().get('SeaweedFS_upload_error_total', code='500') == 1

    assert ask('DELETE', f'{first.address}/{vid},abc01020304').status == 202
    vacuum = threading.Thread(target=lambda: cluster.kelp_shell(
        f'volume.vacuum -garbageThreshold=0.01 -volumeId={vid}', check=False))
    vacuum.start()
    watch.until('kelp_vacuum_running', 'kelp_vacuum_share', 'kelp_vacuum_held_bytes')
    vacuum.join()
    watch.until(OURS + 'vacuuming_compact_count', OURS + 'vacuuming_commit_count', OURS + 'vacuuming_seconds',
                'kelp_vacuum_writer_pause_seconds')

    cluster.kelp_shell(f'volume.mark -node={first.address} -volumeId={vid} -readonly')
    watch.until(OURS + 'read_only_volumes')
    master.kill()
    watch.until(OURS + 'master_disconnections')
    still = watch.families - watch.moved
    assert still <= ELSEWHERE, still
    assert len(watch.moved) > 35


# ---- the push gateway ----

class Gateway(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.server.pushes.append((self.path, self.headers['Content-Type'], body))
        self.send_response(202)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def gateway():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Gateway)
    server.pushes = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize('kind', ['kelp', 'weed'])
def test_pages_are_pushed_where_the_master_says(cluster, gateway, kind):
    flags = (f'-metrics.address=127.0.0.1:{gateway.server_address[1]}', '-metrics.intervalSeconds=1')
    master = cluster.any_master(kind, *flags)
    servers = [cluster.kelp_volume(), cluster.weed_volume(), master]

    def pushed(server):
        path = PUSHED.format('masterServer' if server is master else 'volumeServer') + server.address.replace(':', '%3A')
        return [push for push in list(gateway.pushes) if push[0] == path]
    for server in servers:
        wait_until(lambda server=server: len(pushed(server)) >= 2, f'{server.name} pushes again and again')
    _, content_type, body = pushed(servers[0])[-1]
    assert content_type == 'text/plain; version=0.0.4; charset=utf-8'
    assert b'# TYPE SeaweedFS_volumeServer_max_volumes gauge\nSeaweedFS_volumeServer_max_volumes 100\n' in body
    assert b'SeaweedFS_master_' in pushed(master)[-1][2]
    began = time.monotonic()
    servers[0].stop()
    assert time.monotonic() - began < 10
