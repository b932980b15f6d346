/* Writes and deletes that some replica does not carry out: what the client is told, and what is
 * left. */
#include "data_port.h"
#include "false_peer.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FID "/3,01637037d6"
#define NOBODY "127.0.0.1:1"
#define NOBODY_ELSE "127.0.0.1:2"
#define STORED "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

static struct data_port port, other;
static struct false_peer bad;
static bool has_bad;
static struct reply last;

static struct reply *ask(struct data_port *at, const char *method, const char *target,
                         const char *headers, const char *body)
{
    reply_fini(&last);
    data_port_ask(at, method, target, headers, body, body ? strlen(body) : 0, &last);
    return &last;
}

static void expect(int status, const char *body)
{
    if (last.status != status || !last.body || strcmp(last.body, body) != 0)
        fail_msg("expected %d %s, got:\n%s", status, body, last.text);
}

static void expect_at(struct data_port *at, int status, const char *body)
{
    ask(at, "GET", FID, "", NULL);
    expect(status, body);
}

/* Three replicas: `port`, through which all is written, `other`, and this one. */
static void replace_third(const char *url)
{
    port.peers[2] = url;
    volume_lookup_forget(port.lookup, 3);
}

static void start(const char *third, unsigned timeout_ms)
{
    data_port_start(&port, &(struct data_port_options){.replication = "002",
                                                       .read_mode = VOLUME_READ_LOCAL,
                                                       .peer_timeout_ms = timeout_ms});
    data_port_start(&other, &(struct data_port_options){.replication = "002",
                                                        .read_mode = VOLUME_READ_LOCAL});
    port.peers[1] = other.url;
    port.peer_count = 3;
    has_bad = false;
    replace_third(third);
}

static void start_with_bad(const char *answer, bool hangs, unsigned timeout_ms)
{
    bad = (struct false_peer){.answer = answer, .hangs = hangs};
    false_peer_start(&bad);
    start(bad.url, timeout_ms);
    has_bad = true;
}

static void stop_bad(void)
{
    if (has_bad)
        false_peer_stop(&bad);
    has_bad = false;
}

static int stop(void **state)
{
    reply_fini(&last);
    data_port_stop(&port);
    stop_bad();
    data_port_stop(&other);
    return 0;
}

/* ---- writes ---- */

static void a_new_blob_that_a_replica_lacks_is_taken_back(void **state)
{
    start(NOBODY, 0);
    ask(&port, "PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "failed to write to replicas for volume 3: [127.0.0.1:1]: "));
    assert_null(strstr(last.body, "not undone"));
    expect_at(&port, 404, "");
    expect_at(&other, 404, "");
    replace_third(other.url); /* as if it were back */
    ask(&port, "PUT", FID, "", "hello");
    assert_int_equal(last.status, 201);
    expect_at(&port, 200, "hello");
    expect_at(&other, 200, "hello");
}

static void an_overwrite_that_a_replica_lacks_stays(void **state)
{
    start(NOBODY, 0);
    ask(&port, "PUT", FID "?type=replicate", "", "old");
    ask(&other, "PUT", FID "?type=replicate", "", "old");
    ask(&port, "PUT", FID, "", "new");
    assert_int_equal(last.status, 500);
    expect_at(&port, 200, "new");
    expect_at(&other, 200, "new");
}

static void a_blob_that_was_there_already_stays(void **state)
{
    start(NOBODY, 0);
    ask(&port, "PUT", FID "?type=replicate", "", "hello");
    ask(&port, "PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    expect_at(&port, 200, "hello");
}

static void a_blob_that_a_replica_had_already_stays_there(void **state)
{
    start(NOBODY, 0);
    ask(&other, "PUT", FID "?type=replicate", "", "hello");
    ask(&port, "PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    expect_at(&port, 404, "");
    expect_at(&other, 200, "hello");
}

/* What was there before cannot be brought back: better the new content than none. */
static void a_blob_that_a_replica_had_otherwise_stays_there(void **state)
{
    start(NOBODY, 0);
    ask(&other, "PUT", FID "?type=replicate", "", "old");
    ask(&port, "PUT", FID, "", "new");
    assert_int_equal(last.status, 500);
    expect_at(&port, 404, "");
    expect_at(&other, 200, "new");
}

/* The id that is written may stand behind another one. */
static void taking_back_is_of_what_was_written(void **state)
{
    start(NOBODY, 0);
    ask(&port, "PUT", FID "?type=replicate", "", "kept");
    ask(&other, "PUT", FID "?type=replicate", "", "kept");
    ask(&port, "PUT", "/3/01637037d6/,02637037d6", "", "new");
    assert_int_equal(last.status, 500);
    expect_at(&port, 200, "kept");
    expect_at(&other, 200, "kept");
    ask(&port, "GET", "/3,02637037d6", "", NULL);
    expect(404, "");
    ask(&other, "GET", "/3,02637037d6", "", NULL);
    expect(404, "");
}

static void a_number_sign_in_the_path_reaches_the_replica(void **state)
{
    start_with_bad(STORED, false, 0);
    ask(&port, "PUT", "/3,01637037d6.a#b?ts=77", "", "hello");
    assert_int_equal(last.status, 201);
    stop_bad();
    static const char line[] = "POST /3,01637037d6.a%23b?ts=77&ttl=&type=replicate HTTP/1.1\r\n";
    assert_memory_equal(bad.first_request, line, sizeof(line) - 1);
}

static void a_manifest_that_is_taken_back_leaves_its_chunks(void **state)
{
    start(NOBODY, 0);
    ask(&port, "PUT", FID "?type=replicate", "", "chunk");
    ask(&other, "PUT", FID "?type=replicate", "", "chunk");
    ask(&port, "PUT", "/3,02637037d6?cm=true", "",
        "{\"chunks\":[{\"fid\":\"3,01637037d6\",\"offset\":0,\"size\":5}]}");
    assert_int_equal(last.status, 500);
    ask(&other, "GET", "/3,02637037d6", "", NULL);
    expect(404, "");
    expect_at(&port, 200, "chunk");
    expect_at(&other, 200, "chunk");
}

static void all_replicas_that_failed_are_named(void **state)
{
    start(NOBODY, 0);
    port.peers[1] = NOBODY_ELSE;
    ask(&port, "PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "[127.0.0.1:1]: upload 3,01637037d6 5 bytes to "));
    assert_non_null(strstr(last.body, "[127.0.0.1:2]: upload 3,01637037d6 5 bytes to "));
    ask(&port, "PUT", FID "?type=replicate", "", "hello");
    ask(&port, "DELETE", FID, "", NULL);
    assert_int_equal(last.status, 500);
    assert_memory_equal(last.body, "{\"error\":\"Deletion Failed: [127.0.0.1:", 38);
    assert_non_null(strstr(last.body, "[127.0.0.1:1]: "));
    assert_non_null(strstr(last.body, "[127.0.0.1:2]: "));
}

static void what_cannot_be_taken_back_is_told(void **state)
{
    start_with_bad(STORED, false, 0); /* answers the delete as it does the write */
    port.peers[1] = NOBODY;
    ask(&port, "PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "; not undone: ["));
    expect_at(&port, 404, "");
    assert_int_equal(atomic_load(&bad.requests), 2);
}

static void token_and_fsync_reach_the_replica(void **state)
{
    start_with_bad(STORED, false, 0);
    ask(&port, "PUT", FID "?fsync=true&ts=77&jwt=abc", "Seaweed-Owner: me\r\n", "hello");
    assert_int_equal(last.status, 201);
    stop_bad();
    static const char line[] = "POST " FID "?fsync=true&ts=77&ttl=&type=replicate HTTP/1.1\r\n";
    assert_memory_equal(bad.first_request, line, sizeof(line) - 1);
    assert_non_null(strstr(bad.first_request, "\r\nAuthorization: Bearer abc\r\n"));
    assert_non_null(strstr(bad.first_request, "\r\nSeaweed-Owner: me\r\n"));
}

/* ---- a replica that hangs ---- */

static void *put_hello(void *arg)
{
    struct reply *reply = arg;
    data_port_ask(&port, "PUT", FID, "", "hello", 5, reply);
    return NULL;
}

static void wait_for_bad(unsigned requests)
{
    while (atomic_load(&bad.requests) < requests)
        sched_yield();
}

static void a_replica_that_hangs_holds_up_its_own_write_alone(void **state)
{
    start_with_bad("", true, 500);
    struct reply slow;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_hello, &slow), 0);
    wait_for_bad(1);
    ask(&port, "PUT", "/3,05637037d6?type=replicate", "", "another");
    assert_int_equal(last.status, 201);
    ask(&port, "GET", "/3,05637037d6", "", NULL);
    expect(200, "another");
    pthread_join(thread, NULL);
    assert_int_equal(slow.status, 500);
    assert_non_null(strstr(slow.body, "timed out"));
    reply_fini(&slow);
    expect_at(&port, 404, "");
}

/* The second write was told that it is stored: the first one's failure must not take that back. */
static void what_another_write_relies_on_is_not_taken_back(void **state)
{
    start_with_bad("", true, 500);
    struct reply slow;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_hello, &slow), 0);
    wait_for_bad(1);
    ask(&port, "PUT", FID "?type=replicate", "", "hello");
    assert_int_equal(last.status, 204);
    pthread_join(thread, NULL);
    assert_int_equal(slow.status, 500);
    reply_fini(&slow);
    expect_at(&port, 200, "hello");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, stop)
    const struct CMUnitTest tests[] = {
        CASE(a_new_blob_that_a_replica_lacks_is_taken_back),
        CASE(an_overwrite_that_a_replica_lacks_stays),
        CASE(a_blob_that_was_there_already_stays),
        CASE(a_blob_that_a_replica_had_already_stays_there),
        CASE(a_blob_that_a_replica_had_otherwise_stays_there),
        CASE(taking_back_is_of_what_was_written),
        CASE(a_number_sign_in_the_path_reaches_the_replica),
        CASE(a_manifest_that_is_taken_back_leaves_its_chunks),
        CASE(all_replicas_that_failed_are_named),
        CASE(what_cannot_be_taken_back_is_told),
        CASE(token_and_fsync_reach_the_replica),
        CASE(a_replica_that_hangs_holds_up_its_own_write_alone),
        CASE(what_another_write_relies_on_is_not_taken_back),
    };
    return cmocka_run_group_tests_name("blob_replicas", tests, NULL, NULL);
}
