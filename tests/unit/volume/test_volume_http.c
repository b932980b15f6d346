/* The data port from the outside: the worked examples of spec/volume-http.md 21, what is stored
 * beside the data, and the errors of section 20. */
#include "port_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_start, stage_stop)
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
    };
    return cmocka_run_group_tests_name("volume_http", tests, NULL, NULL);
}
