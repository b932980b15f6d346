/* Replacing an .idx. See the header. */
#include "volume/storage/index_swap.h"

#include "common/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE_BYTES (1u << 20)

static char *with_suffix(const struct volume_files *files, const char *suffix)
{
    char *path = NULL;
    CHECK(asprintf(&path, "%s%s", volume_files_path(files, VOLUME_FILE_IDX), suffix) >= 0);
    return path;
}

char *index_swap_made_path(const struct volume_files *files)
{
    return with_suffix(files, ".tmp");
}
char *index_swap_kept_path(const struct volume_files *files)
{
    return with_suffix(files, ".bak");
}

int index_swap_check(const struct volume_files *files, struct os *os, struct error *err)
{
    if (!volume_file_exists(os, volume_files_path(files, VOLUME_FILE_CPC)))
        return 0;
    return error_set(
        err, KELP_E_PRECONDITION,
        "a vacuum of it was cut off in its commit (%s): start a volume server once, it "
        "finishes that",
        volume_files_path(files, VOLUME_FILE_CPC));
}

static int copy_pieces(struct os *os, int from, int to, const char *from_path, const char *to_path,
                       struct error *err)
{
    char *piece = must(malloc(PIECE_BYTES));
    uint64_t at = 0;
    int code = 0;
    for (;;) {
        ssize_t n = os_pread(os, from, piece, PIECE_BYTES, at);
        if (n < 0)
            code = error_set_errno(err, (int)-n, "pread %s", from_path);
        if (n <= 0)
            break;
        struct iovec iov = {piece, (size_t)n};
        code = os_write_full(os, to, to_path, &iov, 1, at, err);
        if (code != 0)
            break;
        at += (uint64_t)n;
    }
    free(piece);
    return code;
}

static int copy_file(struct os *os, const char *from_path, const char *to_path, struct error *err)
{
    int from = os_open(os, from_path, O_RDONLY, 0);
    if (from < 0)
        return from == -ENOENT ? 0 : error_set_errno(err, -from, "open %s", from_path);
    int to = os_open(os, to_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int code = to < 0 ? error_set_errno(err, -to, "create %s", to_path)
                      : copy_pieces(os, from, to, from_path, to_path, err);
    if (code == 0) {
        int result = os_fsync(os, to);
        if (result < 0)
            code = error_set_errno(err, -result, "fsync %s", to_path);
    }
    if (to >= 0)
        os_close(os, to);
    os_close(os, from);
    return code;
}

int index_swap(const struct volume_files *files, struct os *os, const char *made, struct error *err)
{
    static const enum volume_file derived[] = {VOLUME_FILE_SDX, VOLUME_FILE_LDB, VOLUME_FILE_RDB,
                                               VOLUME_FILE_KIX};
    const char *idx = volume_files_path(files, VOLUME_FILE_IDX);
    char *kept = index_swap_kept_path(files);
    int code = copy_file(os, idx, kept, err);
    for (size_t i = 0; code == 0 && i < sizeof(derived) / sizeof(derived[0]); i++)
        code = volume_file_remove(os, volume_files_path(files, derived[i]), err);
    if (code ==
        0) /* the kept copy's name, and that the derived files are gone, before the new rows */
        code = volume_files_sync_directories(files, os, err);
    if (code == 0) {
        int result = os_rename(os, made, idx);
        if (result < 0)
            code = error_set_errno(err, -result, "rename %s", made);
    }
    if (code == 0)
        code = volume_files_sync_directories(files, os, err);
    free(kept);
    return code;
}
