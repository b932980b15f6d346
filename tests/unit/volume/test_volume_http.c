/* The data port from the outside: the worked examples of spec/volume-http.md 21, the errors of
 * its section 20, and what happens to data that is big, damaged or somewhere else. */
#include "common/check.h"
#include "data_port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FID "/3,01637037d6"

static struct data_port port;

static int start(void **state)
{
    data_port_start(&port, &(struct data_port_options){0});
    return 0;
}

static int stop(void **state)
{
    data_port_stop(&port);
    return 0;
}

static struct reply last;

static struct reply *ask(const char *method, const char *target, const char *headers,
                         const char *body)
{
    reply_fini(&last);
    data_port_ask(&port, method, target, headers, body, body ? strlen(body) : 0, &last);
    return &last;
}

static void expect(int status, const char *body)
{
    if (last.status != status || strcmp(last.body, body) != 0)
        fail_msg("expected %d %s, got:\n%s", status, body, last.text);
}

static void expect_header(const char *name, const char *value)
{
    const char *got = reply_header(&last, name);
    if (value ? !got || strcmp(got, value) != 0 : got != NULL)
        fail_msg("expected %s: %s, got:\n%s", name, value ? value : "(absent)", last.text);
}

static void put_hello(void)
{
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 201);
}

static int finish_last(void **state)
{
    reply_fini(&last);
    return stop(state);
}

/* ---- worked examples ---- */

static void put_answers_name_size_and_etag(void **state)
{
    ask("PUT", FID, "", "hello");
    expect(201, "{\"name\":\"3,01637037d6\",\"size\":5,\"eTag\":\"9a71bb4c\"}");
    expect_header("Etag", "\"9a71bb4c\"");
    expect_header("Content-Md5", "");
    expect_header("Content-Type", "application/json");
    expect_header("X-Content-Type-Options", "nosniff");
    expect_header("Server", "SeaweedFS Volume 8000GB 4.48");
    assert_int_equal(strlen(reply_header(&last, "X-Amz-Request-Id")), 24);
}

static void put_of_the_same_again_is_unchanged(void **state)
{
    put_hello();
    ask("PUT", FID, "", "hello");
    expect(204, "");
    expect_header("Etag", "\"9a71bb4c\"");
    expect_header("Content-Md5", "");
}

static void get_answers_the_blob_with_its_headers(void **state)
{
    put_hello();
    ask("GET", FID, "", NULL);
    expect(200, "hello");
    expect_header("Content-Type", "text/plain; charset=utf-8");
    expect_header("Content-Disposition", "inline; filename=\"3,01637037d6\"");
    expect_header("Accept-Ranges", "bytes");
    expect_header("Etag", "\"9a71bb4c\"");
    expect_header("Content-Length", "5");
    assert_non_null(reply_header(&last, "Last-Modified"));
}

static void get_in_each_url_shape_finds_the_blob(void **state)
{
    static const char *const shapes[] = {"/3,01637037d6", "/3,01637037d6.png", "/3/01637037d6",
                                         "/3/01637037d6.png", "/3/01637037d6/a.bin",
                                         "/3%2C01637037d6", "/3,00637037d6_1"};
    put_hello();
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        ask("GET", shapes[i], "", NULL);
        expect(200, "hello");
    }
}

static void get_by_name_takes_type_and_disposition_from_it(void **state)
{
    put_hello();
    ask("GET", "/3/01637037d6/x.pdf?dl=1", "", NULL);
    expect(200, "hello");
    expect_header("Content-Type", "application/pdf");
    expect_header("Content-Disposition", "attachment; filename=x.pdf");
}

static void head_tells_the_size_without_a_body_or_a_sniffed_type(void **state)
{
    put_hello();
    ask("HEAD", FID, "Range: bytes=1-2\r\n", NULL);
    expect(200, "");
    expect_header("Content-Length", "5");
    expect_header("Content-Type", NULL);
}

static void ranges_are_answered_as_the_peer_does(void **state)
{
    put_hello();
    ask("GET", FID, "Range: bytes=1-3\r\n", NULL);
    expect(206, "ell");
    expect_header("Content-Range", "bytes 1-3/5");
    ask("GET", FID, "Range: bytes=0-3,1-4\r\n", NULL);
    expect(200, "");
    expect_header("Content-Length", "0");
    ask("GET", FID, "Range: bytes=-0\r\n", NULL);
    expect(206, "");
    expect_header("Content-Range", "bytes 5-4/5");
    ask("GET", FID, "Range: bytes=9-\r\n", NULL);
    expect(416, "invalid range: failed to overlap\n");
    expect_header("Content-Range", "bytes */5");
    expect_header("Content-Type", "text/plain; charset=utf-8");
    expect_header("X-Content-Type-Options", "nosniff");
    expect_header("Etag", "\"9a71bb4c\"");
    ask("GET", FID, "Range: bytes=3-1\r\n", NULL);
    expect(416, "invalid range\n");
    expect_header("Content-Range", NULL);
}

static void several_ranges_come_as_parts(void **state)
{
    put_hello();
    ask("GET", FID, "Range: bytes=0-1,3-4\r\n", NULL);
    assert_int_equal(last.status, 206);
    char type[200], expected[800];
    snprintf(type, sizeof(type), "%s", reply_header(&last, "Content-Type"));
    const char *prefix = "multipart/byteranges; boundary=";
    assert_memory_equal(type, prefix, strlen(prefix));
    const char *b = type + strlen(prefix);
    assert_int_equal(strlen(b), 60);
    snprintf(expected, sizeof(expected),
             "--%s\r\nContent-Range: bytes 0-1/5\r\nContent-Type: \r\n\r\nhe\r\n"
             "--%s\r\nContent-Range: bytes 3-4/5\r\nContent-Type: \r\n\r\nlo\r\n--%s--\r\n",
             b, b, b);
    assert_string_equal(last.body, expected);
    assert_false(last.is_short);
}

static void conditions_are_answered_304_without_etag(void **state)
{
    ask("PUT", FID "?ts=1600000000", "", "hello");
    ask("GET", FID, "If-None-Match: \"9a71bb4c\"\r\n", NULL);
    expect(304, "");
    expect_header("Etag", NULL);
    expect_header("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT");
    ask("GET", FID, "If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT\r\n", NULL);
    expect(304, "");
    ask("GET", FID, "If-Modified-Since: Sun, 13 Sep 2020 12:26:39 GMT\r\n", NULL);
    expect(200, "hello");
    ask("GET", FID, "If-None-Match: W/\"9a71bb4c\", *\r\n", NULL);
    expect(200, "hello");
}

static void post_of_a_form_stores_its_file(void **state)
{
    ask("POST", FID, "Content-Type: multipart/form-data; boundary=B\r\n",
        "--B\r\nContent-Disposition: form-data; name=\"x\"; filename=\"a.txt\"\r\n"
        "Content-Type: text/plain\r\n\r\nhello\r\n--B--\r\n");
    expect(201, "{\"name\":\"a.txt\",\"size\":5,\"eTag\":\"9a71bb4c\",\"mime\":\"text/plain\"}");
    ask("GET", FID, "", NULL);
    expect(200, "hello");
    expect_header("Content-Type", "text/plain");
    expect_header("Content-Disposition", "inline; filename=a.txt");
    ask("DELETE", FID, "", NULL);
    expect(202, "{\"size\":32}");
}

static void delete_tells_the_stored_size_once(void **state)
{
    put_hello();
    ask("DELETE", FID, "", NULL);
    expect(202, "{\"size\":29}");
    ask("DELETE", FID, "", NULL);
    expect(404, "{\"size\":0}");
    ask("GET", FID, "", NULL);
    expect(404, "");
    ask("GET", FID "?readDeleted=true", "", NULL);
    expect(200, "hello");
}

static void an_empty_blob_is_read_back_empty(void **state)
{
    ask("PUT", FID, "", "");
    expect(201, "{\"name\":\"3,01637037d6\",\"eTag\":\"00000000\"}");
    ask("GET", FID, "", NULL);
    expect(200, "");
    expect_header("Etag", "\"00000000\"");
}

/* ---- what is stored beside the data ---- */

static void text_is_stored_compressed_and_unpacked_for_those_who_ask_plain(void **state)
{
    char text[4001];
    memset(text, 'k', 4000);
    text[4000] = 0;
    ask("PUT", FID, "Content-Type: text/plain\r\n", text);
    assert_int_equal(last.status, 201);
    ask("GET", FID, "Accept-Encoding: br, gzip\r\n", NULL);
    assert_int_equal(last.status, 200);
    expect_header("Content-Encoding", "gzip");
    assert_true(last.body_size < 200);
    ask("GET", FID, "", NULL);
    expect(200, text);
    expect_header("Content-Encoding", NULL);
    ask("GET", FID, "Range: bytes=3999-\r\n", NULL);
    expect(206, "k");
    ask("HEAD", FID, "", NULL);
    expect_header("Content-Length", "4000");
}

static void pairs_come_back_as_headers(void **state)
{
    ask("PUT", FID, "seaweed-foo-bar: 1\r\nSeaweed-Zed: \"q\"\r\nseaweed-content-length: 7\r\n",
        "hello");
    assert_int_equal(last.status, 201);
    ask("GET", FID, "", NULL);
    expect(200, "hello");
    expect_header("Foo-Bar", "1");
    expect_header("Zed", "\"q\"");
    expect_header("Content-Length", "5");
}

static void response_parameters_override_headers(void **state)
{
    put_hello();
    ask("GET",
        FID "?response-content-type=a/b&response-expires=soon"
            "&Response-Cache-Control=x%0d%0ay",
        "", NULL);
    expect(200, "hello");
    expect_header("Content-Type", "a/b");
    expect_header("Expires", "soon");
    expect_header("Cache-Control", "x  y");
    ask("GET", FID "?response-content-disposition=inline", "", NULL);
    expect_header("Content-Disposition", "inline");
}

static void a_needle_with_a_ttl_is_gone_after_it(void **state)
{
    ask("PUT", FID "?ttl=1m", "", "hello");
    assert_int_equal(last.status, 201);
    ask("GET", FID, "", NULL);
    expect(200, "hello");
}

static void md5_is_checked(void **state)
{
    ask("PUT", FID, "Content-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n", "hello");
    expect(201, "{\"name\":\"3,01637037d6\",\"size\":5,\"eTag\":\"9a71bb4c\","
                "\"contentMd5\":\"XUFAKrxLKna5cZ2REBfFkg==\"}");
    expect_header("Content-Md5", "XUFAKrxLKna5cZ2REBfFkg==");
    ask("PUT", "/3,02637037d6", "Content-MD5: AAAA\r\n", "hello");
    expect(400, "{\"error\":\"Content-MD5 did not match md5 of file data expected [AAAA] received "
                "[XUFAKrxLKna5cZ2REBfFkg==] size 5\"}");
    ask("GET", "/3,02637037d6", "", NULL);
    expect(404, "");
}

/* ---- bad input ---- */

struct bad_case {
    const char *method, *target, *headers, *body;
    int status;
    const char *answer;
};

static void bad_requests_get_the_peers_answers(void **state)
{
    static const struct bad_case cases[] = {
        {"GET", "/x,01637037d6", "", NULL, 400, ""},
        {"GET", "/3", "", NULL, 400, ""},
        {"GET", "/", "", NULL, 400, ""},
        {"GET", "/3,01", "", NULL, 400, ""},
        {"GET", "/3,01637037zz", "", NULL, 400, ""},
        {"GET", "/a/b/c/d/3,01637037d6", "", NULL, 400, ""},
        {"GET", "/3.5,01637037d6", "", NULL, 400, ""},
        {"GET", "/3,01637037d7", "", NULL, 404, ""},
        {"GET", "/3,02637037d6", "", NULL, 404, ""},
        {"GET", "/99,01637037d6", "", NULL, 404, ""},
        {"GET", "/metrics", "", NULL, 400, ""},
        {"GET", "/seaweedfsstatic/nothing", "", NULL, 404, "404 page not found\n"},
        {"DELETE", "/3", "", NULL, 400, "{\"error\":\"Invalid fid: \"}"},
        {"DELETE", "/x,01637037d6", "", NULL, 404, "{\"size\":0}"},
        {"DELETE", "/99,01637037d6", "", NULL, 404, "{\"size\":0}"},
        {"DELETE", "/3,01637037d7", "", NULL, 400,
         "{\"error\":\"File Random Cookie does not match.\"}"},
        {"PATCH", FID, "", NULL, 400, "{\"error\":\"unsupported method PATCH\"}"},
        {"POST", FID, "", "hello", 400,
         "{\"error\":\"request Content-Type isn't multipart/form-data\"}"},
        {"POST", FID, "Content-Type: multipart/form-data\r\n", "hello", 400,
         "{\"error\":\"no multipart boundary param in Content-Type\"}"},
        {"POST", FID, "Content-Type: multipart/form-data; boundary=B\r\n", "", 400,
         "{\"error\":\"multipart: NextPart: EOF\"}"},
        {"POST", FID, "Content-Type: a/b; =c\r\n", "x", 400,
         "{\"error\":\"mime: invalid media parameter\"}"},
        {"PUT", "/x,01637037d6", "", "hello", 400,
         "{\"error\":\"strconv.ParseUint: parsing \\\"x\\\": invalid syntax\"}"},
        {"PUT", "/3,01", "", "hello", 400, "{\"error\":\"Invalid fid: 01\"}"},
        {"PUT", FID "?a=%zz", "", "hello", 400, "{\"error\":\"invalid URL escape \\\"%zz\\\"\"}"},
        {"PUT", FID "?a=1;b", "", "hello", 400,
         "{\"error\":\"invalid semicolon separator in query\"}"},
        {"PUT", "/3,01637037d7", "", "other", 500,
         "{\"error\":\"failed to write to local disk: mismatching cookie 637037d7\"}"},
    };
    put_hello();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct bad_case *c = &cases[i];
        ask(c->method, c->target, c->headers, c->body);
        if (last.status != c->status || strcmp(last.body, c->answer) != 0)
            fail_msg("%s %s: expected %d %s, got:\n%s", c->method, c->target, c->status, c->answer,
                     last.text);
    }
    ask("GET", FID, "", NULL);
    expect(200, "hello");
}

static void a_write_to_an_unknown_volume_says_so(void **state)
{
    char answer[100];
    ask("PUT", "/99,01637037d6", "", "hello");
    snprintf(answer, sizeof(answer), "{\"error\":\"volume 99 not found on %s\"}", port.url);
    expect(500, answer);
}

static void a_write_by_the_slash_shape_fails_after_its_body(void **state)
{
    ask("PUT", "/3/01637037d6", "", "hello");
    assert_int_equal(last.status, 400);
    assert_non_null(strstr(last.body, "Parse needleId error: needle id "));
}

static void an_unclean_path_is_redirected(void **state)
{
    ask("GET", "//3,01637037d6?a=b", "", NULL);
    expect(307, "<a href=\"/3,01637037d6?a=b\">Temporary Redirect</a>.\n\n");
    expect_header("Location", "/3,01637037d6?a=b");
    expect_header("Server", NULL);
    ask("PUT", "/a/../3,01637037d6", "", "hello");
    expect(307, "");
    expect_header("Location", "/3,01637037d6");
}

static void options_and_origin_get_cors_headers(void **state)
{
    ask("OPTIONS", "/whatever", "", NULL);
    expect(200, "");
    expect_header("Access-Control-Allow-Methods", "PUT, POST, GET, DELETE, OPTIONS");
    expect_header("Access-Control-Allow-Headers", "*");
    expect_header("Access-Control-Allow-Origin", NULL);
    ask("GET", "/3", "Origin: http://a\r\n", NULL);
    expect(400, "");
    expect_header("Access-Control-Allow-Origin", "*");
    expect_header("Access-Control-Allow-Credentials", "true");
}

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

/* ---- big ---- */

#define BIG (3u * 1024 * 1024 + 123)

static char *put_big(void)
{
    char *data = must(malloc(BIG));
    uint32_t x = 7;
    for (size_t i = 0; i < BIG; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (char)(x >> 24);
    }
    reply_fini(&last);
    data_port_ask(&port, "PUT", FID, "", data, BIG, &last);
    assert_int_equal(last.status, 201);
    return data;
}

static void a_big_blob_is_streamed_whole_and_in_ranges(void **state)
{
    char *data = put_big();
    ask("GET", FID, "", NULL);
    assert_int_equal(last.status, 200);
    assert_int_equal(last.body_size, BIG);
    assert_memory_equal(last.body, data, BIG);
    expect_header("Content-Type", "application/octet-stream");
    ask("GET", FID, "Range: bytes=1000000-2999999\r\n", NULL);
    assert_int_equal(last.status, 206);
    assert_int_equal(last.body_size, 2000000);
    assert_memory_equal(last.body, data + 1000000, 2000000);
    ask("GET", FID, "Range: bytes=-0\r\n", NULL);
    expect(206, "");
    ask("GET", FID, "Range: bytes=0-599999,2000000-2599999\r\n", NULL);
    assert_int_equal(last.status, 206);
    assert_false(last.is_short);
    const char *second = memmem(last.body + 600000, last.body_size - 600000,
                                "bytes 2000000-2599999/", 22);
    assert_non_null(second);
    second = strstr(second, "\r\n\r\n") + 4;
    assert_memory_equal(second, data + 2000000, 600000);
    ask("HEAD", FID, "", NULL);
    assert_int_equal(atoi(reply_header(&last, "Content-Length")), BIG);
    ask("DELETE", FID, "", NULL);
    assert_int_equal(last.status, 202);
    free(data);
}

/* Flips a bit of the .dat, `back` bytes before its end. */
static void damage(off_t back)
{
    char path[120];
    unsigned char byte;
    snprintf(path, sizeof(path), "%s/3.dat", port.directory);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    off_t at = lseek(fd, 0, SEEK_END) - back;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_damaged_blob_is_500(void **state)
{
    put_hello();
    damage(64 - 21); /* of the record's 64 bytes, the data is the 20th to 24th */
    ask("GET", FID, "", NULL);
    expect(500, "");
    ask("DELETE", FID, "", NULL);
    expect(404, "{\"size\":0}");
}

static void a_damaged_big_blob_is_cut_short(void **state)
{
    free(put_big());
    damage(BIG / 2);
    ask("GET", FID, "", NULL);
    assert_int_equal(last.status, 200);
    assert_true(last.is_short);
}

/* Also of the part that is right: nothing vouches for it. */
static void a_range_of_a_damaged_big_blob_is_500(void **state)
{
    free(put_big());
    damage(BIG / 2);
    for (int i = 0; i < 2; i++) {
        ask("GET", FID, "Range: bytes=0-99\r\n", NULL);
        assert_int_equal(last.status, 500);
    }
    ask("GET", "/status", "", NULL);
    assert_non_null(strstr(last.body, "\"damagedCount\":2"));
    assert_non_null(strstr(last.body, "\"damaged\":[{\"needle\":\"1\""));
}

static void a_new_put_takes_a_blob_off_the_list_of_damage(void **state)
{
    put_hello();
    damage(64 - 21);
    ask("GET", FID, "", NULL);
    expect(500, "");
    ask("GET", "/status", "", NULL);
    assert_non_null(strstr(last.body, "\"damaged\":["));
    ask("PUT", FID, "", "hello again");
    assert_int_equal(last.status, 201);
    ask("GET", "/status", "", NULL);
    assert_non_null(strstr(last.body, "\"damagedCount\":1"));
    assert_null(strstr(last.body, "\"damaged\":["));
}

/* The body is announced and never sent: only an early answer comes at all. */
static void a_read_only_volume_refuses_before_the_body_comes(void **state)
{
    static const char announced[] = "PUT " FID " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    struct volume *volume = store_acquire(port.store, 3);
    assert_int_equal(volume_mark_read_only(volume, false, false, NULL), 0);
    store_release(port.store, volume);
    reply_fini(&last);
    data_port_exchange((uint16_t)atoi(strchr(port.url, ':') + 1), announced, sizeof(announced) - 1,
                       &last);
    expect(500, "{\"error\":\"failed to write to local disk: volume 3 is read only: marked by the "
                "operator\"}");
    /* And who sends it all before he reads is answered too. */
    size_t size = 8u << 20;
    char *body = must(calloc(1, size));
    reply_fini(&last);
    data_port_ask(&port, "PUT", FID, "", body, size, &last);
    assert_int_equal(last.status, 500);
    free(body);
    ask("GET", "/status", "", NULL);
    assert_non_null(strstr(last.body, "\"kelp\":{\"readOnlyReasons\":[\"operator\"]}"));
}

static void big_compressed_uploads_take_the_pool_and_come_back(void **state)
{
    size_t size = 2u << 20;
    char *text = must(malloc(size + 1));
    for (size_t i = 0; i < size; i++)
        text[i] = "lorem ipsum dolor\n"[i % 18];
    text[size] = 0;
    ask("PUT", FID, "Content-Type: text/plain\r\n", text);
    assert_int_equal(last.status, 201);
    ask("GET", FID, "", NULL);
    expect(200, text);
    free(text);
}

/* ---- chunk manifests ---- */

static void put_chunks(void)
{
    ask("PUT", "/3,0a00000001", "", "hello ");
    assert_int_equal(last.status, 201);
    ask("PUT", "/3,0b00000001", "", "chunked world");
    assert_int_equal(last.status, 201);
    ask("PUT", FID "?cm=true&ts=1600000000", "Content-Type: text/plain\r\n",
        "{\"name\":\"w.css\",\"mime\":\"application/octet-stream\",\"size\":19,\"chunks\":["
        "{\"fid\":\"3,0b00000001\",\"offset\":6,\"size\":13},"
        "{\"fid\":\"3,0a00000001\",\"offset\":0,\"size\":6}]}");
    assert_int_equal(last.status, 201);
}

static void a_manifest_is_read_as_the_file_it_stands_for(void **state)
{
    put_chunks();
    ask("GET", FID, "", NULL);
    expect(200, "hello chunked world");
    expect_header("X-File-Store", "chunked");
    expect_header("Content-Type", "text/css; charset=utf-8");
    expect_header("Content-Disposition", "inline; filename=w.css");
    expect_header("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT");
    ask("GET", FID, "Range: bytes=4-8\r\n", NULL);
    expect(206, "o chu");
    expect_header("Content-Range", "bytes 4-8/19");
    ask("GET", FID, "Range: bytes=0-1,5-6\r\n", NULL);
    assert_int_equal(last.status, 206);
    assert_false(last.is_short);
    assert_non_null(strstr(last.body, "bytes 5-6/19\r\n"
                                      "Content-Type: text/css; charset=utf-8\r\n\r\n c"));
    ask("HEAD", FID, "", NULL);
    expect_header("Content-Length", "19");
    ask("GET", FID "?cm=false", "", NULL);
    assert_memory_equal(last.body, "{\"name\"", 7);
}

static void deleting_a_manifest_deletes_its_chunks(void **state)
{
    put_chunks();
    ask("DELETE", FID, "", NULL);
    expect(202, "{\"size\":19}");
    ask("GET", "/3,0a00000001", "", NULL);
    expect(404, "");
    ask("GET", "/3,0b00000001", "", NULL);
    expect(404, "");
    ask("GET", FID, "", NULL);
    expect(404, "");
}

static void a_manifest_that_lists_itself_ends(void **state)
{
    ask("PUT", FID "?cm=true", "",
        "{\"chunks\":[{\"fid\":\"3,01637037d6\",\"offset\":0,\"size\":5}]}");
    ask("GET", FID, "", NULL);
    expect(200, "{\"chu");
    ask("DELETE", FID, "", NULL);
    assert_int_equal(last.status, 202);
}

static void a_manifest_with_missing_chunks_fails_in_the_peers_words(void **state)
{
    char text[100];
    ask("PUT", FID "?cm=true", "",
        "{\"chunks\":[{\"fid\":\"3,0c00000001\",\"offset\":0,\"size\":5}]}");
    ask("GET", FID, "", NULL);
    assert_int_equal(last.status, 500);
    snprintf(text, sizeof(text), "Read chunk needle error: [404] http://%s/3,0c00000001", port.url);
    assert_memory_equal(last.body, text, strlen(text));
    ask("HEAD", FID, "", NULL);
    expect(200, "");
    ask("PUT", "/3,02637037d6?cm=true", "",
        "{\"chunks\":[{\"fid\":\"99,0c00000001\",\"offset\":0,\"size\":5}]}");
    ask("GET", "/3,02637037d6", "", NULL);
    expect(500, "File Not Found\n");
    ask("DELETE", "/3,02637037d6", "", NULL);
    expect(500, "{\"error\":\"Delete chunks error: chunk delete 99,0c00000001: volume id 99 not "
                "found\"}");
    ask("PUT", "/3,03637037d6?cm=true", "", "no manifest");
    ask("GET", "/3,03637037d6", "", NULL);
    expect(200, "no manifest");
    ask("DELETE", "/3,03637037d6", "", NULL);
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "{\"error\":\"Load chunks manifest error: "));
}

static void restart(const struct data_port_options *options)
{
    data_port_stop(&port);
    data_port_start(&port, options);
}

static void what_is_not_in_memory_is_read_on_the_pool(void **state)
{
    restart(&(struct data_port_options){.is_cold = true});
    put_hello();
    ask("GET", FID, "", NULL);
    expect(200, "hello");
    ask("GET", "/3,01637037d7", "", NULL);
    expect(404, "");
    ask("DELETE", FID, "", NULL);
    expect(202, "{\"size\":29}");
    char *data = put_big();
    ask("GET", FID, "", NULL);
    assert_int_equal(last.body_size, BIG);
    assert_memory_equal(last.body, data, BIG);
    ask("GET", FID, "Range: bytes=5-1000004\r\n", NULL);
    assert_memory_equal(last.body, data + 5, 1000000);
    ask("DELETE", FID, "", NULL);
    assert_int_equal(last.status, 202);
    free(data);
}

/* ---- limits ---- */

/* Sends a GET of the blob on a connection of its own. */
static int send_get_of(const char *target, int receive_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(port.server))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    char request[128];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    return fd;
}

static int send_get(int receive_buffer) { return send_get_of(FID, receive_buffer); }

static void expect_status(int fd, const char *status)
{
    char text[1024] = "";
    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 12);
    assert_memory_equal(text + 9, status, 3);
    if (strcmp(status, "503") == 0)
        assert_non_null(strstr(text, "\r\nRetry-After: 1\r\n"));
}

static void reads_beyond_the_queue_are_told_to_come_again(void **state)
{
    restart(&(struct data_port_options){.is_cold = true, .is_stuck = true, .reader_queue = 1});
    put_hello();
    atomic_store(&port.is_stuck, true);
    int busy[2];
    for (int i = 0; i < 2; i++) {
        busy[i] = send_get(0);
        data_port_wait_for_read(&port);
    }
    /* Both readers are stuck. Of the next two one waits, the other is refused. */
    struct pollfd next[2] = {{.fd = send_get(0), .events = POLLIN},
                             {.fd = send_get(0), .events = POLLIN}};
    assert_int_equal(poll(next, 2, 10000), 1);
    int refused = next[0].revents ? 0 : 1;
    expect_status(next[refused].fd, "503");
    data_port_release(&port);
    expect_status(next[1 - refused].fd, "200");
    for (int i = 0; i < 2; i++) {
        expect_status(busy[i], "200");
        close(busy[i]);
        close(next[i].fd);
    }
}

static void a_disk_that_hangs_holds_up_no_other(void **state)
{
    restart(&(struct data_port_options){.is_cold = true, .is_stuck = true, .has_second_disk = true});
    put_hello();
    ask("PUT", "/4,01637037d6", "", "there");
    assert_int_equal(last.status, 201);
    atomic_store(&port.is_stuck, true);
    int busy[4]; /* more than a pool has threads */
    for (int i = 0; i < 4; i++)
        busy[i] = send_get_of("/4,01637037d6", 0);
    for (int i = 0; i < 2; i++)
        data_port_wait_for_read(&port);
    for (int i = 0; i < 10; i++) {
        ask("GET", FID, "", NULL);
        expect(200, "hello");
    }
    ask("GET", "/status", "", NULL);
    assert_int_equal(last.status, 200);
    data_port_release(&port);
    for (int i = 0; i < 4; i++) {
        expect_status(busy[i], "200");
        close(busy[i]);
    }
}

/* Takes a read that never ends: its client does not read. Returns the client. */
static int hold_a_download(void)
{
    int fd = send_get(4096);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 1); /* it has begun */
    return fd;
}

static void downloads_over_the_limit_wait_and_are_refused(void **state)
{
    restart(&(struct data_port_options){.download_limit_bytes = 1000, .wait_ms = 20});
    size_t size = 30u << 20;
    char *data = calloc(1, size);
    data_port_ask(&port, "PUT", FID, "Content-Type: a/b\r\n", data, size, &last);
    assert_int_equal(last.status, 201);
    free(data);
    int fd = hold_a_download();
    ask("GET", "/3,02637037d6?x=y", "", NULL);
    assert_int_equal(last.status, 429);
    const char *start =
        "{\"error\":\"request /3,02637037d6 because inflight download data 314573";
    assert_memory_equal(last.body, start, strlen(start));
    assert_non_null(strstr(last.body, " \\u003e 1000, and wait timeout\"}"));
    close(fd);
}

static void a_waiting_download_goes_on_when_there_is_room(void **state)
{
    restart(&(struct data_port_options){.download_limit_bytes = 1000, .wait_ms = 10000});
    size_t size = 30u << 20;
    char *data = calloc(1, size);
    data_port_ask(&port, "PUT", FID, "Content-Type: a/b\r\n", data, size, &last);
    free(data);
    ask("PUT", "/3,02637037d6", "", "small");
    int fd = hold_a_download();
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd); /* the server sees it now or while the next one waits */
    ask("GET", "/3,02637037d6", "", NULL);
    expect(200, "small");
}

static void a_file_over_the_limit_is_refused_exactly(void **state)
{
    restart(&(struct data_port_options){.file_size_limit_bytes = 1000});
    char text[1002];
    memset(text, 'a', 1001);
    text[1001] = 0;
    ask("PUT", FID, "", text);
    expect(400, "{\"error\":\"file over the limited 1000 bytes\"}");
    text[1000] = 0;
    ask("PUT", FID, "", text);
    assert_int_equal(last.status, 201);
    size_t size = 4u << 20;
    char *big = calloc(1, size);
    reply_fini(&last);
    data_port_ask(&port, "PUT", FID, "", big, size, &last);
    expect(400, "{\"error\":\"file over the limited 1000 bytes\"}");
    free(big);
}

static void a_stranger_may_read_but_not_write(void **state)
{
    restart(&(struct data_port_options){.white_list = "10.0.0.0/8"});
    ask("PUT", FID, "", "hello");
    expect(401, "");
    ask("DELETE", FID, "", NULL);
    expect(401, "");
    ask("GET", FID, "", NULL);
    expect(404, "");
    restart(&(struct data_port_options){.white_list = "10.0.0.0/8,127.0.0.1"});
    put_hello();
}

static void health_follows_the_server(void **state)
{
    ask("GET", "/healthz", "", NULL);
    expect(200, "");
    restart(&(struct data_port_options){.is_unhealthy = true});
    ask("GET", "/healthz", "", NULL);
    expect(503, "");
    ask("GET", "/readyz", "", NULL);
    expect(503, "");
}

static void the_public_port_reads_only(void **state)
{
    restart(&(struct data_port_options){.has_public_port = true});
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

/* ---- elsewhere ---- */

static struct data_port other;

static void start_pair(const char *replication)
{
    restart(&(struct data_port_options){.replication = replication});
    data_port_start(&other, &(struct data_port_options){.replication = replication});
    port.peers[1] = other.url;
    port.peer_count = 2;
    other.peers[0] = port.url;
    other.peers[1] = other.url;
    other.peer_count = 2;
}

static int stop_pair(void **state)
{
    data_port_stop(&other);
    return finish_last(state);
}

static void ask_other(const char *method, const char *target, const char *headers)
{
    reply_fini(&last);
    data_port_ask(&other, method, target, headers, NULL, 0, &last);
}

static void a_write_and_its_delete_reach_the_replica(void **state)
{
    start_pair("001");
    ask("PUT", "/3,01637037d6.txt?ts=1600000000&ttl=3d",
        "Content-Type: text/css\r\nSeaweed-Owner: me\r\n", "hello");
    assert_int_equal(last.status, 201);
    ask_other("GET", FID, "");
    expect(200, "hello");
    expect_header("Content-Type", "text/css");
    expect_header("Owner", "me");
    expect_header("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT");
    expect_header("Content-Disposition", "inline; filename=\"3,01637037d6.txt\"");
    ask("PUT", "/3,01637037d6.txt", "", "hello");
    expect(204, "");
    ask("DELETE", FID, "", NULL);
    assert_int_equal(last.status, 202);
    ask_other("GET", FID, "");
    expect(404, "");
}

static void compressed_data_is_replicated_as_it_is_stored(void **state)
{
    start_pair("001");
    char text[3001];
    memset(text, 'x', 3000);
    text[3000] = 0;
    ask("PUT", FID, "Content-Type: text/plain\r\n", text);
    assert_int_equal(last.status, 201);
    ask_other("GET", FID, "Accept-Encoding: gzip\r\n");
    expect_header("Content-Encoding", "gzip");
    ask_other("GET", FID, "");
    expect(200, text);
}

/* A delete that failed half-way is tried again by its client, who takes a 404 for success. */
static void a_delete_that_is_tried_again_reaches_the_replica(void **state)
{
    start_pair("001");
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 201);
    ask("DELETE", FID "?type=replicate", "", NULL); /* on this side only */
    assert_int_equal(last.status, 202);
    ask_other("GET", FID, "");
    expect(200, "hello");
    ask("DELETE", FID "?type=replicate", "", NULL);
    expect(404, "{\"size\":0}");
    ask_other("GET", FID, "");
    expect(200, "hello");
    ask("DELETE", FID, "", NULL);
    expect(404, "{\"size\":0}");
    ask_other("GET", FID, "");
    expect(404, "");
}

/* Takes one connection, reads a request's header, answers a failure that names no error. */
static void *fail_without_an_error(void *arg)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n"
                                 "Connection: close\r\n\r\n{}";
    int fd = accept(*(int *)arg, NULL, NULL);
    char text[4096];
    size_t size = 0;
    while (size < sizeof(text) - 1) {
        ssize_t n = read(fd, text + size, sizeof(text) - 1 - size);
        if (n <= 0)
            break;
        size += (size_t)n;
        text[size] = '\0';
        char *end = strstr(text, "\r\n\r\n");
        if (end && strstr(end + 4, "--\r\n")) /* the end of the form */
            break;
    }
    assert_int_equal(write(fd, answer, sizeof(answer) - 1), (ssize_t)sizeof(answer) - 1);
    close(fd);
    return NULL;
}

static void a_replica_that_fails_without_an_error_fails_the_write(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    char url[32];
    snprintf(url, sizeof(url), "127.0.0.1:%u", ntohs(address.sin_port));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fail_without_an_error, &fd), 0);
    restart(&(struct data_port_options){.replication = "001"});
    port.peers[1] = url;
    port.peer_count = 2;
    ask("PUT", FID, "", "hello");
    pthread_join(thread, NULL);
    close(fd);
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "answered with status 503"));
}

static void too_few_writable_replicas_fail_a_write_before_it_is_done(void **state)
{
    restart(&(struct data_port_options){.replication = "001"});
    ask("PUT", FID, "", "hello");
    expect(500, "{\"error\":\"writable replication locations [1] is less than volume 3 replication "
                "copy count [2]\"}");
    ask("GET", FID, "", NULL);
    expect(404, "");
    port.peers[1] = "127.0.0.1:1";
    port.is_read_only[1] = true;
    port.peer_count = 2;
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    assert_int_equal(port.question_count, 2); /* the first answer was dropped */
    ask("PUT", FID "?type=replicate", "", "hello");
    assert_int_equal(last.status, 201);
    ask("DELETE", FID, "", NULL);
    expect(500, "{\"error\":\"Deletion Failed: replication locations [1] is less than volume 3 "
                "replication copy count [2]\"}");
}

static void a_replica_that_is_down_fails_the_write(void **state)
{
    restart(&(struct data_port_options){.replication = "001"});
    port.peers[1] = "127.0.0.1:1";
    port.peer_count = 2;
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    const char *expected = "{\"error\":\"failed to write to replicas for volume 3: [127.0.0.1:1]: "
                           "upload 3,01637037d6 5 bytes to http://127.0.0.1:1/3,01637037d6?ts=";
    assert_memory_equal(last.body, expected, strlen(expected));
    ask("GET", FID, "", NULL); /* what was written is taken back */
    expect(404, "");
}

static void a_replicas_error_reaches_the_client(void **state)
{
    start_pair("001");
    ask("PUT", "/3,01637037d7?type=replicate", "", "other"); /* another cookie, on one side only */
    reply_fini(&last);
    data_port_ask(&other, "PUT", FID, "", "hello", 5, &last);
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "unmarshalled error http://"));
    assert_non_null(
        strstr(last.body, "failed to write to local disk: mismatching cookie 637037d6"));
}

static void a_token_is_not_sent_in_the_clear_to_delete(void **state)
{
    start_pair("001");
    put_hello();
    ask("DELETE", FID, "Authorization: Bearer abc\r\n", NULL);
    char answer[300];
    snprintf(answer, sizeof(answer),
             "{\"error\":\"Deletion Failed: [%s]: refusing to forward delete authorization to %s "
             "without HTTPS\"}",
             other.url, other.url);
    expect(500, answer);
}

static void a_failing_lookup_fails_the_write(void **state)
{
    restart(&(struct data_port_options){.replication = "001"});
    port.lookup_failure = "no master";
    ask("PUT", FID, "", "hello");
    expect(500, "{\"error\":\"replicating lookup failed for 3: no master\"}");
}

static void start_apart(enum volume_read_mode mode)
{
    restart(&(struct data_port_options){.has_no_volume = true, .read_mode = mode});
    data_port_start(&other, &(struct data_port_options){0});
    port.peers[0] = other.url;
    port.peer_count = 1;
    data_port_ask(&other, "PUT", FID, "Content-Type: a/b\r\n", "hello", 5, &last);
    assert_int_equal(last.status, 201);
}

static void a_volume_elsewhere_is_proxied(void **state)
{
    start_apart(VOLUME_READ_PROXY);
    ask("GET", FID, "", NULL);
    expect(200, "hello");
    expect_header("Content-Type", "a/b");
    expect_header("Etag", "\"9a71bb4c\"");
    ask("GET", FID, "Range: bytes=1-2\r\n", NULL);
    expect(206, "el");
    ask("HEAD", FID, "", NULL);
    expect(200, "");
    expect_header("Content-Length", "5");
    ask("GET", FID "?proxied=true", "", NULL);
    expect(404, "");
    ask("PUT", "/3,05637037d6", "", "there"); /* a write is forwarded too */
    assert_int_equal(last.status, 201);
    ask_other("GET", "/3,05637037d6", "");
    expect(200, "there");
}

static void a_volume_elsewhere_is_redirected_to(void **state)
{
    char location[200];
    start_apart(VOLUME_READ_REDIRECT);
    ask("GET", "/3/01637037d6/x.png?collection=c%20d", "", NULL);
    assert_int_equal(last.status, 301);
    snprintf(location, sizeof(location), "http://%s/3,01637037d6?collection=c+d&proxied=true",
             other.url);
    expect_header("Location", location);
    expect_header("Content-Type", "text/html; charset=utf-8");
}

static void a_volume_elsewhere_is_404_in_local_mode(void **state)
{
    start_apart(VOLUME_READ_LOCAL);
    ask("GET", FID, "", NULL);
    expect(404, "");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, finish_last)
#define PAIR(name) cmocka_unit_test_setup_teardown(name, start, stop_pair)
    const struct CMUnitTest tests[] = {
        CASE(put_answers_name_size_and_etag),
        CASE(put_of_the_same_again_is_unchanged),
        CASE(get_answers_the_blob_with_its_headers),
        CASE(get_in_each_url_shape_finds_the_blob),
        CASE(get_by_name_takes_type_and_disposition_from_it),
        CASE(head_tells_the_size_without_a_body_or_a_sniffed_type),
        CASE(ranges_are_answered_as_the_peer_does),
        CASE(several_ranges_come_as_parts),
        CASE(conditions_are_answered_304_without_etag),
        CASE(post_of_a_form_stores_its_file),
        CASE(delete_tells_the_stored_size_once),
        CASE(an_empty_blob_is_read_back_empty),
        CASE(text_is_stored_compressed_and_unpacked_for_those_who_ask_plain),
        CASE(pairs_come_back_as_headers),
        CASE(response_parameters_override_headers),
        CASE(a_needle_with_a_ttl_is_gone_after_it),
        CASE(md5_is_checked),
        CASE(bad_requests_get_the_peers_answers),
        CASE(a_write_to_an_unknown_volume_says_so),
        CASE(a_write_by_the_slash_shape_fails_after_its_body),
        CASE(an_unclean_path_is_redirected),
        CASE(options_and_origin_get_cors_headers),
        CASE(status_lists_disks_and_volumes),
        CASE(requests_are_counted),
        CASE(a_disk_that_fails_is_counted),
        CASE(a_big_blob_is_streamed_whole_and_in_ranges),
        CASE(a_damaged_blob_is_500),
        CASE(a_damaged_big_blob_is_cut_short),
        CASE(a_range_of_a_damaged_big_blob_is_500),
        CASE(a_new_put_takes_a_blob_off_the_list_of_damage),
        CASE(a_read_only_volume_refuses_before_the_body_comes),
        CASE(big_compressed_uploads_take_the_pool_and_come_back),
        CASE(what_is_not_in_memory_is_read_on_the_pool),
        CASE(reads_beyond_the_queue_are_told_to_come_again),
        CASE(a_disk_that_hangs_holds_up_no_other),
        CASE(downloads_over_the_limit_wait_and_are_refused),
        CASE(a_waiting_download_goes_on_when_there_is_room),
        CASE(a_manifest_is_read_as_the_file_it_stands_for),
        CASE(deleting_a_manifest_deletes_its_chunks),
        CASE(a_manifest_that_lists_itself_ends),
        CASE(a_manifest_with_missing_chunks_fails_in_the_peers_words),
        CASE(a_file_over_the_limit_is_refused_exactly),
        CASE(a_stranger_may_read_but_not_write),
        CASE(health_follows_the_server),
        CASE(the_public_port_reads_only),
        CASE(too_few_writable_replicas_fail_a_write_before_it_is_done),
        CASE(a_replica_that_is_down_fails_the_write),
        CASE(a_replica_that_fails_without_an_error_fails_the_write),
        CASE(a_failing_lookup_fails_the_write),
        PAIR(a_write_and_its_delete_reach_the_replica),
        PAIR(a_delete_that_is_tried_again_reaches_the_replica),
        PAIR(compressed_data_is_replicated_as_it_is_stored),
        PAIR(a_replicas_error_reaches_the_client),
        PAIR(a_token_is_not_sent_in_the_clear_to_delete),
        PAIR(a_volume_elsewhere_is_proxied),
        PAIR(a_volume_elsewhere_is_redirected_to),
        PAIR(a_volume_elsewhere_is_404_in_local_mode),
    };
    return cmocka_run_group_tests_name("volume_http", tests, NULL, NULL);
}
