/* kelp download: fetches blobs into a folder, each under the name it was stored with. A file that
 * is there already is replaced only once the new one is whole. */
#include "cli/blob_client.h"
#include "cli/command.h"
#include "cli/process_rpc.h"
#include "common/arena.h"
#include "common/content_disposition.h"
#include "common/media_type.h"
#include "common/os.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#define PIECE_SIZE (UINT64_C(8) << 20) /* what of a large one is in memory */

static const char *masters, *old_masters, *directory, *options;

static const struct config_flag flags[] = {
    {"master", CONFIG_STRING, &masters, "localhost:9333", "the master"},
    {"server", CONFIG_STRING, &old_masters, NULL, "older name of -master"},
    {"dir", CONFIG_STRING, &directory, ".", "folder to put the files in"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "download",
    .summary = "fetch blobs by their file ids",
    .usage = "-master=localhost:9333 -dir=somewhere fid1 [fid2 ...]",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
};

struct download { /* of one blob */
    struct blob_client *client;
    const char *fid;
    struct blob_replicas replicas;
    size_t replica; /* the one that answers */
    struct arena arena;
    const char *path, *part_path, *etag;
    int fd;
    uint64_t offset,
        size; /* where the next piece starts, and where it ends; known after the first */
};

/* The stored name, without any folder; the file id where there is none. */
static const char *file_name(struct arena *arena, const char *fid,
                             const struct http_client_response *response)
{
    const char *header = http_client_response_header(response, "Content-Disposition");
    struct media_type type;
    struct slice name = {NULL, 0};
    if (header && media_type_parse(arena, slice_cstr(header), &type, NULL) == 0)
        name = content_disposition_base_name(media_type_param(&type, "filename"));
    if (name.len == 0 || slice_equals(name, SLICE(".")) || slice_equals(name, SLICE("..")) ||
        memchr(name.ptr, '\0', name.len))
        name = slice_cstr(fid);
    return arena_strndup(arena, name.ptr, name.len);
}

/* From whichever replica has it. */
static int fetch_piece(struct download *d, const char *range, struct http_client_response *ret,
                       struct error *err)
{
    int code = 0;
    for (size_t i = 0; i < d->replicas.count; i++) {
        const char *url = d->replicas.urls[d->replica];
        code = blob_client_fetch(d->client, url, d->fid, range, ret, err);
        if (code == 0 || code == KELP_E_INVALID)
            return code;
        d->replica = (d->replica + 1) % d->replicas.count;
    }
    return code;
}

static int begin_file(struct download *d, const struct http_client_response *response,
                      struct error *err)
{
    const char *etag = http_client_response_header(response, "ETag");
    d->etag = arena_printf(&d->arena, "%s", etag ? etag : "");
    d->path = arena_printf(&d->arena, "%s/%s", directory, file_name(&d->arena, d->fid, response));
    d->part_path = arena_printf(&d->arena, "%s.tmp", d->path);
    d->fd = os_open(os_real(), d->part_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    return d->fd < 0 ? error_set_errno(err, -d->fd, "open %s", d->part_path) : 0;
}

/* Where the whole ends: from "bytes 0-8388607/12345678", or, of an answer that is the whole, its
 * length. */
static int read_size(struct download *d, const struct http_client_response *response,
                     struct error *err)
{
    const char *range = http_client_response_header(response, "Content-Range");
    uint64_t first = d->offset, last, whole;
    if (response->status != 206) {
        d->size = response->body_size;
        return d->offset == 0
                   ? 0
                   : error_set(err, KELP_E_PROTOCOL, "%s: the server stops giving parts", d->fid);
    }
    if (!range ||
        sscanf(range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &first, &last, &whole) != 3 ||
        first != d->offset || last < first || last >= whole ||
        last - first + 1 != response->body_size)
        return error_set(err, KELP_E_PROTOCOL, "%s: a part other than asked for: %s", d->fid,
                         range ? range : "no Content-Range");
    d->size = whole;
    return 0;
}

static int take_piece(struct download *d, const struct http_client_response *response,
                      struct error *err)
{
    const char *etag = http_client_response_header(response, "ETag");
    struct iovec piece = {response->body, response->body_size};
    int code = d->fd < 0 ? begin_file(d, response, err) : 0;
    if (code == 0)
        code = read_size(d, response, err);
    if (code == 0 && strcmp(d->etag, etag ? etag : "") != 0)
        code = error_set(err, KELP_E_BUSY, "%s was written anew meanwhile; try again", d->fid);
    if (code == 0 && response->body_size > 0)
        code = os_write_full(os_real(), d->fd, d->part_path, &piece, 1, d->offset, err);
    d->offset += response->body_size;
    return code;
}

static int fetch_all(struct download *d, struct error *err)
{
    struct http_client_response response;
    char range[64];
    int code;
    do {
        snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, d->offset,
                 d->offset + PIECE_SIZE - 1);
        code = fetch_piece(d, range, &response, err);
        if (code == KELP_E_INVALID && d->offset == 0) /* an empty blob has no parts */
            code = fetch_piece(d, NULL, &response, err);
        if (code != 0)
            return code;
        code = take_piece(d, &response, err);
        http_client_response_fini(&response);
    } while (code == 0 && d->offset < d->size);
    return code;
}

/* Only what is whole gets its name. */
static int keep(struct download *d, struct error *err)
{
    int result = os_fsync(os_real(), d->fd);
    if (result < 0)
        return error_set_errno(err, -result, "fsync %s", d->part_path);
    result = os_rename(os_real(), d->part_path, d->path);
    if (result < 0)
        return error_set_errno(err, -result, "rename %s to %s", d->part_path, d->path);
    printf("%s: %" PRIu64 " bytes from %s\n", d->path, d->size, d->fid);
    return 0;
}

static int download(struct blob_client *client, const char *fid, struct error *err)
{
    struct download d = {.client = client, .fid = fid, .fd = -1};
    int code = blob_client_locate(client, fid, &d.replicas, err);
    if (code != 0)
        return code;
    arena_init(&d.arena);
    code = fetch_all(&d, err);
    if (code == 0)
        code = keep(&d, err);
    if (d.fd >= 0)
        os_close(os_real(), d.fd);
    if (d.fd >= 0 && code != 0)
        os_unlink(os_real(), d.part_path);
    arena_fini(&d.arena);
    return code;
}

static bool has_folder(void)
{
    struct os_stat st;
    int result = os_stat(os_real(), directory, &st);
    if (result == 0 && st.is_directory)
        return true;
    fprintf(stderr, "kelp download: -dir: %s %s\n", directory,
            result == 0         ? "is no folder; name one"
            : result == -ENOENT ? "is not there; create it first"
                                : strerror(-result));
    return false;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct process_rpc rpc;
    struct blob_client client = {0};
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    if (rest >= argc) {
        fprintf(stderr, "kelp download: name file ids, as 3,01637037d6\n");
        return 2;
    }
    if (!has_folder())
        return 1;
    if (process_rpc_open(&rpc, &err) != 0)
        return command_fail(&config, &err);
    status = 0;
    if (blob_client_init(&client, rpc.client, *old_masters ? old_masters : masters, &err) != 0) {
        status = command_fail(&config, &err);
        rest = argc;
    }
    for (int i = rest; i < argc; i++)
        if (download(&client, argv[i], &err) != 0)
            status = command_fail(&config, &err);
    blob_client_fini(&client);
    process_rpc_close(&rpc);
    return status;
}

const struct command command_download = {&config, run};
