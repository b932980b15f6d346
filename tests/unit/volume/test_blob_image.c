/* Pictures through the data port: sizes, headers, the cache, what is let be. */
#include "tests/unit/volume/data_port.h"
#include "tests/unit/volume/picture.h"

#include "common/gzip.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct data_port port;

static int set_up(void **state)
{
    data_port_start(&port, &(struct data_port_options){.turns_upright = true});
    return 0;
}

static int tear_down(void **state)
{
    data_port_stop(&port);
    return 0;
}

static void free_slice(struct slice bytes) { free((void *)(uintptr_t)bytes.ptr); }

static void put(const char *target, const char *headers, struct slice bytes)
{
    struct reply reply;
    data_port_ask(&port, "PUT", target, headers, bytes.ptr, bytes.len, &reply);
    assert_int_equal(reply.status, 201);
    reply_fini(&reply);
}

static void get(const char *target, const char *headers, struct reply *ret)
{
    data_port_ask(&port, "GET", target, headers, NULL, 0, ret);
}

static void expect_size(const char *target, enum image_format format, uint32_t width,
                        uint32_t height)
{
    struct reply reply;
    get(target, "", &reply);
    assert_int_equal(reply.status, 200);
    struct image_header header = picture_look(slice_of(reply.body, reply.body_size));
    assert_int_equal(header.format, format);
    assert_int_equal(header.width, width);
    assert_int_equal(header.height, height);
    reply_fini(&reply);
}

static void expect_same(const char *target, struct slice bytes)
{
    struct reply reply;
    get(target, "", &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_size, bytes.len);
    assert_memory_equal(reply.body, bytes.ptr, bytes.len);
    reply_fini(&reply);
}

static bool prints(const char *line)
{
    struct buffer page = BUFFER_INIT;
    metrics_print(port.metrics, &page);
    bool is_there = strstr(buffer_cstr(&page), line) != NULL;
    buffer_fini(&page);
    return is_there;
}

#define NAMED(name)                                                                                \
    "Content-Type: image/png\r\nContent-Disposition: attachment; filename=\"" name "\"\r\n"

static void pictures_come_in_the_size_that_is_asked(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1);
    put("/3,010000abcd", NAMED("a.png"), png);
    expect_size("/3,010000abcd?width=20", IMAGE_PNG, 20, 10);
    expect_size("/3,010000abcd?wi%64th=%32%30&width=5", IMAGE_PNG, 20, 10);
    expect_size("/3,010000abcd?width=20&height=20&mode=fill", IMAGE_PNG, 20, 20);
    expect_size("/3,010000abcd?crop_x1=10&crop_y1=5&crop_x2=30&crop_y2=20", IMAGE_PNG, 20, 15);
    expect_size("/3,010000abcd.JPG?width=20", IMAGE_JPEG, 20, 10);
    expect_size("/3/010000abcd/b.gif?width=20", IMAGE_GIF, 20, 10);
    expect_size("/3,010000abcd.webp?width=20", IMAGE_WEBP, 20, 10);
    free_slice(png);
}

static void what_is_not_to_be_scaled_is_let_be(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1), text = SLICE("this is no picture");
    put("/3,010000abcd", NAMED("a.png"), png);
    put("/3,020000abcd", NAMED("b.png"), text);
    expect_same("/3,010000abcd?width=100", png);
    expect_same("/3,010000abcd?width=0", png);
    expect_same("/3,010000abcd?width=x", png);
    expect_same("/3,010000abcd?WIDTH=10", png);
    expect_same("/3,010000abcd?crop_x2=81&crop_y2=10", png);
    expect_same("/3,010000abcd?width=30&height=1000000", png);
    expect_same("/3,010000abcd.txt?width=10", png);
    expect_same("/3/010000abcd/noname?width=10", png);
    expect_same("/3,020000abcd?width=10", text);
    free_slice(png);
}

static void headers_are_those_of_what_is_stored(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1);
    put("/3,010000abcd", NAMED("a.png"), png);
    struct reply whole, scaled, head, part, again;
    get("/3,010000abcd", "", &whole);
    char etag[64], conditional[128], length[32];
    snprintf(etag, sizeof(etag), "%s", reply_header(&whole, "Etag"));
    get("/3,010000abcd?width=20", "", &scaled);
    assert_string_equal(reply_header(&scaled, "Etag"), etag);
    assert_string_equal(reply_header(&scaled, "Content-Type"), "image/png");
    assert_string_equal(reply_header(&scaled, "Accept-Ranges"), "bytes");
    snprintf(length, sizeof(length), "%zu", scaled.body_size);
    data_port_ask(&port, "HEAD", "/3,010000abcd?width=20", "", NULL, 0, &head);
    assert_int_equal(head.status, 200);
    assert_string_equal(reply_header(&head, "Content-Length"), length);
    get("/3,010000abcd?width=20", "Range: bytes=8-15\r\n", &part);
    assert_int_equal(part.status, 206);
    assert_int_equal(part.body_size, 8);
    assert_memory_equal(part.body, scaled.body + 8, 8);
    snprintf(conditional, sizeof(conditional), "If-None-Match: %s\r\n", etag);
    get("/3,010000abcd?width=20", conditional, &again);
    assert_int_equal(again.status, 304);
    reply_fini(&whole);
    reply_fini(&scaled);
    reply_fini(&head);
    reply_fini(&part);
    reply_fini(&again);
    free_slice(png);
}

static void a_picture_stored_compressed_is_unpacked_first(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1);
    char *packed;
    size_t size;
    assert_int_equal(gzip_compress(png, &packed, &size, NULL), 0);
    put("/3,010000abcd", NAMED("a.png") "Content-Encoding: gzip\r\n", slice_of(packed, size));
    struct reply reply;
    get("/3,010000abcd?width=20", "Accept-Encoding: gzip\r\n", &reply);
    assert_null(reply_header(&reply, "Content-Encoding"));
    assert_int_equal(picture_look(slice_of(reply.body, reply.body_size)).width, 20);
    reply_fini(&reply);
    get("/3,010000abcd?mode=fit", "Accept-Encoding: gzip\r\n", &reply);
    assert_string_equal(reply_header(&reply, "Content-Encoding"), "gzip");
    reply_fini(&reply);
    free(packed);
    free_slice(png);
}

/* Over a megabyte only the URL's extension counts: another is streamed. */
static void a_big_picture_is_scaled_when_the_url_says_what_it_is(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1);
    struct slice big = {calloc(1, 3u << 20), 3u << 20};
    memcpy((void *)(uintptr_t)big.ptr, png.ptr, png.len); /* what follows is not looked at */
    put("/3,010000abcd", NAMED("a.png"), big);
    expect_same("/3,010000abcd?width=20", big);
    for (int i = 0; i < 3; i++)
        expect_size("/3,010000abcd.png?width=20", IMAGE_PNG, 20, 10);
    for (int i = 0; i < 3; i++)
        expect_same("/3,010000abcd.png?width=100", big);
    assert_true(prints("kelp_image_made_total 1\n"));
    assert_true(prints("kelp_image_cache_entries 2\n"));
    struct reply reply;
    get("/3,010000abce.png?width=20", "", &reply); /* another cookie */
    assert_int_equal(reply.status, 404);
    reply_fini(&reply);
    free_slice(png);
    free_slice(big);
}

static void a_picture_is_made_once_until_its_blob_changes_or_goes(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1);
    struct slice other = picture_make(IMAGE_PNG, 40, 40, 1);
    put("/3,010000abcd", NAMED("a.png"), png);
    expect_size("/3,010000abcd?width=20", IMAGE_PNG, 20, 10);
    expect_size("/3,010000abcd?width=20&mode=any&height=0", IMAGE_PNG, 20, 10);
    assert_true(prints("kelp_image_made_total 1\n"));
    assert_true(prints("kelp_image_cache_hits_total 1\n"));
    put("/3,010000abcd", NAMED("a.png"), other);
    assert_true(prints("kelp_image_cache_entries 0\n"));
    expect_size("/3,010000abcd?width=20", IMAGE_PNG, 20, 20);
    assert_true(prints("kelp_image_cache_entries 1\n"));
    struct reply reply;
    data_port_ask(&port, "DELETE", "/3,010000abcd", "", NULL, 0, &reply);
    assert_int_equal(reply.status, 202);
    reply_fini(&reply);
    assert_true(prints("kelp_image_cache_entries 0\n"));
    get("/3,010000abcd?width=20", "", &reply);
    assert_int_equal(reply.status, 404);
    reply_fini(&reply);
    free_slice(png);
    free_slice(other);
}

static void put_manifest(const char *target, const char *first, const char *second, size_t size)
{
    char manifest[512];
    int length = snprintf(manifest, sizeof(manifest),
                          "{\"name\":\"m.png\",\"chunks\":[{\"fid\":\"%s\",\"offset\":0,\"size\":50},"
                          "{\"fid\":\"%s\",\"offset\":50,\"size\":%zu}]}",
                          first, second, size - 50);
    put(target, "Content-Type: a/b\r\n", slice_of(manifest, (size_t)length));
}

static void a_picture_in_chunks_is_put_together_first(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1);
    put("/3,010000abcd", "Content-Type: a/b\r\n", slice_until(png, 50));
    put("/3,020000abcd", "Content-Type: a/b\r\n", slice_from(png, 50));
    put_manifest("/3,030000abcd?cm=true", "3,010000abcd", "3,020000abcd", png.len);
    for (int i = 0; i < 2; i++) {
        expect_size("/3,030000abcd?width=20", IMAGE_PNG, 20, 10);
        expect_same("/3,030000abcd?width=100", png);
        expect_same("/3,030000abcd", png);
    }
    assert_true(prints("kelp_image_made_total 1\n"));
    /* One that lacks a chunk fails, and leaves the room that it had taken. */
    struct reply reply;
    put_manifest("/3,040000abcd?cm=true", "3,010000abcd", "3,060000abcd", png.len);
    get("/3,040000abcd?width=20", "", &reply);
    assert_int_equal(reply.status, 500);
    reply_fini(&reply);
    assert_true(prints("kelp_image_source_bytes 0\n"));
    free_slice(png);
}

/* Asks, and is gone. */
static void ask_and_leave(const char *target)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(port.server))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    char text[256];
    int size = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    assert_int_equal(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

static void clients_that_leave_do_no_harm(void **state)
{
    struct slice png = picture_make(IMAGE_PNG, 400, 300, 1);
    put("/3,010000abcd", NAMED("a.png"), png);
    for (int i = 0; i < 40; i++) {
        char target[64];
        snprintf(target, sizeof(target), "/3,010000abcd?width=%d", 100 + i);
        ask_and_leave(target);
    }
    expect_size("/3,010000abcd?width=20", IMAGE_PNG, 20, 15);
    free_slice(png);
}

static void a_jpeg_is_turned_upright_as_it_is_stored(void **state)
{
    struct slice jpeg = picture_make(IMAGE_JPEG, 80, 40, 6);
    put("/3,010000abcd", "Content-Type: image/jpeg\r\n", jpeg);
    expect_size("/3,010000abcd", IMAGE_JPEG, 40, 80);
    put("/3,020000abcd", "Content-Type: image/x-other\r\n", jpeg);
    expect_same("/3,020000abcd", jpeg);
    put("/3,030000abcd.jpg", "Content-Type: application/octet-stream\r\n", SLICE("no picture"));
    expect_same("/3,030000abcd", SLICE("no picture"));
    /* What the client says of its bytes is true of what it sent. */
    struct reply reply;
    data_port_ask(&port, "PUT", "/3,040000abcd.jpg",
                  "Content-Type: image/jpeg\r\nContent-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\n", jpeg.ptr,
                  jpeg.len, &reply);
    assert_int_equal(reply.status, 400);
    reply_fini(&reply);
    free_slice(jpeg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pictures_come_in_the_size_that_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_to_be_scaled_is_let_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers_are_those_of_what_is_stored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_picture_stored_compressed_is_unpacked_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_big_picture_is_scaled_when_the_url_says_what_it_is,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_picture_is_made_once_until_its_blob_changes_or_goes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_picture_in_chunks_is_put_together_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(clients_that_leave_do_no_harm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_jpeg_is_turned_upright_as_it_is_stored, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
