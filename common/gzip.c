/* gzip on zlib. Output grows by doubling, with the limit as the last step, so neither a bomb nor a
 * lie about the size costs more than what the caller allowed. */
#include "common/gzip.h"

#include "common/check.h"

#include <stdlib.h>
#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* zlib's way to ask for the gzip format */
#define MEASURE_BUFFER (32u << 10)

bool gzip_is_compressed(struct slice data)
{
    return data.len >= 2 && memcmp(data.ptr, "\x1F\x8B", 2) == 0;
}

static unsigned clamp(size_t size) { return size > (1u << 30) ? 1u << 30 : (unsigned)size; }

int gzip_compress(struct slice data, char **ret, size_t *ret_size, struct error *err)
{
    z_stream z = {0};
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return error_set(err, KELP_E_NO_MEMORY, "compress %zu bytes: out of memory", data.len);
    size_t room = deflateBound(&z, data.len);
    char *out = malloc(room);
    if (!out) {
        deflateEnd(&z);
        return error_set(err, KELP_E_NO_MEMORY, "compress %zu bytes: out of memory", data.len);
    }
    size_t used = 0, written = 0;
    int code;
    do {
        unsigned in = clamp(data.len - used), space = clamp(room - written);
        z.next_in = (Bytef *)(uintptr_t)(data.ptr + used);
        z.avail_in = in;
        z.next_out = (Bytef *)out + written;
        z.avail_out = space;
        code = deflate(&z, used + in == data.len ? Z_FINISH : Z_NO_FLUSH);
        used += in - z.avail_in;
        written += space - z.avail_out;
    } while (code == Z_OK);
    deflateEnd(&z);
    CHECK(code == Z_STREAM_END); /* deflateBound promised the room */
    *ret = out;
    *ret_size = written;
    return 0;
}

struct inflation {
    z_stream z;
    struct slice rest; /* what the stream has not taken */
    char *out;         /* NULL: only measured */
    size_t capacity;
    uint64_t size, limit;
};

/* Room for the next step's output; 0 bytes means the limit is reached. */
static int make_room(struct inflation *f, char *scratch)
{
    if (!f->out && scratch) {
        f->z.next_out = (Bytef *)scratch;
        f->z.avail_out = MEASURE_BUFFER;
        return 0;
    }
    if (f->size == f->capacity) {
        size_t capacity = f->capacity * 2;
        if (capacity > f->limit)
            capacity = (size_t)f->limit;
        if (capacity == f->capacity)
            capacity++; /* one byte over the limit tells whether there is more */
        char *out = realloc(f->out, capacity);
        if (!out)
            return KELP_E_NO_MEMORY;
        f->out = out;
        f->capacity = capacity;
    }
    f->z.next_out = (Bytef *)f->out + f->size;
    f->z.avail_out = clamp(f->capacity - (size_t)f->size);
    return 0;
}

static int run(struct inflation *f, char *scratch)
{
    int code = Z_OK;
    do {
        int failure = make_room(f, scratch);
        if (failure < 0)
            return failure;
        unsigned in = clamp(f->rest.len), space = f->z.avail_out;
        f->z.next_in = (Bytef *)(uintptr_t)f->rest.ptr;
        f->z.avail_in = in;
        code = inflate(&f->z, Z_NO_FLUSH);
        f->rest = slice_from(f->rest, in - f->z.avail_in);
        f->size += space - f->z.avail_out;
        if (f->size > f->limit)
            return KELP_E_TOO_LARGE;
        if (code == Z_STREAM_END && f->rest.len > 0) { /* another member follows */
            if (!gzip_is_compressed(f->rest) || inflateReset(&f->z) != Z_OK)
                return KELP_E_CORRUPT;
            code = Z_OK;
        } else if (code == Z_BUF_ERROR && f->z.avail_out == 0) {
            code = Z_OK;
        }
    } while (code == Z_OK);
    return code == Z_STREAM_END ? 0 : code == Z_MEM_ERROR ? KELP_E_NO_MEMORY : KELP_E_CORRUPT;
}

static int inflate_all(struct inflation *f, char *scratch, size_t size, struct error *err)
{
    if (inflateInit2(&f->z, GZIP_WINDOW) != Z_OK)
        return error_set(err, KELP_E_NO_MEMORY, "decompress %zu bytes: out of memory", size);
    int code = run(f, scratch);
    inflateEnd(&f->z);
    if (code < 0)
        error_set(err, code, "decompress %zu bytes: %s", size, error_text(code));
    return code;
}

int gzip_decompress(struct slice data, uint64_t limit_bytes, char **ret, size_t *ret_size,
                    struct error *err)
{
    struct inflation f = {.rest = data, .limit = limit_bytes, .capacity = 4096};
    if (data.len < SIZE_MAX / 8 && f.capacity < data.len * 4)
        f.capacity = data.len * 4;
    if (f.capacity > limit_bytes)
        f.capacity = (size_t)limit_bytes + 1;
    f.out = malloc(f.capacity);
    if (!f.out)
        return error_set(err, KELP_E_NO_MEMORY, "decompress %zu bytes: out of memory", data.len);
    int code = inflate_all(&f, NULL, data.len, err);
    if (code < 0) {
        free(f.out);
        return code;
    }
    *ret = f.out;
    *ret_size = (size_t)f.size;
    return 0;
}

int gzip_measure(struct slice data, uint64_t limit_bytes, uint64_t *ret_size, struct error *err)
{
    struct inflation f = {.rest = data, .limit = limit_bytes};
    char *scratch = must(malloc(MEASURE_BUFFER));
    int code = inflate_all(&f, scratch, data.len, err);
    free(scratch);
    if (code == 0)
        *ret_size = f.size;
    return code;
}
