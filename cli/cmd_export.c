/* kelp export: lists the needles of a volume, or writes them into a tar or a folder. What is
 * printed, and the names, are the peer's, so that scripts around them go on working. */
#include "cli/command.h"
#include "cli/export_name.h"
#include "cli/export_sink.h"
#include "cli/offline_flags.h"
#include "common/check.h"
#include "common/file_id.h"
#include "volume/storage/dat_scan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

static const char *output, *name_format, *newer, *options;
static int64_t limit;
static bool with_deleted;

static const struct config_flag flags[] = {
    OFFLINE_ONE_ROWS,
    {"o", CONFIG_STRING, &output, NULL,
     "file.tar, - for a tar on standard output, or a folder (with a / at its end if it is to be "
     "made); "
     "without it the needles are listed"},
    {"fileNameFormat", CONFIG_STRING, &name_format, "{{.Id}}_{{.Name}}{{.Ext}}",
     "names of the files, of {{.Id}} {{.Name}} {{.Ext}} {{.Mime}} {{.Key}}"},
    {"newer", CONFIG_STRING, &newer, NULL,
     "only needles changed at or after this time (UTC), as 2006-01-02T15:04:05"},
    {"deleted", CONFIG_BOOL, &with_deleted, NULL,
     "what was overwritten or deleted and not yet vacuumed, too"},
    {"limit", CONFIG_INT, &limit, NULL, "stop after so many needles; 0: all"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "export",
    .summary = "list the needles of a volume, or write them into a tar or a folder",
    .usage = "-dir=/data -volumeId=3 -o=/backup/3.tar -newer=2006-01-02T15:04:05",
    .description = "Changes nothing in the volume. Data that was stored compressed comes out as it "
                   "is stored, with\n"
                   ".gz at the end of its name. A name never leads out of the folder or tar: no .. "
                   "and no / in\n"
                   "front. Empty needles, which have no name, are left out. Needles that cannot be "
                   "read are named\n"
                   "on standard error, the others written, and the exit status is 1.",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};

struct exporter {
    const struct offline_volume *volume;
    struct volume_generation *generation;
    struct needle_index *tombstones; /* of -deleted: keys whose last row is a delete, and where */
    struct export_sink *sink;        /* NULL: a list */
    int64_t newer_than;              /* INT64_MIN: all */
    uint64_t counted;                /* for -limit */
    uint64_t seen_live, failures;
    bool is_full; /* the limit is reached */
    struct buffer name, path;
};

/* ---- which records ---- */

static bool is_entry_at(const struct exporter *x, const struct needle_entry *entry, uint64_t offset)
{
    return entry->offset == offset ||
           entry->offset + index_row_limit(x->generation->offset_bytes) == offset;
}

static bool is_live_record(struct exporter *x, uint64_t offset, const struct needle_header *header)
{
    struct needle_entry entry;
    return header->size > 0 &&
           needle_index_get(x->generation->index, header->key, &entry, NULL) == 0 &&
           entry.size == header->size && is_entry_at(x, &entry, offset);
}

static bool is_known(void *ctx, uint64_t offset, const struct needle_header *header)
{
    return is_live_record(ctx, offset, header);
}

static int note_tombstone(void *ctx, const struct needle_entry *row, uint64_t position)
{
    struct exporter *x = ctx;
    if (index_row_is_put(row))
        return needle_index_delete(x->tombstones, row->key, NEEDLE_INDEX_LOAD, NULL);
    const struct needle_entry there = {row->key, row->offset, 0};
    return row->offset == 0 ? 0 : needle_index_put(x->tombstones, &there, NEEDLE_INDEX_LOAD, NULL);
}

static bool is_last_tombstone(struct exporter *x, const struct dat_item *item)
{
    struct needle_entry entry;
    return needle_index_get(x->tombstones, item->header.key, &entry, NULL) == 0 &&
           entry.size >= 0 && is_entry_at(x, &entry, item->offset);
}

/* ---- what is made of them ---- */

static void print_needle(const struct exporter *x, const struct needle *needle, bool is_deleted,
                         const struct dat_item *item)
{
    char key[FILE_ID_TEXT_SIZE], ttl[8] = "", modified[32];
    const struct file_id id = {x->volume->id, needle->key, needle->cookie};
    time_t seconds = (time_t)needle->last_modified;
    struct tm tm;
    file_id_format(&id, key);
    if (needle->flags & NEEDLE_HAS_TTL)
        ttl_format(needle->ttl, ttl);
    gmtime_r(&seconds, &tm);
    strftime(modified, sizeof(modified), "%Y-%m-%dT%H:%M:%S", &tm);
    printf("%s\t", key);
    fwrite(needle->name.ptr, 1, needle->name.len, stdout);
    printf("\t%zu\t%s\t", needle->data.len, needle->flags & NEEDLE_IS_GZIP ? "true" : "false");
    fwrite(needle->mime.ptr, 1, needle->mime.len, stdout);
    printf("\t%s\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\n", modified, ttl, is_deleted ? "true" : "false",
           item->offset, item->offset + item->length);
}

static int write_needle(struct exporter *x, const struct needle *needle, struct error *err)
{
    char id_text[24], key[FILE_ID_TEXT_SIZE];
    const struct file_id id = {x->volume->id, needle->key, needle->cookie};
    snprintf(id_text, sizeof(id_text), "%" PRIx64, needle->key);
    file_id_format(&id, key);
    const struct export_fields fields = {
        .name = needle->name,
        .id = slice_cstr(id_text),
        .mime = needle->mime,
        .key = slice_cstr(key),
        .ext = export_name_ext(needle->name),
    };
    buffer_clear(&x->name);
    buffer_clear(&x->path);
    int code = export_name_expand(name_format, &fields, &x->name, err);
    if (code != 0)
        return code;
    if (needle->flags & NEEDLE_IS_GZIP &&
        !slice_equals(export_name_ext(buffer_slice(&x->name)), SLICE(".gz")))
        buffer_append_text(&x->name, ".gz");
    export_name_sanitize(buffer_slice(&x->name), &x->path);
    code =
        export_sink_add(x->sink, buffer_cstr(&x->path), needle->data, needle->last_modified, err);
    if (code != KELP_E_EXISTS)
        return code;
    fprintf(stderr, "kelp export: needle %s: %s\n", key, err->message);
    x->failures++;
    return 0;
}

static bool is_wanted(const struct exporter *x, const struct needle *needle)
{
    return !(needle->flags & NEEDLE_HAS_LAST_MODIFIED) || x->newer_than < 0 ||
           needle->last_modified >= (uint64_t)x->newer_than;
}

static int take_needle(struct exporter *x, const struct needle *needle, const struct dat_item *item,
                       struct error *err)
{
    if (!is_wanted(x, needle))
        return 0;
    if (limit > 0 && x->counted >= (uint64_t)limit) {
        x->is_full = true;
        return 0;
    }
    x->counted++;
    if (x->sink)
        return write_needle(x, needle, err);
    print_needle(x, needle, false, item);
    return 0;
}

static int take_record(struct exporter *x, const struct dat_item *item, struct error *err)
{
    bool is_live = is_live_record(x, item->offset, &item->header);
    bool is_tombstone = item->header.size == 0;
    x->seen_live += is_live;
    if (!is_live && !with_deleted)
        return 0;
    if (is_tombstone && (x->sink || !is_last_tombstone(x, item)))
        return 0;
    const struct needle_entry entry = {item->header.key, item->offset, item->header.size};
    struct needle needle;
    struct error reason;
    void *buf = malloc(item->length);
    if (!buf)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a needle of %" PRIu64 " bytes",
                         item->length);
    int code = volume_generation_read(x->generation, &entry, buf, false, &needle, &reason);
    if (code != 0) {
        fprintf(stderr, "kelp export: %s\n", reason.message);
        x->failures++;
        code = 0;
    } else if (is_tombstone) {
        needle.name = SLICE("*tombstone");
        print_needle(x, &needle, true, item);
    } else {
        code = take_needle(x, &needle, item, err);
    }
    free(buf);
    return code;
}

/* ---- the whole ---- */

static int count_live(struct exporter *x, uint64_t *ret, struct error *err)
{
    struct needle_cursor *cursor;
    const struct needle_entry *entries;
    size_t count = 1;
    *ret = 0;
    int code =
        needle_cursor_open(x->generation->index, NEEDLE_INDEX_BY_OFFSET, UINT64_MAX, &cursor, err);
    if (code != 0)
        return code;
    while (code == 0 && count > 0) {
        code = needle_cursor_next(cursor, &entries, &count, err);
        for (size_t i = 0; code == 0 && i < count; i++)
            *ret += entries[i].size > 0;
    }
    needle_cursor_close(cursor);
    return code;
}

static int walk(struct exporter *x, struct error *err)
{
    struct dat_scan *scan;
    struct dat_item item = {.kind = DAT_GAP};
    uint64_t live, begin = super_block_end(&x->generation->super_block);
    int code = dat_scan_open(&scan, x->generation, begin, is_known, x, err);
    if (code != 0)
        return code;
    while (code == 0 && !x->is_full) {
        code = dat_scan_next(scan, &item, err);
        if (code != 0 || item.kind == DAT_END)
            break;
        if (item.kind == DAT_RECORD)
            code = take_record(x, &item, err);
    }
    dat_scan_close(scan);
    if (code == 0 && !x->is_full)
        code = count_live(x, &live, err);
    if (code == 0 && !x->is_full && live > x->seen_live) {
        fprintf(stderr, "kelp export: %" PRIu64 " needles have no sound record (see kelp check)\n",
                live - x->seen_live);
        x->failures++;
    }
    return code;
}

static int export_volume(struct exporter *x, struct error *err)
{
    int code = offline_open(x->volume, true, &x->generation, err);
    if (code == 0 && with_deleted && !x->sink) {
        code = volume_generation_make_index(x->generation, 0, &x->tombstones, err);
        if (code == 0)
            code = index_file_walk(&x->generation->idx, 0, UINT64_MAX, note_tombstone, x, err);
    }
    if (code == 0 && !x->sink)
        printf("key\tname\tsize\tgzip\tmime\tmodified\tttl\tdeleted\tstart\tstop\n");
    if (code == 0)
        code = walk(x, err);
    needle_index_destroy(x->tombstones);
    volume_generation_unref(x->generation);
    return code;
}

static int check_flags(struct exporter *x, struct error *err)
{
    struct buffer ignored = BUFFER_INIT;
    struct tm tm = {0};
    int code = export_name_expand(name_format, &(struct export_fields){0}, &ignored, err);
    buffer_fini(&ignored);
    x->newer_than = INT64_MIN;
    if (code == 0 && *newer) {
        const char *end = strptime(newer, "%Y-%m-%dT%H:%M:%S", &tm);
        if (!end || *end)
            return error_set(
                err, KELP_E_INVALID,
                "cannot parse 'newer' argument: \"%.40s\" is no time as 2006-01-02T15:04:05",
                newer);
        x->newer_than = timegm(&tm);
    }
    return code;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct offline_list list = {0};
    struct exporter x = {0};
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    int code = check_flags(&x, &err);
    if (code == 0)
        code = offline_flags_find_one(&list, &err);
    if (code == 0 && *output)
        code = export_sink_open(&x.sink, output, &err);
    if (code != 0) {
        offline_list_fini(&list);
        return command_fail(&config, &err) + 1;
    }
    x.volume = &list.volumes[0];
    code = export_volume(&x, &err);
    struct error closing = {0};
    int closed = export_sink_close(x.sink, code == 0, &closing);
    if (code == 0 && closed != 0) {
        code = closed;
        err = closing;
    }
    if (code == 0 && fflush(stdout) != 0)
        code = error_set(&err, KELP_E_IO, "standard output cannot be written");
    buffer_fini(&x.name);
    buffer_fini(&x.path);
    offline_list_fini(&list);
    return code != 0 ? command_fail(&config, &err) : x.failures > 0;
}

const struct command command_export = {&config, run};
