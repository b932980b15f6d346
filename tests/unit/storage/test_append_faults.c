/* Every call that an append makes fails in turn: with each error, whole or short, once and for good, for
 * each kind of request, durable or not. What was refused must not be seen, what was acknowledged must
 * stay, and the volume must say what happened to it. */
#include "tests/unit/cmocka_all.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum act { ACT_PUT, ACT_OVERWRITE, ACT_EMPTY, ACT_DELETE, ACT_RAW, ACTS };
static const char *const act_names[ACTS] = {"put", "overwrite", "empty", "delete", "raw"};

static const struct failure {
    const char *name;
    unsigned calls;
    int errnum; /* 0: a short write */
    bool is_for_good;
} failures[] = {
    {"EIO on a write", FAULT_WRITE, EIO, false},
    {"EIO on all writes", FAULT_WRITE, EIO, true},
    {"no space", FAULT_WRITE, ENOSPC, false},
    {"no space any more", FAULT_WRITE, ENOSPC, true},
    {"a short write", FAULT_WRITE, 0, false},
    {"only short writes", FAULT_WRITE, 0, true},
    {"EIO on a sync", FAULT_FSYNC | FAULT_FDATASYNC, EIO, false},
    {"EIO on all syncs", FAULT_FSYNC | FAULT_FDATASYNC, EIO, true},
    {"EIO on writes and cuts", FAULT_WRITE | FAULT_FTRUNCATE, EIO, true},
    {"EIO on syncs and cuts", FAULT_FSYNC | FAULT_FDATASYNC | FAULT_FTRUNCATE, EIO, true},
};
#define FAILURES (sizeof(failures) / sizeof(failures[0]))

#define OLD "what was there before"
#define NEW "what comes now, and is longer"

struct scene {
    struct disk_os *disk;
    struct fault_os *fault;
    struct append_queue *queue;
    struct volume_place place;
    struct volume *volume;
    uint8_t *record;
    size_t record_size;
};

static struct append_request put(struct scene *s, uint64_t key, const char *text, bool is_durable)
{
    struct needle needle = fixture_needle(key, 1, text, strlen(text));
    return fixture_put(s->queue, s->volume, &needle, is_durable);
}

static void open_scene(struct scene *s)
{
    disk_os_create(&s->disk, 16 << 20);
    fault_os_create(&s->fault, disk_os_get(s->disk));
    s->place = (struct volume_place){fault_os_get(s->fault), "/d", NULL, "", 1};
    struct volume_options options = {.offset_bytes = 5};
    assert_int_equal(os_mkdir(s->place.os, "/d", 0755), 0);
    assert_int_equal(append_queue_create(&s->queue, "writer", NULL), 0);
    assert_int_equal(volume_create(&s->volume, &s->place, &options, NULL), 0);
    assert_int_equal(put(s, 9, NEW, false).code, 0); /* the record that a replica would send */
    struct volume_read read;
    assert_int_equal(volume_read_begin(s->volume, 9, false, &read, NULL), 0);
    assert_int_equal(volume_inspect_record(s->volume, read.offset, read.body_size, &s->record,
                                           &s->record_size, NULL),
                     0);
    volume_read_end(&read);
    assert_int_equal(put(s, 1, OLD, true).code, 0);
}

static void close_scene(struct scene *s)
{
    fault_os_clear(s->fault);
    volume_close(s->volume);
    append_queue_destroy(s->queue);
    fault_os_destroy(s->fault);
    disk_os_destroy(s->disk);
    free(s->record);
}

static struct append_request carry_out(struct scene *s, enum act act, bool is_durable)
{
    struct append_request request = {.volume = s->volume, .is_durable = is_durable};
    switch (act) {
    case ACT_PUT:
        return put(s, 2, NEW, is_durable);
    case ACT_OVERWRITE:
        return put(s, 1, NEW, is_durable);
    case ACT_EMPTY:
        return put(s, 2, "", is_durable);
    case ACT_DELETE:
        request.kind = APPEND_DELETE;
        request.needle = (struct needle){.key = 1, .cookie = 1};
        break;
    case ACT_RAW:
    default:
        request.kind = APPEND_RAW;
        request.needle = (struct needle){.key = 2};
        request.record = s->record;
        request.record_size = s->record_size;
        break;
    }
    append_queue_wait(s->queue, &request);
    return request;
}

static bool key_is(struct scene *s, uint64_t key, const char *text) /* NULL: nothing */
{
    if (text)
        return fixture_has(s->volume, key, text, strlen(text));
    struct needle needle;
    void *buf = NULL;
    int code = fixture_get(s->volume, key, &needle, &buf);
    free(buf);
    return code == KELP_E_NOT_FOUND || code == KELP_E_DELETED;
}

static bool is_before(struct scene *s, enum act act)
{
    return act == ACT_OVERWRITE || act == ACT_DELETE ? key_is(s, 1, OLD) : key_is(s, 2, NULL);
}

static bool is_after(struct scene *s, enum act act)
{
    switch (act) {
    case ACT_OVERWRITE:
        return key_is(s, 1, NEW);
    case ACT_DELETE:
        return key_is(s, 1, NULL);
    case ACT_EMPTY:
        return key_is(s, 2, "");
    default:
        return key_is(s, 2, NEW);
    }
}

/* Whether the fault struck. */
static bool strike(enum act act, bool is_durable, const struct failure *failure, unsigned nth)
{
    struct scene s;
    char name[128];
    snprintf(name, sizeof(name), "%s%s, call %u: %s", is_durable ? "durable " : "", act_names[act],
             nth, failure->name);
    open_scene(&s);
    fault_os_clear(s.fault);
    if (failure->errnum)
        fault_os_fail(s.fault, failure->calls, nth, failure->errnum, failure->is_for_good);
    else
        fault_os_short(s.fault, failure->calls, nth, 5, failure->is_for_good);
    struct append_request done = carry_out(&s, act, is_durable);
    bool has_struck = fault_os_strikes(s.fault) > 0;
    struct volume_stat stat;
    char why[VOLUME_FAULT_MAX];
    volume_stat(s.volume, &stat);
    volume_fault(s.volume, why);
    bool is_quarantined = stat.read_only == VOLUME_RO_IO_ERROR;

    if (!(done.code == 0 ? is_after(&s, act) : is_before(&s, act)))
        fail_msg("%s: code %d, and the other state is seen", name, done.code);
    if (!key_is(&s, 9, NEW) || (act != ACT_OVERWRITE && act != ACT_DELETE && !key_is(&s, 1, OLD)))
        fail_msg("%s: another blob is gone", name);
    if (done.code != 0 && !done.err.message[0])
        fail_msg("%s: no word on why", name);
    bool is_to_be = done.code != 0 && (failure->calls & (FAULT_FSYNC | FAULT_FTRUNCATE));
    if (is_quarantined != is_to_be || is_quarantined != (why[0] != '\0'))
        fail_msg("%s: read only %u, fault \"%s\"", name, stat.read_only, why);

    fault_os_clear(s.fault);
    if (!is_quarantined && put(&s, 3, NEW, true).code != 0)
        fail_msg("%s: no put is taken afterwards", name);
    volume_close(s.volume);
    if (volume_open(&s.volume, &s.place, NULL, NULL) != 0)
        fail_msg("%s: it does not open again", name);
    bool is_right = done.code == 0 ? is_after(&s, act)
                                   : is_before(&s, act) || (is_quarantined && is_after(&s, act));
    if (!is_right || !key_is(&s, 9, NEW))
        fail_msg("%s: wrong after reopening", name);
    if (put(&s, 4, NEW, true).code != 0)
        fail_msg("%s: no put is taken after reopening", name);
    close_scene(&s);
    return has_struck;
}

static void every_call_of_every_append_fails_in_turn(void **state)
{
    unsigned struck = 0;
    for (int act = 0; act < ACTS; act++)
        for (int is_durable = 0; is_durable < 2; is_durable++)
            for (size_t i = 0; i < FAILURES; i++)
                for (unsigned nth = 1; strike((enum act)act, is_durable, &failures[i], nth); nth++)
                    struck++;
    assert_true(struck > 100);
    print_message("%u faults\n", struck);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_every_append_fails_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
