/* Printing what is in a volume. See the header.
 *
 * Both styles come from one list of named values, so that they cannot say different things. */
#include "cli/dump_record.h"

#include "common/check.h"
#include "common/crc32c.h"
#include "common/file_id.h"
#include "common/json_writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* One thing that is printed: "record at 8" and what is known of it. */
struct sheet {
    bool is_json;
    FILE *out;
    struct buffer text;
    struct json_writer json;
};

static void sheet_begin(struct sheet *sheet, const struct dump_style *style, FILE *out,
                        const char *what, uint64_t at)
{
    *sheet = (struct sheet){.is_json = style->is_json, .out = out};
    if (sheet->is_json) {
        json_writer_init(&sheet->json, &sheet->text, false);
        json_writer_begin_object(&sheet->json);
        json_writer_member_text(&sheet->json, "what", what);
        json_writer_member_uint(&sheet->json, "at", at);
    } else {
        buffer_printf(&sheet->text, "%s at %" PRIu64 "\n", what, at);
    }
}

static void sheet_end(struct sheet *sheet)
{
    if (sheet->is_json) {
        json_writer_end_object(&sheet->json);
        buffer_append_char(&sheet->text, '\n');
    }
    fwrite(sheet->text.data, 1, sheet->text.length, sheet->out);
    buffer_fini(&sheet->text);
}

static void line(struct sheet *sheet, const char *name)
{
    buffer_printf(&sheet->text, "  %-15s ", name);
}

static void put_uint(struct sheet *sheet, const char *name, uint64_t value)
{
    if (sheet->is_json) {
        json_writer_member_uint(&sheet->json, name, value);
        return;
    }
    line(sheet, name);
    buffer_printf(&sheet->text, "%" PRIu64 "\n", value);
}

static void put_int(struct sheet *sheet, const char *name, int64_t value)
{
    if (sheet->is_json) {
        json_writer_member_int(&sheet->json, name, value);
        return;
    }
    line(sheet, name);
    buffer_printf(&sheet->text, "%" PRId64 "\n", value);
}

static void put_bool(struct sheet *sheet, const char *name, bool value)
{
    if (sheet->is_json) {
        json_writer_member_bool(&sheet->json, name, value);
        return;
    }
    line(sheet, name);
    buffer_append_text(&sheet->text, value ? "yes\n" : "no\n");
}

/* Bytes of any kind: in lines, what does not print is escaped. */
static void put_slice(struct sheet *sheet, const char *name, struct slice value)
{
    if (sheet->is_json) {
        json_writer_member_string(&sheet->json, name, value);
        return;
    }
    line(sheet, name);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = (uint8_t)value.ptr[i];
        if (c < 0x20 || c == 0x7f || c == '\\')
            buffer_printf(&sheet->text, "\\x%02x", c);
        else
            buffer_append_char(&sheet->text, value.ptr[i]);
    }
    buffer_append_char(&sheet->text, '\n');
}

static void put_text(struct sheet *sheet, const char *name, const char *value)
{
    put_slice(sheet, name, slice_cstr(value));
}

static void put_hex(struct sheet *sheet, const char *name, uint64_t value, int digits)
{
    char text[24];
    snprintf(text, sizeof(text), "%0*" PRIx64, digits, value);
    put_text(sheet, name, text);
}

static void put_time(struct sheet *sheet, const char *name, uint64_t seconds, uint64_t nanoseconds)
{
    char text[64];
    time_t at = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&at, &tm)) {
        put_uint(sheet, name, seconds);
        return;
    }
    size_t length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    if (nanoseconds != UINT64_MAX)
        length +=
            (size_t)snprintf(text + length, sizeof(text) - length, ".%09" PRIu64, nanoseconds);
    snprintf(text + length, sizeof(text) - length, "Z");
    put_text(sheet, name, text);
}

static void put_ttl(struct sheet *sheet, struct ttl ttl)
{
    char text[8];
    ttl_format(ttl, text);
    put_text(sheet, "ttl", text);
}

/* ---- the volume ---- */

static void put_info(struct sheet *sheet, const struct offline_volume *volume)
{
    const struct volume_info *info = &volume->info;
    if (volume->is_info_foreign)
        put_text(sheet, "vifError", volume->info_error.message);
    if (!volume->has_info)
        return;
    put_uint(sheet, "vifVersion", info->version);
    put_text(sheet, "vifReplication", info->replication);
    put_uint(sheet, "vifOffsetBytes", info->bytes_offset);
    put_uint(sheet, "vifDatFileSize", info->dat_file_size);
    put_uint(sheet, "vifExpireAt", info->expire_at_second);
    put_bool(sheet, "vifReadOnly", info->is_read_only);
    put_bool(sheet, "vifCanDelete", info->can_delete);
    put_uint(sheet, "vifRemoteCopies", info->file_count);
    if (info->has_ec) {
        put_uint(sheet, "vifDataShards", info->ec_data_shards);
        put_uint(sheet, "vifParity", info->ec_parity_shards);
    }
}

void dump_volume(const struct offline_volume *volume, struct volume_generation *generation,
                 const struct dump_style *style, FILE *out)
{
    struct sheet sheet;
    const struct super_block *block = &generation->super_block;
    const struct replica_placement placement = block->replica_placement;
    char text[10];
    sheet_begin(&sheet, style, out, "super block", 0);
    put_uint(&sheet, "volume", volume->id);
    put_text(&sheet, "collection", volume->collection);
    put_text(&sheet, "dat", volume_files_path(&volume->files, VOLUME_FILE_DAT));
    put_uint(&sheet, "datBytes", volume_generation_end(generation));
    put_uint(&sheet, "idxBytes", index_file_end(&generation->idx));
    put_uint(&sheet, "offsetBytes", volume->offset_bytes);
    put_uint(&sheet, "version", block->version);
    replica_placement_format(placement, text);
    put_text(&sheet, "replication", text);
    put_ttl(&sheet, block->ttl);
    put_uint(&sheet, "revision", block->compact_revision);
    put_uint(&sheet, "extraBytes", block->extra_size);
    put_info(&sheet, volume);
    sheet_end(&sheet);
}

void dump_row(const struct needle_entry *row, uint64_t position, const struct dump_style *style,
              FILE *out)
{
    struct sheet sheet;
    sheet_begin(&sheet, style, out, "row", position);
    put_hex(&sheet, "needle", row->key, 1);
    put_uint(&sheet, "offset", row->offset);
    put_int(&sheet, "size", row->size);
    put_text(&sheet, "means",
             row->offset != 0 && row->size >= 0 ? "put"
             : row->key == 0 && row->offset != 0 && row->size == NEEDLE_TOMBSTONE
                 ? "no record from here on"
                 : "delete");
    sheet_end(&sheet);
}

/* ---- a record ---- */

static void put_flags(struct sheet *sheet, uint8_t flags)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } all[] = {
        {NEEDLE_IS_GZIP, "gzip"},
        {NEEDLE_HAS_NAME, "name"},
        {NEEDLE_HAS_MIME, "mime"},
        {NEEDLE_HAS_LAST_MODIFIED, "modified"},
        {NEEDLE_HAS_TTL, "ttl"},
        {NEEDLE_HAS_PAIRS, "pairs"},
        {NEEDLE_IS_CHUNK_MANIFEST, "manifest"},
    };
    char text[96];
    size_t length = (size_t)snprintf(text, sizeof(text), "0x%02x", flags);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (flags & all[i].bit)
            length += (size_t)snprintf(text + length, sizeof(text) - length, " %s", all[i].name);
    put_text(sheet, "flags", text);
}

static void put_data(struct sheet *sheet, struct slice data, uint64_t most)
{
    struct buffer hex = BUFFER_INIT;
    size_t count = data.len < most ? data.len : (size_t)most;
    for (size_t i = 0; i < count; i++)
        buffer_printf(&hex, "%02x", (uint8_t)data.ptr[i]);
    put_slice(sheet, "data", buffer_slice(&hex));
    buffer_fini(&hex);
}

static void put_parts(struct sheet *sheet, const struct needle *needle,
                      const struct dump_style *style)
{
    put_uint(sheet, "dataSize", needle->data.len);
    put_flags(sheet, needle->flags);
    if (needle->flags & NEEDLE_HAS_NAME)
        put_slice(sheet, "name", needle->name);
    if (needle->flags & NEEDLE_HAS_MIME)
        put_slice(sheet, "mime", needle->mime);
    if (needle->flags & NEEDLE_HAS_LAST_MODIFIED)
        put_time(sheet, "modified", needle->last_modified, UINT64_MAX);
    if (needle->flags & NEEDLE_HAS_TTL)
        put_ttl(sheet, needle->ttl);
    if (needle->flags & NEEDLE_HAS_PAIRS)
        put_slice(sheet, "pairs", needle->pairs);
    if (style->data_bytes > 0)
        put_data(sheet, needle->data, style->data_bytes);
}

static void put_where(struct sheet *sheet, const struct offline_volume *volume,
                      struct volume_generation *generation, uint64_t offset,
                      const struct needle_header *header, const struct needle_entry *expected)
{
    char fid[FILE_ID_TEXT_SIZE];
    struct needle_entry now;
    const struct file_id id = {volume->id, header->key, header->cookie};
    file_id_format(&id, fid);
    put_text(sheet, "fid", fid);
    put_hex(sheet, "needle", header->key, 1);
    put_hex(sheet, "cookie", header->cookie, 8);
    put_int(sheet, "size", header->size);
    if (expected && expected->key != header->key)
        put_hex(sheet, "indexNeedle", expected->key, 1);
    if (expected && (expected->size > 0 ? expected->size : 0) != header->size)
        put_int(sheet, "indexSize", expected->size);
    if (needle_index_get(generation->index, header->key, &now, NULL) != 0)
        put_text(sheet, "index", "unknown");
    else if (now.size < 0)
        put_text(sheet, "index", "deleted");
    else if (now.offset == offset)
        put_text(sheet, "index", "live");
    else
        put_text(sheet, "index", "overwritten");
}

/* The body, read whole: `buf` holds the record. */
static bool put_body(struct sheet *sheet, struct volume_generation *generation, const uint8_t *buf,
                     uint64_t length, const struct needle_header *header,
                     const struct dump_style *style)
{
    struct needle needle;
    struct error err;
    uint8_t version = generation->version;
    size_t head = version != 1 && header->size > 0 ? NEEDLE_HEAD_MAX : NEEDLE_HEADER_SIZE;
    uint64_t data_size = version == 1 ? (uint64_t)header->size : 0;
    if (head == NEEDLE_HEAD_MAX)
        data_size = load_be32(buf + NEEDLE_HEADER_SIZE);
    if (data_size > length - head)
        data_size = length - head;
    if (needle_parse_around(buf, buf + head + data_size, length - head - data_size, version,
                            header->size, &needle, &err) != 0) {
        put_text(sheet, "fault", err.message);
        return false;
    }
    needle.data.ptr = (const char *)buf + head;
    uint32_t crc = crc32c(0, needle.data.ptr, needle.data.len);
    bool is_good = needle.data.len == 0 || needle_checksum_matches(needle.checksum, crc);
    put_hex(sheet, "crcStored", needle.checksum, 8);
    if (header->size > 0) { /* an empty record has nothing to sum; a delete keeps what it deleted */
        put_hex(sheet, "crcComputed", crc, 8);
        put_bool(sheet, "crcMatches", is_good);
        put_parts(sheet, &needle, style);
    }
    if (version == 3)
        put_time(sheet, "appended", needle.append_at_ns / 1000000000,
                 needle.append_at_ns % 1000000000);
    return is_good;
}

int dump_record(const struct offline_volume *volume, struct volume_generation *generation,
                uint64_t offset, const struct needle_entry *expected,
                const struct dump_style *style, FILE *out, uint64_t *ret_length, bool *ret_is_sound,
                struct error *err)
{
    uint64_t end = volume_generation_end(generation), length = 0;
    uint8_t bytes[NEEDLE_HEADER_SIZE];
    struct needle_header header;
    struct sheet sheet;
    bool is_sound = false;
    if (offset % NEEDLE_ALIGNMENT != 0 || offset > end || end - offset < NEEDLE_HEADER_SIZE)
        return error_set(err, KELP_E_INVALID,
                         "no record begins at %" PRIu64 ": the .dat has %" PRIu64
                         " bytes, and records begin at multiples of 8",
                         offset, end);
    int code = volume_generation_pread(generation, bytes, sizeof(bytes), offset, false, err);
    if (code != 0)
        return code;
    needle_header_load(bytes, &header);
    if (header.size >= 0)
        length = needle_record_size(generation->version, header.size);
    uint8_t *buf = NULL;
    if (length > 0 && length <= end - offset) {
        buf = malloc(length);
        if (!buf)
            return error_set(err, KELP_E_NO_MEMORY, "no memory for a record of %" PRIu64 " bytes",
                             length);
        code = volume_generation_pread(generation, buf, length, offset, false, err);
    } else {
        length = 0;
    }
    if (code == 0) {
        sheet_begin(&sheet, style, out, "record", offset);
        put_where(&sheet, volume, generation, offset, &header, expected);
        if (buf) {
            put_uint(&sheet, "length", length);
            is_sound = put_body(&sheet, generation, buf, length, &header, style);
        } else {
            put_text(&sheet, "fault", "its size is that of no record here");
        }
        sheet_end(&sheet);
        *ret_length = length;
        *ret_is_sound = is_sound && (!expected || expected->key == header.key);
    }
    free(buf);
    return code;
}
