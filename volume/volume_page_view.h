/* What the page of a volume server shows, as plain values, and the text made of them. Pure: any
 * thread, no look at anything but the view. */
#pragma once

#include "common/buffer.h"
#include "common/log_recent.h"
#include "common/loop_watch.h"
#include "volume/disk_location.h"
#include "volume/storage/volume_vacuum.h"
#include "volume/volume_page_facts.h"

#define VOLUME_PAGE_ROWS   100u /* volumes on one page */
#define VOLUME_PAGE_JOBS   50u  /* vacuums shown; the rest are counted */
#define VOLUME_PAGE_DAMAGE 100u /* damaged records shown */

enum volume_page_show {
    VOLUME_PAGE_ALL,
    VOLUME_PAGE_WRITABLE,
    VOLUME_PAGE_READ_ONLY,
    VOLUME_PAGE_GARBAGE, /* the peer's master would vacuum it: 30 % */
    VOLUME_PAGE_DAMAGED,
    VOLUME_PAGE_VACUUM,
    VOLUME_PAGE_SHOWS,
};

enum volume_page_sort {
    VOLUME_PAGE_BY_ID,
    VOLUME_PAGE_BY_SIZE,
    VOLUME_PAGE_BY_GARBAGE,
    VOLUME_PAGE_BY_FILES,
    VOLUME_PAGE_BY_CHANGE,
    VOLUME_PAGE_SORTS,
};

struct volume_page_query {
    char text[64]; /* "" shows all */
    enum volume_page_show show;
    enum volume_page_sort sort;
    size_t page; /* from 0 */
};

struct volume_page_disk {
    const char *directory, *type; /* type "" is hdd */
    struct disk_space space;
    uint64_t volume_bytes, index_memory_bytes, index_file_bytes, vacuum_held_bytes;
    size_t volume_count;
    uint32_t slots;
    unsigned vacuum_jobs;
    double vacuum_share;
    int64_t p99_ns[FOREGROUND_KINDS];
};

struct volume_page_volume {
    uint32_t id, disk; /* the disk's place in the list */
    const char *collection;
    struct volume_stat stat;
    struct vacuum_progress vacuum;
    char fault[VOLUME_FAULT_MAX];
};

struct volume_page_damage {
    uint32_t volume_id;
    struct volume_damage damage;
};

struct volume_page_loop {
    const char *name;
    struct loop_turns turns;
    struct loop_slow_cause causes[LOOP_CAUSES_MAX];
    size_t cause_count;
};

struct volume_page_view {
    struct volume_page_facts facts;
    struct volume_page_query query;
    int64_t now_second;
    uint64_t size_limit_bytes; /* of a volume; 0: no master has told it yet */
    size_t loading_count, not_loaded_count;
    struct volume_page_disk *disks;
    size_t disk_count;
    struct volume_page_volume *volumes; /* all; volume_page_select sorts them */
    size_t volume_count;
    struct volume_page_damage damage[VOLUME_PAGE_DAMAGE];
    size_t damage_count;
    struct volume_page_loop *loops;
    size_t loop_count;
    struct log_recent errors[LOG_RECENT_MAX];
    size_t error_count;
};

/* As they stand in a query. */
const char *volume_page_show_name(enum volume_page_show show);
const char *volume_page_sort_name(enum volume_page_sort sort);
/* The values of a query; each may be empty. */
void volume_page_read_query(struct volume_page_query *ret, struct slice text, struct slice show,
                            struct slice sort, struct slice page);
/* Sorts the volumes, those that the query asks for first; how many these are. A page beyond the
 * last becomes the last. */
size_t volume_page_select(struct volume_page_view *view);
/* Appends the whole document. Changes the order of the volumes. */
void volume_page_print(struct volume_page_view *view, struct buffer *out);

/* The value of Content-Security-Policy that goes with it: nothing runs but what is in the page.
 * Appends. */
void volume_page_policy(struct buffer *out);
