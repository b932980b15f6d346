/* Finding volumes in a folder. See the header. */
#include "cli/offline_volume.h"

#include "common/check.h"
#include "volume/storage/index_load.h"
#include "volume/storage/format/index_width.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

struct name_list {
    char **names; /* base names, owned */
    size_t count, capacity;
    const struct offline_selection *selection;
};

static bool is_selected(const struct offline_selection *selection, struct slice collection,
                        uint32_t id)
{
    if (selection->volume_id > 0 && selection->volume_id != (int64_t)id)
        return false;
    return selection->any_collection || slice_equals(collection, slice_cstr(selection->collection));
}

static int collect_name(void *ctx, const char *name)
{
    struct name_list *list = ctx;
    struct slice all = slice_cstr(name), collection;
    ptrdiff_t dot = slice_find_last(all, '.');
    uint32_t id;
    if (dot <= 0 || (strcmp(name + dot, ".idx") != 0 && strcmp(name + dot, ".dat") != 0) ||
        !volume_name_parse(slice_until(all, (size_t)dot), &collection, &id) ||
        !is_selected(list->selection, collection, id))
        return 0;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->names = must(realloc(list->names, list->capacity * sizeof(*list->names)));
    }
    list->names[list->count++] = must(strndup(name, (size_t)dot));
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    struct slice left, right;
    uint32_t x = 0, y = 0;
    const char *p = *(char *const *)a, *q = *(char *const *)b;
    volume_name_parse(slice_cstr(p), &left, &x);
    volume_name_parse(slice_cstr(q), &right, &y);
    return x != y ? (x < y ? -1 : 1) : strcmp(p, q);
}

static int add_volume(struct offline_list *list, const char *directory, const char *base,
                      const struct offline_selection *selection, struct error *err)
{
    struct os *os = os_real();
    struct offline_volume volume = {0};
    struct slice collection;
    struct os_stat dat = {0};
    CHECK(volume_name_parse(slice_cstr(base), &collection, &volume.id));
    volume.collection = must(strndup(collection.ptr, collection.len));
    volume.directory = must(strdup(directory));
    int code = volume_files_init(&volume.files, os, directory, selection->index_directory,
                                 volume.collection, volume.id, err);
    if (code != 0 ||
        strcmp(volume.files.base, base) != 0) { /* "007" is not how a volume is written */
        volume_files_fini(&volume.files);
        free(volume.collection);
        free(volume.directory);
        return code;
    }
    volume.has_dat = os_stat(os, volume_files_path(&volume.files, VOLUME_FILE_DAT), &dat) >= 0;
    volume.has_idx = volume_file_exists(os, volume_files_path(&volume.files, VOLUME_FILE_IDX));
    code = volume_info_file_load(os, volume_files_path(&volume.files, VOLUME_FILE_VIF),
                                 &volume.info, &volume.info_error);
    volume.has_info = code == 0;
    volume.is_info_foreign = code != 0 && code != KELP_E_NOT_FOUND;
    volume.offset_bytes = (uint8_t)volume.info.bytes_offset;
    if (volume.offset_bytes == 0)
        volume.offset_bytes =
            index_width_guess(os, volume_files_path(&volume.files, VOLUME_FILE_IDX), dat.size);
    list->volumes = must(realloc(list->volumes, (list->count + 1) * sizeof(*list->volumes)));
    list->volumes[list->count++] = volume;
    return 0;
}

static int add_directory(struct offline_list *list, const char *directory,
                         const struct offline_selection *selection, struct error *err)
{
    struct name_list names = {.selection = selection};
    int code = os_list(os_real(), directory, collect_name, &names);
    if (code < 0)
        code = error_set_errno(err, -code, "list %s", directory);
    if (names.count > 0)
        qsort(names.names, names.count, sizeof(*names.names), compare_names);
    for (size_t i = 0; i < names.count; i++) {
        if (code == 0 && (i == 0 || strcmp(names.names[i], names.names[i - 1]) != 0))
            code = add_volume(list, directory, names.names[i], selection, err);
    }
    for (size_t i = 0; i < names.count; i++)
        free(names.names[i]);
    free(names.names);
    return code;
}

int offline_list_add(struct offline_list *list, const char *path,
                     const struct offline_selection *selection, struct error *err)
{
    struct os_stat st;
    int result = os_stat(os_real(), path, &st);
    if (result < 0)
        return error_set_errno(err, -result, "stat %s", path);
    if (st.is_directory)
        return add_directory(list, path, selection, err);

    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    struct slice all = slice_cstr(name), collection;
    ptrdiff_t dot = slice_find_last(all, '.');
    uint32_t id;
    if (dot <= 0 || !volume_name_parse(slice_until(all, (size_t)dot), &collection, &id))
        return error_set(
            err, KELP_E_INVALID,
            "%s is no file of a volume; name a folder, or a file as 3.dat or photos_3.dat", path);
    if (!is_selected(selection, collection, id))
        return 0;
    char *directory =
        slash ? must(strndup(path, (size_t)(slash == path ? 1 : slash - path))) : must(strdup("."));
    char *base = must(strndup(name, (size_t)dot));
    int code = add_volume(list, directory, base, selection, err);
    free(base);
    free(directory);
    return code;
}

int offline_list_one(struct offline_list *list, const char *directory,
                     const struct offline_selection *selection, struct error *err)
{
    int code = offline_list_add(list, directory, selection, err);
    if (code != 0)
        return code;
    if (list->count == 1 && list->volumes[0].has_dat)
        return 0;
    if (list->count == 1)
        return error_set(err, KELP_E_NOT_FOUND, "volume %s has no .dat in %s",
                         list->volumes[0].files.base, directory);
    struct offline_list others = {0};
    struct offline_selection wider = *selection;
    wider.any_collection = true;
    if (offline_list_add(&others, directory, &wider, NULL) == 0 && others.count > 0)
        error_set(err, KELP_E_NOT_FOUND, "volume %lld is in %s as %s: say -collection=%s",
                  (long long)selection->volume_id, directory, others.volumes[0].files.base,
                  others.volumes[0].collection);
    else
        error_set(err, KELP_E_NOT_FOUND, "no volume %lld%s%s in %s",
                  (long long)selection->volume_id, *selection->collection ? " of collection " : "",
                  selection->collection, directory);
    offline_list_fini(&others);
    return KELP_E_NOT_FOUND;
}

void offline_list_fini(struct offline_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        volume_files_fini(&list->volumes[i].files);
        volume_info_fini(&list->volumes[i].info);
        free(list->volumes[i].collection);
        free(list->volumes[i].directory);
    }
    free(list->volumes);
    *list = (struct offline_list){0};
}

int offline_open(const struct offline_volume *volume, bool has_index,
                 struct volume_generation **ret, struct error *err)
{
    struct volume_generation *generation;
    struct volume_generation_owner owner = {.volume_id = volume->id,
                                            .collection = volume->collection};
    int code = volume_generation_open(
        &generation, os_real(), &owner, volume_files_path(&volume->files, VOLUME_FILE_DAT),
        volume_files_path(&volume->files, VOLUME_FILE_IDX), false, volume->offset_bytes, err);
    if (code != 0)
        return code;
    struct index_verdict verdict;
    if (has_index)
        code = index_load(generation, &verdict, err);
    if (code != 0) {
        volume_generation_unref(generation);
        return code;
    }
    *ret = generation;
    return 0;
}

int offline_lock(const char *directory, int *ret_fd, struct error *err)
{
    int fd = os_open(os_real(), directory, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return error_set_errno(err, -fd, "open %s", directory);
    int result = os_lock(os_real(), fd);
    if (result >= 0) {
        *ret_fd = fd;
        return 0;
    }
    os_close(os_real(), fd);
    if (result == -EWOULDBLOCK)
        return error_set(err, KELP_E_BUSY,
                         "%s is in use by a volume server or another tool: stop it first",
                         directory);
    return error_set_errno(err, -result, "flock %s", directory);
}

bool offline_is_in_use(const char *directory)
{
    int fd = os_open(os_real(), directory, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return false;
    bool is_in_use = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    os_close(os_real(), fd);
    return is_in_use;
}

const char *offline_bytes(uint64_t bytes)
{
    static char texts[8][24];
    static unsigned next;
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
    char *text = texts[next++ % 8];
    size_t unit = 0;
    double value = (double)bytes;
    for (; value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1000;
    snprintf(text, sizeof(texts[0]), unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}
