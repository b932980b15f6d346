"""gRPC as a client outside of the project speaks it: Python's stubs of our .proto files.

The peer's servers understand them as well as ours do, so one call tries both.
"""
import contextlib
import functools
import importlib
import pathlib
import subprocess
import sys
import tempfile

import grpc

PROTO = pathlib.Path(__file__).resolve().parents[2] / 'proto'


@functools.lru_cache(None)
def _modules():
    out = tempfile.mkdtemp(prefix='kelp-stubs-')
    files = [f.name for f in sorted(PROTO.glob('*.proto'))]
    subprocess.run(['protoc', '-I', PROTO, f'--python_out={out}', f'--grpc_python_out={out}',
                    '--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin', *files], check=True)
    sys.path.insert(0, out)
    return {name: importlib.import_module(name)
            for name in ('master_pb2', 'master_pb2_grpc', 'volume_server_pb2', 'volume_server_pb2_grpc')}


def volume_messages():
    return _modules()['volume_server_pb2']


def master_messages():
    return _modules()['master_pb2']


def certificate(folder, name=None):
    """What a caller brings: the CA of the folder and, unless it has none, a certificate of that name."""
    pair = [(folder / f'{name}.{kind}').read_bytes() for kind in ('key', 'pem')] if name else (None, None)
    return grpc.ssl_channel_credentials((folder / 'ca.pem').read_bytes(), *pair)


@contextlib.contextmanager
def _channel(address, credentials=None):
    host, port = address.rsplit(':', 1)
    target = f'{host}:{int(port) + 10000}'
    with (grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target)) as channel:
        yield channel


def call_volume(address, method, timeout=20, credentials=None, **fields):
    """Calls a method of the volume server at an HTTP address with a request of these fields."""
    with _channel(address, credentials) as channel:
        stub = _modules()['volume_server_pb2_grpc'].VolumeServerStub(channel)
        request = getattr(volume_messages(), method + 'Request')(**fields)
        return getattr(stub, method)(request, timeout=timeout)


def stream_volume(address, method, timeout=60, **fields):
    """The same for a method that answers with a stream: the list of its answers."""
    with _channel(address) as channel:
        stub = _modules()['volume_server_pb2_grpc'].VolumeServerStub(channel)
        request = getattr(volume_messages(), method + 'Request')(**fields)
        return list(getattr(stub, method)(request, timeout=timeout))


def call_master(address, method, timeout=20, credentials=None, **fields):
    with _channel(address, credentials) as channel:
        stub = _modules()['master_pb2_grpc'].SeaweedStub(channel)
        request = getattr(master_messages(), method + 'Request')(**fields)
        return getattr(stub, method)(request, timeout=timeout)
