/* Reading by place. A walk holds a reference to the generation that it began with, so that a vacuum that
 * commits meanwhile takes nothing away from under it. */
#include "volume/storage/volume_inspect.h"

#include "common/check.h"
#include "volume/storage/volume_internal.h"

#include <inttypes.h>
#include <stdlib.h>

/* All of it lies below the logical end, or "EOF". */
static int read_at(struct volume_generation *generation, void *buf, size_t n, uint64_t offset,
                   struct error *err)
{
    uint64_t end = volume_generation_end(generation);
    if (offset > end || n > end - offset)
        return error_set(err, KELP_E_INVALID, "EOF");
    return volume_generation_pread(generation, buf, n, offset, false, err);
}

int volume_inspect_record(struct volume *volume, uint64_t offset, int32_t size, uint8_t **ret,
                          size_t *ret_size, struct error *err)
{
    struct volume_generation *generation = volume_get_generation(volume);
    uint64_t length = needle_record_size(generation->version, size);
    uint64_t end = volume_generation_end(generation);
    uint8_t *bytes = NULL;
    int code = 0;
    if (offset > end || length > end - offset) /* before anything is allocated for it */
        code = error_set(err, KELP_E_INVALID, "EOF");
    else if (!(bytes = malloc(length)))
        code = error_set(err, KELP_E_NO_MEMORY, "no memory for a record of %" PRIu64 " bytes", length);
    if (code == 0)
        code = read_at(generation, bytes, length, offset, err);
    if (code == KELP_E_IO)
        volume_note_io(volume, code);
    volume_generation_unref(generation);
    if (code != 0) {
        free(bytes);
        return code;
    }
    *ret = bytes;
    *ret_size = length;
    return 0;
}

/* ---- the record without its data ---- */

void volume_inspect_format_id(uint64_t id, char text[33])
{
    char once[17];
    int n = snprintf(once, sizeof(once), "%" PRIx64, id);
    for (int i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned)once[i]);
}

#define META_MAX (128u << 10)

static int read_meta(struct volume_generation *generation, uint64_t offset, int32_t size,
                     uint8_t *buf, struct needle *ret, struct error *err)
{
    uint8_t *head = buf, *tail = buf + NEEDLE_HEAD_MAX;
    int code = read_at(generation, head, NEEDLE_HEAD_MAX, offset, err);
    if (code != 0)
        return code;
    struct needle_header header;
    needle_header_load(head, &header);
    if (header.size != size) {
        char id[33] = "";
        volume_inspect_format_id(header.key, id);
        return error_set(err, KELP_E_INVALID,
                         "size mismatch for entry at offset %" PRIu64
                         ": found id %s size %d, expected size %d",
                         offset, id, header.size, size);
    }
    bool has_data_size = size > 0 && generation->version != 1;
    size_t head_size = has_data_size ? NEEDLE_HEAD_MAX : NEEDLE_HEADER_SIZE;
    uint64_t data_size = size == 0 ? 0 : (uint64_t)size;
    if (has_data_size)
        data_size = load_be32(head + NEEDLE_HEADER_SIZE);
    int64_t tail_size = (int64_t)needle_record_size(generation->version, size) -
                        (int64_t)head_size - (int64_t)data_size;
    if (tail_size < 0 || tail_size > META_MAX)
        return error_set(err, KELP_E_INVALID,
                         "invalid needle meta size %" PRId64 ": DataSize=%" PRIu64
                         ", size=%d, offset=%" PRIu64,
                         tail_size, data_size, size, offset);
    code = read_at(generation, tail, (size_t)tail_size, offset + head_size + data_size, err);
    if (code != 0)
        return code;
    return needle_parse_around(head, tail, (size_t)tail_size, generation->version, size, ret, err);
}

int volume_inspect_meta(struct volume *volume, uint64_t offset, int32_t size, struct needle *ret,
                        struct error *err)
{
    uint8_t *buf = must(malloc(NEEDLE_HEAD_MAX + META_MAX));
    struct volume_generation *generation = volume_get_generation(volume);
    struct needle needle = {0};
    int code = read_meta(generation, offset, size, buf, &needle, err);
    volume_generation_unref(generation);
    free(buf);
    needle.data = needle.name = needle.mime = needle.pairs = (struct slice){0};
    if (code == 0)
        *ret = needle;
    return code;
}

/* ---- walks ---- */

struct live_walk {
    struct volume *volume;
    struct volume_generation *generation;
    int (*visit)(void *ctx, const struct needle *needle);
    void *ctx;
    uint64_t damaged;
    uint8_t *record;
    size_t capacity;
};

static int visit_entry(struct live_walk *walk, const struct needle_entry *entry, struct error *err)
{
    size_t size = needle_record_size(walk->generation->version, entry->size);
    struct needle needle;
    struct error reason;
    if (size > walk->capacity) {
        uint8_t *larger = realloc(walk->record, size);
        if (!larger)
            return error_set(err, KELP_E_NO_MEMORY, "no memory for a record of %zu bytes", size);
        walk->record = larger;
        walk->capacity = size;
    }
    int code = volume_generation_read(walk->generation, entry, walk->record, false, &needle, &reason);
    if (code == KELP_E_CORRUPT) {
        volume_note_damage(walk->volume, entry->key, entry->offset, reason.message);
        walk->damaged++;
        return 0;
    }
    if (code != 0) {
        volume_note_io(walk->volume, code);
        return error_set(err, code, "%s", reason.message);
    }
    return walk->visit(walk->ctx, &needle);
}

int volume_inspect_live(struct volume *volume,
                        int (*visit)(void *ctx, const struct needle *needle), void *ctx,
                        uint64_t *ret_damaged, struct error *err)
{
    struct live_walk walk = {.volume = volume, .visit = visit, .ctx = ctx};
    walk.generation = volume_get_generation(volume);
    struct needle_cursor *cursor = NULL;
    int code = needle_cursor_open(walk.generation->index, NEEDLE_INDEX_BY_OFFSET,
                                  volume_generation_end(walk.generation), &cursor, err);
    while (code == 0) {
        const struct needle_entry *entries;
        size_t count;
        code = needle_cursor_next(cursor, &entries, &count, err);
        if (code != 0 || count == 0)
            break;
        for (size_t i = 0; i < count && code == 0; i++)
            code = visit_entry(&walk, &entries[i], err);
    }
    needle_cursor_close(cursor);
    free(walk.record);
    volume_generation_unref(walk.generation);
    *ret_damaged = walk.damaged;
    return code;
}

struct verify_walk {
    struct volume *volume;
    const struct volume_verify_options *options;
};

static bool is_of_record(enum volume_problem_kind kind)
{
    return kind == VOLUME_PROBLEM_UNREADABLE || kind == VOLUME_PROBLEM_HEADER ||
           kind == VOLUME_PROBLEM_KEY || kind == VOLUME_PROBLEM_BODY || kind == VOLUME_PROBLEM_CRC;
}

static int on_problem(void *ctx, const struct volume_problem *problem)
{
    struct verify_walk *walk = ctx;
    if (problem->is_live && is_of_record(problem->kind))
        volume_note_damage(walk->volume, problem->key, problem->offset, problem->detail);
    return walk->options->on_problem ? walk->options->on_problem(walk->options->ctx, problem) : 0;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct verify_walk *walk = ctx;
    return walk->options->on_progress ? walk->options->on_progress(walk->options->ctx, done, total)
                                      : 0;
}

int volume_inspect_verify(struct volume *volume, const struct volume_verify_options *options,
                          struct volume_verify_result *ret, struct error *err)
{
    struct verify_walk walk = {volume, options};
    struct volume_verify_options ours = *options;
    ours.on_problem = on_problem;
    ours.on_progress = on_progress;
    ours.ctx = &walk;
    struct volume_generation *generation = volume_get_generation(volume);
    int code = volume_verify(generation, &ours, ret, err);
    volume_generation_unref(generation);
    return code;
}
