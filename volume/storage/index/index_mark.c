/* Making, storing and holding marks against an .idx. See the header. May block. */
#include "volume/storage/index/index_mark.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char magic[8] = {'k', 'e', 'l', 'p', 'm', 'r', 'k', '1'};

#define WALK_AT     48u
#define COUNTERS_AT 144u
#define HASH_AT     224u
_Static_assert(HASH_AT + 8 == INDEX_MARK_SIZE, "the byte table of index_mark.h");

void index_mark_begin(struct index_mark *mark, const struct index_mark_place *place)
{
    *mark = (struct index_mark){
        .volume_id = place->volume_id,
        .compact_revision = place->compact_revision,
        .version = place->version,
        .offset_bytes = place->idx->offset_bytes,
        .dat_end = place->first,
    };
    index_walk_begin(&mark->walk, place->first);
}

static int advance_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct index_mark *mark = ctx;
    index_walk_row(&mark->walk, entry, mark->version, mark->offset_bytes);
    return 0;
}

int index_mark_advance(struct index_mark *mark, const struct index_mark_place *place, uint64_t to,
                       struct error *err)
{
    if (mark->walk.idx_length >= to || mark->walk.idx_length == index_file_end(place->idx))
        return 0;
    struct index_mark next = *mark;
    int code = index_file_walk(place->idx, mark->walk.idx_length, to, advance_row, &next, err);
    if (code == 0)
        *mark = next;
    return code;
}

static int stat_index(const struct index_mark_place *place, struct os_stat *ret, struct error *err)
{
    int result = os_fstat(place->idx->os, place->idx->fd, ret);
    return result < 0 ? error_set_errno(err, -result, "fstat %s", place->idx->path) : 0;
}

int index_mark_seal(struct index_mark *mark, const struct index_mark_place *place,
                    struct needle_index *index, bool is_synced, struct error *err)
{
    struct os_stat st;
    int code = stat_index(place, &st, err);
    if (code != 0)
        return code;
    mark->dat_end = place->dat_end;
    mark->idx_inode = is_synced ? st.inode : 0; /* which no file has */
    mark->idx_size = st.size;
    mark->idx_mtime_ns = st.mtime_ns;
    needle_index_stat(index, &mark->counters);
    mark->counters.memory_bytes = 0;
    return 0;
}

/* ---- bytes ---- */

/* The counters, in the order of the bytes. */
static uint64_t *counter_at(struct needle_index_stat *stat, size_t i)
{
    uint64_t *all[] = {
        &stat->file_count,        &stat->file_bytes,
        &stat->deletion_count,    &stat->deletion_bytes,
        &stat->max_key,           &stat->live_count,
        &stat->live_record_bytes, &stat->loaded_file_count,
        &stat->loaded_deletion_count, &stat->loaded_max_key,
    };
    _Static_assert(sizeof(all) / sizeof(all[0]) * 8 == HASH_AT - COUNTERS_AT, "one word each");
    return all[i];
}

static uint64_t *walk_word_at(struct index_walk *walk, size_t i)
{
    uint64_t *all[] = {
        &walk->idx_length, &walk->hash,        &walk->rows,     &walk->chain,       &walk->last_offset,
        &walk->last_end,   &walk->first,       &walk->records_end, &walk->last.key, &walk->last.offset,
    };
    _Static_assert(sizeof(all) / sizeof(all[0]) * 8 + 16 == COUNTERS_AT - WALK_AT, "byte table");
    return all[i];
}

#define WALK_WORDS    10u
#define COUNTER_WORDS 10u

void index_mark_store(uint8_t bytes[INDEX_MARK_SIZE], const struct index_mark *mark)
{
    struct index_mark copy = *mark;
    memset(bytes, 0, INDEX_MARK_SIZE);
    memcpy(bytes, magic, sizeof(magic));
    store_le32(bytes + 8, mark->volume_id);
    store_le16(bytes + 12, mark->compact_revision);
    bytes[14] = mark->version;
    bytes[15] = mark->offset_bytes;
    store_le64(bytes + 16, mark->dat_end);
    store_le64(bytes + 24, mark->idx_inode);
    store_le64(bytes + 32, mark->idx_size);
    store_le64(bytes + 40, (uint64_t)mark->idx_mtime_ns);
    uint8_t *at = bytes + WALK_AT;
    for (size_t i = 0; i < WALK_WORDS; i++, at += 8)
        store_le64(at, *walk_word_at(&copy.walk, i));
    store_le64(at, (uint64_t)(int64_t)mark->walk.last.size);
    store_le64(at + 8, mark->walk.is_after_gap);
    for (size_t i = 0; i < COUNTER_WORDS; i++)
        store_le64(bytes + COUNTERS_AT + 8 * i, *counter_at(&copy.counters, i));
    store_le64(bytes + HASH_AT, XXH3_64bits(bytes, HASH_AT));
}

int index_mark_load(const uint8_t bytes[INDEX_MARK_SIZE], struct index_mark *ret, struct error *err)
{
    if (memcmp(bytes, magic, sizeof(magic)) != 0)
        return error_set(err, KELP_E_CORRUPT, "no mark of an index");
    if (load_le64(bytes + HASH_AT) != XXH3_64bits(bytes, HASH_AT))
        return error_set(err, KELP_E_CORRUPT, "the mark of the index fails its checksum");
    struct index_mark mark = {
        .volume_id = load_le32(bytes + 8),
        .compact_revision = load_le16(bytes + 12),
        .version = bytes[14],
        .offset_bytes = bytes[15],
        .dat_end = load_le64(bytes + 16),
        .idx_inode = load_le64(bytes + 24),
        .idx_size = load_le64(bytes + 32),
        .idx_mtime_ns = (int64_t)load_le64(bytes + 40),
    };
    const uint8_t *at = bytes + WALK_AT;
    for (size_t i = 0; i < WALK_WORDS; i++, at += 8)
        *walk_word_at(&mark.walk, i) = load_le64(at);
    mark.walk.last.size = (int32_t)load_le32(at);
    mark.walk.is_after_gap = load_le64(at + 8) != 0;
    for (size_t i = 0; i < COUNTER_WORDS; i++)
        *counter_at(&mark.counters, i) = load_le64(bytes + COUNTERS_AT + 8 * i);
    *ret = mark;
    return 0;
}

/* ---- holding it against a volume ---- */

int index_mark_check(const struct index_mark *mark, const struct index_mark_place *place,
                     struct error *err)
{
    uint64_t length = mark->walk.idx_length;
    if (mark->volume_id != place->volume_id || mark->version != place->version ||
        mark->walk.first != place->first || mark->offset_bytes != place->idx->offset_bytes)
        return error_set(err, KELP_E_CORRUPT, "the mark is of another volume");
    if (mark->compact_revision != place->compact_revision)
        return error_set(err, KELP_E_CORRUPT, "the mark is of revision %u, the volume has %u",
                         mark->compact_revision, place->compact_revision);
    if (length % index_row_size(mark->offset_bytes) != 0 || length > index_file_end(place->idx) ||
        mark->dat_end > place->dat_end)
        return error_set(err, KELP_E_CORRUPT, "the mark lies past the end");
    struct os_stat st;
    int code = stat_index(place, &st, err);
    if (code != 0)
        return code;
    if (mark->idx_inode != 0 && st.inode == mark->idx_inode && st.size == mark->idx_size &&
        st.mtime_ns == mark->idx_mtime_ns)
        return 0;
    uint64_t hash;
    code = index_walk_hash(place->idx, length, &hash, err);
    if (code == 0 && hash != mark->walk.hash)
        code = error_set(err, KELP_E_CORRUPT, "the mark is of another .idx");
    return code;
}
