/* A ring behind a lock: warnings are rare, and a page that is looked at is rarer. */
#include "common/log_recent.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_recent ring[LOG_RECENT_MAX];
static size_t ring_next, ring_count; /* lock, as the ring */

/* A character that is cut in two would make the page no valid UTF-8. */
static size_t cut(const char *text, size_t length)
{
    size_t n = length < LOG_RECENT_TEXT - 1 ? length : LOG_RECENT_TEXT - 1;
    while (n > 0 && n < length && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void log_recent_add(enum log_level level, int64_t at_second, const char *text, size_t length)
{
    size_t kept = cut(text, length);
    pthread_mutex_lock(&lock);
    struct log_recent *last = &ring[(ring_next + LOG_RECENT_MAX - 1) % LOG_RECENT_MAX];
    if (ring_count > 0 && last->level == level && strlen(last->text) == kept &&
        memcmp(last->text, text, kept) == 0) {
        last->count++;
        last->at_second = at_second;
    } else {
        struct log_recent *entry = &ring[ring_next];
        *entry = (struct log_recent){.at_second = at_second, .level = level, .count = 1};
        memcpy(entry->text, text, kept);
        ring_next = (ring_next + 1) % LOG_RECENT_MAX;
        if (ring_count < LOG_RECENT_MAX)
            ring_count++;
    }
    pthread_mutex_unlock(&lock);
}

size_t log_recent_list(struct log_recent ret[LOG_RECENT_MAX])
{
    pthread_mutex_lock(&lock);
    size_t count = ring_count;
    for (size_t i = 0; i < count; i++)
        ret[i] = ring[(ring_next + LOG_RECENT_MAX - 1 - i) % LOG_RECENT_MAX];
    pthread_mutex_unlock(&lock);
    return count;
}
