"""Clusters with keys for writing and reading in security.toml: kelp's servers, clients and the peer's, in
all mixtures; what one refuses, the other refuses in the same words."""
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import time
from http import client

import pytest
from lib.certificates import make_certificates
from lib.cluster import (Cluster, Reply, Server, free_port, http, kelp_binary, run, wait_until,
                         weed_binary)
from lib.tokens import READ_KEY, WRITE_KEY, bearer, claims_of, token

BOTH_KEYS = f'''[jwt.signing]
key = "{WRITE_KEY}"
expires_after_seconds = 60
[jwt.signing.read]
key = "{READ_KEY}"
'''
KINDS = ['kelp', 'weed']
PAIRS = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1', 'WEED_MASTER_VOLUME_GROWTH_COPY_2': '1'}
WRONG = (401, b'{"error":"wrong jwt"}')


def start(folder, master, *volumes, security=BOTH_KEYS, flags=()):
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(folder))
        (folder / 'security.toml').write_text(security)
        cluster.any_master(master, '-volumeSizeLimitMB=64', *flags, env=PAIRS)
        for kind in volumes:
            cluster.any_volume(kind)
        stack.pop_all()  # it runs: its user ends it
    return cluster


@pytest.fixture(scope='module', params=[(m, v) for m in KINDS for v in KINDS],
                ids=lambda pair: f'{pair[0]}_master_{pair[1]}_volume')
def keyed(request, tmp_path_factory):
    master, volume = request.param
    with start(tmp_path_factory.mktemp('keyed'), master, volume) as cluster:
        yield cluster


def assign(cluster, **query):
    """An assignment over HTTP: (fid, url, token)."""
    text = '&'.join(f'{k}={v}' for k, v in query.items())

    def attempt():
        reply = http('GET', f'{cluster.master}/dir/assign?{text}')
        return reply if reply.status == 200 and 'fid' in reply.json else None
    reply = wait_until(attempt, 'assign')
    kind, text = reply.headers['Authorization'].split(' ')
    assert kind == 'Bearer' and 'auth' not in reply.json
    return reply.json['fid'], reply.json['url'], text


def look_up(cluster, fid, read):
    reply = http('GET', f'{cluster.master}/dir/lookup?fileId={fid}{"&read=yes" if read else ""}')
    return reply.headers['Authorization'].split(' ')[1]


def put(target, data, headers=None):
    return http('PUT', target, data, {'Content-Type': 'application/octet-stream', **(headers or {})})


def short(reply):
    return reply.status, reply.body


def test_masters_tokens_open_and_nothing_else_does(keyed):
    fid, url, text = assign(keyed)
    claims = claims_of(text)
    assert list(claims) == ['fid', 'exp'] and claims['fid'] == fid and abs(claims['exp'] - time.time() - 60) < 5
    target = f'{url}/{fid}'
    assert short(put(target, b'words')) == WRONG
    assert short(put(target, b'words', bearer(text[:-4] + 'AAAA'))) == WRONG
    assert short(put(target, b'words', bearer(token(fid, READ_KEY)))) == WRONG
    assert put(target, b'words', bearer(text)).status == 201

    reads = look_up(keyed, fid, read=True)
    assert claims_of(reads)['fid'] == fid
    assert short(http('GET', target)) == WRONG
    assert short(http('GET', target, headers=bearer(text))) == WRONG
    assert short(http('GET', target, headers=bearer(reads))) == (200, b'words')
    assert http('HEAD', target).status == 401
    assert http('HEAD', target, headers=bearer(reads)).status == 200

    assert short(http('DELETE', target)) == WRONG
    assert short(http('DELETE', target, headers=bearer(reads))) == WRONG
    assert http('DELETE', target, headers=bearer(look_up(keyed, fid, read=False))).status == 202
    assert http('GET', target, headers=bearer(reads)).status == 404


def test_tokens_are_taken_from_query_header_and_cookie(keyed):
    fid, url, text = assign(keyed)
    bad = 'x.y.z'
    assert put(f'{url}/{fid}?jwt={text}', b'1').status == 201
    assert put(f'{url}/{fid}', b'2', {'Cookie': f'a=b; AT={text}; c=d'}).status == 201
    assert put(f'{url}/{fid}', b'3', {'Authorization': f'BEARER {text}'}).status == 201
    assert put(f'{url}/{fid}?jwt=', b'4', bearer(text)).status == 201
    for path, headers in ((f'?jwt={bad}', bearer(text)), ('', {**bearer(bad), 'Cookie': f'AT={text}'}),
                          ('', {'Authorization': f'Basic {text}'}), ('', {'Authorization': text}),
                          ('', {'Cookie': f'at={text}'})):
        assert short(put(f'{url}/{fid}{path}', b'5', headers)) == WRONG, (path, headers)


def test_what_makes_a_token_good(keyed):
    fid, url, _ = assign(keyed)
    now = time.time()
    vid, rest = fid.split(',')
    cases = [
        (201, fid, token(fid)),
        (201, fid, token(fid, alg='HS384')),
        (201, fid, token(fid, alg='HS512')),
        (201, fid, token(fid, exp=int(now) + 100)),
        (201, fid, token(fid, exp=now + 100.5)),
        (201, fid, token(fid, exp=int(now) + 100, nbf=int(now) - 1, iat=int(now) + 1000)),
        (201, fid, token(fid, iss='anybody', aud='anybody')),
        (201, f'{fid}_1', token(fid)),
        (400, f'{vid}/{rest}', token(fid)),  # good, but writes want the comma
        (400, f'{vid}/{rest}/name.txt', token(fid)),
        (401, f'{vid}/{rest}', token(f'{vid}/{rest}')),
        (201, f'{fid}.txt', token(fid)),
        (401, fid, token(fid, exp=int(now) - 1)),
        (401, fid, token(fid, exp=0)),
        (401, fid, token(fid, exp='never')),
        (401, fid, token(fid, nbf=int(now) + 100)),
        (401, fid, token(fid, alg='none')),
        (401, fid, token(fid, alg='none') + 'AAAA'),
        (401, fid, token(fid, header={'alg': 'None'})),
        (401, fid, token(fid, header={'alg': 'RS256'})),
        (401, fid, token(fid, header={'typ': 'JWT'})),
        (401, fid, token(fid, key='')),
        (401, fid, token(fid.upper() if fid != fid.upper() else fid + '0')),
        (401, fid, token(fid[:-1])),
        (401, fid, token('')),
        (401, fid, token(f'{fid}_1')),
        (401, f'{fid}_1', token(f'{fid}_1')),
        (401, fid, token(vid)),
        (401, fid, token(['x'])),
        (401, fid, token(fid).rsplit('.', 1)[0]),
        (401, fid, 'a' * 5000),
    ]
    wrong = []
    for i, (status, path, text) in enumerate(cases):
        reply = put(f'{url}/{path}', str(i).encode(), bearer(text))
        if reply.status != status or (status == 401 and short(reply) != WRONG):
            wrong.append((i, status, path, text, reply.status, reply.body))
    assert not wrong


def test_a_bad_id_is_told_before_a_bad_token(keyed):
    url = keyed.volumes[0].address
    assert put(f'{url}/x,01637037d6', b'1').status == 400
    assert http('DELETE', f'{url}/3,1').status == 400
    assert short(http('GET', f'{url}/x,01637037d6')) == WRONG
    assert http('OPTIONS', f'{url}/3,01637037d6').status == 200
    assert http('GET', f'{url}/status').status == 200


@pytest.mark.parametrize('name', KINDS)
def test_clients_bring_their_tokens(tmp_path_factory, name):
    """Uploads, in one piece and in several; the peer's clients do not read where there is a key for it."""
    folder = tmp_path_factory.mktemp('clients')
    other = 'weed' if name == 'kelp' else 'kelp'
    binary = kelp_binary() if name == 'kelp' else weed_binary()
    key_for_writing = BOTH_KEYS if name == 'kelp' else BOTH_KEYS.split('[jwt.signing.read]')[0]
    with start(folder, other, other, security=key_for_writing) as cluster:
        blobs = {'small.txt': b'words, ' * 100, 'chunked.bin': os.urandom(5 << 20)}
        bare = folder / 'bare'  # a client that knows no keys
        (bare / 'out').mkdir(parents=True)
        for file, data in blobs.items():
            (bare / file).write_bytes(data)
            row, = json.loads(run([binary, 'upload', f'-master={cluster.master}', '-maxMB=2', file],
                                  cwd=bare).stdout)
            if file == 'chunked.bin' and name == 'kelp':
                continue  # the peer's volume servers do not sign what they ask each other for
            run([binary, 'download', f'-master={cluster.master}', '-dir=out', row['fid']], cwd=bare)
            assert hashlib.sha256((bare / 'out' / file).read_bytes()).digest() == hashlib.sha256(data).digest()
        done = run([binary, 'benchmark', '-n=400', '-c=4', '-deletePercent=10', f'-master={cluster.master}',
                    '-list=list.txt'], cwd=bare)
        assert re.findall(r'^Failed requests:\s+(\d+)', done.stdout, re.M) == ['0', '0'], done.stdout


def test_a_manifest_is_read_and_deleted_with_its_chunks(tmp_path):
    with start(tmp_path, 'kelp', 'kelp', 'kelp') as cluster:
        (tmp_path / 'big.bin').write_bytes(os.urandom(5 << 20))
        row, = json.loads(run([kelp_binary(), 'upload', f'-master={cluster.master}', '-maxMB=1',
                               'big.bin'], cwd=tmp_path).stdout)
        url, fid = row['url'].split('/')[0], row['fid']
        reads = bearer(token(fid, READ_KEY))
        manifest = http('GET', f'{url}/{fid}?cm=false', headers=reads).json
        assert http('GET', f'{url}/{fid}', headers=reads).body == (tmp_path / 'big.bin').read_bytes()
        assert http('DELETE', f'{url}/{fid}', headers=bearer(token(fid))).status == 202
        for chunk in manifest['chunks']:
            for server in cluster.lookup(chunk['fid']):
                assert http('GET', f'{server}/{chunk["fid"]}',
                            headers=bearer(token(chunk['fid'], READ_KEY))).status == 404


def test_submit_is_signed(tmp_path):
    with start(tmp_path, 'kelp', 'weed') as cluster:
        reply = http('POST', f'{cluster.master}/submit', b'words', {'Content-Type': 'text/plain'})
        assert reply.status == 201, reply.body


@pytest.mark.parametrize('writer', [0, 1], ids=['through_kelp', 'through_weed'])
@pytest.mark.parametrize('master', KINDS)
def test_replicas_of_the_other_kind_take_the_write(tmp_path, master, writer):
    with start(tmp_path, master, 'kelp', 'weed', flags=['-defaultReplication=001']) as cluster:
        addresses = [server.address for server in cluster.volumes]
        fid, _, text = assign(cluster, replication='001')
        reply = put(f'{addresses[writer]}/{fid}', b'words', bearer(text))
        assert reply.status == 201, reply.body
        for address in addresses:
            assert short(http('GET', f'{address}/{fid}', headers=bearer(token(fid, READ_KEY)))) == (200, b'words')
        # Neither lets a token that deletes travel in the clear.
        reply = http('DELETE', f'{addresses[writer]}/{fid}', headers=bearer(text))
        assert reply.status == 500 and 'without HTTPS' in reply.json['error']


def test_reload_takes_new_keys_and_keeps_the_old_on_a_bad_file(tmp_path):
    with start(tmp_path, 'kelp', 'kelp') as cluster:
        server, path = cluster.volumes[0], tmp_path / 'security.toml'
        fid, url, text = assign(cluster)
        path.write_text('[jwt.signing]\nkey = oops\n')
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'security.toml: line 2' in server.log(), 'the bad file is told of')
        assert put(f'{url}/{fid}', b'1', bearer(text)).status == 201
        path.write_text('[jwt.signing]\nkey = "another"\n')
        for each in (server, cluster.masters[0]):
            each.process.send_signal(signal.SIGHUP)
        wait_until(lambda: put(f'{url}/{fid}', b'2', bearer(token(fid, 'another'))).status == 201,
                   'the new key is taken')
        assert short(put(f'{url}/{fid}', b'3', bearer(text))) == WRONG
        wait_until(lambda: put(f'{url}/{fid}', b'4', bearer(assign(cluster)[2])).status == 401 and
                   claims_of(assign(cluster)[2])['fid'], 'the master signs')
        fid, url, text = assign(cluster)
        wait_until(lambda: put(f'{url}/{fid}', b'5', bearer(assign_again(cluster, fid))).status == 201,
                   'the master signs with the new key')


def assign_again(cluster, fid):
    return look_up(cluster, fid, read=False)


def test_keys_from_the_environment_beat_the_file(tmp_path):
    (tmp_path / 'security.toml').write_text('[jwt.signing]\nkey = "file"\n')
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master(env={'WEED_JWT_SIGNING_KEY': WRITE_KEY, **PAIRS})
        reply = http('GET', f'{cluster.master}/dir/lookup?fileId=3,01637037d6')
        assert reply.status == 404 and reply.headers['Authorization'] is None
        cluster.kelp_volume()
        fid, url, text = assign(cluster)
        assert short(put(f'{url}/{fid}', b'1', bearer(text))) == WRONG
        assert put(f'{url}/{fid}', b'1', bearer(token(fid, 'file'))).status == 201


@pytest.mark.parametrize('command', ['master', 'volume', 'server'])
@pytest.mark.parametrize('text, told', [
    ('[jwt.signing]\nkey = "a"\nkey = "b"\n', 'security.toml: line 3'),
    ('[guard]\nwhite_list = "everybody"\n', 'everybody'),
    ('[jwt.signing]\nexpires_after_seconds = "soon"\n', 'jwt.signing.expires_after_seconds'),
    ('[https.master]\ncert = "x"\n[https.volume]\ncert = "x"\n', 'needs cert and key'),
    ('[grpc.master]\ncert = "x"\n[grpc.volume]\ncert = "x"\n', 'cert and key belong together'),
    ('[grpc.master]\ncert = "x"\nkey = "x"\n[grpc.volume]\ncert = "x"\nkey = "x"\n', 'without grpc.ca'),
    ('[grpc]\nca = "gone.pem"\n[grpc.master]\ncert = "x"\nkey = "x"\n[grpc.volume]\ncert = "x"\nkey = "x"\n',
     'gone.pem'),
    ('[grpc.master]\nallowed_commonNames = "x"\n[grpc.volume]\nallowed_commonNames = "x"\n', 'without cert'),
])
def test_a_bad_file_ends_the_start_with_its_place(tmp_path, command, text, told):
    (tmp_path / 'security.toml').write_text(text)
    done = run([kelp_binary(), command, '-ip=127.0.0.1', f'-{"mdir" if command == "master" else "dir"}={tmp_path}'],
               check=False, cwd=tmp_path, timeout=20)
    assert done.returncode != 0 and told in done.stderr, done


def test_the_list_of_the_file_guards_http_and_grpc(tmp_path):
    with start(tmp_path, 'kelp', 'kelp', security='[guard]\nwhite_list = ""\n') as cluster:
        def reload(entries):
            (tmp_path / 'security.toml').write_text(f'[guard]\nwhite_list = "{entries}"\n')
            for server in cluster.servers:
                server.process.send_signal(signal.SIGHUP)
        address = cluster.volumes[0].address
        put_line = f'{address}/3,01637037d6'
        reload('192.0.2.1')
        wait_until(lambda: short(put(put_line, b'1')) == (401, b''), 'the volume server refuses')
        wait_until(lambda: short(http('GET', f'{cluster.master}/vol/status')) == (401, b''), 'the master refuses')
        assert http('GET', put_line).status == 404
        failed = cluster.kelp_shell('lock; volume.mark -node=%s -volumeId=1 -readonly' % address, check=False)
        assert 'not authorized: 127.0.0.1' in failed.stdout + failed.stderr
        reload('192.0.2.1,127.0.0.0/8')
        wait_until(lambda: http('GET', f'{cluster.master}/vol/status').status == 200, 'the master admits')
        wait_until(lambda: put(put_line, b'1').status == 500, 'the volume server admits')


# ---- TLS ----

def https_section(folder, *components, ca=True):
    lines = []
    for component in components:
        lines += [f'[https.{component}]', f'cert = "{folder}/node.pem"', f'key = "{folder}/node.key"']
        lines += [f'ca = "{folder}/ca.pem"'] if ca or component == 'client' else []
        lines += ['enabled = true'] if component == 'client' else []
    return '\n'.join(lines) + '\n'


def https(folder, method, url, body=None, headers=None, name='node'):
    """As http, with a certificate; None when the server does not take it."""
    context = ssl.create_default_context(cafile=folder / 'ca.pem')
    if name:
        context.load_cert_chain(folder / f'{name}.pem', folder / f'{name}.key')
    host, path = url.split('/', 1)
    connection = client.HTTPSConnection(host, context=context, timeout=20)
    try:
        connection.request(method, '/' + path, body, headers or {})
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    except (ssl.SSLError, ConnectionError):
        return None
    finally:
        connection.close()


@pytest.fixture(scope='module', params=KINDS, ids=lambda kind: f'{kind}_master')
def sealed(request, tmp_path_factory):
    """A kelp and a weed volume server that speak HTTPS to each other, with keys for writing."""
    folder = tmp_path_factory.mktemp('sealed')
    make_certificates(folder)
    keys = BOTH_KEYS.split('[jwt.signing.read]')[0]
    with start(folder, request.param, 'kelp', 'weed', flags=['-defaultReplication=001'],
               security=keys + https_section(folder, 'volume', 'client')) as cluster:
        yield cluster


@pytest.mark.parametrize('writer', [0, 1], ids=['through_kelp', 'through_weed'])
def test_writes_and_deletes_travel_sealed(sealed, writer):
    folder, addresses = sealed.folder, [server.address for server in sealed.volumes]
    fid, _, text = assign(sealed, replication='001')
    for data in (b'words', os.urandom(3 << 20)):
        reply = https(folder, 'PUT', f'{addresses[writer]}/{fid}', data,
                      {'Content-Type': 'application/octet-stream', **bearer(text)})
        assert reply.status == 201, reply.body
        for address in addresses:
            assert short(https(folder, 'GET', f'{address}/{fid}')) == (200, data)
    assert https(folder, 'DELETE', f'{addresses[writer]}/{fid}', headers=bearer(text)).status == 202
    for address in addresses:
        assert https(folder, 'GET', f'{address}/{fid}').status == 404


def test_only_those_with_a_certificate_are_let_in(sealed):
    for server in sealed.volumes:
        assert https(sealed.folder, 'GET', f'{server.address}/status').status == 200
        assert https(sealed.folder, 'GET', f'{server.address}/status', name=None) is None
        assert https(sealed.folder, 'GET', f'{server.address}/status', name='stranger') is None
        plain = socket.create_connection(('127.0.0.1', server.port), timeout=20)
        plain.sendall(b'GET /status HTTP/1.1\r\nHost: x\r\n\r\n')
        with plain, plain.makefile('rb') as answer:
            assert answer.read() == (b'HTTP/1.0 400 Bad Request\r\n\r\n'
                                     b'Client sent an HTTP request to an HTTPS server.\n')


@pytest.mark.parametrize('name', KINDS)
def test_clients_speak_https(sealed, tmp_path, name):
    binary = kelp_binary() if name == 'kelp' else weed_binary()
    (tmp_path / 'security.toml').write_text(https_section(sealed.folder, 'client'))
    (tmp_path / 'one.bin').write_bytes(os.urandom(100000))
    row, = json.loads(run([binary, 'upload', f'-master={sealed.master}', 'one.bin'], cwd=tmp_path).stdout)
    (tmp_path / 'out').mkdir()
    run([binary, 'download', f'-master={sealed.master}', '-dir=out', row['fid']], cwd=tmp_path)
    assert (tmp_path / 'out/one.bin').read_bytes() == (tmp_path / 'one.bin').read_bytes()


def test_the_benchmark_speaks_https(sealed, tmp_path):
    (tmp_path / 'security.toml').write_text(https_section(sealed.folder, 'client'))
    for flags in ['-size=1000'], ['-size=300000', '-deletePercent=50']:
        done = run([kelp_binary(), 'benchmark', '-n=100', '-c=8', '-json', '-list=list.txt', *flags,
                    f'-master={sealed.master}'], cwd=tmp_path)
        for phase in map(json.loads, done.stdout.splitlines()):
            assert phase['completed'] == 100 and phase['failures'] == 0, phase
    (tmp_path / 'security.toml').write_text(https_section(sealed.folder, 'client').replace('ca.pem', 'stranger.pem'))
    done = run([kelp_binary(), 'benchmark', '-n=10', '-c=2', '-readOnly', '-list=list.txt', f'-master={sealed.master}'],
               cwd=tmp_path, check=False)
    assert done.returncode == 1 and 'certificate is not trusted' in done.stderr, done


def test_a_renewed_certificate_is_served(tmp_path):
    make_certificates(tmp_path)
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        (tmp_path / 'security.toml').write_text(https_section(tmp_path, 'volume', ca=False))
        server = cluster.kelp_volume()
        context = ssl.create_default_context(cafile=tmp_path / 'ca.pem')

        def name_shown():
            with context.wrap_socket(socket.create_connection(('127.0.0.1', server.port), timeout=20),
                                     server_hostname='127.0.0.1') as secure:
                return dict(pair[0] for pair in secure.getpeercert()['subject'])['commonName']
        assert name_shown() == 'node'
        (tmp_path / 'renewed.key').rename(tmp_path / 'node.key')
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'certificate not reloaded' in server.log(), 'half a renewal is told of')
        assert name_shown() == 'node'
        (tmp_path / 'renewed.pem').rename(tmp_path / 'node.pem')
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: name_shown() == 'renewed', 'the new certificate is shown')


def test_a_master_speaks_https_and_the_shell_with_it(tmp_path):
    make_certificates(tmp_path)
    (tmp_path / 'security.toml').write_text(https_section(tmp_path, 'master', 'client', ca=False))
    port = free_port()
    server = Server('master', [kelp_binary(), 'master', f'-port={port}', '-ip=127.0.0.1', f'-mdir={tmp_path}'], tmp_path)

    def shell(line):
        return run([kelp_binary(), 'shell', f'-master=127.0.0.1:{port}', '-c', line], cwd=tmp_path, check=False)
    try:
        server.start()
        reply = wait_until(lambda: https(tmp_path, 'GET', f'127.0.0.1:{port}/cluster/status', name=None),
                           'the master answers')
        assert reply.json['IsLeader']
        listed = shell('volume.vacuum.jobs')
        assert listed.returncode == 0 and 'automatic vacuum is on' in listed.stdout, listed
        assert 'no volume has that much garbage' in shell('volume.vacuum').stdout
        refused = shell('volume.vacuum.cancel -job=7')
        assert refused.returncode == 1 and 'the master answers 404: ' in refused.stderr, refused
        (tmp_path / 'security.toml').write_text(https_section(tmp_path, 'client').replace('ca.pem', 'stranger.pem'))
        refused = shell('volume.vacuum.jobs')
        assert refused.returncode == 1 and 'SSL certificate' in refused.stderr, refused
    finally:
        server.kill()
