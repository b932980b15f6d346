"""ACCESS.md says who may call what. Everything that the servers serve is in it, and each row is tried: from
an address that is on the white list and from one that is not, without a token, with the wrong one, with a
good one; and RPCs with and without a certificate."""
import pathlib
import re
import signal
import socket

import grpc
import pytest
from lib import rpc
from lib.certificates import make_certificates
from lib.cluster import Cluster, free_port, http, wait_until
from lib.tokens import READ_KEY, WRITE_KEY, bearer, token

TOP = pathlib.Path(__file__).resolve().parents[2]
FID = '3,01637037d6'
KEYS = f'[jwt.signing]\nkey = "{WRITE_KEY}"\n[jwt.signing.read]\nkey = "{READ_KEY}"\n'
ELSEWHERE = '192.0.2.1'  # nobody's: whoever calls is not on a list of it
WRONG = (401, b'{"error":"wrong jwt"}')


def read_tables():
    """{heading: [row]}, a row being the cells without marks."""
    tables, rows = {}, None
    for line in (TOP / 'ACCESS.md').read_text().splitlines():
        if line.startswith('## '):
            rows = tables.setdefault(line[3:], [])
        elif line.startswith('| ') and rows is not None:
            rows.append([cell.strip().strip('`') for cell in line.strip('|').split('|')])
    return {heading: rows[1:] for heading, rows in tables.items()}


TABLES = read_tables()
ADMIN, PUBLIC, MASTER, METRICS, VOLUME_RPCS, MASTER_RPCS = TABLES.values()
RPCS = {'volume_server_pb.VolumeServer': VOLUME_RPCS, 'master_pb.Seaweed': MASTER_RPCS}


@pytest.fixture(scope='module')
def guarded(tmp_path_factory):
    """A cluster with keys and a white list that it is on; `lists` changes the list."""
    folder = tmp_path_factory.mktemp('guarded')
    with Cluster(folder) as cluster:
        def lists(address):
            (folder / 'security.toml').write_text(f'{KEYS}[guard]\nwhite_list = "{address}"\n')
            for server in cluster.servers:
                server.process.send_signal(signal.SIGHUP)
            for method, url in (('GET', f'{cluster.master}/vol/status'),
                                ('DELETE', f'{cluster.volumes[0].address}/{FID}')):
                wait_until(lambda: (http(method, url).body == b'') == (address == ELSEWHERE), f'{url} has the list')
        (folder / 'security.toml').write_text(f'{KEYS}[guard]\nwhite_list = "127.0.0.1"\n')
        cluster.metrics = [free_port(), free_port()]
        cluster.kelp_master(f'-metricsPort={cluster.metrics[0]}')
        cluster.public = free_port()
        cluster.kelp_volume(f'-port.public={cluster.public}', f'-metricsPort={cluster.metrics[1]}')
        cluster.lists = lists
        yield cluster


# ---- nothing is missing ----

def served_paths(*sources):
    """What the routers compare a path with."""
    found = set()
    for source in sources:
        for name in sorted(TOP.glob(source)):
            found |= set(re.findall(r'(?:SLICE\(|\{)"(/[^"]*)"', name.read_text()))
    return found


@pytest.mark.parametrize('sources, tables', [
    (['volume/*.c'], [ADMIN, PUBLIC]),
    (['master/*.c', 'common/metrics*.c'], [MASTER, METRICS]),
], ids=['volume', 'master'])
def test_every_route_is_in_the_table_and_no_other(sources, tables):
    listed = {row[1] for table in tables for row in table} - {'/{fid}'}
    assert served_paths(*sources) == listed


def probe(server, path, credentials=None, timeout=30):
    """Calls an RPC of whatever kind with one empty message: its status and text."""
    target = f'127.0.0.1:{server.port + 10000}'
    with (grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target)) as channel:
        call = channel.stream_stream(path)(iter([b'']), timeout=timeout)
        try:
            for _ in call:
                pass
        except grpc.RpcError:
            pass
        return call.code(), call.details()


def methods_of(service):
    messages = rpc.master_messages() if service.startswith('master') else rpc.volume_messages()
    return [method.name for method in messages.DESCRIPTOR.services_by_name[service.split('.')[1]].methods]


def server_of(cluster, service):
    return cluster.masters[0] if service.startswith('master') else cluster.volumes[0]


# ---- each row, tried ----

def callers(who):
    """(headers, is the token right for it) of those who may come."""
    return [({}, False), (bearer(token(FID, WRITE_KEY)), 'write token' in who),
            (bearer(token(FID, READ_KEY)), 'read token' in who), (bearer(token('4,01637037d6', WRITE_KEY)), False),
            (bearer(token('4,01637037d6', READ_KEY)), False), (bearer(token(FID, alg='none')), False)]


def expect(method, url, who, is_listed):
    """What differs from what the row says."""
    wrong = []
    for headers, has_token in callers(who):
        got = http(method, url, b'' if method in ('POST', 'PUT') else None, headers)
        told = (got.status, got.body)
        if 'white list' in who and not is_listed:
            is_right = told == (401, b'')
        elif 'token' in who and not has_token:
            is_right = told == WRONG or (method == 'HEAD' and told[0] == 401)
        elif who == 'no write key':
            is_right = b'<html' not in got.body
        elif who == 'nobody':
            is_right = told == (200, b'') or got.status == 400
        else:
            is_right = got.status not in (401, 403)
        if not is_right:
            wrong.append((method, url, who, headers, is_listed, told))
    return wrong


@pytest.mark.parametrize('address', ['127.0.0.1', ELSEWHERE, '::ffff:127.0.0.0/104'],
                         ids=['listed', 'from_elsewhere', 'listed_as_mapped'])
def test_routes_let_in_whom_the_table_names(guarded, address):
    guarded.lists(address)
    is_listed = address != ELSEWHERE
    wrong = []
    public = f'127.0.0.1:{guarded.public}'
    for table, base in ((ADMIN, guarded.volumes[0].address), (PUBLIC, public), (MASTER, guarded.master),
                        *((METRICS, f'127.0.0.1:{port}') for port in guarded.metrics)):
        for method, path, who in table:
            wrong += expect(method, f'{base}{path.replace("{fid}", FID)}', who, is_listed)
    assert not wrong


def test_a_stranger_may_claim_what_he_likes(guarded):
    """Only the TCP peer counts, and writes are refused on pages' paths as well."""
    guarded.lists(ELSEWHERE)
    volume = guarded.volumes[0].address
    for headers in ({'X-Forwarded-For': ELSEWHERE}, {'X-Real-IP': ELSEWHERE}, {'Forwarded': f'for={ELSEWHERE}'},
                    {'Host': ELSEWHERE}, {'X-Forwarded-For': f'{ELSEWHERE}, 127.0.0.1'}):
        headers.update(bearer(token(FID)))
        assert http('PUT', f'{volume}/{FID}', b'x', headers).status == 401
        assert http('GET', f'{guarded.master}/vol/status', headers=headers).status == 401
    for path in ('/status', '/healthz', '/favicon.ico', '/ui/index.html', '//', '/x/../status'):
        for method in ('POST', 'PUT', 'DELETE'):
            assert http(method, f'{volume}{path}', headers=bearer(token(FID))).status == 401, (method, path)


def test_a_token_for_one_blob_writes_no_other(guarded):
    """A write finds its key behind the last comma, a token is checked for what the slashes name."""
    guarded.lists('127.0.0.1')
    target = guarded.assign()
    volume, own = target['fid'].split(',')
    base, other = target['url'], '02badbad00'
    good, image = bearer(token(target['fid'])), {'Content-Type': 'image/png'}
    for path in (f'{own}_,{other}', f'{own}.x,{other}', f'{own}/x,{other}', f'{own}/,{other}', f'{own}/x,{other}.txt',
                 f'{own}_1,{other}', f'{own}%2C{other}', f'{own}/x%2C{other}', f'{own}/x/y,{other}'):
        for method in ('PUT', 'POST'):
            got = http(method, f'{base}/{volume}/{path}', b'x', {**good, **image})
            assert got.status in (400, 401), (method, path, got.status, got.body)
    for path in (f'{own},{other}', f'{other}', f'{other}?fid={target["fid"]}', f'{other}/{volume},{own}'):
        for method in ('PUT', 'DELETE'):
            got = http(method, f'{base}/{volume},{path}', b'x', {**good, **image})
            assert got.status in (400, 401), (method, path, got.status, got.body)
    reads = bearer(token(f'{volume},{other}', READ_KEY))
    assert http('GET', f'{base}/{volume},{other}', headers=reads).status == 404
    for path in (own, f'{own}_1', f'{own}.png', f'{own}_7.png'):
        assert http('PUT', f'{base}/{volume},{path}', b'x', {**good, **image}).status in (201, 204), path


def exchange(port, head, body):
    """Sends all of it and reads the answer, whatever the server thinks of it: its first line."""
    with socket.create_connection(('127.0.0.1', port), timeout=20) as connection:
        connection.sendall(head.encode())
        try:
            connection.sendall(body)
        except ConnectionError:
            pass
        with connection.makefile('rb') as answer:
            return answer.readline().decode().split(' ')[1]


def test_nobody_fills_the_room_for_bodies(guarded):
    """A body that no write will use is refused or dropped, not kept."""
    guarded.lists('127.0.0.1')
    admin, large = guarded.volumes[0].port, bytes(100 << 10)  # within what is read and dropped
    for method in ('GET', 'DELETE', 'OPTIONS', 'PATCH'):
        for path in (FID, 'status'):
            head = f'{method} /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
            assert exchange(admin, f'{head}Content-Length: {len(large)}\r\n\r\n', large) == '413', (method, path)
            small = exchange(admin, f'{head}Content-Length: 5\r\n\r\n', b'words')
            assert small != '413', (method, path)
    for method, told in (('GET', '413'), ('POST', '200'), ('PUT', '200'), ('DELETE', '200'), ('PATCH', '200')):
        head = f'{method} /{FID} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
        assert exchange(guarded.public, f'{head}Content-Length: {len(large)}\r\n\r\n', large) == told, method
        chunked = b'%x\r\n%s\r\n0\r\n\r\n' % (len(large), large)
        assert exchange(guarded.public, f'{head}Transfer-Encoding: chunked\r\n\r\n', chunked) == told, method


def test_a_strangers_body_is_not_waited_for(guarded):
    guarded.lists(ELSEWHERE)
    for port, line in ((guarded.masters[0].port, 'POST /submit'), (guarded.volumes[0].port, f'PUT /{FID}')):
        head = f'{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n'
        assert exchange(port, head, b'') == '401', line


@pytest.mark.parametrize('address', [ELSEWHERE, '127.0.0.1'], ids=['from_elsewhere', 'listed'])
@pytest.mark.parametrize('service', RPCS)
def test_rpcs_let_in_whom_the_table_names(guarded, service, address):
    guarded.lists(address)
    listed, wrong = dict(RPCS[service]), []
    assert set(listed) <= set(methods_of(service))
    for name in sorted(methods_of(service), key=lambda name: name == 'VolumeServerLeave'):
        code, text = probe(server_of(guarded, service), f'/{service}/{name}')
        is_served = not (code == grpc.StatusCode.UNIMPLEMENTED and text.startswith('unknown method'))
        is_refused = code == grpc.StatusCode.PERMISSION_DENIED and text == 'not authorized: 127.0.0.1'
        if is_served != (name in listed):
            wrong.append((name, 'is served' if is_served else 'is not served', code, text))
        elif is_served and is_refused != (listed[name] == 'white list' and address == ELSEWHERE):
            wrong.append((name, listed[name], code, text))
    assert not wrong


def test_with_certificates_no_rpc_is_open(tmp_path):
    make_certificates(tmp_path, ('node', 'unlisted'))
    (tmp_path / 'security.toml').write_text(f'[grpc]\nca = "{tmp_path}/ca.pem"\n' + ''.join(
        f'[grpc.{name}]\ncert = "{tmp_path}/node.pem"\nkey = "{tmp_path}/node.key"\nallowed_commonNames = "x, node"\n'
        for name in ('master', 'volume')))
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        cluster.kelp_volume()
        wrong = []
        for service, rows in RPCS.items():
            server = server_of(cluster, service)
            for name, _ in [*rows, ('NoSuchMethod', 'all')]:
                path = f'/{service}/{name}'
                outside = probe(server, path, rpc.certificate(tmp_path, 'unlisted'))
                if outside[0] != grpc.StatusCode.PERMISSION_DENIED or '"unlisted"' not in outside[1]:
                    wrong.append((name, outside))
            for credentials in (None, rpc.certificate(tmp_path), rpc.certificate(tmp_path, 'stranger')):
                told = probe(server, f'/{service}/Ping', credentials)
                if told[0] != grpc.StatusCode.UNAVAILABLE:
                    wrong.append((service, told))
            assert probe(server, f'/{service}/Ping', rpc.certificate(tmp_path, 'node'))[0] == grpc.StatusCode.OK
        assert not wrong
