/* The packed tree against a plain table: one by one and in bulk, chosen keys, no memory, readers beside the
 * writer. Longer: KELP_PACKED_ROUNDS=n. */
#include "volume/storage/index/needle_sort.h"
#include "volume/storage/index/packed_tree.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- memory that can be had, or not: see the --wrap in meson.build ---- */

static _Atomic long allocations_left = -1; /* -1: as many as are wanted */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    long left = atomic_load(&allocations_left);
    if (left == 0)
        return NULL;
    if (left > 0)
        atomic_store(&allocations_left, left - 1);
    return __real_malloc(size);
}

/* ---- a model ---- */

static uint64_t scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t seed;
static uint64_t any(void) { return scramble(seed++); }

enum { KEYS = 40000 };
static struct needle_entry model[KEYS]; /* offset 0: not there */

/* How keys are laid out; `i` below KEYS. */
typedef uint64_t layout(size_t i);
static uint64_t rising(size_t i) { return i; }
static uint64_t falling(size_t i) { return UINT64_MAX - i; }
static uint64_t scattered(size_t i) { return scramble(i); }
static uint64_t strided(size_t i) { return (uint64_t)i << 44; }
static uint64_t clustered(size_t i) { return (scramble(i / 100) & ~(uint64_t)0xffff) + i % 100; }
static layout *const layouts[] = {rising, falling, scattered, strided, clustered};

static struct needle_entry entry_of(uint64_t key)
{
    return (struct needle_entry){key, 8 * (1 + any() % (((uint64_t)1 << 40) - 1)),
                                 (int32_t)((uint32_t)any() & 0x7fffffff) * (any() % 8 ? 1 : -1)};
}

static void make(struct packed_tree *tree)
{
    memset(model, 0, sizeof(model));
    assert_int_equal(packed_tree_init(tree, 3, 5, NULL), 0);
}

static void put(struct packed_tree *tree, layout *key_of, size_t i)
{
    model[i] = entry_of(key_of(i));
    assert_int_equal(packed_tree_put(tree, &model[i], NULL), 0);
}

static bool is_same(const struct needle_entry *a, const struct needle_entry *b)
{
    return a->key == b->key && a->offset == b->offset && a->size == b->size;
}

static void check_some(struct packed_tree *tree, layout *key_of, size_t step)
{
    for (size_t i = 0; i < KEYS; i += step) {
        struct needle_entry entry;
        bool is_there = packed_tree_get(tree, key_of(i), &entry);
        assert_int_equal(is_there, model[i].offset != 0);
        assert_true(!is_there || is_same(&entry, &model[i]));
        assert_int_equal(packed_tree_get_own(tree, key_of(i), &entry), is_there);
    }
}

static void check_gets(struct packed_tree *tree, layout *key_of) { check_some(tree, key_of, 1); }

static void check_walk(struct packed_tree *tree)
{
    static struct needle_entry expected[KEYS], scratch[KEYS], piece[PACKED_TREE_PIECE];
    size_t count = 0, at = 0, got;
    for (size_t i = 0; i < KEYS; i++)
        if (model[i].offset != 0)
            expected[count++] = model[i];
    needle_sort(expected, count, NEEDLE_INDEX_BY_KEY, scratch);
    uint64_t next = 0;
    bool has_next = true;
    while (has_next) {
        has_next = packed_tree_read_leaf(tree, next, 0, UINT64_MAX, piece, &got, &next);
        for (size_t i = 0; i < got; i++)
            assert_true(at < count && is_same(&piece[i], &expected[at++]));
    }
    assert_int_equal(at, count);
}

static unsigned rounds(void)
{
    const char *text = getenv("KELP_PACKED_ROUNDS");
    return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

static void one_by_one(void **unused)
{
    for (unsigned round = 0; round < rounds(); round++)
        for (size_t l = 0; l < sizeof(layouts) / sizeof(layouts[0]); l++) {
            struct packed_tree tree;
            seed = 1000 * round + l;
            make(&tree);
            for (size_t i = 0; i < KEYS; i++)
                put(&tree, layouts[l], layouts[l] == scattered || any() % 8 ? i : (size_t)(any() % (i + 1)));
            for (size_t i = 0; i < KEYS / 4; i++) { /* over what is there, in any order */
                put(&tree, layouts[l], (size_t)(any() % KEYS));
                if (any() % 64 == 0)
                    packed_tree_maintain(&tree);
            }
            check_gets(&tree, layouts[l]);
            check_walk(&tree);
            assert_int_equal(packed_tree_settle(&tree, NULL), 0);
            check_gets(&tree, layouts[l]);
            check_walk(&tree);
            packed_tree_fini(&tree);
        }
}

/* In bulk, with puts in between. */
static void in_bulk(void **unused)
{
    static struct needle_entry entries[KEYS], scratch[KEYS];
    for (size_t l = 0; l < sizeof(layouts) / sizeof(layouts[0]); l++) {
        struct packed_tree tree;
        seed = 77 + l;
        make(&tree);
        for (size_t from = 0; from < KEYS;) {
            size_t count = 0, to = from + (size_t)(any() % 20000) + 1;
            for (size_t i = from; i < KEYS && i < to; i++)
                entries[count++] = model[i] = entry_of(layouts[l](i));
            for (size_t i = 0; i < from; i += 1 + (size_t)(any() % 50)) /* anew */
                entries[count < KEYS ? count++ : count - 1] = model[i] = entry_of(layouts[l](i));
            needle_sort(entries, count, NEEDLE_INDEX_BY_KEY, scratch);
            assert_int_equal(packed_tree_fill(&tree, entries, count, NULL), 0);
            from = to;
            for (size_t i = 0; i < 300; i++)
                put(&tree, layouts[l], (size_t)(any() % KEYS));
            assert_int_equal(packed_tree_settle(&tree, NULL), 0);
        }
        check_gets(&tree, layouts[l]);
        check_walk(&tree);
        packed_tree_fini(&tree);
    }
}

static void fully_packed_needles_in_order_take_less_than_a_byte(void **unused)
{
    struct packed_tree tree;
    make(&tree);
    for (uint64_t i = 0; i < 200000; i++)
        assert_int_equal(packed_tree_put(&tree, &(struct needle_entry){i, 8 + i * 1032, 1000}, NULL), 0);
    assert_true(packed_tree_bytes(&tree) < 200000);
    packed_tree_fini(&tree);
    make(&tree);
    for (uint64_t i = 0; i < 200000; i++)
        assert_int_equal(packed_tree_put(&tree, &(struct needle_entry){scramble(i), 8 + i * 1032, 1000}, NULL), 0);
    assert_true(packed_tree_bytes(&tree) < 200000 * 12);
    packed_tree_fini(&tree);
}

/* Reserved puts succeed with no memory at all, and are found; when there is memory again, all is as ever. */
static void reserved_puts_need_no_memory(void **unused)
{
    struct packed_tree tree;
    seed = 9;
    make(&tree);
    for (size_t i = 0; i < 20000; i++)
        put(&tree, scattered, i);
    for (size_t round = 0; round < 6; round++) {
        enum { BATCH = 700 };
        for (size_t i = 0; i < BATCH; i++)
            assert_int_equal(packed_tree_reserve(&tree, NULL), 0);
        atomic_store(&allocations_left, (long)(round % 4));
        for (size_t i = 0; i < BATCH; i++)
            put(&tree, scattered, (size_t)(any() % KEYS));
        atomic_store(&allocations_left, 0);
        check_some(&tree, scattered, 37); /* the spill is no fast place */
        struct needle_entry entry = entry_of(7);
        int code = KELP_E_NO_MEMORY;
        for (size_t i = 0; i < 300 && code != 0; i++) /* sooner or later a merge is due */
            code = packed_tree_put(&tree, &entry, NULL);
        atomic_store(&allocations_left, -1);
        check_walk(&tree);
    }
    put(&tree, scattered, 3);
    check_gets(&tree, scattered);
    assert_int_equal(packed_tree_settle(&tree, NULL), 0);
    check_gets(&tree, scattered);
    check_walk(&tree);
    packed_tree_fini(&tree);
}

/* Without a reservation a put that finds no memory fails, and nothing has changed. */
static void unreserved_put_without_memory_changes_nothing(void **unused)
{
    struct packed_tree tree;
    struct needle_entry entry;
    make(&tree);
    for (size_t i = 0; i < 5000; i++)
        put(&tree, rising, i);
    atomic_store(&allocations_left, 0);
    size_t failures = 0;
    for (size_t i = 5000; i < 6000; i++) {
        entry = entry_of(i);
        int code = packed_tree_put(&tree, &entry, NULL);
        if (code == 0)
            model[i] = entry;
        else
            failures++;
        assert_true(code == 0 || code == KELP_E_NO_MEMORY);
    }
    check_gets(&tree, rising);
    assert_int_equal(packed_tree_reserve(&tree, NULL), KELP_E_NO_MEMORY);
    atomic_store(&allocations_left, -1);
    assert_true(failures > 500);
    packed_tree_fini(&tree);
}

/* ---- readers ---- */

/* The table shows a row before the count does: whoever walks in between must not miss its key. */
static void walk_amid_an_overwrite_sees_the_key_once(void **unused)
{
    struct needle_entry seen[PACKED_DELTA_MAX];
    struct packed_delta *delta = packed_delta_create(8, true, 5);
    assert_non_null(delta);
    for (uint64_t i = 0; i < 5; i++)
        packed_delta_add(delta, &(struct needle_entry){i % 3, 8 + i * 8, 1});
    packed_delta_add(delta, &(struct needle_entry){1, 80, 2});
    atomic_fetch_sub(&delta->count, 1);
    assert_int_equal(packed_delta_sorted(delta, seen), 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(seen[i].key, i);
    assert_int_equal(seen[1].offset, 80);
    atomic_fetch_add(&delta->count, 1);
    assert_int_equal(packed_delta_sorted(delta, seen), 3);
    free(delta);
}

enum { STILL = 30000 };
static _Atomic bool is_over;
static _Atomic unsigned failures_seen;
static _Atomic uint64_t highest_put; /* keys STILL .. are put with size = the round they came in */

static void *look_up(void *arg)
{
    struct packed_tree *tree = arg;
    uint64_t x = (uint64_t)(uintptr_t)&x;
    while (!atomic_load(&is_over)) {
        struct needle_entry entry;
        x = scramble(x);
        uint64_t key = x % STILL;
        if (!packed_tree_get(tree, key * 3, &entry) || entry.offset != 8 + key * 8 || entry.size != 5)
            atomic_fetch_add(&failures_seen, 1);
        uint64_t put_before = atomic_load(&highest_put);
        if (put_before > 0) { /* what was put before the look-up is seen */
            key = (x >> 20) % put_before;
            if (!packed_tree_get(tree, key * 3 + 1, &entry) || entry.size < (int32_t)(key % 1000))
                atomic_fetch_add(&failures_seen, 1);
        }
    }
    return NULL;
}

static void *walk(void *arg)
{
    struct packed_tree *tree = arg;
    struct needle_entry *piece = malloc(PACKED_TREE_PIECE * sizeof(*piece));
    do {
        uint64_t next = 0, still = 0, last = 0;
        size_t count;
        bool has_next = true;
        while (has_next) {
            has_next = packed_tree_read_leaf(tree, next, 0, UINT64_MAX, piece, &count, &next);
            for (size_t i = 0; i < count; i++) {
                if (piece[i].key < last)
                    atomic_fetch_add(&failures_seen, 1);
                last = piece[i].key;
                still += piece[i].key % 3 == 0;
            }
        }
        if (still != STILL)
            atomic_fetch_add(&failures_seen, 1);
    } while (!atomic_load(&is_over));
    free(piece);
    return NULL;
}

static void readers_see_what_was_put_before(void **unused)
{
    struct packed_tree tree;
    pthread_t threads[3];
    make(&tree);
    atomic_store(&highest_put, 0);
    for (uint64_t key = 0; key < STILL; key++)
        assert_int_equal(packed_tree_put(&tree, &(struct needle_entry){key * 3, 8 + key * 8, 5}, NULL), 0);
    pthread_create(&threads[0], NULL, look_up, &tree);
    pthread_create(&threads[1], NULL, look_up, &tree);
    pthread_create(&threads[2], NULL, walk, &tree);
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t key = i % 20000; /* each three times */
        struct needle_entry entry = {key * 3 + 1, 8 + i * 8, (int32_t)(key % 1000 + i / 20000)};
        assert_int_equal(packed_tree_put(&tree, &entry, NULL), 0);
        if (i < 20000)
            atomic_store(&highest_put, key + 1);
        if (i % 100 == 0)
            packed_tree_maintain(&tree);
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&failures_seen), 0);
    /* With nobody inside, two looks free all that was replaced. */
    packed_tree_maintain(&tree);
    packed_tree_maintain(&tree);
    assert_true(reader_gate_is_idle(&tree.gate));
    packed_tree_fini(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_by_one),
        cmocka_unit_test(in_bulk),
        cmocka_unit_test(fully_packed_needles_in_order_take_less_than_a_byte),
        cmocka_unit_test(reserved_puts_need_no_memory),
        cmocka_unit_test(unreserved_put_without_memory_changes_nothing),
        cmocka_unit_test(walk_amid_an_overwrite_sees_the_key_once),
        cmocka_unit_test(readers_see_what_was_put_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
