"""The .proto files against the table kept beside this file: names, numbers, types, labels, rpcs."""
import pathlib

from google.protobuf.descriptor import FieldDescriptor as F

from conftest import OUR_MESSAGES, OUR_RPCS, all_messages

TABLE = pathlib.Path(__file__).with_name("wire_table.txt")
OURS = 1000  # our own additions have numbers from here on

SCALARS = {F.TYPE_DOUBLE: "double", F.TYPE_FLOAT: "float", F.TYPE_INT64: "int64",
           F.TYPE_UINT64: "uint64", F.TYPE_INT32: "int32", F.TYPE_UINT32: "uint32",
           F.TYPE_BOOL: "bool", F.TYPE_STRING: "string", F.TYPE_BYTES: "bytes"}


def read_table():
    """{(package, kind, owner): set of rows}, and the counts by package."""
    rows, counts, package, owner = {}, {}, None, None
    packages = {}
    for line in TABLE.read_text().splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if words[0] == "file":
            package = packages[words[1]] = words[3]
        elif words[0] == "counts":
            counts[packages[words[1]]] = [int(w) for w in words[2:]]
        elif words[0] == "rpc":
            rows.setdefault((package, "rpc", words[1]), set()).add(tuple(words[2:]))
        elif words[0] in ("enum", "message"):
            owner = (package, words[0], words[1])
            rows.setdefault(owner, set())
        elif words[0] == "value":
            rows[owner].add((words[1], int(words[2])))
        else:
            rows[owner].add((int(words[0]), *words[1:]))
    return rows, counts


def type_name(field):
    """The type as its owner would spell it."""
    if field.type in SCALARS:
        return SCALARS[field.type]
    target = field.message_type or field.enum_type
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[n] for n in ("key", "value"))
        return f"map<{type_name(key)},{type_name(value)}>"
    if target.file.package != field.containing_type.file.package:
        return target.full_name
    return target.name if target.containing_type else target.full_name.split(".", 1)[1]


def label_of(field):
    if field.message_type and field.message_type.GetOptions().map_entry:
        return "map"
    return "repeated" if field.label == F.LABEL_REPEATED else "-"


def read_descriptors(stubs):
    rows = {}
    for package, module in stubs.items():
        for message in all_messages(module):
            if message.name in OUR_MESSAGES:
                continue
            rows[package, "message", message.full_name.split(".", 1)[1]] = {
                (f.number, f.name, label_of(f), type_name(f),
                 f.containing_oneof.name if f.containing_oneof else "-")
                for f in message.fields if f.number < OURS}
        for name, enum in module.DESCRIPTOR.enum_types_by_name.items():
            rows[package, "enum", name] = {(v.name, v.number) for v in enum.values}
        for service in module.DESCRIPTOR.services_by_name.values():
            for m in service.methods:
                if m.name in OUR_RPCS:
                    continue
                kind = {(False, False): "unary", (False, True): "server_stream",
                        (True, False): "client_stream", (True, True): "bidi_stream"}[
                            method_streams(service, m)]
                rows[package, "rpc", f"{service.name}/{m.name}"] = {
                    (m.input_type.name, m.output_type.name, kind)}
    return rows


def method_streams(service, method):
    """Python's descriptors hide it; the file's own form does not."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    proto = FileDescriptorProto()
    service.file.CopyToProto(proto)
    for s in proto.service:
        for m in s.method:
            if s.name == service.name and m.name == method.name:
                return m.client_streaming, m.server_streaming
    raise AssertionError(method.full_name)


def test_everything_in_the_table_is_in_the_proto_files_and_back(stubs):
    table, _ = read_table()
    found = read_descriptors(stubs)
    assert set(found) == set(table)
    differing = {key: (table[key] ^ found[key]) for key in table if table[key] != found[key]}
    assert not differing


def test_counts_are_those_of_the_reference(stubs):
    _, counts = read_table()
    found = read_descriptors(stubs)
    for package, expected in counts.items():
        of = lambda kind: [rows for (p, k, _), rows in found.items() if (p, k) == (package, kind)]
        assert expected == [len(of("rpc")), len(of("message")), sum(map(len, of("message"))),
                            len(of("enum")), sum(map(len, of("enum")))], package


def test_syntax_is_proto3_and_numbers_are_packed(stubs):
    for module in stubs.values():
        assert module.DESCRIPTOR.syntax == "proto3"
        for message in all_messages(module):
            for field in message.fields:
                assert not field.GetOptions().HasField("packed"), field.full_name
