/* Reading needles: look up, read, check. Any thread; never waits for writers or for a vacuum.
 *
 * A read holds a reference to the generation it began with. A vacuum that commits meanwhile does not
 * disturb it: the old files stay open until the last such read has ended. */
#include "volume/storage/volume_internal.h"

#include "common/check.h"
#include "common/crc32c.h"
#include "volume/storage/foreground.h"

#include <stdlib.h>

bool volume_lookup_may_block(struct volume *volume)
{
    return atomic_load_explicit(&volume->lookup_may_block, memory_order_relaxed);
}

int volume_read_begin(struct volume *volume, uint64_t key, bool allow_deleted,
                      struct volume_read *ret, struct error *err)
{
    struct volume_generation *generation = volume_get_generation(volume);
    struct needle_entry entry;
    int code = needle_index_get(generation->index, key, &entry, err);
    if (code == KELP_E_NOT_FOUND)
        code = error_set(err, KELP_E_NOT_FOUND, "volume %u has no needle %llx", volume->id,
                         (unsigned long long)key);
    else if (code == 0 && entry.size < 0 && (!allow_deleted || entry.size == NEEDLE_TOMBSTONE))
        code = error_set(err, KELP_E_DELETED, "volume %u: needle %llx is deleted", volume->id,
                         (unsigned long long)key);
    if (code != 0) {
        volume_generation_unref(generation);
        return code;
    }
    int32_t size = entry.size < 0 ? -entry.size : entry.size;
    *ret = (struct volume_read){
        .volume = volume,
        .generation = generation,
        .serial = generation->serial,
        .key = key,
        .offset = entry.offset,
        .record_size = size > 0 ? needle_record_size(generation->version, size) : 0,
        .body_size = size,
        .version = generation->version,
    };
    return 0;
}

/* What a read's outcome means for the volume's health. */
static int note(struct volume_read *read, int code, const struct error *reason)
{
    if (code == KELP_E_CORRUPT)
        volume_note_damage(read->volume, read->key, read->offset, reason->message);
    if (code != KELP_E_AGAIN)
        volume_note_io(read->volume, code);
    return code;
}

void volume_read_damaged(struct volume_read *read, const char *reason)
{
    volume_note_damage(read->volume, read->key, read->offset, reason);
}

static int check_expiry(const struct volume_read *read, const struct needle *needle,
                        struct error *err)
{
    if (!(needle->flags & NEEDLE_HAS_TTL) ||
        !needle_is_expired(needle, os_now_ns(read->volume->os)))
        return 0;
    return error_set(err, KELP_E_NOT_FOUND, "volume %u: the time of needle %llx is over",
                     read->volume->id, (unsigned long long)read->key);
}

/* An empty needle: nothing of it is read or checked (spec 7). */
static void empty_needle(const struct volume_read *read, struct needle *ret)
{
    *ret = (struct needle){.key = read->key};
}

int volume_read_record(struct volume_read *read, void *buf, bool nowait, struct needle *ret,
                       struct error *err)
{
    if (read->record_size == 0) {
        empty_needle(read, ret);
        return 0;
    }
    struct needle needle;
    const struct needle_entry entry = {read->key, read->offset, read->body_size};
    struct error reason = {0};
    struct os *os = read->volume->os;
    int64_t since_ns = nowait ? 0 : os_monotonic_ns(os);
    int code = volume_generation_read(read->generation, &entry, buf, nowait, &needle, &reason);
    if (!nowait) { /* others never wait for the disk */
        int64_t now_ns = os_monotonic_ns(os);
        foreground_note(read->volume->foreground, FOREGROUND_READ, now_ns, now_ns - since_ns);
    }
    note(read, code, &reason);
    if (code != 0 && code != KELP_E_AGAIN && err)
        *err = reason;
    if (code == 0)
        code = check_expiry(read, &needle, err);
    if (code == 0)
        *ret = needle;
    return code;
}

static int read_around(struct volume_read *read, uint8_t *buf, bool nowait, struct needle *ret,
                       struct error *err)
{
    struct volume_generation *generation = read->generation;
    uint8_t *head = buf, *tail = buf + NEEDLE_HEAD_MAX;
    size_t head_size = read->version == 1 ? NEEDLE_HEADER_SIZE : NEEDLE_HEAD_MAX;
    int code = volume_generation_pread(generation, head, head_size, read->offset, nowait, err);
    if (code != 0)
        return code;
    struct needle_header header;
    needle_header_load(head, &header);
    if (header.key != read->key || header.size != read->body_size)
        return error_set(err, KELP_E_CORRUPT, "the record is of needle %llx, size %d",
                         (unsigned long long)header.key, header.size);
    uint64_t data_size = (uint32_t)read->body_size;
    if (read->version != 1)
        data_size = load_be32(head + NEEDLE_HEADER_SIZE);
    uint64_t tail_size = read->record_size - head_size - data_size;
    if (data_size > read->record_size - head_size || tail_size > NEEDLE_TAIL_MAX)
        return error_set(err, KELP_E_CORRUPT, "data of %llu bytes in a body of %d",
                         (unsigned long long)data_size, read->body_size);
    code = volume_generation_pread(generation, tail, tail_size, read->offset + head_size + data_size,
                                   nowait, err);
    if (code != 0)
        return code;
    return needle_parse_around(head, tail, tail_size, read->version, read->body_size, ret, err);
}

int volume_read_around(struct volume_read *read, void *buf, bool nowait, struct needle *ret,
                       struct error *err)
{
    if (read->record_size == 0) {
        empty_needle(read, ret);
        return 0;
    }
    struct needle needle;
    struct error reason = {0};
    uint64_t wrapped = read->offset + index_row_limit(read->generation->offset_bytes);
    int code = read_around(read, buf, nowait, &needle, &reason);
    if (code == KELP_E_CORRUPT &&
        wrapped + read->record_size <= volume_generation_end(read->generation)) {
        struct volume_read second = *read;
        second.offset = wrapped;
        if (read_around(&second, buf, nowait, &needle, NULL) == 0) {
            read->offset = wrapped; /* where the data is, too */
            code = 0;
        }
    }
    note(read, code, &reason);
    if (code == KELP_E_AGAIN)
        return code;
    if (code != 0)
        return error_set(err, code, "volume %u, needle %llx at %llu: %s", read->volume->id,
                         (unsigned long long)read->key, (unsigned long long)read->offset,
                         reason.message);
    code = check_expiry(read, &needle, err);
    if (code == 0)
        *ret = needle;
    return code;
}

int volume_read_data(struct volume_read *read, void *buf, size_t n, uint64_t position, bool nowait,
                     struct error *err)
{
    CHECK(position + n <= (uint64_t)read->body_size);
    size_t head_size = read->version == 1 ? NEEDLE_HEADER_SIZE : NEEDLE_HEAD_MAX;
    struct error reason = {0};
    int code = volume_generation_pread(read->generation, buf, n, read->offset + head_size + position,
                                       nowait, &reason);
    if (code != 0 && code != KELP_E_AGAIN && err)
        *err = reason;
    return note(read, code, &reason);
}

#define CHECK_PIECE (256u << 10)

int volume_read_check(struct volume_read *read, struct needle *needle, struct error *err)
{
    if (needle->data.len == 0)
        return 0;
    size_t piece = needle->data.len < CHECK_PIECE ? needle->data.len : CHECK_PIECE;
    char *buf = must(malloc(piece));
    uint32_t crc = 0;
    int code = 0;
    for (size_t done = 0; code == 0 && done < needle->data.len; done += piece) {
        if (piece > needle->data.len - done)
            piece = needle->data.len - done;
        code = volume_read_data(read, buf, piece, done, false, err);
        if (code == 0)
            crc = crc32c(crc, buf, piece);
    }
    free(buf);
    if (code != 0)
        return code;
    if (!needle_checksum_matches(needle->checksum, crc)) {
        struct error reason;
        code = error_set(&reason, KELP_E_CORRUPT,
                         "invalid CRC for needle %llx (got %x, want %x), data on disk corrupted: needle "
                         "data corrupted",
                         (unsigned long long)read->key, crc, needle->checksum);
        volume_read_damaged(read, reason.message);
        return error_set(err, code, "%s", reason.message);
    }
    needle->checksum = crc;
    return 0;
}

void volume_read_end(struct volume_read *read)
{
    struct volume_generation *generation = read->generation;
    read->generation = NULL;
    volume_generation_unref(generation);
}
