/* Reads messages, unpacks and packs them with our generated code, writes them back.
 *
 * In: length of a type name (4 bytes, big-endian), the name ("master_pb.Assign"), length of the
 * bytes, the bytes; again until the end. Out: a length and the bytes, or the length 0xffffffff
 * when they did not parse. */
#include "common/bytes.h"
#include "proto/master.pb-c.h"
#include "proto/remote.pb-c.h"
#include "proto/volume_server.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTOR(name) &name,
static const ProtobufCMessageDescriptor *const descriptors[] = {
#include "tests/proto/descriptors.inc"
};

static bool read_block(uint8_t **ret, uint32_t *ret_size)
{
    uint8_t size[4];
    if (fread(size, 1, sizeof(size), stdin) != sizeof(size))
        return false;
    *ret_size = load_be32(size);
    *ret = calloc(1, (size_t)*ret_size + 1);
    return *ret && fread(*ret, 1, *ret_size, stdin) == *ret_size;
}

static void write_block(const uint8_t *bytes, size_t size, uint32_t announced)
{
    uint8_t head[4];
    store_be32(head, announced);
    fwrite(head, 1, sizeof(head), stdout);
    fwrite(bytes, 1, size, stdout);
}

static const ProtobufCMessageDescriptor *find(const char *name)
{
    for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++)
        if (strcmp(descriptors[i]->name, name) == 0)
            return descriptors[i];
    return NULL;
}

static void pass_through(const char *name, const uint8_t *bytes, size_t size)
{
    const ProtobufCMessageDescriptor *descriptor = find(name);
    ProtobufCMessage *message =
        descriptor ? protobuf_c_message_unpack(descriptor, NULL, size, bytes) : NULL;
    if (!message) {
        write_block(bytes, 0, UINT32_MAX);
        return;
    }
    size_t packed = protobuf_c_message_get_packed_size(message);
    uint8_t *out = malloc(packed + 1);
    if (!out)
        abort();
    protobuf_c_message_pack(message, out);
    write_block(out, packed, (uint32_t)packed);
    free(out);
    protobuf_c_message_free_unpacked(message, NULL);
}

int main(void)
{
    uint8_t *name = NULL, *bytes = NULL;
    uint32_t name_size, size;
    while (read_block(&name, &name_size) && read_block(&bytes, &size)) {
        pass_through((const char *)name, bytes, size);
        free(name);
        free(bytes);
        name = bytes = NULL;
    }
    free(name);
    free(bytes);
    return fflush(stdout) == 0 ? 0 : 1;
}
