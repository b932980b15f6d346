/* Tar files by libarchive, and plain files. See the header.
 *
 * A tar has the least form that its names, sizes and times allow (ustar), and pax headers where
 * they are longer. In a folder every part of a name is opened from the folder above without
 * following symbolic links, so that nothing that was put there meanwhile leads out of it. */
#include "cli/export_sink.h"

#include "common/check.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct export_sink {
    struct archive *archive;    /* NULL: a folder */
    char *tar_path, *temporary; /* NULL: standard output */
    char *folder;
    int folder_fd;
};

static int archive_failure(struct export_sink *sink, struct error *err)
{
    const char *text = archive_error_string(sink->archive);
    return error_set(err, KELP_E_IO, "tar: %s", text ? text : "cannot be written");
}

static int open_tar(struct export_sink *sink, const char *path, struct error *err)
{
    /* Names are bytes; those that are UTF-8 are to be told so to whoever unpacks. */
    setlocale(LC_CTYPE, "C.UTF-8");
    sink->archive = must(archive_write_new());
    archive_write_set_bytes_in_last_block(sink->archive, 1);
    int result = archive_write_set_format_pax_restricted(sink->archive);
    if (result == ARCHIVE_OK && path) {
        sink->tar_path = must(strdup(path));
        CHECK(asprintf(&sink->temporary, "%s.tmp", path) >= 0);
        result = archive_write_open_filename(sink->archive, sink->temporary);
    } else if (result == ARCHIVE_OK) {
        result = archive_write_open_fd(sink->archive, STDOUT_FILENO);
    }
    return result == ARCHIVE_OK ? 0 : archive_failure(sink, err);
}

static int open_folder(struct export_sink *sink, const char *path, struct error *err)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return error_set_errno(err, errno, "mkdir %s", path);
    sink->folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sink->folder_fd < 0)
        return error_set_errno(err, errno, "open %s", path);
    sink->folder = must(strdup(path));
    return 0;
}

int export_sink_open(struct export_sink **ret, const char *output, struct error *err)
{
    struct export_sink *sink = must(calloc(1, sizeof(*sink)));
    struct slice name = slice_cstr(output);
    struct stat st;
    int code;
    sink->folder_fd = -1;
    if (strcmp(output, "-") == 0)
        code = isatty(STDOUT_FILENO)
                   ? error_set(err, KELP_E_INVALID,
                               "a tar is not for a terminal: name a file, or a pipe")
                   : open_tar(sink, NULL, err);
    else if (name.len > 4 && strcmp(output + name.len - 4, ".tar") == 0)
        code = open_tar(sink, output, err);
    else if (name.ptr[name.len - 1] == '/' || (stat(output, &st) == 0 && S_ISDIR(st.st_mode)))
        code = open_folder(sink, output, err);
    else
        code = error_set(
            err, KELP_E_INVALID,
            "-o %s: it should be '-', end with .tar, or be a folder (with a / at its end if "
            "it is to be made)",
            output);
    if (code != 0) {
        export_sink_close(sink, false, NULL);
        return code;
    }
    *ret = sink;
    return 0;
}

static int add_to_tar(struct export_sink *sink, const char *name, struct slice data,
                      uint64_t modified, struct error *err)
{
    struct archive_entry *entry = must(archive_entry_new());
    archive_entry_copy_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (int64_t)data.len);
    archive_entry_set_mtime(entry, (time_t)modified, 0);
    int code = 0;
    /* A name that is not UTF-8 is stored as it is, with a warning. */
    if (archive_write_header(sink->archive, entry) < ARCHIVE_WARN)
        code = archive_failure(sink, err);
    for (size_t at = 0; code == 0 && at < data.len;) {
        la_ssize_t n = archive_write_data(sink->archive, data.ptr + at, data.len - at);
        if (n <= 0)
            code = archive_failure(sink, err);
        else
            at += (size_t)n;
    }
    archive_entry_free(entry);
    return code;
}

/* Opens the folder of the name's last part, making what is missing; *ret_last is that part. */
static int open_parent(struct export_sink *sink, char *name, int *ret_fd, char **ret_last,
                       struct error *err)
{
    int at = dup(sink->folder_fd);
    char *slash;
    if (at < 0)
        return error_set_errno(err, errno, "dup");
    while ((slash = strchr(name, '/'))) {
        *slash = '\0';
        if (mkdirat(at, name, 0755) != 0 && errno != EEXIST) {
            int code = error_set_errno(err, errno, "mkdir %s in %s", name, sink->folder);
            close(at);
            return code;
        }
        int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int errnum = errno;
        close(at);
        if (next < 0 && (errnum == ENOTDIR || errnum == ELOOP))
            return error_set(err, KELP_E_EXISTS, "%s in %s is there, and is no folder", name,
                             sink->folder);
        if (next < 0)
            return error_set_errno(err, errnum, "open %s in %s", name, sink->folder);
        at = next;
        name = slash + 1;
    }
    *ret_fd = at;
    *ret_last = name;
    return 0;
}

static int write_all(int fd, struct slice data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        data = slice_from(data, (size_t)n);
    }
    return 0;
}

static int add_to_folder(struct export_sink *sink, const char *name, struct slice data,
                         uint64_t modified, struct error *err)
{
    char *parts = must(strdup(name)), *last = NULL;
    int parent = -1;
    int code = open_parent(sink, parts, &parent, &last, err);
    if (code == 0) {
        int fd = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        int errnum = fd < 0 ? errno : write_all(fd, data);
        const struct timespec times[2] = {{.tv_sec = (time_t)modified},
                                          {.tv_sec = (time_t)modified}};
        if (fd >= 0 && errnum == 0)
            futimens(
                fd, times); /* a file system that cannot have that time has the file all the same */
        if (fd >= 0 && close(fd) != 0 && errnum == 0)
            errnum = errno;
        if (fd >= 0 && errnum != 0)
            unlinkat(parent, last, 0);
        if (errnum == EEXIST)
            code = error_set(err, KELP_E_EXISTS,
                             "%s is in %s already; {{.Id}} in -fileNameFormat makes names differ",
                             name, sink->folder);
        else if (errnum != 0)
            code = error_set_errno(err, errnum, "write %s in %s", name, sink->folder);
        close(parent);
    }
    free(parts);
    return code;
}

int export_sink_add(struct export_sink *sink, const char *name, struct slice data,
                    uint64_t modified, struct error *err)
{
    return sink->archive ? add_to_tar(sink, name, data, modified, err)
                         : add_to_folder(sink, name, data, modified, err);
}

int export_sink_close(struct export_sink *sink, bool is_whole, struct error *err)
{
    int code = 0;
    if (!sink)
        return 0;
    if (sink->archive) {
        if (is_whole && archive_write_close(sink->archive) != ARCHIVE_OK)
            code = archive_failure(sink, err);
        if (!is_whole)
            archive_write_fail(sink->archive);
        archive_write_free(sink->archive);
    }
    if (sink->temporary && is_whole && code == 0 && rename(sink->temporary, sink->tar_path) != 0)
        code = error_set_errno(err, errno, "rename %s", sink->temporary);
    if (sink->temporary && (!is_whole || code != 0))
        unlink(sink->temporary);
    if (sink->folder_fd >= 0)
        close(sink->folder_fd);
    free(sink->temporary);
    free(sink->tar_path);
    free(sink->folder);
    free(sink);
    return code;
}
