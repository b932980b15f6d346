/* File ids, volume ids, and the paths of blobs that hold them. */
#include "tests/fuzz/fuzz.h"

#include "common/file_id.h"
#include "volume/blob_path.h"

static void check_path(struct slice path)
{
    struct blob_path parts;
    blob_path_parse(path, &parts);
    CHECK(fuzz_lies_within(parts.vid, path) && fuzz_lies_within(parts.fid, path));
    CHECK(fuzz_lies_within(parts.filename, path) && fuzz_lies_within(parts.ext, path));
    CHECK(fuzz_lies_within(blob_path_write_id(path), path));
    CHECK(fuzz_lies_within(blob_path_last_segment(path), path));
    CHECK(fuzz_lies_within(blob_path_extension(path), path));
    uint32_t id, cookie;
    uint64_t key;
    struct error err;
    volume_id_parse(parts.vid, &id, &err);
    needle_id_parse(parts.fid, &key, &cookie, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice text = slice_of(bytes, input_size);
    check_path(text);
    struct file_id id, again;
    struct error err;
    if (file_id_parse(text, &id, &err) != 0 || id.key == 0)
        return 0;
    char formatted[FILE_ID_TEXT_SIZE];
    size_t length = file_id_format(&id, formatted);
    CHECK(length < sizeof(formatted) && strlen(formatted) == length);
    CHECK(file_id_parse(slice_of(formatted, length), &again, NULL) == 0);
    CHECK(again.volume_id == id.volume_id && again.key == id.key && again.cookie == id.cookie);
    return 0;
}
