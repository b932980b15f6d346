/* The option's JSON text, by hand: it is an error message with a fixed shape, written into the caller's
 * buffer, and json-c could neither keep the order nor cut it. */
#include "master/volume_option.h"

#include <stdio.h>

struct text_writer {
    char *text;
    size_t length;
};

static void put(struct text_writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text_writer *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t room = VOLUME_OPTION_TEXT_SIZE - w->length;
    int n = vsnprintf(w->text + w->length, room, fmt, args);
    va_end(args);
    if (n > 0)
        w->length += (size_t)n < room ? (size_t)n : room - 1;
}

static void put_string(struct text_writer *w, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    put(w, "\"%s\":\"", name);
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\')
            put(w, "\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == '<' || *c == '>' || *c == '&')
            put(w, "\\u%04x", (unsigned char)*c);
        else
            put(w, "%c", *c);
    }
    put(w, "\",");
}

const char *volume_option_format(const struct volume_option *o, char text[VOLUME_OPTION_TEXT_SIZE])
{
    struct text_writer w = {text, 0};
    struct replica_placement p = o->placement;
    put(&w, "{");
    put_string(&w, "collection", o->collection);
    put(&w, "\"replication\":{");
    const char *comma = "";
    if (p.same_rack) {
        put(&w, "\"node\":%u", p.same_rack);
        comma = ",";
    }
    if (p.other_racks) {
        put(&w, "%s\"rack\":%u", comma, p.other_racks);
        comma = ",";
    }
    if (p.other_data_centers)
        put(&w, "%s\"dc\":%u", comma, p.other_data_centers);
    put(&w, "},\"ttl\":{\"Count\":%u,\"Unit\":%u},", o->ttl.count, o->ttl.unit);
    put_string(&w, "disk", o->disk_type);
    if (o->preallocate_bytes)
        put(&w, "\"preallocate\":%lld,", (long long)o->preallocate_bytes);
    put_string(&w, "dataCenter", o->data_center);
    put_string(&w, "rack", o->rack);
    put_string(&w, "dataNode", o->data_node);
    if (o->memory_map_max_size_mb)
        put(&w, "\"memoryMapMaxSizeMb\":%u,", o->memory_map_max_size_mb);
    if (o->version)
        put(&w, "\"version\":%u,", o->version);
    if (text[w.length - 1] == ',')
        text[w.length - 1] = '}';
    return text;
}
