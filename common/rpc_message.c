/* Messages between protobuf-c and gRPC's byte buffers, the bounded queue of messages to send, and
 * the names of peers. Pure; any thread. */
#include "common/rpc_internal.h"

#include "common/check.h"
#include "common/hex.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

int rpc_message_pack(const ProtobufCMessage *message, grpc_byte_buffer **ret)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > RPC_MESSAGE_MAX_BYTES)
        return KELP_E_TOO_LARGE;
    grpc_slice slice = grpc_slice_malloc(size);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    *ret = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return 0;
}

ProtobufCMessage *rpc_message_parse(const ProtobufCMessageDescriptor *descriptor,
                                    grpc_byte_buffer *bytes)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return NULL;
    /* protobuf-c reads from one piece of memory; most messages come in one already. */
    grpc_slice *first = NULL;
    ProtobufCMessage *message = NULL;
    size_t size = grpc_byte_buffer_length(bytes);
    if (size == 0) {
        message = protobuf_c_message_unpack(descriptor, NULL, 0, NULL);
    } else if (grpc_byte_buffer_reader_peek(&reader, &first) &&
               GRPC_SLICE_LENGTH(*first) == size) {
        message = protobuf_c_message_unpack(descriptor, NULL, size, GRPC_SLICE_START_PTR(*first));
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        CHECK(grpc_byte_buffer_reader_init(&reader, bytes));
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        message = protobuf_c_message_unpack(descriptor, NULL, GRPC_SLICE_LENGTH(whole),
                                            GRPC_SLICE_START_PTR(whole));
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return message;
}

bool rpc_send_queue_is_full(const struct rpc_send_queue *queue, size_t size)
{
    return queue->head && queue->bytes + size > RPC_SEND_QUEUE_BYTES;
}

void rpc_send_queue_push(struct rpc_send_queue *queue, grpc_byte_buffer *bytes)
{
    struct rpc_outgoing *item = must(malloc(sizeof(*item)));
    *item = (struct rpc_outgoing){.bytes = bytes, .size = grpc_byte_buffer_length(bytes)};
    if (queue->tail)
        queue->tail->next = item;
    else
        queue->head = item;
    queue->tail = item;
    queue->bytes += item->size;
}

void rpc_send_queue_pop(struct rpc_send_queue *queue)
{
    struct rpc_outgoing *item = queue->head;
    if (!item)
        return;
    queue->head = item->next;
    if (!queue->head)
        queue->tail = NULL;
    queue->bytes -= item->size;
    grpc_byte_buffer_destroy(item->bytes);
    free(item);
}

void rpc_send_queue_clear(struct rpc_send_queue *queue, bool keep_head)
{
    struct rpc_outgoing *kept = keep_head ? queue->head : NULL;
    if (kept) {
        queue->head = kept->next;
        queue->bytes -= kept->size;
    }
    while (queue->head)
        rpc_send_queue_pop(queue);
    queue->tail = NULL;
    if (kept) {
        kept->next = NULL;
        queue->head = queue->tail = kept;
        queue->bytes = kept->size;
    }
}

void rpc_peer_to_ip(const char *peer, char *ip, size_t ip_size)
{
    char text[128];
    size_t length = 0;
    const char *colon = peer ? strchr(peer, ':') : NULL;
    const char *from = colon ? colon + 1 : "";
    for (; *from && length + 1 < sizeof(text); from++) {
        int high = *from == '%' ? hex_digit(from[1]) : -1;
        int low = high >= 0 ? hex_digit(from[2]) : -1;
        if (low >= 0) {
            text[length++] = (char)(high * 16 + low);
            from += 2;
        } else {
            text[length++] = *from;
        }
    }
    text[length] = 0;

    char *start = text;
    char *port = strrchr(text, ':');
    if (port)
        *port = 0;
    char *bracket = strrchr(start, ']');
    if (*start == '[' && bracket) {
        *bracket = 0;
        start++;
    }
    if (strncmp(start, "::ffff:", 7) == 0 && strchr(start, '.'))
        start += 7; /* an IPv4 client on a socket that speaks both */
    size_t kept = strnlen(start, ip_size - 1);
    memcpy(ip, start, kept);
    ip[kept] = 0;
}
