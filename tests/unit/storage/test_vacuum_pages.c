/* What a copy leaves in the page cache: the advice that it gives, against a cache that is made
 * up. */
#include "tests/unit/cmocka_all.h"
#include "volume/storage/vacuum_internal.h"

#include <errno.h>
#include <string.h>

#define PAGES (64u << 8) /* a file of 64 MiB */

struct cache {
    struct os os;
    struct os_ops ops;
    bool is_blind;                         /* cannot tell what is cached */
    uint8_t held[PAGES];                   /* cached before the copy came */
    uint8_t wanted[PAGES], dropped[PAGES]; /* how often */
};

static struct cache cache;

static int cache_cached_pages(struct os *os, int fd, uint64_t offset, size_t count, uint8_t *ret)
{
    for (size_t i = 0; i < count; i++)
        ret[i] = offset / OS_PAGE_SIZE + i < PAGES && cache.held[offset / OS_PAGE_SIZE + i];
    return cache.is_blind ? -EOPNOTSUPP : 0;
}

static int cache_fadvise(struct os *os, int fd, uint64_t offset, uint64_t size, int advice)
{
    assert_int_equal(offset % OS_PAGE_SIZE, 0);
    uint8_t *counts = advice == POSIX_FADV_WILLNEED ? cache.wanted : cache.dropped;
    for (uint64_t i = offset / OS_PAGE_SIZE; i < (offset + size) / OS_PAGE_SIZE && i < PAGES; i++)
        counts[i]++;
    return 0;
}

static int set_up(void **state)
{
    memset(&cache, 0, sizeof(cache));
    cache.ops = *os_real()->ops;
    cache.ops.cached_pages = cache_cached_pages;
    cache.ops.fadvise = cache_fadvise;
    cache.os.ops = &cache.ops;
    return 0;
}

/* A copy of [from, to) in runs. */
static void copy(uint64_t from, uint64_t to, uint64_t run)
{
    struct volume_generation generation = {.os = &cache.os, .dat_fd = -1};
    struct vacuum_pages *pages = vacuum_pages_create(&generation);
    for (; from < to; from += run) {
        vacuum_pages_want(pages, from, from + run);
        vacuum_pages_done(pages, from + run);
    }
    vacuum_pages_destroy(pages);
}

static void pages_that_readers_held_stay_and_others_go(void **state)
{
    for (size_t i = 0; i < PAGES; i++)
        cache.held[i] = i % 3 == 0;
    copy(0, 32u << 20, 1000000);
    for (size_t i = 0; i < (32u << 8); i++) {
        assert_int_equal(cache.wanted[i], 1);
        assert_int_equal(cache.dropped[i], cache.held[i] ? 0 : 1);
    }
}

static void what_was_read_ahead_is_dropped_at_the_end(void **state)
{
    copy(0, 3u << 20, 1u << 20);
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(cache.dropped[i], cache.wanted[i]);
    assert_int_equal(cache.wanted[(6u << 8)], 1);
}

static void garbage_that_is_passed_over_is_left_alone(void **state)
{
    struct volume_generation generation = {.os = &cache.os, .dat_fd = -1};
    struct vacuum_pages *pages = vacuum_pages_create(&generation);
    vacuum_pages_want(pages, 0, 100);
    vacuum_pages_done(pages, 100);
    vacuum_pages_want(pages, 40u << 20, (40u << 20) + 100);
    vacuum_pages_done(pages, (40u << 20) + 100);
    vacuum_pages_destroy(pages);
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(cache.dropped[i], cache.wanted[i]);
    for (size_t i = 20u << 8; i < (40u << 8); i++)
        assert_int_equal(cache.wanted[i], 0);
}

static void nothing_is_dropped_where_the_cache_cannot_be_asked(void **state)
{
    cache.is_blind = true;
    copy(0, 16u << 20, 1u << 20);
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(cache.dropped[i], 0);
    assert_int_equal(cache.wanted[0], 1);
}

static void a_record_larger_than_what_is_remembered_drops_no_page_twice(void **state)
{
    copy(0, 400u << 20, 200u << 20);
    for (size_t i = 0; i < PAGES; i++)
        assert_true(cache.dropped[i] <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pages_that_readers_held_stay_and_others_go, set_up),
        cmocka_unit_test_setup(what_was_read_ahead_is_dropped_at_the_end, set_up),
        cmocka_unit_test_setup(garbage_that_is_passed_over_is_left_alone, set_up),
        cmocka_unit_test_setup(nothing_is_dropped_where_the_cache_cannot_be_asked, set_up),
        cmocka_unit_test_setup(a_record_larger_than_what_is_remembered_drops_no_page_twice, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
