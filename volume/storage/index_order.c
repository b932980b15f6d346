/* Sorting the rows of an .idx window by window. See the header. */
#include "volume/storage/index_order.h"

#include "common/check.h"

#include <stdlib.h>

#define STRETCHES       65536u
#define STRETCH_MIN     65536u /* bytes of the .dat */
#define WINDOW_ROWS     (1u << 20)
#define RECORD_SIZE_MIN 24u

struct stretch {
    uint64_t rows;
    uint64_t first, last; /* positions in the .idx of the first and the last row that begins here */
};

struct index_order {
    struct index_file *file;
    uint64_t from, to;
    index_file_visitor *visit;
    void *ctx;
    uint64_t stretch_bytes;
    uint64_t stretch_max; /* rows that are kept of one stretch */
    uint64_t crowded;
    struct stretch stretches[STRETCHES];

    size_t next_stretch; /* where the next window begins */
    size_t window_first, window_end;
    bool is_sorted;
    struct needle_entry *rows;
    size_t count, capacity, at;
};

static int compare(const void *a, const void *b)
{
    const struct needle_entry *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static bool is_placed(const struct index_order *order, const struct needle_entry *entry)
{
    return entry->offset >= order->from && entry->offset < order->to;
}

static int count_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct index_order *order = ctx;
    int code = order->visit ? order->visit(order->ctx, entry, position) : 0;
    if (code != 0 || !is_placed(order, entry))
        return code;
    struct stretch *stretch = &order->stretches[entry->offset / order->stretch_bytes];
    if (stretch->rows == 0)
        stretch->first = position;
    stretch->last = position;
    stretch->rows++;
    return 0;
}

int index_order_open(struct index_order **ret, struct index_file *file, uint64_t idx_end,
                     uint64_t from, uint64_t to, index_file_visitor *visit, void *ctx,
                     struct error *err)
{
    struct index_order *order = calloc(1, sizeof(*order));
    if (!order)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to sort %s", file->path);
    order->file = file;
    order->from = from;
    order->to = to;
    order->visit = visit;
    order->ctx = ctx;
    order->stretch_bytes = to / STRETCHES + 1;
    if (order->stretch_bytes < STRETCH_MIN)
        order->stretch_bytes = STRETCH_MIN;
    /* Twice what fits side by side: rows that name one place again are few. */
    order->stretch_max = order->stretch_bytes / RECORD_SIZE_MIN * 2;
    int code = index_file_walk(file, 0, idx_end, count_row, order, err);
    if (code != 0) {
        free(order);
        return code;
    }
    *ret = order;
    return 0;
}

static uint64_t kept_of(const struct index_order *order, const struct stretch *stretch)
{
    return stretch->rows < order->stretch_max ? stretch->rows : order->stretch_max;
}

static int collect_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct index_order *order = ctx;
    if (!is_placed(order, entry))
        return 0;
    size_t stretch = entry->offset / order->stretch_bytes;
    if (stretch < order->window_first || stretch >= order->window_end)
        return 0;
    if (order->count == order->capacity) {
        order->crowded++;
        return 0;
    }
    if (order->count > 0 && compare(&order->rows[order->count - 1], entry) > 0)
        order->is_sorted = false;
    order->rows[order->count++] = *entry;
    return 0;
}

/* Chooses the next stretches, at least one, and makes room for their rows; false when there are
 * none. */
static bool choose_window(struct index_order *order, uint64_t *ret_rows, uint64_t *ret_first,
                          uint64_t *ret_last)
{
    uint64_t rows = 0, first = UINT64_MAX, last = 0;
    size_t i = order->next_stretch;
    order->window_first = i;
    for (; i < STRETCHES; i++) {
        const struct stretch *stretch = &order->stretches[i];
        if (stretch->rows == 0)
            continue;
        if (rows > 0 && rows + kept_of(order, stretch) > WINDOW_ROWS)
            break;
        rows += kept_of(order, stretch);
        first = stretch->first < first ? stretch->first : first;
        last = stretch->last > last ? stretch->last : last;
    }
    order->window_end = order->next_stretch = i;
    *ret_rows = rows;
    *ret_first = first;
    *ret_last = last;
    return rows > 0;
}

static int fill_window(struct index_order *order, struct error *err)
{
    uint64_t rows, first, last;
    order->count = order->at = 0;
    order->is_sorted = true;
    if (!choose_window(order, &rows, &first, &last))
        return 0;
    free(order->rows);
    order->capacity = rows;
    order->rows = malloc(rows * sizeof(*order->rows));
    if (!order->rows)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to sort %s", order->file->path);
    int code = index_file_walk(order->file, first, last + index_row_size(order->file->offset_bytes),
                               collect_row, order, err);
    if (code == 0 && !order->is_sorted)
        qsort(order->rows, order->count, sizeof(*order->rows), compare);
    return code;
}

int index_order_next(struct index_order *order, const struct needle_entry **ret, struct error *err)
{
    if (order->at == order->count) {
        int code = fill_window(order, err);
        if (code != 0)
            return code;
    }
    *ret = order->at < order->count ? &order->rows[order->at++] : NULL;
    return 0;
}

uint64_t index_order_crowded(const struct index_order *order)
{
    return order->crowded;
}

void index_order_close(struct index_order *order)
{
    if (!order)
        return;
    free(order->rows);
    free(order);
}
