/* Writing records to the new generation, in batches that are read back, once the copy is made
 * (vacuum_writer.c).
 *
 * The replay hands over records that lie in its own buffer. A batch goes out with
 * few system calls (record_writer.h); then it is read back, compared byte by byte with where it
 * came from, and each record is looked up in the new index. So a swap can never make a blob
 * unreadable that was readable before. Runs on the worker. */
#include "volume/storage/vacuum_internal.h"

#include <stdio.h>

#define KEEP_ROWS 10000u /* of an index on disk: a crash after the commit reads no more of them again */

int vacuum_batch_add(struct vacuum *v, uint64_t key, int32_t size, const uint8_t *bytes,
                     struct error *err)
{
    if (!record_writer_has_room(v->writer, key, 0)) {
        int code = vacuum_batch_flush(v, err);
        if (code != 0)
            return code;
    }
    struct vacuum_written *written = &v->written[v->written_count];
    int code = record_writer_raw(v->writer, key, size, bytes, &written->entry, err);
    if (code != 0)
        return code;
    written->source = bytes;
    v->written_count++;
    return 0;
}

/* The new index must say what was written, and the result's digest counts what it leads to. */
static int count_result(void *ctx, const struct needle_entry *entry, uint32_t checksum,
                        struct error *err)
{
    struct vacuum *v = ctx;
    struct needle_entry found;
    int code = needle_index_get(v->next->index, entry->key, &found, err);
    if (code != 0 && code != KELP_E_NOT_FOUND)
        return code;
    bool is_known = code == 0;
    if (entry->size < 0)
        return is_known && found.size >= 0
                   ? vacuum_fail_check(v->next, entry, "is not deleted in the new index", err)
                   : 0;
    if (!is_known || found.size != entry->size || found.offset != entry->offset)
        return vacuum_fail_check(v->next, entry, "is not what the new index says", err);
    vacuum_digest_add(&v->result, found.key, found.size, checksum);
    return 0;
}

int vacuum_batch_flush(struct vacuum *v, struct error *err)
{
    int code = record_writer_flush(v->writer, false, NEEDLE_INDEX_LOAD_COMPACTED, NULL, err);
    const struct vacuum_read_back back = {v->next, v->check_buffer, count_result, v};
    if (code == 0)
        code = vacuum_read_back(&back, v->written, v->written_count, err);
    if (code == 0)
        code = volume_generation_keep_mark(v->next, KEEP_ROWS, err);
    v->written_count = 0;
    return code;
}

int vacuum_batch_forget(struct vacuum *v, uint64_t key, bool *ret_was_live, struct error *err)
{
    struct needle_entry entry;
    int code = needle_index_get(v->next->index, key, &entry, err);
    *ret_was_live = code == 0 && entry.size >= 0;
    if (!*ret_was_live)
        return code == KELP_E_NOT_FOUND ? 0 : code;
    uint8_t checksum[4];
    code = os_read_full(v->next->os, v->next->dat_fd, atomic_load(&v->next->dat_path), checksum,
                        sizeof(checksum), entry.offset + NEEDLE_HEADER_SIZE + (uint32_t)entry.size,
                        err);
    if (code != 0)
        return code;
    vacuum_digest_remove(&v->source, key, entry.size, load_be32(checksum));
    vacuum_digest_remove(&v->result, key, entry.size, load_be32(checksum));
    return 0;
}

void vacuum_note_damage(struct vacuum *v, const struct needle_entry *entry, const char *reason)
{
    pthread_mutex_lock(&v->progress_lock);
    if (v->damage_count < VACUUM_DAMAGE_MAX) {
        struct vacuum_damage *damage = &v->damages[v->damage_count];
        *damage = (struct vacuum_damage){.key = entry->key, .offset = entry->offset};
        snprintf(damage->reason, sizeof(damage->reason), "%s", reason);
    }
    v->damage_count++;
    pthread_mutex_unlock(&v->progress_lock);
    atomic_fetch_add(&v->volume->damaged_count, 1);
}
