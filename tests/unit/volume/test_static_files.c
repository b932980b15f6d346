/* Files that are part of the program, on both ports. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/data_port.h"
#include "volume/static_icons.h"

#include <string.h>

static struct data_port port;
static struct reply last;

static int set_up(void **state)
{
    data_port_start(&port, &(struct data_port_options){.has_public_port = true});
    return 0;
}

static int tear_down(void **state)
{
    reply_fini(&last);
    last = (struct reply){0};
    data_port_stop(&port);
    return 0;
}

static void ask(const char *method, const char *target, const char *headers)
{
    reply_fini(&last);
    data_port_ask(&port, method, target, headers, NULL, 0, &last);
}

static void the_icon_is_served_whole_for_any_method(void **state)
{
    static const char *const methods[] = {"GET", "POST", "PATCH"};
    for (size_t i = 0; i < 3; i++) {
        ask(methods[i], "/favicon.ico", "");
        assert_int_equal(last.status, 200);
        assert_int_equal(last.body_size, sizeof(static_icon_favicon));
        assert_memory_equal(last.body, static_icon_favicon, sizeof(static_icon_favicon));
        assert_string_equal(reply_header(&last, "Content-Type"), "image/x-icon");
        assert_string_equal(reply_header(&last, "Accept-Ranges"), "bytes");
        assert_null(reply_header(&last, "Server"));
        assert_null(reply_header(&last, "X-Amz-Request-Id"));
        assert_null(reply_header(&last, "Last-Modified"));
    }
    ask("GET", "/seaweedfsstatic/seaweed50x50.png", "");
    assert_int_equal(last.body_size, sizeof(static_icon_logo));
    assert_string_equal(reply_header(&last, "Content-Type"), "image/png");
}

static void ranges_of_a_file(void **state)
{
    ask("GET", "/favicon.ico", "Range: bytes=2-5\r\n");
    assert_int_equal(last.status, 206);
    assert_int_equal(last.body_size, 4);
    assert_memory_equal(last.body, static_icon_favicon + 2, 4);
    char expected[40];
    snprintf(expected, sizeof(expected), "bytes 2-5/%zu", sizeof(static_icon_favicon));
    assert_string_equal(reply_header(&last, "Content-Range"), expected);

    ask("GET", "/favicon.ico", "Range: bytes=0-1,4-5\r\n");
    assert_int_equal(last.status, 206);
    assert_int_equal(strncmp(reply_header(&last, "Content-Type"), "multipart/byteranges; boundary=",
                             31), 0);
    assert_non_null(memmem(last.body, last.body_size, "Content-Range: bytes 4-5/", 25));

    ask("GET", "/favicon.ico", "Range: bytes=99999-\r\n");
    assert_int_equal(last.status, 416);
    assert_string_equal(last.body, "invalid range: failed to overlap\n");
    snprintf(expected, sizeof(expected), "bytes */%zu", sizeof(static_icon_favicon));
    assert_string_equal(reply_header(&last, "Content-Range"), expected);

    ask("GET", "/favicon.ico", "Range: bytes=x\r\n");
    assert_int_equal(last.status, 416);
    assert_string_equal(last.body, "invalid range\n");

    ask("GET", "/favicon.ico", "Range: bytes=0-,0-,0-\r\n"); /* more than there is: all of it */
    assert_int_equal(last.status, 200);
    assert_int_equal(last.body_size, sizeof(static_icon_favicon));
}

static void a_folder_is_listed_and_what_is_not_there_is_404(void **state)
{
    ask("GET", "/seaweedfsstatic", "");
    assert_int_equal(last.status, 307);
    assert_string_equal(reply_header(&last, "Location"), "/seaweedfsstatic/");
    ask("GET", "/seaweedfsstatic/", "");
    assert_int_equal(last.status, 200);
    assert_string_equal(reply_header(&last, "Content-Type"), "text/html; charset=utf-8");
    assert_non_null(strstr(last.body, "<a href=\"seaweed50x50.png\">seaweed50x50.png</a>\n"));
    ask("GET", "/seaweedfsstatic/nothing", "");
    assert_int_equal(last.status, 404);
    assert_string_equal(last.body, "404 page not found\n");
    assert_string_equal(reply_header(&last, "X-Content-Type-Options"), "nosniff");
    ask("GET", "/favicon.icon", "");
    assert_int_equal(last.status, 400);
}

static void the_public_port_has_them_too(void **state)
{
    static const char request[] =
        "GET /favicon.ico HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    reply_fini(&last);
    data_port_exchange(http_server_port(port.public_server), request, sizeof(request) - 1, &last);
    assert_int_equal(last.status, 200);
    assert_int_equal(last.body_size, sizeof(static_icon_favicon));
}

/* This one has no page: then the path is a blob's, as with the peer. */
static void without_a_page_its_paths_are_those_of_blobs(void **state)
{
    ask("GET", "/ui/index.html", "");
    assert_int_equal(last.status, 400);
    ask("GET", "/", "");
    assert_int_equal(last.status, 400);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_icon_is_served_whole_for_any_method),
        CASE(ranges_of_a_file),
        CASE(a_folder_is_listed_and_what_is_not_there_is_404),
        CASE(the_public_port_has_them_too),
        CASE(without_a_page_its_paths_are_those_of_blobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
