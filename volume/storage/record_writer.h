/* The record writer: the one code path that appends records to a generation. The append queue uses it
 * for requests, the vacuum for its copy and its replay.
 *
 * It collects a batch of encoded records behind the generation's end and writes it in one go: the records
 * (one pwritev, the blobs are not copied), then fdatasync where asked, then the index rows (one pwritev),
 * then the new end and the needle index. The rows need no sync, they can be made again from the records;
 * only empty blobs need one. So nothing is visible before it is as safe as was asked. If any step
 * fails, both files are cut back, and nothing of the batch is visible.
 *
 * One thread at a time; for a generation that is in use its owner holds the volume's append lock from
 * begin to flush. Blocks. Allocates when created, not per record. */
#pragma once

#include "volume/storage/volume_generation.h"

struct record_writer;

int record_writer_create(struct record_writer **ret, struct error *err);
void record_writer_destroy(struct record_writer *writer); /* NULL is fine */

/* Starts an empty batch at the generation's end. */
void record_writer_begin(struct record_writer *writer, struct volume_generation *generation);

#define RECORD_WRITER_RECORDS 500u        /* 2 n + 1 pieces stay below IOV_MAX */
#define RECORD_WRITER_BYTES   (64u << 20) /* a batch takes no more after this */
/* Whether the batch takes one more record, with that much around its data. A key may be in a batch once:
 * its second record has to see the first one published. An empty batch always has room. */
bool record_writer_has_room(const struct record_writer *writer, uint64_t key, size_t tail_size);
size_t record_writer_count(const struct record_writer *writer);

/* Add one record. needle->append_at_ns and checksum are stored as given; its slices must live until
 * the flush. KELP_E_TOO_LARGE when the offset could not be addressed or a part is too long: that record
 * is not added, the batch is as it was. *ret (may be NULL): what the row will say. */
int record_writer_put(struct record_writer *writer, const struct needle *needle,
                      struct needle_entry *ret, struct error *err);
/* A tombstone record for needle->key (cookie, checksum and append_at_ns are stored) and its row. With
 * `is_row_only` just the row with offset 0, for volumes whose .dat is elsewhere. */
int record_writer_delete(struct record_writer *writer, const struct needle *needle,
                         bool is_row_only, struct error *err);
/* A record as it is, of needle_record_size(version, size) bytes; `size` as the row shall say it. Records
 * that lie side by side in memory are written as one piece. */
int record_writer_raw(struct record_writer *writer, uint64_t key, int32_t size, const void *record,
                      struct needle_entry *ret, struct error *err);

/* Writes the batch, empties it and starts the next. Success with an empty batch. On failure the batch is
 * gone too; *ret_is_lost (may be NULL) tells that the state of the files is not known (a failed sync, a
 * failed cut): the caller quarantines the volume. `event` counts the rows in the needle index. */
int record_writer_flush(struct record_writer *writer, bool is_durable, enum needle_index_event event,
                        bool *ret_is_lost, struct error *err);
/* KELP_E_TOO_LARGE, in the words of a put for which there is no offset left. */
int record_writer_refuse_full(struct volume_generation *generation, struct error *err);
/* Drops the batch unwritten. */
void record_writer_discard(struct record_writer *writer);
