/* Tries a sample of rows from the head and the end as both widths and takes the better one. */
#include "volume/storage/format/index_width.h"

#include "volume/storage/format/index_file.h"

#define SAMPLE_ROWS 256u

struct sample {
    uint64_t dat_size;
    uint64_t good, bad;
};

static int judge_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct sample *sample = ctx;
    uint64_t size = needle_record_size(NEEDLE_VERSION, entry->size);
    bool is_good = entry->size >= NEEDLE_TOMBSTONE &&
                   (entry->offset == 0 ? entry->size == NEEDLE_TOMBSTONE
                                       : entry->offset + size <= sample->dat_size + NEEDLE_ALIGNMENT);
    if (is_good)
        sample->good++;
    else
        sample->bad++;
    return 0;
}

/* Rows that make sense, less those that do not; a file that is no multiple of the row weighs one row. */
static int64_t score(struct os *os, const char *path, uint64_t dat_size, uint8_t offset_bytes)
{
    struct index_file file;
    struct os_stat st;
    struct sample sample = {.dat_size = dat_size};
    uint64_t span = SAMPLE_ROWS * index_row_size(offset_bytes);
    if (index_file_open(&file, os, path, O_RDONLY, offset_bytes, NULL) != 0)
        return 0;
    uint64_t end = index_file_end(&file);
    bool is_whole = os_fstat(os, file.fd, &st) >= 0 && st.size == end;
    index_file_walk(&file, 0, span, judge_row, &sample, NULL);
    if (end > span)
        index_file_walk(&file, end - span < span ? span : end - span, end, judge_row, &sample, NULL);
    index_file_close(&file);
    return (int64_t)sample.good - (int64_t)sample.bad - (is_whole ? 0 : 1);
}

uint8_t index_width_guess(struct os *os, const char *idx_path, uint64_t dat_size)
{
    return score(os, idx_path, dat_size, 4) > score(os, idx_path, dat_size, 5) ? 4 : 5;
}
