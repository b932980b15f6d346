"""Our RPC layer against Python's: grpcio's client with our server, our client with grpcio's server."""
import os
import re
import subprocess
from concurrent import futures

import grpc
import pytest

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
KINDS = {"Unary": "unary_unary", "WorkerUnary": "unary_unary", "ServerStream": "unary_stream",
         "ClientStream": "stream_unary", "TwoWay": "stream_stream"}


class Server:
    """Our echo program while it serves."""

    def __init__(self, address):
        self.process = subprocess.Popen([os.environ["KELP_RPC_ECHO"], "serve", address],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        out, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        assert out.endswith("overlapped 0\n")


@pytest.fixture(scope="module")
def server():
    s = Server("127.0.0.1")
    yield s
    s.stop()


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=LARGE) as c:
        yield c


@pytest.fixture(scope="module")
def message(stubs):
    return stubs["volume_server_pb"].VolumeTailSenderResponse


def method(channel, name, message=None):
    """A stub for a method; without a message class it sends raw bytes."""
    return getattr(channel, KINDS.get(name, "unary_unary"))(
        f"/echo.Echo/{name}",
        request_serializer=message.SerializeToString if message else None,
        response_deserializer=message.FromString if message else None)


@pytest.mark.parametrize("name", ["Unary", "WorkerUnary"])
def test_unary(channel, message, name):
    assert method(channel, name, message)(message(needle_body=b"hi"), timeout=10).needle_body == b"hi"


def test_server_stream_and_its_failure(channel, message):
    call = method(channel, "ServerStream", message)(
        message(needle_header=b"fail 8 too little space", version=5), timeout=10)
    seen = []
    with pytest.raises(grpc.RpcError) as failure:
        for answer in call:
            seen.append(answer.version)
    assert seen == [0, 1, 2, 3, 4]
    assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.value.details() == "too little space"


def test_client_stream(channel, message):
    parts = [message(needle_body=bytes([i]) * 1000) for i in range(200)]
    answer = method(channel, "ClientStream", message)(iter(parts), timeout=10)
    assert answer.version == 200
    assert answer.needle_body == b"".join(p.needle_body for p in parts)


def test_client_stream_without_a_message(channel, message):
    assert method(channel, "ClientStream", message)(iter(()), timeout=10).version == 0


def test_two_way(channel, message):
    sent = [message(version=i, needle_body=b"x" * i) for i in range(100)]
    assert list(method(channel, "TwoWay", message)(iter(sent), timeout=10)) == sent


def test_failure_text_is_verbatim(channel, message):
    with pytest.raises(grpc.RpcError) as failure:
        method(channel, "Unary", message)(
            message(needle_header="fail 2 100% öffnen: \"x\"".encode()), timeout=10)
    assert failure.value.code() == grpc.StatusCode.UNKNOWN
    assert failure.value.details() == "100% öffnen: \"x\""


def test_unknown_method_is_unimplemented(channel, message):
    with pytest.raises(grpc.RpcError) as failure:
        method(channel, "Nothing", message)(message(), timeout=10)
    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("garbage", [b"\xff", b"\x0a\x7fabc", b"\x0f", b"\x0a" + b"\xff" * 30],
                         ids=["cut varint", "cut field", "bad wire type", "endless length"])
@pytest.mark.parametrize("name", list(KINDS))
def test_malformed_bytes_are_refused(channel, message, name, garbage):
    stub = method(channel, name)
    argument = iter([garbage]) if KINDS[name].startswith("stream") else garbage
    with pytest.raises(grpc.RpcError) as failure:
        answer = stub(argument, timeout=10)
        if KINDS[name].endswith("_stream"):
            list(answer)
    assert failure.value.code() == grpc.StatusCode.INTERNAL
    assert "error unmarshalling request" in failure.value.details()
    test_unary(channel, message, "Unary")


def test_request_id_is_echoed_or_made(channel, message):
    stub = method(channel, "Unary", message)
    _, call = stub.with_call(message(), timeout=10, metadata=(("x-amz-request-id", "abc-1"),))
    assert ("x-amz-request-id", "abc-1") in call.trailing_metadata()
    _, call = stub.with_call(message(), timeout=10)
    made = dict(call.trailing_metadata())["x-amz-request-id"]
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made)


def test_message_above_four_mebibytes(channel, message):
    body = os.urandom(20 << 20)
    assert method(channel, "Unary", message)(message(needle_body=body), timeout=30).needle_body == body


def test_compressed_request(channel, message):
    answer = method(channel, "Unary", message)(message(needle_body=b"z" * 100000), timeout=10,
                                               compression=grpc.Compression.Gzip)
    assert answer.needle_body == b"z" * 100000


def test_deadline(channel, message):
    with pytest.raises(grpc.RpcError) as failure:
        method(channel, "Unary", message)(message(needle_header=b"hold"), timeout=0.1)
    assert failure.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_peer_on_ipv6_is_bare(message):
    try:
        s = Server("::1")
    except ValueError:
        pytest.skip("no IPv6 on this machine")
    with grpc.insecure_channel(f"[::1]:{s.port}") as c:
        answer = method(c, "Unary", message)(message(needle_header=b"ip"), timeout=10)
    assert answer.needle_body == b"::1"
    s.stop()


# --- our client, Python's server

def echo_handlers(message):
    def gather(requests, context):
        bodies = [r.needle_body for r in requests]
        return message(version=len(bodies), needle_body=b"".join(bodies))

    def fail(request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "volume 3 is not: empty ☃")

    def repeat(request, context):
        for i in range(request.version):
            yield message(version=i, needle_body=request.needle_body)

    codec = dict(request_deserializer=message.FromString,
                 response_serializer=message.SerializeToString)
    return grpc.method_handlers_generic_handler("echo.Echo", {
        "Unary": grpc.unary_unary_rpc_method_handler(lambda r, c: r, **codec),
        "ServerStream": grpc.unary_stream_rpc_method_handler(repeat, **codec),
        "ClientStream": grpc.stream_unary_rpc_method_handler(gather, **codec),
        "TwoWay": grpc.stream_stream_rpc_method_handler(lambda rs, c: rs, **codec),
        "Fail": grpc.unary_unary_rpc_method_handler(fail, **codec),
    })


def run_caller(port):
    return subprocess.run([os.environ["KELP_RPC_ECHO"], "call", f"127.0.0.1:{port}"],
                          capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def test_our_client_against_a_python_server(message):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((echo_handlers(message),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert run_caller(port) == [
            "unary 0 hello",
            "server-stream 0 hello", "server-stream 1 hello", "server-stream 2 hello",
            "server-stream OK",
            "client-stream 3 ababab", "client-stream OK ",
            "two-way 1 ab", "two-way 2 ab", "two-way 3 ab", "two-way OK ",
            "fail FailedPrecondition volume 3 is not: empty ☃"]
    finally:
        server.stop(None).wait()
