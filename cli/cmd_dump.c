/* kelp dump: shows what is in a volume: its super block and .vif, one needle, a range of the .dat
 * or of the .idx. */
#include "cli/command.h"
#include "cli/dump_record.h"
#include "cli/offline_flags.h"
#include "common/check.h"
#include "common/file_id.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *needle_text, *offsets, *rows, *options;
static int64_t limit, data_bytes;
static bool is_json;

static const struct config_flag flags[] = {
    OFFLINE_ONE_ROWS,
    {"needle", CONFIG_STRING, &needle_text, NULL,
     "one needle: a file id as 3,01637037d6, which needs no -volumeId, or its key in hex; all of "
     "its rows and records are shown"},
    {"offset", CONFIG_STRING, &offsets, NULL, "records of the .dat: from, or from:to, in bytes"},
    {"row", CONFIG_STRING, &rows, NULL, "rows of the .idx: from, or from:to, counted from 0"},
    {"limit", CONFIG_INT, &limit, "100", "most rows or records that a range shows; 0: all"},
    {"data", CONFIG_INT, &data_bytes, NULL, "show so many bytes of the data, in hex"},
    {"json", CONFIG_BOOL, &is_json, NULL, "one JSON object a line"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "dump",
    .summary = "show a volume's head, needles, records and index rows",
    .usage = "-dir=/data -volumeId=3 [-needle=3,01637037d6 | -offset=8:4096 | -row=0:10] [-json]",
    .description = "Changes nothing; a server may have the volume open. Without -needle, -offset "
                   "and -row the super\n"
                   "block and the .vif are shown. Exit status: 0, 1 when a shown record is damaged "
                   "or a needle is\n"
                   "unknown, 2 for wrong usage or what cannot be read.",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};

struct dumper {
    const struct offline_volume *volume;
    struct volume_generation *generation;
    struct dump_style style;
    uint64_t key; /* of -needle */
    uint64_t shown;
    bool has_damage, has_needle;
    struct error *err;
};

static bool is_over_limit(const struct dumper *d)
{
    return limit > 0 && d->shown >= (uint64_t)limit;
}

/* "8", "8:64". */
static int parse_range(const char *flag, const char *text, uint64_t *ret_from, uint64_t *ret_to,
                       struct error *err)
{
    char *end;
    errno = 0;
    *ret_from = strtoull(text, &end, 0);
    *ret_to = UINT64_MAX;
    bool is_good = end != text && *text != '-';
    if (is_good && *end == ':') {
        const char *second = end + 1;
        *ret_to = strtoull(second, &end, 0);
        is_good = end != second && *second != '-';
    }
    if (!is_good || *end || errno != 0 || *ret_to < *ret_from)
        return error_set(err, KELP_E_INVALID, "%s=%.40s: give a number, or two as 8:64", flag,
                         text);
    return 0;
}

static int show_record(struct dumper *d, uint64_t offset, const struct needle_entry *row,
                       uint64_t *ret_length)
{
    bool is_sound;
    int code = dump_record(d->volume, d->generation, offset, row, &d->style, stdout, ret_length,
                           &is_sound, d->err);
    d->shown++;
    d->has_damage = d->has_damage || (code == 0 && !is_sound);
    return code;
}

static int show_offsets(struct dumper *d, uint64_t from, uint64_t to)
{
    uint64_t end = volume_generation_end(d->generation), length = 0;
    int code = 0;
    bool is_one = to == UINT64_MAX;
    to = to < end ? to : end;
    if (from == 0)
        from = super_block_end(&d->generation->super_block);
    do {
        code = show_record(d, from, NULL, &length);
        if (length == 0)
            break; /* what follows a broken header is anybody's guess */
        from += length;
    } while (code == 0 && !is_one && from < to && !is_over_limit(d));
    return code;
}

static int show_row(void *ctx, const struct needle_entry *row, uint64_t position)
{
    struct dumper *d = ctx;
    if (is_over_limit(d))
        return KELP_E_CANCELLED;
    dump_row(row, position, &d->style, stdout);
    d->shown++;
    return 0;
}

static int show_rows(struct dumper *d, uint64_t from, uint64_t to)
{
    size_t row_size = index_row_size(d->generation->offset_bytes);
    uint64_t count = index_file_end(&d->generation->idx) / row_size;
    if (from >= count)
        return error_set(d->err, KELP_E_INVALID, "the .idx has %" PRIu64 " rows", count);
    if (to == UINT64_MAX)
        to = from + 1;
    to = to < count ? to : count;
    int code =
        index_file_walk(&d->generation->idx, from * row_size, to * row_size, show_row, d, d->err);
    return code == KELP_E_CANCELLED ? 0 : code;
}

static int show_row_of_needle(void *ctx, const struct needle_entry *row, uint64_t position)
{
    struct dumper *d = ctx;
    uint64_t length;
    struct error reason;
    struct error *err = d->err;
    if (row->key != d->key)
        return 0;
    d->has_needle = true;
    dump_row(row, position, &d->style, stdout);
    if (row->offset == 0)
        return 0;
    d->err = &reason; /* a row that points nowhere is what one wants to see, and the rest */
    if (show_record(d, row->offset, row, &length) != 0) {
        fflush(stdout);
        fprintf(stderr, "kelp dump: %s\n", reason.message);
        d->has_damage = true;
    }
    d->err = err;
    return 0;
}

static int show_needle(struct dumper *d)
{
    int code = index_file_walk(&d->generation->idx, 0, UINT64_MAX, show_row_of_needle, d, d->err);
    if (code == 0 && !d->has_needle) {
        fprintf(stderr, "kelp dump: the .idx knows no needle %" PRIx64 "\n", d->key);
        d->has_damage = true;
    }
    return code;
}

/* A file id, the part of one after the comma, or a bare key. */
static int parse_needle(struct dumper *d, struct error *err)
{
    struct file_id id;
    char *end;
    uint32_t cookie;
    struct slice text = slice_cstr(needle_text);
    if (strchr(needle_text, ',')) {
        int code = file_id_parse(text, &id, err);
        if (code != 0)
            return code;
        if (offline_flags.volume_id > 0 && offline_flags.volume_id != (int64_t)id.volume_id)
            return error_set(err, KELP_E_INVALID, "-volumeId is %lld, -needle is of volume %u",
                             (long long)offline_flags.volume_id, id.volume_id);
        offline_flags.volume_id = id.volume_id;
        d->key = id.key;
        return 0;
    }
    if (text.len > 16)
        return needle_id_parse(text, &d->key, &cookie, err);
    errno = 0;
    d->key = strtoull(needle_text, &end, 16);
    if (end == needle_text || *end || *needle_text == '-' || errno != 0)
        return error_set(err, KELP_E_INVALID,
                         "-needle=%.40s: give a file id as 3,01637037d6, or a key in hex",
                         needle_text);
    return 0;
}

static int dump(struct dumper *d, struct error *err)
{
    uint64_t from = 0, to = 0;
    int code = 0;
    d->err = err;
    if (*offsets)
        code = parse_range("-offset", offsets, &from, &to, err);
    else if (*rows)
        code = parse_range("-row", rows, &from, &to, err);
    if (code == 0)
        code = offline_open(d->volume, true, &d->generation, err);
    if (code != 0)
        return code;
    if (*needle_text)
        code = show_needle(d);
    else if (*offsets)
        code = show_offsets(d, from, to);
    else if (*rows)
        code = show_rows(d, from, to);
    else
        dump_volume(d->volume, d->generation, &d->style, stdout);
    volume_generation_unref(d->generation);
    return code;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct offline_list list = {0};
    struct dumper d = {0};
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    int code = 0;
    if ((*needle_text != 0) + (*offsets != 0) + (*rows != 0) > 1)
        code = error_set(&err, KELP_E_INVALID, "one of -needle, -offset and -row at a time");
    if (code == 0 && (limit < 0 || data_bytes < 0))
        code = error_set(&err, KELP_E_INVALID, "-limit and -data go from 0 on");
    if (code == 0 && *needle_text)
        code = parse_needle(&d, &err);
    if (code == 0)
        code = offline_flags_find_one(&list, &err);
    if (code == 0) {
        d.volume = &list.volumes[0];
        d.style = (struct dump_style){.is_json = is_json, .data_bytes = (uint64_t)data_bytes};
        code = dump(&d, &err);
    }
    offline_list_fini(&list);
    return code != 0 ? command_fail(&config, &err) + 1 : d.has_damage;
}

const struct command command_dump = {&config, run};
