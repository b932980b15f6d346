"""Bad input and bad circumstances: each gets a clear error that says what to do, and changes nothing."""
import os
import shutil
import socket
import subprocess

import pytest
from lib.cluster import Server, free_port, http, kelp_binary, run, wait_until


def fails(command, *texts, timeout=20):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, -6, -11), said
    for text in texts:
        assert text in said, f'{text!r} is missing in:\n{said}'
    return said


def volume_command(*flags):
    port = free_port()
    return [kelp_binary(), 'volume', '-ip=127.0.0.1', f'-port={port}', '-master=127.0.0.1:1', *flags]


# ---- the command line ----

def test_a_wrong_flag_names_the_nearest():
    fails([kelp_binary(), 'volume', '-prot=8080'], 'unknown flag -prot', 'did you mean -port?')
    fails([kelp_binary(), 'master', '-volumeSizeLimitMb=1'], 'did you mean -volumeSizeLimitMB?')
    fails([kelp_binary(), 'volum'], 'unknown command volum', 'did you mean volume?')
    fails([kelp_binary(), 'master', '-port=x'], 'invalid value "x" for -port: want an integer')
    fails([kelp_binary(), 'master', '-port=70000'], '70000 is no port')
    fails([kelp_binary(), 'volume', '-max=1,2', '-dir=/tmp'], 'give one for all or one for each')
    fails([kelp_binary(), 'volume', '-minFreeSpace=200'], 'write a size with its unit')
    fails([kelp_binary(), 'volume', '-durability=sometimes'], 'none, interval or always')
    fails([kelp_binary(), 'volume', '-durability=interval', '-durability.interval=0s'], 'from 1ms to 1h')
    fails([kelp_binary(), 'master', '-options=/nonexistent'], '/nonexistent', 'No such file')


def test_help_and_version_answer():
    for words in (['help'], ['version'], *(['help', c] for c in (
            'master', 'volume', 'server', 'shell', 'upload', 'download', 'benchmark', 'version'))):
        assert run([kelp_binary(), *words]).stdout
    assert '-garbageThreshold' in run([kelp_binary(), 'master', '-h']).stdout


# ---- folders and ports ----

def test_a_missing_folder_is_named(tmp_path):
    fails(volume_command(f'-dir={tmp_path}/none'), f'{tmp_path}/none')
    fails([kelp_binary(), 'master', '-ip=127.0.0.1', f'-port={free_port()}', f'-mdir={tmp_path}/a/b/c'],
          f'{tmp_path}/a/b')


def test_a_folder_that_is_not_writable_is_named(tmp_path):
    (tmp_path / 'ro').mkdir(mode=0o555)
    if os.geteuid() == 0:  # root writes anywhere but where the system allows no file
        folder = '/proc/self'
    else:
        folder = tmp_path / 'ro'
    fails(volume_command(f'-dir={folder}'), str(folder))


def test_a_folder_in_use_is_refused(cluster):
    cluster.kelp_master()
    server = cluster.kelp_volume()
    fid, _ = cluster.put(b'mine')
    said = fails(volume_command(f'-dir={server.data}'), str(server.data))
    assert 'another' in said or 'in use' in said
    master = cluster.masters[0]
    folder = next(f.split('=')[1] for f in master.command if f.startswith('-mdir='))
    said = fails([kelp_binary(), 'master', '-ip=127.0.0.1', f'-port={master.port}', f'-mdir={folder}'])
    assert cluster.get(fid).body == b'mine'


def test_a_port_in_use_is_named(cluster, tmp_path):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        port = s.getsockname()[1]
        fails([kelp_binary(), 'master', '-ip=127.0.0.1', '-ip.bind=127.0.0.1', f'-port={port}',
               f'-port.grpc={free_port()}', f'-mdir={tmp_path}'], str(port), 'in use')
        cluster.kelp_master()
        fails([kelp_binary(), 'volume', '-ip=127.0.0.1', '-ip.bind=127.0.0.1', f'-port={port}',
               f'-port.grpc={free_port()}', f'-dir={tmp_path}', '-preStopSeconds=0',
               f'-master={cluster.master}'], str(port), 'in use')


def test_a_volume_server_waits_for_its_master_and_says_so(tmp_path):
    from lib.cluster import Cluster
    with Cluster(tmp_path) as cluster:
        port = free_port()
        (tmp_path / 'data').mkdir()
        volume = Server('early', [kelp_binary(), 'volume', '-ip=127.0.0.1', f'-port={free_port()}',
                                  f'-master=127.0.0.1:{port}', f'-dir={tmp_path}/data',
                                  '-preStopSeconds=0'], tmp_path).start()
        cluster.servers.append(volume)
        wait_until(lambda: 'waiting' in volume.log() and f'127.0.0.1:{port}' in volume.log(), 'it says so')
        assert volume.stop() == 0  # and stops while it waits


# ---- requests ----

@pytest.fixture(scope='module')
def running(tmp_path_factory):
    from lib.cluster import Cluster
    with Cluster(tmp_path_factory.mktemp('refusals')) as cluster:
        cluster.kelp_master()
        cluster.kelp_volume('-fileSizeLimitMB=1')
        yield cluster


def test_a_bad_file_id_or_cookie_changes_nothing(running):
    fid, url = running.put(b'hello')
    volume, rest = fid.split(',')
    other = f'{volume},{rest[:-1]}{"0" if rest[-1] != "0" else "1"}'
    assert http('GET', f'{url}/{other}').status == 404
    assert http('GET', f'{url}/99999,{rest}').status == 404
    assert http('GET', f'{url}/x,{rest}').status == 400
    assert http('GET', f'{url}/{volume},xyz').status == 400
    for bad in (f'{volume},12', f'{volume},zz637037d6', 'abc', f'x,{rest}'):
        reply = http('PUT', f'{url}/{bad}', b'evil', {'Content-Type': 'application/octet-stream'})
        assert reply.status == 400 and reply.json['error'], bad
    reply = http('PUT', f'{url}/{other}', b'evil', {'Content-Type': 'application/octet-stream'})
    assert reply.status == 500 and 'mismatching cookie' in reply.json['error']
    reply = http('DELETE', f'{url}/{other}')
    assert reply.status == 400 and 'Cookie does not match' in reply.json['error']
    assert http('PUT', f'{url}/99999,{rest}', b'x', {'Content-Type': 'text/plain'}).status == 500
    assert http('GET', f'{url}/{fid}').body == b'hello'


def test_a_body_over_the_limit_is_refused(running):
    target = running.assign()
    url = f'{target["url"]}/{target["fid"]}'
    reply = http('PUT', url, b'x' * ((1 << 20) + 1), {'Content-Type': 'application/octet-stream'})
    assert reply.status == 400 and reply.json['error'] == 'file over the limited 1048576 bytes'
    assert http('GET', url).status == 404
    assert http('PUT', url, b'x' * (1 << 20), {'Content-Type': 'application/octet-stream'}).status == 201


def raw(address, data, timeout=10):
    host, port = address.split(':')
    with socket.create_connection((host, int(port)), timeout=timeout) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = b''
        while True:
            piece = s.recv(65536)
            if not piece:
                return answer
            answer += piece


def test_a_body_shorter_than_announced_stores_nothing(running):
    target = running.assign()
    path = f'/{target["fid"]}'
    raw(target['url'], f'PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n'
                       f'Content-Length: 100\r\n\r\nonly this'.encode())
    assert http('GET', target['url'] + path).status == 404


def test_malformed_multipart_is_refused(running):
    target = running.assign()
    url = f'{target["url"]}/{target["fid"]}'
    for body, content_type in ((b'', 'multipart/form-data; boundary=b'),
                               (b'nonsense', 'multipart/form-data; boundary=b'),
                               (b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\ntorn',
                                'multipart/form-data; boundary=b'),
                               (b'x', 'multipart/form-data')):
        reply = http('POST', url, body, {'Content-Type': content_type})
        assert reply.status == 400 and reply.json['error'], (body, reply.body)
    assert http('GET', url).status == 404


@pytest.mark.parametrize('request_head', [
    'Content-Length: 5\r\nContent-Length: 6\r\n',
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
    'Content-Length: +5\r\n',
    'Content-Length : 5\r\n',
    'Transfer-Encoding: xchunked\r\n',
])
def test_smuggling_shapes_are_refused(running, request_head):
    target = running.assign()
    for address in (target['url'], running.master):
        answer = raw(address, f'PUT /{target["fid"]} HTTP/1.1\r\nHost: x\r\n{request_head}\r\n'
                              f'hello0\r\n\r\nGET /status HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        assert answer.startswith((b'HTTP/1.1 400', b'HTTP/1.1 501')), answer
        assert answer.count(b'HTTP/1.1') == 1  # nothing of what follows is taken for a request
    assert http('GET', f'{target["url"]}/{target["fid"]}').status == 404


def test_a_header_too_large_is_refused(running):
    for address in (running.master, running.volumes[0].address):
        answer = raw(address, b'GET / HTTP/1.1\r\nHost: x\r\nX-Large: ' + b'x' * 100000 + b'\r\n\r\n')
        assert answer.startswith(b'HTTP/1.1 431'), answer[:100]


def test_no_room_to_grow_is_said(tmp_path):
    from lib.cluster import Cluster
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        reply = http('GET', f'{cluster.master}/dir/assign')
        assert reply.status >= 400 and reply.json['error']
        cluster.kelp_volume('-max=1')
        reply = http('GET', f'{cluster.master}/dir/assign?replication=001')
        assert reply.status >= 400 and 'no' in reply.json['error'], reply.body
        reply = http('GET', f'{cluster.master}/vol/grow?count=5')
        assert reply.status >= 400 and 'only 1 volumes left, not enough for 5' in reply.json['error']


# ---- damaged files ----

@pytest.mark.parametrize('damage', ['dat-cut', 'dat-garbled', 'idx-cut', 'idx-garbled', 'idx-gone',
                                    'vif-cut', 'vif-garbled'])
def test_a_damaged_volume_neither_stops_the_server_nor_lies(cluster, damage):
    cluster.kelp_master(env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    server = cluster.kelp_volume()
    blobs = {}
    for index in range(20):
        data = os.urandom(1000 + index)
        blobs[cluster.put(data)[0]] = data
    other, _ = cluster.put(b'another volume', collection='other')
    assert server.stop() == 0
    kind, how = damage.split('-')
    path = next(p for p in server.data.glob(f'[0-9]*.{kind}'))
    keep = shutil.copytree(server.data, server.data.parent / 'keep')
    content = path.read_bytes()
    if how == 'gone':
        path.unlink()
    elif how == 'cut':
        path.write_bytes(content[:len(content) - 5])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + os.urandom(20) + content[middle + 20:])
    server.start()
    cluster.wait_registered(server)
    assert http('GET', f'{server.address}/{other}').body == b'another volume'
    good = 0
    for fid, data in blobs.items():
        reply = http('GET', f'{server.address}/{fid}')
        assert reply.status in (200, 404, 500)
        assert reply.status != 200 or reply.body == data  # never wrong bytes
        good += reply.status == 200
    assert good >= len(blobs) - 2, f'{good} of {len(blobs)} after {damage}\n{server.log()[-2000:]}'
    assert keep.exists()
