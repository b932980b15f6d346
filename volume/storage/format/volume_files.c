/* File names, discovery, removal, sweeping. See the header. May block. */
#include "volume/storage/format/volume_files.h"

#include "common/buffer.h"
#include "common/check.h"
#include "volume/storage/format/super_block.h"
#include "volume/storage/format/volume_info_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *extension;
    bool is_index_side;
} kinds[VOLUME_FILE_COUNT] = {
    [VOLUME_FILE_DAT] = {"dat", false},    [VOLUME_FILE_IDX] = {"idx", true},
    [VOLUME_FILE_VIF] = {"vif", false},    [VOLUME_FILE_SDX] = {"sdx", true},
    [VOLUME_FILE_LDB] = {"ldb", true},     [VOLUME_FILE_RDB] = {"rdb", true},
    [VOLUME_FILE_CPD] = {"cpd", false},    [VOLUME_FILE_CPX] = {"cpx", true},
    [VOLUME_FILE_CPLDB] = {"cpldb", true}, [VOLUME_FILE_CPC] = {"cpc", false},
    [VOLUME_FILE_NOTE] = {"note", false},  [VOLUME_FILE_ECX] = {"ecx", true},
    [VOLUME_FILE_KIX] = {"kix", true},     [VOLUME_FILE_REPAIR_LOG] = {"repair.log", false},
};

const char *volume_file_extension(enum volume_file file) { return kinds[file].extension; }

static char *join(const char *directory, const char *base, const char *extension)
{
    char *path = NULL;
    CHECK(asprintf(&path, "%s/%s.%s", directory, base, extension) >= 0);
    return path;
}

bool volume_file_exists(struct os *os, const char *path)
{
    struct os_stat st;
    return os_stat(os, path, &st) >= 0;
}

static bool exists_in(struct os *os, const char *directory, const char *base, enum volume_file file)
{
    char *path = join(directory, base, kinds[file].extension);
    bool exists = volume_file_exists(os, path);
    free(path);
    return exists;
}

int volume_files_init(struct volume_files *files, struct os *os, const char *data_dir,
                      const char *index_dir, const char *collection, uint32_t id, struct error *err)
{
    *files = (struct volume_files){0};
    if (strchr(collection, '/'))
        return error_set(err, KELP_E_INVALID, "collection \"%.64s\": no slash is allowed", collection);
    int n = collection[0] != '\0' ? asprintf(&files->base, "%s_%u", collection, id)
                                  : asprintf(&files->base, "%u", id);
    CHECK(n >= 0);
    bool is_split = index_dir && index_dir[0] != '\0' && strcmp(index_dir, data_dir) != 0;
    if (is_split) {
        /* Only a clear answer counts: a volume with the wrong .idx is a volume without one. */
        struct os_stat st;
        char *path = join(data_dir, files->base, kinds[VOLUME_FILE_IDX].extension);
        int result = os_stat(os, path, &st);
        int code = result < 0 && result != -ENOENT ? error_set_errno(err, -result, "stat %s", path) : 0;
        free(path);
        if (code != 0) {
            volume_files_fini(files);
            return code;
        }
        is_split = result < 0;
    }
    files->data_dir = must(strdup(data_dir));
    files->index_dir = must(strdup(is_split ? index_dir : data_dir));
    for (size_t i = 0; i < VOLUME_FILE_COUNT; i++)
        files->paths[i] = join(kinds[i].is_index_side ? files->index_dir : files->data_dir,
                               files->base, kinds[i].extension);
    return 0;
}

void volume_files_fini(struct volume_files *files)
{
    free(files->data_dir);
    free(files->index_dir);
    free(files->base);
    for (size_t i = 0; i < VOLUME_FILE_COUNT; i++)
        free(files->paths[i]);
    *files = (struct volume_files){0};
}

struct removal {
    struct os *os;
    const char *directory;
};

static int remove_child(void *ctx, const char *name)
{
    struct removal *removal = ctx;
    char *path = NULL;
    CHECK(asprintf(&path, "%s/%s", removal->directory, name) >= 0);
    int result = os_unlink(removal->os, path);
    free(path);
    return result == -ENOENT ? 0 : result;
}

int volume_file_remove(struct os *os, const char *path, struct error *err)
{
    struct os_stat st;
    int result = os_stat(os, path, &st);
    if (result == -ENOENT)
        return 0;
    if (result >= 0 && st.is_directory) {
        struct removal removal = {os, path};
        result = os_list(os, path, remove_child, &removal);
        if (result >= 0)
            result = os_rmdir(os, path);
    } else if (result >= 0) {
        result = os_unlink(os, path);
    }
    if (result < 0 && result != -ENOENT)
        return error_set_errno(err, -result, "remove %s", path);
    return 0;
}

int volume_files_sync_directories(const struct volume_files *files, struct os *os, struct error *err)
{
    int code = os_sync_directory(os, files->data_dir, err);
    if (code == 0 && strcmp(files->data_dir, files->index_dir) != 0)
        code = os_sync_directory(os, files->index_dir, err);
    return code;
}

/* Removes the file in D and, where it belongs there, in I; the first failure is kept and the rest
 * still tried. */
static void remove_both(const struct volume_files *files, struct os *os, enum volume_file file,
                        int *code, struct error *err)
{
    struct error ignored;
    int result = volume_file_remove(os, files->paths[file], *code ? &ignored : err);
    *code = *code ? *code : result;
    if (kinds[file].is_index_side && strcmp(files->data_dir, files->index_dir) != 0) {
        char *path = join(files->data_dir, files->base, kinds[file].extension);
        result = volume_file_remove(os, path, *code ? &ignored : err);
        *code = *code ? *code : result;
        free(path);
    }
}

static void remove_side_files(const struct volume_files *files, struct os *os, int *code,
                              struct error *err)
{
    static const enum volume_file side[] = {
        VOLUME_FILE_SDX, VOLUME_FILE_LDB,   VOLUME_FILE_RDB,  VOLUME_FILE_CPC, VOLUME_FILE_CPD,
        VOLUME_FILE_CPX, VOLUME_FILE_CPLDB, VOLUME_FILE_NOTE, VOLUME_FILE_KIX, VOLUME_FILE_REPAIR_LOG,
    };
    for (size_t i = 0; i < sizeof(side) / sizeof(side[0]); i++)
        remove_both(files, os, side[i], code, err);
}

int volume_files_remove_strays(const struct volume_files *files, struct os *os, struct error *err)
{
    int code = 0;
    remove_side_files(files, os, &code, err);
    return code;
}

int volume_files_remove(const struct volume_files *files, struct os *os, struct error *err)
{
    int code = 0;
    remove_both(files, os, VOLUME_FILE_DAT, &code, err);
    if (code != 0) /* else a start would not know it for a volume any more */
        return code;
    remove_both(files, os, VOLUME_FILE_IDX, &code, err);
    remove_side_files(files, os, &code, err);
    if (!exists_in(os, files->data_dir, files->base, VOLUME_FILE_ECX) &&
        !volume_file_exists(os, files->paths[VOLUME_FILE_ECX]))
        remove_both(files, os, VOLUME_FILE_VIF, &code, err);
    struct error ignored;
    int synced = volume_files_sync_directories(files, os, code ? &ignored : err);
    return code ? code : synced;
}

bool volume_name_parse(struct slice base, struct slice *ret_collection, uint32_t *ret_id)
{
    ptrdiff_t bar = slice_find_last(base, '_');
    struct slice digits = base, collection = {"", 0};
    if (bar > 0) {
        digits = slice_from(base, (size_t)bar + 1);
        collection = slice_until(base, (size_t)bar);
    }
    uint64_t id = 0;
    if (digits.len == 0 || digits.len > 10)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        id = id * 10 + (uint64_t)(digits.ptr[i] - '0');
    }
    if (id > UINT32_MAX)
        return false;
    *ret_collection = collection;
    *ret_id = (uint32_t)id;
    return true;
}

/* ---- discovery ---- */

struct name_list {
    char **names; /* base names */
    size_t count, capacity;
};

static void add_name(struct name_list *list, const char *name, size_t length)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->names = must(realloc(list->names, list->capacity * sizeof(*list->names)));
    }
    list->names[list->count++] = must(strndup(name, length));
}

static void name_list_fini(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}

static int collect_name(void *ctx, const char *name)
{
    struct slice all = slice_cstr(name);
    ptrdiff_t dot = slice_find_last(all, '.');
    if (dot <= 0 || (strcmp(name + dot, ".idx") != 0 && strcmp(name + dot, ".vif") != 0))
        return 0;
    struct slice collection;
    uint32_t id;
    if (!volume_name_parse(slice_until(all, (size_t)dot), &collection, &id))
        return 0;
    add_name(ctx, name, (size_t)dot);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What the .vif, in D or else in I, says that discovery needs; a document that cannot be read says
 * nothing. */
static void read_info(struct os *os, const struct volume_files *files, bool *ret_has_ec,
                      bool *ret_is_remote)
{
    struct volume_info info = {0};
    *ret_has_ec = *ret_is_remote = false;
    int code = volume_info_file_load(os, files->paths[VOLUME_FILE_VIF], &info, NULL);
    if (code == KELP_E_NOT_FOUND && strcmp(files->data_dir, files->index_dir) != 0) {
        char *path = join(files->index_dir, files->base, kinds[VOLUME_FILE_VIF].extension);
        code = volume_info_file_load(os, path, &info, NULL);
        free(path);
    }
    if (code == 0) {
        *ret_has_ec = info.has_ec;
        *ret_is_remote = info.file_count > 0;
    }
    volume_info_fini(&info);
}

static enum volume_found classify(struct os *os, const struct volume_files *files)
{
    bool has_ec, is_remote;
    struct os_stat dat;
    bool has_dat = os_stat(os, files->paths[VOLUME_FILE_DAT], &dat) >= 0;
    read_info(os, files, &has_ec, &is_remote);
    if (has_dat && dat.size <= SUPER_BLOCK_SIZE && has_ec)
        return VOLUME_FOUND_STUB;
    if (volume_file_exists(os, files->paths[VOLUME_FILE_ECX]) ||
        exists_in(os, files->data_dir, files->base, VOLUME_FILE_ECX))
        return VOLUME_FOUND_EC;
    if (volume_file_exists(os, files->paths[VOLUME_FILE_NOTE]))
        return VOLUME_FOUND_INCOMPLETE;
    return has_dat || is_remote ? VOLUME_FOUND : VOLUME_FOUND_NO_DATA;
}

static int discover_one(struct os *os, const char *data_dir, const char *index_dir, const char *name,
                        volume_files_visitor *visit, void *ctx, struct error *err)
{
    struct slice part;
    uint32_t id;
    CHECK(volume_name_parse(slice_cstr(name), &part, &id));
    char *collection = must(strndup(part.ptr, part.len));
    struct volume_files files;
    enum volume_found what = VOLUME_FOUND; /* whoever opens one whose names cannot be settled says why */
    if (volume_files_init(&files, os, data_dir, index_dir, collection, id, NULL) == 0)
        what = strcmp(files.base, name) == 0 ? classify(os, &files)
                                             : VOLUME_FOUND_NO_DATA; /* "007" is not how one is written */
    int code = visit(ctx, collection, id, what);
    volume_files_fini(&files);
    free(collection);
    return code;
}

int volume_files_discover(struct os *os, const char *data_dir, const char *index_dir,
                          volume_files_visitor *visit, void *ctx, struct error *err)
{
    struct name_list list = {0};
    int code = os_list(os, data_dir, collect_name, &list);
    if (code < 0) {
        code = error_set_errno(err, -code, "list %s", data_dir);
        goto out;
    }
    if (list.count > 0)
        qsort(list.names, list.count, sizeof(*list.names), compare_names);
    for (size_t i = 0; code == 0 && i < list.count; i++)
        if (i == 0 || strcmp(list.names[i], list.names[i - 1]) != 0)
            code = discover_one(os, data_dir, index_dir, list.names[i], visit, ctx, err);
out:
    name_list_fini(&list);
    return code;
}

/* ---- temporary names ---- */

/* "<base>.idx.tmp", "<base>.ec03.rebuilding", "<base>.vif.copying" ...: what is left of a volume's name and
 * nothing else. */
static bool is_temporary(const char *name)
{
    static const char *const endings[] = {
        ".copying",  ".mirror.tmp", ".rebuilding", ".ecxrecover.dat", ".idx.tmp", ".dat.tmp",
        ".vif.tmp",  ".sdx.tmp",    ".kix.tmp",    ".ecsum.tmp",      ".repair.log.tmp",
    };
    struct slice all = slice_cstr(name), collection;
    uint32_t id;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t length = strlen(endings[i]);
        if (all.len <= length || strcmp(name + all.len - length, endings[i]) != 0)
            continue;
        struct slice rest = slice_until(all, all.len - length);
        ptrdiff_t dot = slice_find_last(rest, '.');
        return volume_name_parse(rest, &collection, &id) ||
               (dot > 0 && volume_name_parse(slice_until(rest, (size_t)dot), &collection, &id));
    }
    return false;
}

static int collect_temporary(void *ctx, const char *name)
{
    if (is_temporary(name))
        add_name(ctx, name, strlen(name));
    return 0;
}

void volume_files_sweep(struct os *os, const char *directory, int64_t before_ns,
                        void (*removed)(void *ctx, const char *path), void *ctx)
{
    struct name_list list = {0};
    os_list(os, directory, collect_temporary, &list);
    for (size_t i = 0; i < list.count; i++) {
        char *path = NULL;
        struct os_stat st;
        CHECK(asprintf(&path, "%s/%s", directory, list.names[i]) >= 0);
        if (os_stat(os, path, &st) >= 0 && !st.is_directory && st.mtime_ns < before_ns &&
            os_unlink(os, path) >= 0)
            removed(ctx, path);
        free(path);
    }
    name_list_fini(&list);
}
