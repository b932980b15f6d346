/* Looks at files every now and then and tells when one has changed: certificates that are renewed
 * while a server runs. Not for the disk path; changes are told by inode, size and time. */
#pragma once

#include "common/error.h"

#include <stddef.h>

struct file_watch;

#define FILE_WATCH_MAX 8

/* Paths are copied; "" counts as no file. From now on `on_change` is called on a thread of the watch
 * after each look that found a change; a look comes every `interval_s`, 0: never. *ret is set before
 * that, and NULL on failure. */
int file_watch_create(struct file_watch **ret, const char *const *paths, size_t count,
                      unsigned interval_s, void (*on_change)(void *ctx), void *ctx,
                      struct error *err);
/* Takes the files as they are now for known. Call it before reading them: what changes in between is
 * then told at the next look. Any thread. */
void file_watch_note(struct file_watch *watch);
void file_watch_destroy(struct file_watch *watch); /* waits for on_change; NULL is fine */
