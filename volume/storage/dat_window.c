/* A window of a .dat. See the header. */
#include "volume/storage/dat_window.h"

#include "common/crc32c.h"
#include "volume/storage/vacuum_internal.h"

#include <stdlib.h>

struct dat_window {
    struct volume_generation *generation;
    struct vacuum_pages *pages; /* NULL: not a guest */
    uint64_t end;
    uint64_t pages_at; /* the pages below were asked for */
    uint64_t offset;
    size_t size;
    uint8_t bytes[DAT_WINDOW_BYTES];
};

int dat_window_open(struct dat_window **ret, struct volume_generation *generation, uint64_t end,
                    bool is_guest, struct error *err)
{
    struct dat_window *window = malloc(sizeof(*window));
    if (!window)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to read %s",
                         atomic_load(&generation->dat_path));
    window->generation = generation;
    window->pages = is_guest ? vacuum_pages_create(generation) : NULL;
    window->end = end;
    window->pages_at = 0;
    window->offset = 0;
    window->size = 0;
    *ret = window;
    return 0;
}

void dat_window_close(struct dat_window *window)
{
    if (!window)
        return;
    vacuum_pages_destroy(window->pages);
    free(window);
}

static int load(struct dat_window *window, uint64_t offset, size_t size, struct error *err)
{
    window->size = 0;
    int code = volume_generation_pread(window->generation, window->bytes, size, offset, false, err);
    if (code != 0)
        return code;
    window->offset = offset;
    window->size = size;
    return 0;
}

static bool holds(const struct dat_window *window, uint64_t offset, size_t n)
{
    return offset >= window->offset && offset + n <= window->offset + window->size;
}

int dat_window_bytes(struct dat_window *window, uint64_t offset, size_t n, const uint8_t **ret,
                     struct error *err)
{
    if (offset > window->end || n > window->end - offset)
        return error_set(err, KELP_E_CORRUPT, "%s has %llu bytes, not %zu at %llu",
                         atomic_load(&window->generation->dat_path),
                         (unsigned long long)window->end, n, (unsigned long long)offset);
    if (!holds(window, offset, n)) {
        uint64_t left = window->end - offset;
        size_t size = left < DAT_WINDOW_BYTES ? (size_t)left : DAT_WINDOW_BYTES;
        int code = volume_generation_check_stop(window->generation, err);
        if (code != 0)
            return code;
        if (window->pages && offset >= window->pages_at) {
            vacuum_pages_done(window->pages, offset);
            vacuum_pages_want(window->pages, offset, offset + size);
            window->pages_at = offset;
        }
        code = load(window, offset, size, err);
        if (code != 0 && window->pages) /* what cannot be read may lie further on */
            code = load(window, offset, n, err);
        if (code != 0)
            return code;
    }
    *ret = window->bytes + (offset - window->offset);
    return 0;
}

int dat_window_rest(struct dat_window *window, uint64_t offset, size_t n, const uint8_t **ret,
                    size_t *ret_size, struct error *err)
{
    int code = dat_window_bytes(window, offset, n, ret, err);
    if (code == 0)
        *ret_size = (size_t)(window->offset + window->size - offset);
    return code;
}

int dat_window_sum(struct dat_window *window, uint64_t offset, uint64_t size, uint32_t *ret,
                   struct error *err)
{
    uint32_t crc = 0;
    while (size > 0) {
        size_t n = size < DAT_WINDOW_BYTES / 2 ? (size_t)size : DAT_WINDOW_BYTES / 2;
        const uint8_t *bytes;
        int code = dat_window_bytes(window, offset, n, &bytes, err);
        if (code != 0)
            return code;
        crc = crc32c(crc, bytes, n);
        offset += n;
        size -= n;
    }
    *ret = crc;
    return 0;
}
