/* The real implementation of the os seam, and what is built on its calls. Any thread. */
#include "common/os.h"

#include "common/check.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* Repeats a call that a signal cut off; the result or -errno. */
#define RETRY(call)                                                                                \
    ({                                                                                             \
        __typeof__(call) result_;                                                                  \
        do                                                                                         \
            result_ = (call);                                                                      \
        while (result_ < 0 && errno == EINTR);                                                     \
        result_ < 0 ? (__typeof__(call))-errno : result_;                                          \
    })

static int real_open(struct os *os, const char *path, int flags, uint32_t mode)
{
    return RETRY(open(path, flags | O_CLOEXEC, mode));
}

static int real_close(struct os *os, int fd)
{
    /* After EINTR the descriptor is gone on Linux: never retry. */
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t real_pread(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    return RETRY(pread(fd, buf, n, (off_t)offset));
}

static ssize_t real_pread_nowait(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    struct iovec iov = {buf, n};
    ssize_t got = RETRY(preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT));
    /* File systems without RWF_NOWAIT (tmpfs before 6.x) keep their data in memory. */
    return got == -EOPNOTSUPP ? real_pread(os, fd, buf, n, offset) : got;
}

static ssize_t real_pwritev(struct os *os, int fd, const struct iovec *iov, int count, uint64_t offset)
{
    return RETRY(pwritev(fd, iov, count, (off_t)offset));
}

static int real_fsync(struct os *os, int fd) { return RETRY(fsync(fd)); }
static int real_fdatasync(struct os *os, int fd) { return RETRY(fdatasync(fd)); }

static int real_ftruncate(struct os *os, int fd, uint64_t size)
{
    return RETRY(ftruncate(fd, (off_t)size));
}

static int real_fallocate(struct os *os, int fd, int mode, uint64_t offset, uint64_t size)
{
    return RETRY(fallocate(fd, mode, (off_t)offset, (off_t)size));
}

static int real_fadvise(struct os *os, int fd, uint64_t offset, uint64_t size, int advice)
{
    return -posix_fadvise(fd, (off_t)offset, (off_t)size, advice);
}

static int real_write_back(struct os *os, int fd, uint64_t offset, uint64_t size, bool wait)
{
    unsigned flags = SYNC_FILE_RANGE_WRITE;
    if (wait)
        flags |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(fd, (off_t)offset, (off_t)size, flags) == 0)
        return 0;
    return errno == ENOSYS || errno == EINVAL || errno == ESPIPE ? 0 : -errno;
}

static void fill_stat(const struct stat *st, struct os_stat *ret)
{
    *ret = (struct os_stat){
        .size = (uint64_t)st->st_size,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .mode = st->st_mode,
        .is_directory = S_ISDIR(st->st_mode),
        .inode = st->st_ino,
    };
}

static int real_cached_pages(struct os *os, int fd, uint64_t offset, size_t count, uint8_t *ret)
{
    if (sysconf(_SC_PAGESIZE) != OS_PAGE_SIZE)
        return -EOPNOTSUPP;
    /* The map is never touched: it is there for mincore() alone. */
    size_t size = count * OS_PAGE_SIZE;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    if (map == MAP_FAILED)
        return -errno;
    int result = mincore(map, size, ret) == 0 ? 0 : -errno;
    munmap(map, size);
    for (size_t i = 0; i < count && result == 0; i++)
        ret[i] &= 1; /* the other bits mean nothing */
    return result;
}

static int real_fstat(struct os *os, int fd, struct os_stat *ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    fill_stat(&st, ret);
    return 0;
}

static int real_stat(struct os *os, const char *path, struct os_stat *ret)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    fill_stat(&st, ret);
    return 0;
}

static int real_rename(struct os *os, const char *from, const char *to)
{
    return rename(from, to) < 0 ? -errno : 0;
}

static int real_unlink(struct os *os, const char *path) { return unlink(path) < 0 ? -errno : 0; }

static int real_mkdir(struct os *os, const char *path, uint32_t mode)
{
    return mkdir(path, mode) < 0 ? -errno : 0;
}

static int real_rmdir(struct os *os, const char *path) { return rmdir(path) < 0 ? -errno : 0; }

static int real_list(struct os *os, const char *directory, os_name_visitor *visit, void *ctx)
{
    DIR *dir = opendir(directory);
    if (!dir)
        return -errno;
    int result = 0;
    while (result == 0) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = visit(ctx, entry->d_name);
    }
    closedir(dir);
    return result;
}

static int real_space(struct os *os, const char *path, struct os_space *ret)
{
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return -errno;
    ret->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    ret->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static int real_lock(struct os *os, int fd) { return RETRY(flock(fd, LOCK_EX | LOCK_NB)); }

static int real_map(struct os *os, int fd, uint64_t size, const void **ret)
{
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return -errno;
    *ret = data;
    return 0;
}

static void real_unmap(struct os *os, const void *data, uint64_t size)
{
    munmap((void *)(uintptr_t)data, (size_t)size);
}

static int real_set_mtime(struct os *os, int fd, int64_t mtime_ns)
{
    struct timespec times[2] = {{0, UTIME_OMIT}, {mtime_ns / 1000000000, mtime_ns % 1000000000}};
    return futimens(fd, times) < 0 ? -errno : 0;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t real_now_ns(struct os *os) { return clock_ns(CLOCK_REALTIME); }
static int64_t real_monotonic_ns(struct os *os) { return clock_ns(CLOCK_MONOTONIC); }

static void real_sleep(struct os *os, int64_t ns)
{
    struct timespec left = {ns / 1000000000, ns % 1000000000};
    nanosleep(&left, NULL);
}

/* A thirtieth of a share: whoever serves clients goes first, and it still gets on. */
static void real_lower_priority(struct os *os) { setpriority(PRIO_PROCESS, (id_t)gettid(), 15); }

static uint64_t real_random(struct os *os)
{
    uint64_t value;
    CHECK(getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value));
    return value;
}

static const struct os_ops real_ops = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pread_nowait = real_pread_nowait,
    .pwritev = real_pwritev,
    .fsync = real_fsync,
    .fdatasync = real_fdatasync,
    .ftruncate = real_ftruncate,
    .fallocate = real_fallocate,
    .fadvise = real_fadvise,
    .write_back = real_write_back,
    .cached_pages = real_cached_pages,
    .fstat = real_fstat,
    .stat = real_stat,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .rmdir = real_rmdir,
    .list = real_list,
    .space = real_space,
    .lock = real_lock,
    .set_mtime = real_set_mtime,
    .map = real_map,
    .unmap = real_unmap,
    .now_ns = real_now_ns,
    .monotonic_ns = real_monotonic_ns,
    .sleep = real_sleep,
    .lower_priority = real_lower_priority,
    .random = real_random,
};

struct os *os_real(void)
{
    static struct os real = {&real_ops};
    return &real;
}

int os_read_full(struct os *os, int fd, const char *path, void *buf, size_t n, uint64_t offset,
                 struct error *err)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = os_pread(os, fd, (char *)buf + done, n - done, offset + done);
        if (got == -EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, (int)-got, "pread %s at %llu", path,
                                   (unsigned long long)(offset + done));
        if (got == 0)
            return error_set(err, KELP_E_CORRUPT, "%s ends at %llu, %zu bytes short", path,
                             (unsigned long long)(offset + done), n - done);
        done += (size_t)got;
    }
    return 0;
}

int os_write_full(struct os *os, int fd, const char *path, struct iovec *iov, int count,
                  uint64_t offset, struct error *err)
{
    while (count > 0) {
        if (iov->iov_len == 0) {
            iov++;
            count--;
            continue;
        }
        ssize_t put = os_pwritev(os, fd, iov, count < 1024 ? count : 1024, offset);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return error_set_errno(err, put < 0 ? (int)-put : EIO, "pwrite %s at %llu", path,
                                   (unsigned long long)offset);
        offset += (uint64_t)put;
        size_t left = (size_t)put;
        while (left > 0 && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            count--;
        }
        if (left > 0) {
            iov->iov_base = (char *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return 0;
}

int os_sync_directory(struct os *os, const char *directory, struct error *err)
{
    int fd = os_open(os, directory, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return error_set_errno(err, -fd, "open %s", directory);
    int result = os_fsync(os, fd);
    os_close(os, fd);
    return result < 0 ? error_set_errno(err, -result, "fsync %s", directory) : 0;
}

int os_read_file(struct os *os, const char *path, size_t limit, char **ret_data, size_t *ret_size,
                 struct error *err)
{
    int fd = os_open(os, path, O_RDONLY, 0);
    if (fd < 0)
        return error_set_errno(err, -fd, "open %s", path);
    struct os_stat st;
    char *data = NULL;
    int code = os_fstat(os, fd, &st);
    if (code < 0) {
        code = error_set_errno(err, -code, "fstat %s", path);
    } else if (st.size > limit) {
        code = error_set(err, KELP_E_TOO_LARGE, "%s has %llu bytes, more than %zu", path,
                         (unsigned long long)st.size, limit);
    } else {
        data = must(malloc(st.size + 1));
        code = os_read_full(os, fd, path, data, st.size, 0, err);
    }
    os_close(os, fd);
    if (code != 0) {
        free(data);
        return code;
    }
    data[st.size] = '\0';
    *ret_data = data;
    *ret_size = st.size;
    return 0;
}

/* Creates or truncates `path` with this content, synced. */
static int write_synced(struct os *os, const char *path, const void *data, size_t size,
                        struct error *err)
{
    int fd = os_open(os, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return error_set_errno(err, -fd, "open %s", path);
    struct iovec iov = {(void *)(uintptr_t)data, size};
    int code = os_write_full(os, fd, path, &iov, 1, 0, err);
    if (code == 0) {
        int result = os_fsync(os, fd);
        if (result < 0)
            code = error_set_errno(err, -result, "fsync %s", path);
    }
    int closed = os_close(os, fd);
    if (code == 0 && closed < 0)
        code = error_set_errno(err, -closed, "close %s", path);
    return code;
}

int os_replace_file(struct os *os, const char *path, const void *data, size_t size, struct error *err)
{
    char temporary[4096], directory[4096];
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= sizeof(temporary))
        return error_set(err, KELP_E_INVALID, "path too long: %.64s...", path);
    snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0';
    else
        strcpy(directory, ".");

    int code = write_synced(os, temporary, data, size, err);
    if (code == 0) {
        int result = os_rename(os, temporary, path);
        if (result < 0)
            code = error_set_errno(err, -result, "rename %s", temporary);
    }
    if (code != 0) {
        os_unlink(os, temporary);
        return code;
    }
    return os_sync_directory(os, directory, err);
}
