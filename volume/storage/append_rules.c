/* Comparing a put with what its key has now. On the writer thread; blocks on cold records, which only
 * overwrites meet. See the header. */
#include "volume/storage/append_rules.h"

/* The first bytes of the old record: header, and data size where there is one. Every record is longer. */
static int read_head(struct volume_generation *generation, const struct needle_entry *old,
                     uint8_t head[NEEDLE_HEAD_MAX], uint64_t *ret_offset, struct error *err)
{
    uint64_t offset = old->offset;
    struct needle_header header;
    int code = volume_generation_pread(generation, head, NEEDLE_HEAD_MAX, offset, false, err);
    if (code != 0)
        return code;
    needle_header_load(head, &header);
    if (header.key != old->key) { /* a row of 4 bytes wraps beyond 32 GiB */
        offset += index_row_limit(generation->offset_bytes);
        if (offset + NEEDLE_HEAD_MAX > volume_generation_end(generation) ||
            volume_generation_pread(generation, head, NEEDLE_HEAD_MAX, offset, false, NULL) != 0)
            goto corrupt;
        needle_header_load(head, &header);
        if (header.key != old->key)
            goto corrupt;
    }
    *ret_offset = offset;
    return 0;
corrupt:
    return error_set(err, KELP_E_CORRUPT,
                     "%s at %llu: the old record of needle %llx cannot be read, so its cookie "
                     "cannot be checked",
                     atomic_load(&generation->dat_path), (unsigned long long)old->offset,
                     (unsigned long long)old->key);
}

/* Whether the record holds exactly this data. What cannot be read is not unchanged: it is written anew. */
static bool has_same_data(struct volume_generation *generation, uint64_t offset,
                          struct slice data, uint8_t *scratch)
{
    for (size_t done = 0; done < data.len;) {
        size_t n = data.len - done < APPEND_SCRATCH_SIZE ? data.len - done : APPEND_SCRATCH_SIZE;
        if (volume_generation_pread(generation, scratch, n, offset + done, false, NULL) != 0 ||
            memcmp(scratch, data.ptr + done, n) != 0)
            return false;
        done += n;
    }
    return true;
}

/* What is around the data of the old record must read; its tail stays in the scratch. */
static bool has_same_blob(struct volume_generation *generation, const struct needle_entry *old,
                          uint64_t offset, const uint8_t head[NEEDLE_HEAD_MAX],
                          const struct needle *needle, uint8_t *scratch, struct needle *ret)
{
    size_t head_size = generation->version == 1 ? NEEDLE_HEADER_SIZE : NEEDLE_HEAD_MAX;
    uint64_t data_size = (uint32_t)old->size;
    if (generation->version != 1)
        data_size = load_be32(head + NEEDLE_HEADER_SIZE);
    uint64_t record_size = needle_record_size(generation->version, old->size);
    if (data_size != needle->data.len || head_size + data_size >= record_size)
        return false;
    uint64_t tail_size = record_size - head_size - data_size;
    if (tail_size > NEEDLE_TAIL_MAX ||
        volume_generation_pread(generation, scratch, tail_size, offset + head_size + data_size, false,
                                NULL) != 0 ||
        needle_parse_around(head, scratch, tail_size, generation->version, old->size, ret, NULL) != 0)
        return false;
    return (ret->checksum == needle->checksum ||
            needle_checksum_matches(ret->checksum, needle->checksum)) &&
           has_same_data(generation, offset + head_size, needle->data, scratch);
}

int append_check_put(struct volume_generation *generation, const struct needle_entry *old,
                     struct needle *needle, bool check_cookie, bool detect_unchanged, int64_t now_ns,
                     uint8_t *scratch, bool *ret_is_unchanged, struct error *err)
{
    uint8_t head[NEEDLE_HEAD_MAX];
    uint64_t offset = 0;
    *ret_is_unchanged = false;
    int code = read_head(generation, old, head, &offset, err);
    if (code != 0)
        return code;
    uint32_t cookie = load_be32(head);
    if (needle->cookie == 0 && !check_cookie)
        needle->cookie = cookie;
    if (needle->cookie != cookie)
        return error_set(err, KELP_E_COOKIE, "mismatching cookie %x", needle->cookie);
    struct needle stored;
    if (detect_unchanged && old->size > 0)
        *ret_is_unchanged =
            has_same_blob(generation, old, offset, head, needle, scratch, &stored) &&
            !needle_is_expired(&stored, now_ns);
    return 0;
}

/* ---- records of replicas ---- */

int append_check_raw(const struct volume_generation *generation, const uint8_t *record,
                     size_t record_size, int32_t *ret_size, struct error *err)
{
    struct needle_header header;
    if (record_size < NEEDLE_HEADER_SIZE)
        return error_set(err, KELP_E_INVALID, "a record of %zu bytes is shorter than its header",
                         record_size);
    needle_header_load(record, &header);
    if (header.size < 0 ||
        record_size != needle_record_size(generation->version, header.size))
        return error_set(err, KELP_E_INVALID,
                         "a record of %zu bytes cannot have a size of %d in a version %u volume",
                         record_size, header.size, generation->version);
    *ret_size = header.size;
    return 0;
}

bool append_is_same_record(struct volume_generation *generation, const struct needle_entry *old,
                           const uint8_t *record, uint8_t *scratch)
{
    uint8_t head[NEEDLE_HEAD_MAX];
    uint64_t offset = 0;
    struct needle_header header;
    struct needle needle, stored;
    needle_header_load(record, &header);
    size_t record_size = needle_record_size(generation->version, header.size);
    size_t head_size = generation->version == 1 ? NEEDLE_HEADER_SIZE : NEEDLE_HEAD_MAX;
    uint64_t data_size = generation->version == 1 ? (uint64_t)header.size
                                                  : load_be32(record + NEEDLE_HEADER_SIZE);
    if (header.size == 0 && old->size == 0) /* cookie and checksum are all there is */
        return read_head(generation, old, head, &offset, NULL) == 0 &&
               load_be32(head) == header.cookie &&
               memcmp(head + NEEDLE_HEADER_SIZE, record + NEEDLE_HEADER_SIZE, 4) == 0;
    if (old->size <= 0 || header.size != old->size || head_size + data_size >= record_size ||
        read_head(generation, old, head, &offset, NULL) != 0 ||
        load_be32(head) != header.cookie ||
        needle_parse_around(record, record + head_size + data_size,
                            record_size - head_size - data_size, generation->version, header.size,
                            &needle, NULL) != 0)
        return false;
    needle.data = slice_of((const char *)record + head_size, data_size);
    return has_same_blob(generation, old, offset, head, &needle, scratch, &stored);
}
