/* Everything listens on 127.0.0.1; the folder is under /tmp. */
#include "tests/unit/master/master_fixture.h"

#include "common/check.h"
#include "common/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void start_master(struct master_fixture *f)
{
    struct error err = {.message = ""};
    if (master_start(&f->master, &f->config, &err))
        fail_msg("%s", err.message);
    snprintf(f->grpc, sizeof(f->grpc), "127.0.0.1:%u", master_grpc_port(f->master));
}

int set_up(void **state)
{
    struct master_fixture *f = must(calloc(1, sizeof(*f)));
    strcpy(f->directory, "/tmp/kelp-master-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    master_config_init(&f->config);
    f->config.port = 0;
    f->config.http_threads = 1;
    f->config.metadata_dir = f->directory;
    f->config.volume_size_limit_mb = 100;
    start_master(f);
    assert_int_equal(rpc_client_create(&f->client, NULL), 0);
    assert_int_equal(http_client_create(&f->http, NULL, NULL), 0);
    fake_server_start(&f->a, master_grpc_port(f->master), 7001);
    fake_server_start(&f->b, master_grpc_port(f->master), 7002);
    *state = f;
    return 0;
}

int tear_down(void **state)
{
    struct master_fixture *f = *state;
    http_client_destroy(f->http);
    rpc_client_destroy(f->client);
    master_stop(f->master, 1000);
    fake_server_stop(&f->a);
    fake_server_stop(&f->b);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

int call(struct master_fixture *f, const char *method, const ProtobufCMessage *request,
         const ProtobufCMessageDescriptor *descriptor, void *ret_response,
         enum rpc_status *ret_status, struct error *err)
{
    char path[128];
    snprintf(path, sizeof(path), "/master_pb.Seaweed/%s", method);
    return rpc_client_call(f->client, f->grpc, path, request, descriptor, WAIT_MS, ret_response,
                           ret_status, err);
}

void expect_http(struct master_fixture *f, const char *path, int status, const char *text)
{
    char url[512];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", master_port(f->master), path);
    struct http_client_request request = {.method = "GET", .url = url};
    struct http_client_response response;
    struct error err = {.message = ""};
    if (http_client_fetch(f->http, &request, &response, &err))
        fail_msg("%s: %s", path, err.message);
    if (response.status != status || (text && !strstr(response.body, text)))
        fail_msg("%s: %d %s", path, response.status, response.body);
    http_client_response_fini(&response);
}

void await_http(struct master_fixture *f, const char *path, const char *text)
{
    char url[512];
    bool is_there = false;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", master_port(f->master), path);
    struct http_client_request request = {.method = "GET", .url = url};
    int64_t deadline_ns = os_monotonic_ns(os_real()) + WAIT_MS * INT64_C(1000000);
    while (!is_there) {
        struct http_client_response response;
        assert_true(os_monotonic_ns(os_real()) < deadline_ns);
        assert_int_equal(http_client_fetch(f->http, &request, &response, NULL), 0);
        is_there = strstr(response.body, text) != NULL;
        http_client_response_fini(&response);
    }
}
