/* Chunk manifests, read and deleted as the files they stand for. */
#include "port_stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_start, stage_stop)
    const struct CMUnitTest tests[] = {
        CASE(a_manifest_is_read_as_the_file_it_stands_for),
        CASE(deleting_a_manifest_deletes_its_chunks),
        CASE(a_manifest_that_lists_itself_ends),
        CASE(a_manifest_with_missing_chunks_fails_in_the_peers_words),
    };
    return cmocka_run_group_tests_name("blob_chunks", tests, NULL, NULL);
}
