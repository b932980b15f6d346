/* The data port's other routes, who may use which port, and what is counted. */
#include "port_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void status_lists_disks_and_volumes(void **state)
{
    put_hello();
    ask("GET", "/status", "", NULL);
    assert_int_equal(last.status, 200);
    expect_header("Content-Type", "application/json");
    const char *volume = strstr(last.body, "\"Version\":\"8000GB 4.48 kelp\",\"Volumes\":["
                                           "{\"Collection\":\"\",\"DiskType\":\"\","
                                           "\"RemoteStorageName\":\"\",\"ReplicaPlacement\":{},"
                                           "\"Ttl\":{\"Count\":0,\"Unit\":0},\"Size\":29,"
                                           "\"DeletedByteCount\":0,\"ModifiedAtSecond\":");
    assert_non_null(volume);
    assert_non_null(strstr(volume, ",\"Id\":3,\"DiskId\":0,\"CompactRevision\":0,\"FileCount\":1,"
                                   "\"DeleteCount\":0,\"Version\":3,\"ReadOnly\":false,"
                                   "\"ReadOnlyCanDelete\":false}]}"));
    assert_non_null(strstr(last.body, port.directory));
}

static void requests_are_counted(void **state)
{
    put_hello();
    ask("GET", FID, "", NULL);
    ask("GET", "/3,09637037d6", "", NULL);
    struct buffer page = BUFFER_INIT;
    metrics_print(port.metrics, &page);
    const char *text = buffer_cstr(&page);
    assert_non_null(strstr(text, "request_total{type=\"GET\",code=\"200\"} 1\n"));
    assert_non_null(strstr(text, "request_total{type=\"GET\",code=\"404\"} 1\n"));
    assert_non_null(strstr(text, "request_total{type=\"PUT\",code=\"201\"} 1\n"));
    assert_non_null(strstr(text, "in_flight_requests{type=\"GET\"} 0\n"));
    buffer_fini(&page);
}

static void a_disk_that_fails_is_counted(void **state)
{
    data_port_stop(&port);
    data_port_start(&port, &(struct data_port_options){.is_failing = true});
    put_hello();
    ask("GET", FID, "", NULL);
    expect(500, "");
    struct buffer page = BUFFER_INIT;
    metrics_print(port.metrics, &page);
    const char *text = buffer_cstr(&page);
    assert_non_null(strstr(text, "storage_io_error_total 1\n"));
    assert_non_null(strstr(text, "file_read_failures 1\n"));
    assert_non_null(strstr(text, "file_read_invalid_needles 0\n"));
    assert_non_null(strstr(text, "handler_total{type=\"errorGetInternal\"} 1\n"));
    assert_non_null(strstr(text, "kelp_commit_group_size_bucket{le=\"1\"} 1\n"));
    buffer_fini(&page);
}

static void a_stranger_may_read_but_not_write(void **state)
{
    stage_restart(&(struct data_port_options){.white_list = "10.0.0.0/8"});
    ask("PUT", FID, "", "hello");
    expect(401, "");
    ask("DELETE", FID, "", NULL);
    expect(401, "");
    ask("GET", FID, "", NULL);
    expect(404, "");
    stage_restart(&(struct data_port_options){.white_list = "10.0.0.0/8,127.0.0.1"});
    put_hello();
}

static void health_follows_the_server(void **state)
{
    ask("GET", "/healthz", "", NULL);
    expect(200, "");
    stage_restart(&(struct data_port_options){.is_unhealthy = true});
    ask("GET", "/healthz", "", NULL);
    expect(503, "");
    ask("GET", "/readyz", "", NULL);
    expect(503, "");
}

static void the_public_port_reads_only(void **state)
{
    stage_restart(&(struct data_port_options){.has_public_port = true});
    put_hello();
    const char *get = "GET " FID " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const char *delete = "DELETE " FID " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    const char *status = "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    uint16_t public = http_server_port(port.public_server);
    reply_fini(&last);
    data_port_exchange(public, delete, strlen(delete), &last);
    expect(200, "");
    reply_fini(&last);
    data_port_exchange(public, get, strlen(get), &last);
    expect(200, "hello");
    reply_fini(&last);
    data_port_exchange(public, status, strlen(status), &last);
    expect(400, "");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_start, stage_stop)
    const struct CMUnitTest tests[] = {
        CASE(status_lists_disks_and_volumes),
        CASE(requests_are_counted),
        CASE(a_disk_that_fails_is_counted),
        CASE(a_stranger_may_read_but_not_write),
        CASE(health_follows_the_server),
        CASE(the_public_port_reads_only),
    };
    return cmocka_run_group_tests_name("volume_routes", tests, NULL, NULL);
}
