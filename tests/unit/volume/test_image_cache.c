#include "volume/image_cache.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define LIMIT (64u << 10)

static struct image_key key_of(uint64_t needle, int32_t width)
{
    return (struct image_key){.needle = needle, .volume_id = 3, .cookie = 7, .checksum = 9,
                              .source_size = 1000,
                              .request = {.width = width, .output = IMAGE_PNG}};
}

static void add(struct image_cache *cache, struct image_key key, size_t size)
{
    char *bytes = malloc(size);
    memset(bytes, (int)key.request.width, size);
    const struct image_entry *entry = image_cache_add(cache, &key, bytes, size);
    assert_int_equal(entry->size, size);
    image_entry_release(entry);
}

static bool has(struct image_cache *cache, struct image_key key)
{
    const struct image_entry *entry = image_cache_find(cache, &key);
    bool is_there = entry != NULL;
    if (is_there && entry->size > 0)
        assert_int_equal(entry->bytes[0], key.request.width);
    image_entry_release(entry);
    return is_there;
}

static struct image_cache_facts look(struct image_cache *cache)
{
    struct image_cache_facts facts;
    image_cache_look(cache, &facts);
    return facts;
}

static void what_was_added_is_found_by_all_of_its_key(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    struct image_key key = key_of(1, 10), other = key;
    add(cache, key, 100);
    assert_true(has(cache, key));
    assert_false(has(cache, key_of(2, 10)));
    assert_false(has(cache, key_of(1, 11)));
    other.cookie++;
    assert_false(has(cache, other));
    other = key;
    other.last_modified++;
    assert_false(has(cache, other));
    other = key;
    other.request.mode = IMAGE_MODE_FIT;
    assert_false(has(cache, other));
    image_cache_destroy(cache);
}

static void that_nothing_is_to_be_done_is_kept_too(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    struct image_key key = key_of(1, 10);
    image_entry_release(image_cache_add(cache, &key, NULL, 0));
    const struct image_entry *entry = image_cache_find(cache, &key);
    assert_non_null(entry);
    assert_int_equal(entry->size, 0);
    image_entry_release(entry);
    image_cache_destroy(cache);
}

static void the_one_not_asked_for_longest_goes_first(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    add(cache, key_of(1, 1), 4000);
    add(cache, key_of(2, 1), 4000);
    for (uint64_t needle = 3; needle < 200; needle++) {
        add(cache, key_of(needle, 1), 4000);
        assert_true(has(cache, key_of(1, 1)));
        assert_true(look(cache).bytes <= LIMIT);
    }
    assert_false(has(cache, key_of(2, 1)));
    assert_true(look(cache).entries > 10);
    image_cache_destroy(cache);
}

static void empty_entries_are_bounded_too(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    for (uint64_t needle = 0; needle < 1000; needle++)
        image_entry_release(image_cache_add(cache, &(struct image_key){.needle = needle}, NULL, 0));
    assert_true(look(cache).entries <= 128);
    image_cache_destroy(cache);
}

static void one_that_is_too_large_is_only_handed_back(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    add(cache, key_of(1, 1), LIMIT / 8);
    assert_false(has(cache, key_of(1, 1)));
    assert_int_equal(look(cache).bytes, 0);
    image_cache_destroy(cache);
}

static void a_blob_is_forgotten_in_all_sizes(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    for (int32_t width = 1; width < 5; width++)
        add(cache, key_of(1, width), 100);
    add(cache, key_of(2, 1), 100);
    image_cache_forget(cache, 4, 1);
    assert_int_equal(look(cache).entries, 5);
    image_cache_forget(cache, 3, 1);
    assert_int_equal(look(cache).entries, 1);
    assert_true(has(cache, key_of(2, 1)));
    image_cache_forget(cache, 3, 2);
    assert_int_equal(look(cache).bytes, 0);
    image_cache_forget(cache, 3, 2);
    image_cache_destroy(cache);
}

static void a_changed_blob_drives_its_old_pictures_out(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    add(cache, key_of(1, 1), 100);
    add(cache, key_of(1, 2), 100);
    struct image_key changed = key_of(1, 1);
    changed.checksum++;
    add(cache, changed, 100);
    assert_int_equal(look(cache).entries, 1);
    assert_true(has(cache, changed));
    image_cache_destroy(cache);
}

static void the_same_key_twice_is_one_entry(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    add(cache, key_of(1, 1), 100);
    add(cache, key_of(1, 1), 200);
    assert_int_equal(look(cache).entries, 1);
    const struct image_key key = key_of(1, 1);
    const struct image_entry *entry = image_cache_find(cache, &key);
    assert_int_equal(entry->size, 200);
    /* What is held outlives its place, and the cache. */
    image_cache_forget(cache, 3, 1);
    image_cache_destroy(cache);
    assert_int_equal(entry->bytes[199], 1);
    image_entry_release(entry);
}

static void *hammer(void *ctx)
{
    struct image_cache *cache = ctx;
    for (uint64_t i = 0; i < 3000; i++) {
        struct image_key key = key_of(i % 17, (int32_t)(1 + i % 3));
        key.checksum = (uint32_t)(i / 1000);
        if (!has(cache, key))
            add(cache, key, 1 + i % 5000);
        if (i % 29 == 0)
            image_cache_forget(cache, 3, i % 17);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    struct image_cache *cache = image_cache_create(LIMIT);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, cache), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(look(cache).bytes <= LIMIT);
    image_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_found_by_all_of_its_key),
        cmocka_unit_test(that_nothing_is_to_be_done_is_kept_too),
        cmocka_unit_test(the_one_not_asked_for_longest_goes_first),
        cmocka_unit_test(empty_entries_are_bounded_too),
        cmocka_unit_test(one_that_is_too_large_is_only_handed_back),
        cmocka_unit_test(a_blob_is_forgotten_in_all_sizes),
        cmocka_unit_test(a_changed_blob_drives_its_old_pictures_out),
        cmocka_unit_test(the_same_key_twice_is_one_entry),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
