"""Python's own view of the .proto files, and the C programs that it is held against.

The build passes where things are: KELP_PROTO_DIR (the .proto files), KELP_ROUND_TRIP and KELP_RPC_ECHO
(programs of this folder).
"""
import os
import subprocess
import sys

import pytest

# Our own, beside the fields from number 1000 on: not in the reference's table.
OUR_RPCS = {"VacuumVolumePause"}
OUR_MESSAGES = {"VacuumVolumePauseRequest", "VacuumVolumePauseResponse", "VacuumProgress", "DamagedNeedle"}

PROTO_FILES = ("remote.proto", "volume_server.proto", "master.proto")


@pytest.fixture(scope="session")
def proto_dir():
    return os.environ["KELP_PROTO_DIR"]


@pytest.fixture(scope="session")
def stubs(proto_dir, tmp_path_factory):
    """Generates the Python modules; answers the three descriptors by package."""
    out = tmp_path_factory.mktemp("stubs")
    subprocess.run(
        ["protoc", "-I", proto_dir, f"--python_out={out}", f"--grpc_python_out={out}",
         "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin", *PROTO_FILES],
        check=True)
    sys.path.insert(0, str(out))
    import master_pb2
    import remote_pb2
    import volume_server_pb2
    return {"master_pb": master_pb2, "remote_pb": remote_pb2,
            "volume_server_pb": volume_server_pb2}


def all_messages(module):
    """Descriptors of all messages of a module, nested ones included, map entries not."""
    waiting = list(module.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        if message.GetOptions().map_entry:
            continue
        yield message
        waiting.extend(message.nested_types)
