"""gRPC with certificates on both sides, as security.toml asks for it: kelp's servers and shell beside the
peer's, in all mixtures; strangers stay outside."""
import signal
import socket
import ssl

import grpc
import pytest
from lib.certificates import make_certificates
from lib.cluster import Cluster, http, kelp_binary, run, wait_until, weed_binary
from lib.rpc import call_master, call_volume, certificate

KINDS = ['kelp', 'weed']
PAIRS = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1', 'WEED_MASTER_VOLUME_GROWTH_COPY_2': '1'}


def grpc_section(folder, allowed='', domain='', names=None):
    names = names or {'master': 'node', 'volume': 'node', 'client': 'shell'}
    lines = ['[grpc]', f'ca = "{folder}/ca.pem"', f'allowed_wildcard_domain = "{domain}"']
    for component, name in names.items():
        lines += [f'[grpc.{component}]', f'cert = "{folder}/{name}.pem"', f'key = "{folder}/{name}.key"']
        lines += [f'allowed_commonNames = "{allowed}"'] if component != 'client' else []
    return '\n'.join(lines) + '\n'


@pytest.fixture(scope='module', params=KINDS, ids=lambda kind: f'{kind}_master')
def sealed(request, tmp_path_factory):
    """A master, and a volume server of either kind that hold each other's replicas."""
    folder = tmp_path_factory.mktemp('sealed')
    make_certificates(folder, ('node', 'shell', 'unlisted', 'a.kelp.example'))
    (folder / 'security.toml').write_text(grpc_section(folder, 'node,shell', '.kelp.example'))
    with Cluster(folder) as cluster:
        cluster.any_master(request.param, '-volumeSizeLimitMB=64', '-defaultReplication=001', env=PAIRS)
        cluster.kelp_volume(wait=False)
        cluster.weed_volume()
        cluster.wait_registered(cluster.volumes[0])
        yield cluster


def refused(call, *words, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*words, **options)
    return caught.value.code()


def test_blobs_and_vacuum_pass_between_all_of_them(sealed):
    """Growth, heartbeats, and a vacuum: the master calls both volume servers, which call it."""
    blobs = sealed.put_many([bytes([i]) * 20000 for i in range(8)])
    fids = list(blobs)
    for server in sealed.volumes:
        assert http('GET', f'{server.address}/{fids[0]}').body == blobs[fids[0]]
    for fid in fids[1:]:
        assert sealed.delete(fid).status == 202
    volume = fids[0].split(',')[0]
    sealed.weed_shell(f'volume.vacuum -volumeId={volume} -garbageThreshold=0.1')
    sealed.kelp_shell(f'volume.vacuum -volumeId={volume} -garbageThreshold=0.1')
    for server in sealed.volumes:
        assert http('GET', f'{server.address}/{fids[0]}').body == blobs[fids[0]]
        wait_until(lambda: call_volume(server.address, 'VolumeStatus', volume_id=int(volume), credentials=certificate(
            sealed.folder, 'shell')).volume_size < 100000, f'{server.name} has been vacuumed')


def test_shells_of_both_kinds_reach_servers_of_both_kinds(sealed):
    ours = sealed.kelp_shell('volume.list').stdout
    theirs = sealed.weed_shell('volume.list').stdout
    for server in sealed.volumes:
        assert server.address in ours and server.address in theirs
    listed = sealed.volumes_listed()[0]['id']
    for server in sealed.volumes:
        for line in ('-readonly', '-writable'):
            sealed.kelp_shell(f'volume.mark -node={server.address} -volumeId={listed} {line}')
            sealed.weed_shell(f'volume.mark -node={server.address} -volumeId={listed} {line}')


@pytest.mark.parametrize('name', KINDS)
def test_clients_bring_their_certificate(sealed, name):
    binary = kelp_binary() if name == 'kelp' else weed_binary()
    (sealed.folder / 'one.txt').write_text('words')
    run([binary, 'upload', f'-master={sealed.master}', 'one.txt'], cwd=sealed.folder)


def test_strangers_stay_outside(sealed):
    """Without TLS, without a certificate, with another CA's, with a name that is not listed."""
    folder = sealed.folder
    servers = [(call_master, sealed.masters[0], 'ListClusterNodes')] + [
        (call_volume, server, 'VolumeServerStatus') for server in sealed.volumes]
    for call, server, method in servers:
        for name in ('node', 'shell', 'a.kelp.example'):
            call(server.address, method, credentials=certificate(folder, name))
        for credentials in (None, certificate(folder), certificate(folder, 'stranger')):
            assert refused(call, server.address, method, credentials=credentials) == grpc.StatusCode.UNAVAILABLE
        told = refused(call, server.address, method, credentials=certificate(folder, 'unlisted'))
        expected = grpc.StatusCode.UNAVAILABLE if 'weed' in server.name else grpc.StatusCode.PERMISSION_DENIED
        assert told == expected, server.name


def test_a_shell_is_told_what_is_wrong(sealed, tmp_path):
    for text, told in ((grpc_section(sealed.folder, names={'client': 'gone'}), 'gone.pem'),
                       (grpc_section(sealed.folder, names={'client': 'san'}), 'san'),
                       ('[grpc.client]\ncert = "x"\nkey = "x"\n', 'grpc.ca')):
        (tmp_path / 'security.toml').write_text(text)
        done = run([kelp_binary(), 'shell', f'-master={sealed.master}', '-c', 'volume.list'], check=False, cwd=tmp_path)
        assert done.returncode != 0 and told in done.stderr, done


def name_shown(folder, server):
    context = ssl.create_default_context(cafile=folder / 'ca.pem')
    context.load_cert_chain(folder / 'shell.pem', folder / 'shell.key')
    with context.wrap_socket(socket.create_connection(('127.0.0.1', server.port + 10000), timeout=20),
                             server_hostname='127.0.0.1') as secure:
        return dict(pair[0] for pair in secure.getpeercert()['subject'])['commonName']


def test_renewed_certificates_are_taken_and_bad_ones_are_not(tmp_path):
    make_certificates(tmp_path, ('node', 'shell', 'renewed'))
    (tmp_path / 'security.toml').write_text(grpc_section(tmp_path) + '[tls]\nmin_version = "TLS 1.3"\n')
    with Cluster(tmp_path) as cluster:
        master, volume = cluster.kelp_master(), cluster.kelp_volume()
        assert name_shown(tmp_path, volume) == 'node'
        assert run(['openssl', 's_client', '-connect', f'127.0.0.1:{volume.port + 10000}', '-tls1_2', '-cert', 'shell.pem',
                    '-key', 'shell.key'], cwd=tmp_path, check=False, input='').returncode != 0
        (tmp_path / 'renewed.key').rename(tmp_path / 'node.key')
        volume.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'certificate for gRPC not reloaded' in volume.log(), 'half a renewal is told of')
        assert name_shown(tmp_path, volume) == 'node'
        (tmp_path / 'renewed.pem').rename(tmp_path / 'node.pem')
        for server in (master, volume):
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: name_shown(tmp_path, server) == 'renewed', 'the new certificate is shown')
        fid, _ = cluster.put(b'words')
        assert cluster.get(fid).body == b'words'
