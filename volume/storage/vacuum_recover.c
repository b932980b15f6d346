/* Recovery: finishing or undoing a vacuum that was cut off. Source: spec/storage-format.md 16.5.
 *
 * What to do is a pure function of the names that are there:
 *
 *   .cpc  .cpd  .cpx   what happened                              action
 *   -     -     -      nothing                                    none (a lone .cpldb is removed)
 *   -     any   any    a copy that was not committed              remove both, .cpldb, .ldb, .rdb
 *   x     x     x      decided, nothing renamed                   rename both
 *   x     -     x      decided, .dat is in place                  rename .cpx
 *   x     x     -      decided, .idx is in place                  rename .cpd
 *   x     -     -      decided, all renamed                       only clear up
 *
 * Before the first rename all three are synced, with their names: who was killed may have left them
 * in memory only, and a power loss might then keep one rename and nothing else. Renaming ends with:
 * sync the directories; remove what was derived from the old .idx (.ldb, .rdb, .sdx, .cpldb); remove
 * .cpc; sync. Each step leaves names from which the same function goes on, so recovery may be cut
 * off itself, and done twice it changes nothing the second time.
 *
 * The .cpx may lie beside the .dat (D) or in the index directory (I); it takes its name where it
 * lies. An .idx in D has precedence over one in I; so when the .cpx lies in I, an .idx in D is the
 * old one's, and goes. Blocks; before the volume is opened, or by the vacuum that holds it. */
#include "volume/storage/vacuum_recover.h"

#include "common/check.h"
#include "volume/storage/volume_vacuum.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum recover_action { RECOVER_NOTHING, RECOVER_ROLL_BACK, RECOVER_ROLL_FORWARD };

struct recover_names { /* what is there */
    bool cpd, cpc, cpx_in_data, cpx_in_index, cpldb;
};

struct recovery {
    struct os *os;
    const char *data_dir, *index_dir; /* may be the same string */
    const char *base;
    bool is_split;   /* two directories */
    bool is_settled; /* the decision was synced by whoever made it */
};

static enum recover_action recover_decide(const struct recover_names *names)
{
    if (names->cpc)
        return RECOVER_ROLL_FORWARD;
    if (names->cpd || names->cpx_in_data || names->cpx_in_index || names->cpldb)
        return RECOVER_ROLL_BACK;
    return RECOVER_NOTHING;
}

static char *path_of(const struct recovery *r, const char *directory, enum volume_file file)
{
    char *path;
    if (asprintf(&path, "%s/%s.%s", directory, r->base, volume_file_extension(file)) < 0)
        path = NULL;
    return must(path);
}

/* Sets *ret when the name is there. Only a clear answer counts: a name that was overlooked would be
 * left out of a swap. */
static int look_for(const struct recovery *r, const char *directory, enum volume_file file,
                    bool *ret, struct error *err)
{
    struct os_stat st;
    char *path = path_of(r, directory, file);
    int result = os_stat(r->os, path, &st);
    int code = 0;
    if (result >= 0)
        *ret = true;
    else if (result != -ENOENT)
        code = error_set_errno(err, -result, "stat %s", path);
    free(path);
    return code;
}

static int look(const struct recovery *r, struct recover_names *ret, struct error *err)
{
    int code = look_for(r, r->data_dir, VOLUME_FILE_CPC, &ret->cpc, err);
    if (code == 0)
        code = look_for(r, r->data_dir, VOLUME_FILE_CPD, &ret->cpd, err);
    if (code == 0)
        code = look_for(r, r->data_dir, VOLUME_FILE_CPX, &ret->cpx_in_data, err);
    if (code == 0)
        code = look_for(r, r->data_dir, VOLUME_FILE_CPLDB, &ret->cpldb, err);
    if (code == 0 && r->is_split)
        code = look_for(r, r->index_dir, VOLUME_FILE_CPX, &ret->cpx_in_index, err);
    if (code == 0 && r->is_split)
        code = look_for(r, r->index_dir, VOLUME_FILE_CPLDB, &ret->cpldb, err);
    return code;
}

static int remove_from(const struct recovery *r, const char *directory, enum volume_file file,
                       struct error *err)
{
    char *path = path_of(r, directory, file);
    int code = volume_file_remove(r->os, path, err);
    free(path);
    return code;
}

static int remove_index_side(const struct recovery *r, enum volume_file file, struct error *err)
{
    int code = remove_from(r, r->data_dir, file, err);
    if (code == 0 && r->is_split)
        code = remove_from(r, r->index_dir, file, err);
    return code;
}

static int rename_in(const struct recovery *r, const char *directory, enum volume_file from,
                     enum volume_file to, struct error *err)
{
    char *old = path_of(r, directory, from), *new = path_of(r, directory, to);
    int result = os_rename(r->os, old, new);
    int code = result < 0 ? error_set_errno(err, -result, "rename %s to %s", old, new) : 0;
    free(old);
    free(new);
    return code;
}

static int sync_both(const struct recovery *r, struct error *err)
{
    int code = os_sync_directory(r->os, r->data_dir, err);
    if (code == 0 && r->is_split)
        code = os_sync_directory(r->os, r->index_dir, err);
    return code;
}

static int sync_file(const struct recovery *r, const char *directory, enum volume_file file,
                     struct error *err)
{
    char *path = path_of(r, directory, file);
    int fd = os_open(r->os, path, O_RDWR, 0);
    int result = fd < 0 ? fd : os_fsync(r->os, fd);
    int code = 0;
    if (result < 0)
        code = error_set_errno(err, -result, "%s %s", fd < 0 ? "open" : "fsync", path);
    if (fd >= 0)
        os_close(r->os, fd);
    free(path);
    return code;
}

/* From here on a power loss brings back the same names. */
static int settle(const struct recovery *r, const struct recover_names *names, struct error *err)
{
    bool has_new = names->cpd || names->cpx_in_data || names->cpx_in_index;
    if (r->is_settled || !has_new)
        return 0;
    int code = names->cpd ? sync_file(r, r->data_dir, VOLUME_FILE_CPD, err) : 0;
    if (code == 0 && names->cpx_in_data)
        code = sync_file(r, r->data_dir, VOLUME_FILE_CPX, err);
    if (code == 0 && names->cpx_in_index)
        code = sync_file(r, r->index_dir, VOLUME_FILE_CPX, err);
    if (code == 0)
        code = sync_file(r, r->data_dir, VOLUME_FILE_CPC, err);
    return code == 0 ? sync_both(r, err) : code;
}

static int remove_derived(const struct recovery *r, bool with_sorted, struct error *err)
{
    int code = remove_index_side(r, VOLUME_FILE_LDB, err);
    if (code == 0)
        code = remove_index_side(r, VOLUME_FILE_RDB, err);
    if (code == 0)
        code = remove_index_side(r, VOLUME_FILE_CPLDB, err);
    if (code == 0 && with_sorted)
        code = remove_index_side(r, VOLUME_FILE_SDX, err);
    return code;
}

static int roll_forward(const struct recovery *r, const struct recover_names *names,
                        struct error *err)
{
    int code = settle(r, names, err);
    if (code == 0 && names->cpd)
        code = rename_in(r, r->data_dir, VOLUME_FILE_CPD, VOLUME_FILE_DAT, err);
    if (code == 0 && names->cpx_in_data) {
        code = rename_in(r, r->data_dir, VOLUME_FILE_CPX, VOLUME_FILE_IDX, err);
    } else if (code == 0 && names->cpx_in_index) {
        code = rename_in(r, r->index_dir, VOLUME_FILE_CPX, VOLUME_FILE_IDX, err);
        if (code == 0)
            code = remove_from(r, r->data_dir, VOLUME_FILE_IDX, err);
    }
    if (code == 0 && names->cpx_in_data && names->cpx_in_index) /* of a time with other folders */
        code = remove_from(r, r->index_dir, VOLUME_FILE_CPX, err);
    if (code == 0)
        code = sync_both(r, err);
    if (code == 0)
        code = remove_derived(r, true, err);
    if (code == 0)
        code = remove_from(r, r->data_dir, VOLUME_FILE_CPC, err);
    return code == 0 ? os_sync_directory(r->os, r->data_dir, err) : code;
}

static int roll_back(const struct recovery *r, const struct recover_names *names,
                     struct error *err)
{
    /* A lone .cpldb says nothing about the .ldb, which stays. */
    bool is_lone = !names->cpd && !names->cpx_in_data && !names->cpx_in_index;
    int code = is_lone ? remove_index_side(r, VOLUME_FILE_CPLDB, err)
                       : remove_derived(r, false, err);
    if (code == 0)
        code = remove_from(r, r->data_dir, VOLUME_FILE_CPD, err);
    if (code == 0)
        code = remove_index_side(r, VOLUME_FILE_CPX, err);
    return code == 0 ? sync_both(r, err) : code;
}

static int recover(const struct recovery *r, struct error *err)
{
    struct recover_names names = {0};
    int code = look(r, &names, err);
    if (code != 0)
        return code;
    switch (recover_decide(&names)) {
    case RECOVER_ROLL_FORWARD:
        return roll_forward(r, &names, err);
    case RECOVER_ROLL_BACK:
        return roll_back(r, &names, err);
    case RECOVER_NOTHING:
        break;
    }
    return 0;
}

static int recover_volume(struct os *os, const struct volume_files *files, bool is_settled,
                          struct error *err)
{
    struct recovery r = {os, files->data_dir, files->index_dir, files->base, false, is_settled};
    r.is_split = strcmp(r.data_dir, r.index_dir) != 0;
    return recover(&r, err);
}

int vacuum_recover_volume(struct os *os, const struct volume_files *files, struct error *err)
{
    return recover_volume(os, files, false, err);
}

int vacuum_recover_settled(struct os *os, const struct volume_files *files, struct error *err)
{
    return recover_volume(os, files, true, err);
}

/* ---- a whole directory ---- */

struct base_list {
    char **names;
    size_t count, capacity;
};

static int take_name(void *ctx, const char *name)
{
    struct base_list *list = ctx;
    const enum volume_file files[] = {VOLUME_FILE_CPD, VOLUME_FILE_CPX, VOLUME_FILE_CPC,
                                      VOLUME_FILE_CPLDB};
    const char *dot = strrchr(name, '.');
    struct slice collection;
    uint32_t id;
    bool is_ours = false;
    for (size_t i = 0; dot && i < sizeof(files) / sizeof(files[0]); i++)
        is_ours |= strcmp(dot + 1, volume_file_extension(files[i])) == 0;
    if (!is_ours || !volume_name_parse(slice_of(name, (size_t)(dot - name)), &collection, &id))
        return 0;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->names = must(realloc(list->names, list->capacity * sizeof(*list->names)));
    }
    list->names[list->count++] = must(strndup(name, (size_t)(dot - name)));
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int vacuum_recover_directory(struct os *os, const char *data_dir, const char *index_dir,
                             struct error *err)
{
    if (!index_dir || !*index_dir)
        index_dir = data_dir;
    struct recovery r = {os, data_dir, index_dir, NULL, strcmp(data_dir, index_dir) != 0, false};
    struct base_list list = {0};
    int result = os_list(os, data_dir, take_name, &list), code = 0;
    if (result < 0)
        code = error_set_errno(err, -result, "list %s", data_dir);
    if (code == 0 && r.is_split && (result = os_list(os, index_dir, take_name, &list)) < 0)
        code = error_set_errno(err, -result, "list %s", index_dir);
    if (code == 0 && list.count > 0)
        qsort(list.names, list.count, sizeof(*list.names), by_name);
    bool is_listed = code == 0;
    for (size_t i = 0; i < list.count; i++) {
        struct error why;
        r.base = list.names[i];
        bool is_new = i == 0 || strcmp(list.names[i - 1], r.base) != 0;
        int failed = is_listed && is_new ? recover(&r, &why) : 0;
        if (failed != 0 && code == 0)
            code = error_set(err, failed, "%s", why.message);
    }
    for (size_t i = 0; i < list.count; i++)
        free(list.names[i]);
    free(list.names);
    return code;
}
