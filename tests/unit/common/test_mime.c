/* Content types. */
#include "tests/unit/cmocka_all.h"

#include "common/mime.h"

static void assert_type(struct slice s, const char *type)
{
    if (!type) {
        assert_null(s.ptr);
        return;
    }
    assert_int_equal(s.len, strlen(type));
    assert_memory_equal(s.ptr, type, s.len);
}

static void knows_extensions(void **state)
{
    assert_type(mime_by_extension(SLICE(".txt")), "text/plain; charset=utf-8");
    assert_type(mime_by_extension(SLICE(".JPEG")), "image/jpeg");
    assert_type(mime_by_extension(SLICE(".mjs")), "text/javascript; charset=utf-8");
    assert_type(mime_by_extension(SLICE(".unknown")), NULL);
    assert_type(mime_by_extension(SLICE(".")), NULL);
    assert_type(mime_by_extension(SLICE("")), NULL);
    assert_type(mime_by_extension(SLICE(".htm .html")), NULL);
    assert_type(mime_by_name(SLICE("dir.png/a.b.pdf")), "application/pdf");
    assert_type(mime_by_name(SLICE("dir.png/name")), NULL);
}

static void sniffs_by_the_table(void **state)
{
    static const struct {
        struct slice data;
        const char *type;
    } rows[] = {
        {{"", 0}, "text/plain; charset=utf-8"},
        {{" \r\n<html>", 9}, "text/html; charset=utf-8"},
        {{"<!DOCTYPE html>", 15}, "text/html; charset=utf-8"},
        {{"<htmlx>", 7}, "text/plain; charset=utf-8"},
        {{"<B>", 3}, "text/html; charset=utf-8"},
        {{"\t<?xml v", 8}, "text/xml; charset=utf-8"},
        {{"%PDF-1", 6}, "application/pdf"},
        {{" %PDF-1", 7}, "text/plain; charset=utf-8"},
        {{"\xFE\xFF", 2}, "text/plain; charset=utf-8"},
        {{"\xFE\xFF\0a", 4}, "text/plain; charset=utf-16be"},
        {{"\xEF\xBB\xBFx", 4}, "text/plain; charset=utf-8"},
        {{"GIF89a", 6}, "image/gif"},
        {{"RIFFabcdWEBPVP", 14}, "image/webp"},
        {{"RIFFabcdWAVE", 12}, "audio/wave"},
        {{"\x89PNG\r\n\x1A\n", 8}, "image/png"},
        {{"\xFF\xD8\xFF", 3}, "image/jpeg"},
        {{"\0\0\0\x10"
          "ftypisom\0\0\0\0mp42",
          20},
         "application/octet-stream"}, /* brand after the box */
        {{"\0\0\0\x14"
          "ftypisom\0\0\0\0mp42",
          20},
         "video/mp4"},
        {{"\0\0\0\x10"
          "ftypisommp42",
          16},
         "application/octet-stream"}, /* that is a version */
        {{"0123456789012345678901234567890123LP", 36}, "application/vnd.ms-fontobject"},
        {{"\0\1\0\0", 4}, "font/ttf"},
        {{"\0\1\0\0"
          "456789012345678901234567890123LP",
          36},
         "application/vnd.ms-fontobject"},
        {{"%!PS-Adobe-", 11}, "application/postscript"},
        {{"\xFF\xFEx\0", 4}, "text/plain; charset=utf-16le"},
        {{"\0\0\1\0", 4}, "image/x-icon"},
        {{"\0\0\2\0", 4}, "image/x-icon"},
        {{"BM", 2}, "image/bmp"},
        {{"GIF87a", 6}, "image/gif"},
        {{"FORMabcdAIFF", 12}, "audio/aiff"},
        {{"ID3", 3}, "audio/mpeg"},
        {{"OggS\0", 5}, "application/ogg"},
        {{"MThd\0\0\0\6", 8}, "audio/midi"},
        {{"RIFFabcdAVI ", 12}, "video/avi"},
        {{"\x1A\x45\xDF\xA3", 4}, "video/webm"},
        {{"OTTO", 4}, "font/otf"},
        {{"ttcf", 4}, "font/collection"},
        {{"wOFF", 4}, "font/woff"},
        {{"wOF2", 4}, "font/woff2"},
        {{"Rar!\x1A\x07\0", 7}, "application/x-rar-compressed"},
        {{"Rar!\x1A\x07\1\0", 8}, "application/x-rar-compressed"},
        {{"\x1F\x8B\x08", 3}, "application/x-gzip"},
        {{"PK\3\4", 4}, "application/zip"},
        {{"\0asm", 4}, "application/wasm"},
        {{"abc\0", 4}, "application/octet-stream"},
        {{"abc\x1B[0m", 7}, "text/plain; charset=utf-8"},
        {{"\xC3\xA4", 2}, "text/plain; charset=utf-8"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_type(mime_sniff(rows[i].data), rows[i].type);
    char late[600];
    memset(late, 'a', sizeof(late));
    late[520] = 0; /* only the first 512 count */
    assert_type(mime_sniff(slice_of(late, sizeof(late))), "text/plain; charset=utf-8");
}

static void chooses_what_to_compress(void **state)
{
    static const struct {
        const char *type, *name, *data;
        bool is_compressible;
    } rows[] = {
        {"text/plain", "a.bin", "", true},
        {"", "", "just text", true},
        {"", "", "\x01\x02", false},
        {"image/svg+xml", "a.svg", "", false},
        {"image/svg+xml", ".svg", "", true},
        {"image/png", "a.png", "", false},
        {"application/json", "a.json", "", false},
        {"application/json", ".json", "", true},
        {"application/xml", "a", "", true},
        {"application/javascript", "a", "", true},
        {"application/vnd.rar", "a", "", true},
        {"application/zstd", "a", "", false},
        {"application/pdf", "a.pdf", "", false},
        {"audio/x-wav", "a", "", true},
        {"audio/mpeg", "a", "", false},
        {"application/octet-stream", "a", "text", false},
        {"text/plain", ".zip", "", true},
        {"application/xml", ".zip", "", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (mime_is_compressible(slice_cstr(rows[i].type), slice_cstr(rows[i].name),
                                 slice_cstr(rows[i].data)) != rows[i].is_compressible)
            fail_msg("%s %s", rows[i].type, rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_extensions),
        cmocka_unit_test(sniffs_by_the_table),
        cmocka_unit_test(chooses_what_to_compress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
