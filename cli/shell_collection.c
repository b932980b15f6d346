/* collection.list, collection.delete */
#include "cli/cluster_view.h"
#include "cli/shell_commands.h"
#include "common/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <uthash.h>

struct collection {
    char *name;
    uint64_t volumes, size, files, deleted_bytes, deletions;
    UT_hash_handle hh;
};

static int add_volumes(void *ctx, const MasterPb__DataCenterInfo *center, const MasterPb__RackInfo *rack,
                       const MasterPb__DataNodeInfo *node)
{
    struct collection **table = ctx;
    struct cluster_disks disks = cluster_disks_of_node(node);
    for (size_t d = 0; d < disks.count; d++) {
        for (size_t i = 0; i < disks.items[d]->n_volume_infos; i++) {
            const MasterPb__VolumeInformationMessage *v = disks.items[d]->volume_infos[i];
            struct collection *collection;
            HASH_FIND_STR(*table, v->collection, collection);
            if (!collection) {
                collection = must(calloc(1, sizeof(*collection)));
                collection->name = must(strdup(v->collection));
                HASH_ADD_KEYPTR(hh, *table, collection->name, strlen(collection->name), collection);
            }
            collection->volumes++;
            collection->size += v->size;
            collection->files += v->file_count;
            collection->deleted_bytes += v->deleted_byte_count;
            collection->deletions += v->delete_count;
        }
    }
    return 0;
}

static int by_name(struct collection *a, struct collection *b) { return strcmp(a->name, b->name); }

static void print_collection(struct shell *shell, const struct collection *c)
{
    if (!shell->is_json) {
        fprintf(shell->out,
                "collection:\"%s\"\tvolumeCount:%" PRIu64 "\tsize:%" PRIu64 "\tfileCount:%" PRIu64
                "\tdeletedBytes:%" PRIu64 "\tdeletion:%" PRIu64 "\n",
                c->name, c->volumes, c->size, c->files, c->deleted_bytes, c->deletions);
        return;
    }
    struct json_object *row = json_object_new_object();
    json_object_object_add(row, "collection", json_object_new_string(c->name));
    json_object_object_add(row, "volumes", json_object_new_uint64(c->volumes));
    json_object_object_add(row, "size", json_object_new_uint64(c->size));
    json_object_object_add(row, "fileCount", json_object_new_uint64(c->files));
    json_object_object_add(row, "deletedBytes", json_object_new_uint64(c->deleted_bytes));
    json_object_object_add(row, "deleteCount", json_object_new_uint64(c->deletions));
    shell_print_json(shell, row);
}

static int run_list(struct shell *shell, struct error *err)
{
    MasterPb__VolumeListResponse *view;
    int code = cluster_view_read(shell, &view, err);
    if (code != 0)
        return code;
    struct collection *table = NULL, *c, *next;
    cluster_view_each_node(view, add_volumes, &table);
    HASH_SORT(table, by_name);
    unsigned count = HASH_COUNT(table);
    HASH_ITER(hh, table, c, next)
    {
        print_collection(shell, c);
        HASH_DEL(table, c);
        free(c->name);
        free(c);
    }
    if (!shell->is_json)
        fprintf(shell->out, "Total %u collections.\n", count);
    shell_free_message(view);
    return 0;
}

static const char *collection_name;
static bool is_applied;

static const struct config_flag delete_flags[] = {
    {"collection", CONFIG_STRING, &collection_name, NULL, "collection to delete"},
    {"apply", CONFIG_BOOL, &is_applied, NULL, "delete it; without it, only say what would be deleted"},
    {"force", CONFIG_BOOL, &is_applied, NULL, "older name of -apply"},
};

static int run_delete(struct shell *shell, struct error *err)
{
    if (!*collection_name)
        return error_set(err, KELP_E_INVALID, "-collection is needed");
    MasterPb__VolumeListResponse *view;
    int code = cluster_view_read(shell, &view, err);
    if (code != 0)
        return code;
    struct collection *table = NULL, *c, *next, *found;
    uint64_t volumes = 0, files = 0;
    cluster_view_each_node(view, add_volumes, &table);
    HASH_FIND_STR(table, collection_name, found);
    if (found) {
        volumes = found->volumes;
        files = found->files - found->deletions;
    }
    HASH_ITER(hh, table, c, next)
    {
        HASH_DEL(table, c);
        free(c->name);
        free(c);
    }
    shell_free_message(view);

    if (is_applied) {
        MasterPb__CollectionDeleteRequest request = MASTER_PB__COLLECTION_DELETE_REQUEST__INIT;
        request.name = (char *)(uintptr_t)collection_name;
        code = shell_call_master(shell, "CollectionDelete", &request.base,
                                 &master_pb__collection_delete_response__descriptor, 10 * 60 * 1000, NULL,
                                 err);
        if (code != 0)
            return code;
    }
    if (shell->is_json) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "collection", json_object_new_string(collection_name));
        json_object_object_add(document, "volumes", json_object_new_uint64(volumes));
        json_object_object_add(document, "deleted", json_object_new_boolean(is_applied));
        shell_print_json(shell, document);
    } else {
        fprintf(shell->out, "collection %s: %" PRIu64 " volumes with %" PRIu64 " blobs %s\n",
                collection_name, volumes, files,
                is_applied ? "deleted" : "would be deleted; add -apply to do it");
    }
    return 0;
}

static const struct config_command list_config = {
    .name = "collection.list",
    .summary = "list all collections",
    .usage = "",
    .ignores_environment = true,
};
static const struct config_command delete_config = {
    .name = "collection.delete",
    .summary = "delete a collection with all its volumes",
    .usage = "-collection=pictures -apply",
    .flags = delete_flags,
    .flag_count = sizeof(delete_flags) / sizeof(delete_flags[0]),
    .ignores_environment = true,
};

const struct shell_command shell_collection_list = {&list_config, false, run_list};
const struct shell_command shell_collection_delete = {&delete_config, true, run_delete};
