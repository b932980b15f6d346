/* kelp upload: stores files, what comes by a pipe, or a whole folder, and prints the file ids as
 * JSON.
 *
 * A file above -maxMB is cut into chunks, each a blob of its own; a manifest that lists them
 * becomes the blob whose id is printed. When a chunk fails, the chunks that were stored are deleted
 * again. */
#include "cli/blob_client.h"
#include "cli/command.h"
#include "cli/process_rpc.h"
#include "common/check.h"
#include "common/json_writer.h"
#include "common/mime.h"
#include "common/os.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#define LEAST_PIECE (64u << 10)

static const char *masters, *directory, *include, *options;
static struct blob_place place;
static int64_t max_mb;
static bool uses_public_url;

static const struct config_flag flags[] = {
    {"master", CONFIG_STRING, &masters, "localhost:9333", "the master"},
    {"dir", CONFIG_STRING, &directory, NULL, "store all files below this folder"},
    {"include", CONFIG_STRING, &include, NULL, "with -dir: only names that fit, as *.pdf,*.html"},
    {"collection", CONFIG_STRING, &place.collection, NULL, "collection to store in"},
    {"replication", CONFIG_STRING, &place.replication, NULL, "000, 001, 010, ..."},
    {"ttl", CONFIG_STRING, &place.ttl, NULL, "time to live: 90m, 3h, 7d, 1M, 1y"},
    {"dataCenter", CONFIG_STRING, &place.data_center, NULL, "data center to store in"},
    {"disk", CONFIG_STRING, &place.disk_type, NULL, "hdd, ssd or any word"},
    {"maxMB", CONFIG_INT, &max_mb, "4", "cut files above this into chunks; 0: never"},
    {"usePublicUrl", CONFIG_BOOL, &uses_public_url, NULL, "send to the servers' public address"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
    {"debug", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
};

static const struct config_command config = {
    .name = "upload",
    .summary = "store files and print their file ids",
    .usage = "-master=localhost:9333 file1 [file2 ...]",
    .description =
        "Prints one JSON list, with a row for each file. Files that are named together get one "
        "file id\n"
        "and what follows it: 3,01637037d6, 3,01637037d6_1, ... \"-\" is standard input.",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
};

static struct blob_client client;
static struct buffer results; /* the JSON array, row by row */
static struct json_writer writer;

static const char *target_url(const struct blob_target *target)
{
    return uses_public_url && *target->public_url ? target->public_url : target->url;
}

static const char *ttl_query(char text[32], const char *first)
{
    const char *ttl = place.ttl && *place.ttl ? place.ttl : NULL;
    snprintf(text, 32, "%s%s%s", first, ttl ? (*first ? "&ttl=" : "?ttl=") : "", ttl ? ttl : "");
    return text;
}

struct chunk {
    struct blob_target target;
    uint64_t offset, size;
};

static void delete_chunks(const struct chunk *chunks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        blob_client_delete(&client, target_url(&chunks[i].target), chunks[i].target.fid,
                           chunks[i].target.token, NULL);
}

static int send_manifest(const struct blob_target *target, const char *name, const char *mime,
                         const struct chunk *chunks, size_t count, uint64_t size, struct error *err)
{
    struct buffer json = BUFFER_INIT;
    struct json_writer w;
    char query[32];
    json_writer_init(&w, &json, false);
    json_writer_begin_object(&w);
    json_writer_member_text(&w, "name", name);
    json_writer_member_text(&w, "mime", *mime ? mime : "application/octet-stream");
    json_writer_member_uint(&w, "size", size);
    json_writer_key(&w, "chunks");
    json_writer_begin_array(&w);
    for (size_t i = 0; i < count; i++) {
        json_writer_begin_object(&w);
        json_writer_member_text(&w, "fid", chunks[i].target.fid);
        json_writer_member_uint(&w, "offset", chunks[i].offset);
        json_writer_member_uint(&w, "size", chunks[i].size);
        json_writer_end_object(&w);
    }
    json_writer_end_array(&w);
    json_writer_end_object(&w);
    int code = blob_client_send(&client, target_url(target), target->fid, target->token,
                                ttl_query(query, "?cm=true"), name, "application/json",
                                buffer_slice(&json), err);
    buffer_fini(&json);
    return code;
}

/* ---- What is read ---------------------------------------------------------------------------- */

/* A file or a pipe, read from its beginning to its end. One byte beyond the piece is read, too:
 * whether there is one tells whether the piece is the last. */
struct source {
    int fd;
    const char *path, *name;
    char mime[128];
    char *data;
    size_t piece_size, length; /* of what is in `data`, up to one more than a piece */
};

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strcmp(path, "-") == 0 ? "stdin" : slash ? slash + 1 : path;
}

static int source_fill(struct source *source, struct error *err)
{
    while (source->length <= source->piece_size) {
        ssize_t n = read(source->fd, source->data + source->length,
                         source->piece_size + 1 - source->length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "read %s", source->path);
        if (n == 0)
            break;
        source->length += (size_t)n;
    }
    return 0;
}

static int source_open(struct source *source, const char *path, struct error *err)
{
    struct os_stat st;
    *source = (struct source){.path = path, .name = name_of(path)};
    source->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0)
        return error_set_errno(err, errno, "open %s", path);
    int result = os_fstat(os_real(), source->fd, &st);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", path);
    if (st.is_directory)
        return error_set(err, KELP_E_INVALID, "%s is a folder; give it with -dir=%s", path, path);
    if (!S_ISREG(st.mode) && max_mb <= 0)
        return error_set(err, KELP_E_INVALID, "%s has no size to go by; give a -maxMB above 0",
                         path);
    uint64_t limit = max_mb > 0 ? (uint64_t)max_mb << 20 : UINT64_MAX - 1;
    /* What /proc has says that it is empty; so a little room is there for all. */
    uint64_t expected = st.size > LEAST_PIECE ? st.size : LEAST_PIECE;
    source->piece_size = S_ISREG(st.mode) && expected < limit ? expected : limit;
    source->data = malloc(source->piece_size + 1);
    if (!source->data)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for %s; give a smaller -maxMB", path);
    struct slice guess = mime_by_name(slice_cstr(source->name));
    if (guess.len > 0 && guess.len < sizeof(source->mime))
        memcpy(source->mime, guess.ptr, guess.len);
    return source_fill(source, err);
}

static void source_close(struct source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    free(source->data);
}

/* ---- What is sent ---------------------------------------------------------------------------- */

static int send_chunk(const struct source *source, struct chunk *chunk, struct error *err)
{
    char query[32];
    chunk->size = source->length < source->piece_size ? source->length : source->piece_size;
    int code = blob_client_assign(&client, &place, 1, chunk->size, &chunk->target, err);
    if (code != 0)
        return code;
    return blob_client_send(&client, target_url(&chunk->target), chunk->target.fid,
                            chunk->target.token, ttl_query(query, ""), source->name,
                            "application/octet-stream", slice_of(source->data, chunk->size), err);
}

static int send_chunks(struct source *source, const struct blob_target *target, uint64_t *ret_size,
                       struct error *err)
{
    struct chunk *chunks = NULL;
    size_t count = 0;
    uint64_t size = 0;
    int code = 0;
    while (code == 0 && source->length > 0) {
        chunks = must(realloc(chunks, (count + 1) * sizeof(*chunks)));
        chunks[count] = (struct chunk){.offset = size};
        code = send_chunk(source, &chunks[count], err);
        if (code != 0)
            break;
        size += chunks[count].size;
        source->length -= chunks[count++].size; /* the byte beyond it, or none */
        source->data[0] = source->data[source->piece_size];
        code = source_fill(source, err);
    }
    if (code == 0)
        code = send_manifest(target, source->name, source->mime, chunks, count, size, err);
    if (code != 0)
        delete_chunks(chunks, count);
    free(chunks);
    *ret_size = size;
    return code;
}

static int send_source(struct source *source, const struct blob_target *target, uint64_t *ret_size,
                       struct error *err)
{
    char query[32];
    if (source->length > source->piece_size)
        return send_chunks(source, target, ret_size, err);
    *ret_size = source->length;
    return blob_client_send(&client, target_url(target), target->fid, target->token,
                            ttl_query(query, ""), source->name, source->mime,
                            slice_of(source->data, source->length), err);
}

static void add_result(const char *path, const struct blob_target *target, uint64_t size,
                       const struct error *err)
{
    char url[ADDRESS_TEXT_SIZE + 64];
    snprintf(url, sizeof(url), "%s/%s", target_url(target), target->fid);
    json_writer_begin_object(&writer);
    json_writer_member_text(&writer, "fileName", name_of(path));
    if (err) {
        json_writer_member_text(&writer, "error", err->message);
    } else {
        json_writer_member_text(&writer, "url", url);
        json_writer_member_text(&writer, "fid", target->fid);
        json_writer_member_uint(&writer, "size", size);
    }
    json_writer_end_object(&writer);
}

static int upload(const char *path, const struct blob_target *target)
{
    struct error err = {0};
    uint64_t size = 0;
    struct source source;
    int code = source_open(&source, path, &err);
    if (code == 0)
        code = send_source(&source, target, &size, &err);
    source_close(&source);
    add_result(path, target, size, code == 0 ? NULL : &err);
    if (code != 0)
        command_fail(&config, &err);
    return code;
}

/* Several files share one assignment: fid, fid_1, fid_2, ... */
static int upload_list(char **paths, unsigned count)
{
    struct error err = {0};
    struct blob_target first;
    if (blob_client_assign(&client, &place, count, 0, &first, &err) != 0)
        return command_fail(&config, &err);
    int status = 0;
    for (unsigned i = 0; i < count; i++) {
        struct blob_target target = first;
        if (i > 0)
            snprintf(target.fid, sizeof(target.fid), "%.50s_%u", first.fid, i);
        if (upload(paths[i], &target) != 0)
            status = 1;
    }
    return status;
}

static int folder_status;

static bool is_included(const char *name)
{
    char patterns[1024], *rest = patterns, *pattern;
    if (!*include)
        return true;
    snprintf(patterns, sizeof(patterns), "%s", include);
    while ((pattern = strsep(&rest, ",")))
        if (fnmatch(pattern, name, 0) == 0)
            return true;
    return false;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    struct error err = {0};
    struct blob_target target;
    if (type != FTW_F || !S_ISREG(st->st_mode) || !is_included(path + ftw->base))
        return 0;
    if (blob_client_assign(&client, &place, 1, (uint64_t)st->st_size, &target, &err) != 0) {
        folder_status = command_fail(&config, &err);
        return -1;
    }
    if (upload(path, &target) != 0)
        folder_status = 1;
    return 0;
}

static int upload_folder(void)
{
    if (nftw(directory, visit, 32, FTW_PHYS) != 0 && folder_status == 0) {
        struct error err = {0};
        error_set_errno(&err, errno, "read folder %s", directory);
        return command_fail(&config, &err);
    }
    return folder_status;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct process_rpc rpc;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    if (!*directory && rest >= argc) {
        fprintf(stderr, "kelp upload: name files (- is standard input), or a folder with -dir\n");
        return 2;
    }
    if (blob_place_check(&place, &err) != 0) {
        command_fail(&config, &err);
        return 2;
    }
    if (process_rpc_open(&rpc, &err) != 0)
        return command_fail(&config, &err);
    if (blob_client_init(&client, rpc.client, masters, &err) != 0) {
        status = command_fail(&config, &err);
    } else {
        json_writer_init(&writer, &results, false);
        json_writer_begin_array(&writer);
        status = *directory ? upload_folder() : upload_list(argv + rest, (unsigned)(argc - rest));
        json_writer_end_array(&writer);
        puts(buffer_cstr(&results));
        buffer_fini(&results);
    }
    blob_client_fini(&client);
    process_rpc_close(&rpc);
    return status;
}

const struct command command_upload = {&config, run};
