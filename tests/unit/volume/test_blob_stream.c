/* Blobs that are too big for one piece, damaged, or not in memory, and ranges. */
#include "common/check.h"
#include "port_stage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG (3u * 1024 * 1024 + 123)

static char *put_noise(size_t size, uint32_t seed)
{
    char *data = must(malloc(size));
    uint32_t x = seed;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (char)(x >> 24);
    }
    reply_fini(&last);
    data_port_ask(&port, "PUT", FID, "", data, size, &last);
    assert_int_equal(last.status, 201);
    return data;
}

static char *put_big(void)
{
    return put_noise(BIG, 7);
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

static void damage_from(int whence, off_t by)
{
    char path[120];
    unsigned char byte;
    snprintf(path, sizeof(path), "%s/3.dat", port.directory);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    off_t at = lseek(fd, by, whence);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Flips a bit of the .dat, `back` bytes before its end. */
static void damage(off_t back)
{
    damage_from(SEEK_END, -back);
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
    static const char announced[] =
        "PUT " FID " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
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

static void what_is_not_in_memory_is_read_on_the_pool(void **state)
{
    stage_restart(&(struct data_port_options){.is_cold = true});
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

/* ---- ranges of what is not streamed, but too long to be read whole each time ---- */

#define MIDDLE 200000u

static void ask_range(size_t start, size_t length)
{
    char header[64];
    snprintf(header, sizeof(header), "Range: bytes=%zu-%zu\r\n", start, start + length - 1);
    ask("GET", FID, header, NULL);
}

static void expect_range(const char *data, size_t size, size_t start, size_t length)
{
    char range[64];
    snprintf(range, sizeof(range), "bytes %zu-%zu/%zu", start, start + length - 1, size);
    ask_range(start, length);
    assert_int_equal(last.status, 206);
    assert_int_equal(last.body_size, length);
    assert_memory_equal(last.body, data + start, length);
    expect_header("Content-Range", range);
}

/* After this a range of it needs no more than itself. */
static void read_ranges_of_middle(const char *data)
{
    for (int i = 0; i < 3; i++)
        expect_range(data, MIDDLE, 100, 50);
}

static void ranges_come_right_from_blobs_of_each_size(void **state)
{
    /* Around where reading in parts begins and ends, and where the blocks grow. */
    static const size_t sizes[] = {32000, 32768, 40000, 262144, 262145, 1048000, 1048576, 1048577};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = sizes[i];
        char *data = put_noise(size, (uint32_t)i + 1), etag[32];
        for (int again = 0; again < 4; again++) {
            expect_range(data, size, 0, 1);
            snprintf(etag, sizeof(etag), "%s", reply_header(&last, "Etag"));
            expect_range(data, size, size - 1, 1);
            expect_range(data, size, 4095, 2);
            expect_range(data, size, 4096, 4096);
            expect_range(data, size, 16383, 8194);
            expect_range(data, size, size - 5000, 5000);
            expect_range(data, size, 1, size - 2);
            expect_range(data, size, 0, size);
            expect_header("Etag", etag);
        }
        ask("GET", FID, "Range: bytes=-0\r\n", NULL);
        expect(206, "");
        ask("GET", FID, "Range: bytes=9999999-\r\n", NULL);
        expect(416, "invalid range: failed to overlap\n");
        ask("GET", FID, "Range: bytes=0-1,5-6\r\n", NULL);
        assert_int_equal(last.status, 206);
        assert_non_null(strstr(reply_header(&last, "Content-Type"), "multipart/byteranges"));
        ask("GET", FID, "", NULL);
        assert_int_equal(last.status, 200);
        assert_int_equal(last.body_size, size);
        assert_memory_equal(last.body, data, size);
        free(data);
    }
}

static void a_new_put_ends_what_was_known_of_a_blob(void **state)
{
    char *old = put_noise(MIDDLE, 1);
    read_ranges_of_middle(old);
    char *new = put_noise(MIDDLE, 2);
    read_ranges_of_middle(new);
    ask("GET", "/3,01637037d7", "Range: bytes=100-149\r\n", NULL);
    expect(404, "");
    ask("DELETE", FID, "", NULL);
    assert_int_equal(last.status, 202);
    ask_range(100, 50);
    expect(404, "");
    free(old);
    free(new);
}

static void what_is_damaged_after_it_was_checked_is_not_served(void **state)
{
    char *data = put_noise(MIDDLE, 1);
    read_ranges_of_middle(data);
    damage(MIDDLE / 2);
    /* Where it is sound, it is what was stored. */
    expect_range(data, MIDDLE, 100, 50);
    expect_range(data, MIDDLE, MIDDLE - 8192, 8192);
    ask("GET", "/status", "", NULL);
    assert_null(strstr(last.body, "\"damaged\":["));
    for (int i = 0; i < 2; i++) {
        ask_range(MIDDLE / 2, 100);
        expect(500, "");
    }
    ask_range(MIDDLE / 4, MIDDLE / 2);
    expect(500, "");
    ask("GET", FID, "", NULL);
    expect(500, "");
    ask("GET", "/status", "", NULL);
    assert_non_null(strstr(last.body, "\"damagedCount\":4"));
    free(data);
}

static void a_range_of_what_was_never_whole_is_500(void **state)
{
    free(put_noise(MIDDLE, 1));
    damage(MIDDLE / 2);
    for (int i = 0; i < 4; i++) {
        ask_range(100, 50);
        expect(500, "");
    }
}

static void what_surrounds_the_data_is_not_believed_once_it_has_changed(void **state)
{
    char *data = put_noise(MIDDLE, 1);
    read_ranges_of_middle(data);
    damage(16); /* the CRC: before eight bytes of time and four of padding */
    ask_range(100, 50);
    expect(500, "");
    free(data);
    stage_restart(&(struct data_port_options){0});
    data = put_noise(MIDDLE, 2);
    read_ranges_of_middle(data);
    damage_from(SEEK_SET, 8 + 16 + 2); /* the size of the data, behind super block and header */
    ask_range(100, 50);
    expect(500, "");
    free(data);
}

static void ranges_of_what_is_not_in_memory_are_read_whole(void **state)
{
    stage_restart(&(struct data_port_options){.is_cold = true});
    char *data = put_noise(MIDDLE, 1);
    for (int i = 0; i < 2; i++)
        read_ranges_of_middle(data);
    damage(MIDDLE / 2);
    ask_range(100, 50);
    expect(500, "");
    free(data);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_start, stage_stop)
    const struct CMUnitTest tests[] = {
        CASE(a_big_blob_is_streamed_whole_and_in_ranges),
        CASE(a_damaged_blob_is_500),
        CASE(a_damaged_big_blob_is_cut_short),
        CASE(a_range_of_a_damaged_big_blob_is_500),
        CASE(a_new_put_takes_a_blob_off_the_list_of_damage),
        CASE(a_read_only_volume_refuses_before_the_body_comes),
        CASE(big_compressed_uploads_take_the_pool_and_come_back),
        CASE(what_is_not_in_memory_is_read_on_the_pool),
        CASE(ranges_come_right_from_blobs_of_each_size),
        CASE(a_new_put_ends_what_was_known_of_a_blob),
        CASE(what_is_damaged_after_it_was_checked_is_not_served),
        CASE(a_range_of_what_was_never_whole_is_500),
        CASE(what_surrounds_the_data_is_not_believed_once_it_has_changed),
        CASE(ranges_of_what_is_not_in_memory_are_read_whole),
    };
    return cmocka_run_group_tests_name("blob_stream", tests, NULL, NULL);
}
