"""Every message, with every field set, through our C code and back: Python's protobuf must see the same."""
import os
import struct
import subprocess

from google.protobuf.descriptor import FieldDescriptor as F

from conftest import OUR_MESSAGES, all_messages

# Two sets of values, so that both ends of each range pass.
VALUES = {
    F.TYPE_DOUBLE: (0.1, -1.5e300), F.TYPE_FLOAT: (0.25, -3.0e38),
    F.TYPE_INT64: (2**63 - 1, -2**63), F.TYPE_UINT64: (2**64 - 1, 1),
    F.TYPE_INT32: (2**31 - 1, -2**31), F.TYPE_UINT32: (2**32 - 1, 1), F.TYPE_BOOL: (True, True),
    F.TYPE_STRING: ("v\u00f6lume 3,01637037d6 \u2603 \U0001f600", "x" * 300),
    F.TYPE_BYTES: (bytes(range(256)), b"\x00"),
}
KEYS = {F.TYPE_STRING: ("", "hdd", "\u00fc"), F.TYPE_UINT32: (0, 1, 2**32 - 1)}


def value_of(field, turn):
    if field.type == F.TYPE_ENUM:
        return field.enum_type.values[-1 - turn % (len(field.enum_type.values) - 1)].number
    return VALUES[field.type][turn % 2]


def fill_map(container, entry, turn):
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for k in KEYS[key.type]:
        if value.message_type:
            fill(container[k], turn)
        else:
            container[k] = value_of(value, turn)


def fill(message, turn):
    """Sets all fields; of a oneof the one whose turn it is."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof and oneof.fields[turn % len(oneof.fields)] is not field:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            fill_map(getattr(message, field.name), field.message_type, turn)
        elif field.label == F.LABEL_REPEATED:
            for i in range(3):
                if field.message_type:
                    fill(getattr(message, field.name).add(), turn + i)
                else:
                    getattr(message, field.name).append(value_of(field, turn + i))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), turn)
        else:
            setattr(message, field.name, value_of(field, turn))
    return message


def through_c(pairs):
    """What our code makes of (type name, bytes) pairs; None where it refused them."""
    block = lambda b: struct.pack(">I", len(b)) + b
    given = b"".join(block(name.encode()) + block(data) for name, data in pairs)
    out = subprocess.run([os.environ["KELP_ROUND_TRIP"]], input=given, capture_output=True,
                         check=True).stdout
    results, at = [], 0
    for _ in pairs:
        (size,) = struct.unpack_from(">I", out, at)
        at += 4
        if size == 0xFFFFFFFF:
            results.append(None)
            continue
        results.append(out[at:at + size])
        at += size
    assert at == len(out)
    return results


def message_classes(stubs):
    from google.protobuf.message_factory import MessageFactory
    factory = MessageFactory()
    return [factory.GetPrototype(d) for module in stubs.values() for d in all_messages(module)]


def test_every_message_comes_back_the_same(stubs):
    classes = message_classes(stubs)
    assert len(classes) == 197 + len(OUR_MESSAGES)
    messages = [fill(c(), turn) for c in classes for turn in (0, 1)] + [c() for c in classes]
    for message in messages[:2 * len(classes)]:
        assert bool(message.DESCRIPTOR.fields) == bool(message.ByteSize())
    results = through_c([(m.DESCRIPTOR.full_name, m.SerializeToString()) for m in messages])
    for message, data in zip(messages, results):
        assert data is not None, message.DESCRIPTOR.full_name
        assert type(message).FromString(data) == message, message.DESCRIPTOR.full_name


def test_presence_survives_a_zero(stubs):
    beat = stubs["master_pb"].Heartbeat(volume_digest=0)
    mount = stubs["volume_server_pb"].VolumeMountRequest(volume_id=3, collection="")
    results = through_c([("master_pb.Heartbeat", beat.SerializeToString()),
                         ("volume_server_pb.VolumeMountRequest", mount.SerializeToString())])
    assert type(beat).FromString(results[0]).WhichOneof("_volume_digest") == "volume_digest"
    assert type(mount).FromString(results[1]).WhichOneof("_collection") == "collection"


def test_volume_list_takes_the_single_id_of_older_clients(stubs):
    (data,) = through_c([("master_pb.VolumeListRequest", b"\x10\xac\x02")])
    assert list(stubs["master_pb"].VolumeListRequest.FromString(data).volume_ids) == [300]


def test_unknown_fields_are_kept(stubs):
    unknown = b"\xc2\x3e\x03abc"  # field 1000, three bytes
    assert through_c([("master_pb.AssignRequest", b"\x08\x05" + unknown)]) == [b"\x08\x05" + unknown]


def test_broken_bytes_are_refused(stubs):
    assert through_c([("master_pb.AssignRequest", b"\x12\x05abc"),
                      ("master_pb.AssignRequest", b"\xff"),
                      ("master_pb.NoSuchMessage", b"")]) == [None, None, None]
