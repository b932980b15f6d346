/* The os seam: every call that the storage engine makes for files, time and chance.
 *
 * Three implementations: the real one (os_real), one that fails on command and one that simulates a
 * disk which loses unsynced writes (both in tests/fixtures). Nothing in volume/storage calls libc for
 * these things directly.
 *
 * All calls return >= 0 or a negative errno value. They may block, except os_pread_nowait. EINTR is
 * handled inside; short reads and writes are not: callers see them (os_read_full, os_write_full loop).
 * Any thread. */
#pragma once

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct os;

#define OS_PAGE_SIZE 4096u

struct os_stat {
    uint64_t size;
    int64_t mtime_ns; /* unix time */
    uint32_t mode;    /* st_mode */
    bool is_directory;
    uint64_t inode; /* tells a file from another of the same name */
};

struct os_space {
    uint64_t total_bytes;
    uint64_t free_bytes; /* available to unprivileged users */
};

/* Called once per name, without "." and ".."; a non-zero answer ends the listing and is returned. */
typedef int os_name_visitor(void *ctx, const char *name);

struct os_ops {
    int (*open)(struct os *, const char *path, int flags, uint32_t mode);
    int (*close)(struct os *, int fd);
    ssize_t (*pread)(struct os *, int fd, void *buf, size_t n, uint64_t offset);
    ssize_t (*pread_nowait)(struct os *, int fd, void *buf, size_t n, uint64_t offset);
    ssize_t (*pwritev)(struct os *, int fd, const struct iovec *iov, int count, uint64_t offset);
    int (*fsync)(struct os *, int fd);
    int (*fdatasync)(struct os *, int fd);
    int (*ftruncate)(struct os *, int fd, uint64_t size);
    int (*fallocate)(struct os *, int fd, int mode, uint64_t offset, uint64_t size);
    int (*fadvise)(struct os *, int fd, uint64_t offset, uint64_t size, int advice);
    int (*write_back)(struct os *, int fd, uint64_t offset, uint64_t size, bool wait);
    int (*cached_pages)(struct os *, int fd, uint64_t offset, size_t count, uint8_t *ret);
    int (*fstat)(struct os *, int fd, struct os_stat *ret);
    int (*stat)(struct os *, const char *path, struct os_stat *ret);
    int (*rename)(struct os *, const char *from, const char *to);
    int (*unlink)(struct os *, const char *path);
    int (*mkdir)(struct os *, const char *path, uint32_t mode);
    int (*rmdir)(struct os *, const char *path); /* an empty one */
    int (*list)(struct os *, const char *directory, os_name_visitor *, void *ctx);
    int (*space)(struct os *, const char *path, struct os_space *ret);
    int (*lock)(struct os *, int fd); /* exclusive flock, -EWOULDBLOCK when another holds it */
    int (*set_mtime)(struct os *, int fd, int64_t mtime_ns);
    int (*map)(struct os *, int fd, uint64_t size, const void **ret); /* NULL: cannot */
    void (*unmap)(struct os *, const void *data, uint64_t size);
    int64_t (*now_ns)(struct os *);       /* unix time */
    int64_t (*monotonic_ns)(struct os *); /* never goes back */
    void (*sleep)(struct os *, int64_t ns);
    void (*lower_priority)(struct os *);
    uint64_t (*random)(struct os *);
};

struct os {
    const struct os_ops *ops;
};

struct os *os_real(void); /* static, stateless */

static inline int os_open(struct os *os, const char *path, int flags, uint32_t mode)
{
    return os->ops->open(os, path, flags, mode);
}
static inline int os_close(struct os *os, int fd) { return os->ops->close(os, fd); }
static inline ssize_t os_pread(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    return os->ops->pread(os, fd, buf, n, offset);
}
/* Reads only what is in the page cache: -EAGAIN when it is not, short when partly. */
static inline ssize_t os_pread_nowait(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    return os->ops->pread_nowait(os, fd, buf, n, offset);
}
static inline ssize_t os_pwritev(struct os *os, int fd, const struct iovec *iov, int count,
                                 uint64_t offset)
{
    return os->ops->pwritev(os, fd, iov, count, offset);
}
static inline int os_fsync(struct os *os, int fd) { return os->ops->fsync(os, fd); }
static inline int os_fdatasync(struct os *os, int fd) { return os->ops->fdatasync(os, fd); }
static inline int os_ftruncate(struct os *os, int fd, uint64_t size)
{
    return os->ops->ftruncate(os, fd, size);
}
static inline int os_fallocate(struct os *os, int fd, int mode, uint64_t offset, uint64_t size)
{
    return os->ops->fallocate(os, fd, mode, offset, size);
}
static inline int os_fadvise(struct os *os, int fd, uint64_t offset, uint64_t size, int advice)
{
    return os->ops->fadvise(os, fd, offset, size, advice);
}
/* Starts to write dirty pages of the range to the disk, so that a later fsync has less to do; with
 * `wait` it returns when they, and those of the range that were on their way, are there. Makes nothing
 * durable: neither the file's size nor where its blocks lie. An error is to be taken as seriously as
 * that of an fsync, which might not repeat it. 0 where the system knows no such thing. */
static inline int os_write_back(struct os *os, int fd, uint64_t offset, uint64_t size, bool wait)
{
    return os->ops->write_back(os, fd, offset, size, wait);
}
/* Which of `count` pages of OS_PAGE_SIZE from `offset`, a multiple of it, lie in the page cache: a
 * byte for each, 1 or 0. Reads nothing in. -EOPNOTSUPP where the system cannot tell. */
static inline int os_cached_pages(struct os *os, int fd, uint64_t offset, size_t count, uint8_t *ret)
{
    return os->ops->cached_pages(os, fd, offset, count, ret);
}
static inline int os_fstat(struct os *os, int fd, struct os_stat *ret)
{
    return os->ops->fstat(os, fd, ret);
}
static inline int os_stat(struct os *os, const char *path, struct os_stat *ret)
{
    return os->ops->stat(os, path, ret);
}
static inline int os_rename(struct os *os, const char *from, const char *to)
{
    return os->ops->rename(os, from, to);
}
static inline int os_unlink(struct os *os, const char *path) { return os->ops->unlink(os, path); }
static inline int os_mkdir(struct os *os, const char *path, uint32_t mode)
{
    return os->ops->mkdir(os, path, mode);
}
static inline int os_rmdir(struct os *os, const char *path) { return os->ops->rmdir(os, path); }
static inline int os_list(struct os *os, const char *directory, os_name_visitor *visit, void *ctx)
{
    return os->ops->list(os, directory, visit, ctx);
}
static inline int os_space(struct os *os, const char *path, struct os_space *ret)
{
    return os->ops->space(os, path, ret);
}
static inline int os_lock(struct os *os, int fd) { return os->ops->lock(os, fd); }
static inline int os_set_mtime(struct os *os, int fd, int64_t mtime_ns)
{
    return os->ops->set_mtime(os, fd, mtime_ns);
}
/* The file's first `size` bytes as memory to read from, in step with what is written to it; whoever reads
 * them may wait for the disk, and dies with it. -EOPNOTSUPP where that cannot be had: read it then. */
static inline int os_map(struct os *os, int fd, uint64_t size, const void **ret)
{
    return os->ops->map ? os->ops->map(os, fd, size, ret) : -EOPNOTSUPP;
}
static inline void os_unmap(struct os *os, const void *data, uint64_t size)
{
    os->ops->unmap(os, data, size);
}
static inline int64_t os_now_ns(struct os *os) { return os->ops->now_ns(os); }
static inline int64_t os_monotonic_ns(struct os *os) { return os->ops->monotonic_ns(os); }
/* May end early. */
static inline void os_sleep(struct os *os, int64_t ns) { os->ops->sleep(os, ns); }
/* The calling thread goes on behind whatever serves clients: it gets the processor when nobody else wants
 * it, or little of it, and its disk calls the lowest of the usual classes. There is no way back. */
static inline void os_lower_priority(struct os *os) { os->ops->lower_priority(os); }
static inline uint64_t os_random(struct os *os) { return os->ops->random(os); }

/* Built on the calls above; they fill `err` with the call, the path and the reason. */

/* Exactly n bytes, or KELP_E_CORRUPT when the file ends before. `path` is for the message only. */
int os_read_full(struct os *os, int fd, const char *path, void *buf, size_t n, uint64_t offset,
                 struct error *err);
/* All of iov (which is modified), or an error; what was written before it stays. */
int os_write_full(struct os *os, int fd, const char *path, struct iovec *iov, int count,
                  uint64_t offset, struct error *err);
/* fsync of a directory, so that its entries survive a power loss. */
int os_sync_directory(struct os *os, const char *directory, struct error *err);
/* Whole small file into malloc'd memory with a zero byte after it; limit guards against giants. */
int os_read_file(struct os *os, const char *path, size_t limit, char **ret_data, size_t *ret_size,
                 struct error *err);
/* Writes <path>.tmp, fsyncs, renames over path, fsyncs the directory: old or new, never a mix. */
int os_replace_file(struct os *os, const char *path, const void *data, size_t size,
                    struct error *err);
