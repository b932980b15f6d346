/* kelp download: fetches blobs into a folder, each under the name it was stored with. A file that
 * is there already is replaced only once the new one is whole. */
#include "cli/blob_client.h"
#include "cli/command.h"
#include "cli/process_rpc.h"
#include "common/arena.h"
#include "common/content_disposition.h"
#include "common/os.h"

#include <stdlib.h>

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

/* The stored name, without any folder; the file id where there is none. */
static const char *file_name(struct arena *arena, const char *fid,
                             const struct http_client_response *response)
{
    const char *header = http_client_response_header(response, "Content-Disposition");
    struct slice name = {NULL, 0};
    if (header)
        name =
            content_disposition_base_name(content_disposition_raw_name(arena, slice_cstr(header)));
    if (name.len == 0 || slice_equals(name, SLICE(".")) || slice_equals(name, SLICE("..")))
        name = slice_cstr(fid);
    return arena_strndup(arena, name.ptr, name.len);
}

static int download(struct blob_client *client, const char *fid, struct error *err)
{
    struct blob_replicas replicas;
    struct http_client_response response;
    int code = blob_client_locate(client, fid, &replicas, err);
    if (code == 0)
        code = blob_client_fetch(client, replicas.urls[0], fid, "", &response, err);
    if (code != 0)
        return code;
    struct arena arena;
    arena_init(&arena);
    const char *name = file_name(&arena, fid, &response);
    const char *path = arena_printf(&arena, "%s/%s", directory, name);
    code = os_replace_file(os_real(), path, response.body, response.body_size, err);
    if (code == 0)
        printf("%s: %zu bytes from %s\n", path, response.body_size, fid);
    arena_fini(&arena);
    http_client_response_fini(&response);
    return code;
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
