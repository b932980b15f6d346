/* The page from top to bottom: who this is, the sums, the disks, the vacuums, the volumes, what
 * went wrong. What changes by itself stands in elements with data-live and an id, for the
 * script; data-busy makes it look more often. */
#include "common/base64.h"
#include "volume/volume_page_style.h"
#include "volume/volume_page_table.h"
#include "volume/volume_page_text.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <string.h>

/* A frond of kelp. */
#define MARK                                                                                       \
    "<svg width=\"30\" height=\"30\" viewBox=\"0 0 30 30\" aria-hidden=\"true\">"                  \
    "<rect width=\"30\" height=\"30\" rx=\"8\" class=\"live\"/>"                                   \
    "<path d=\"M15 25C13 20 17 17 15 12S16 6 15 5M15 20c-4 0-5-2-6-5 4 0 6 2 6 5zm0-3c4 0 5-2 6-5" \
    "-4 0-6 2-6 5zm0-5c-3 0-4-2-4-5 3 1 4 3 4 5z\" fill=\"none\" stroke=\"#fff\" "                 \
    "stroke-width=\"1.6\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg>"

/* ---- policy ---- */

static void append_hash(struct buffer *out, const char *text)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)text, strlen(text), digest);
    buffer_append_text(out, " 'sha256-");
    base64_encode(out, slice_of((const char *)digest, sizeof(digest)));
    buffer_append_char(out, '\'');
}

void volume_page_policy(struct buffer *out)
{
    buffer_append_text(out, "default-src 'none'; style-src");
    append_hash(out, volume_page_style);
    buffer_append_text(out, "; script-src");
    append_hash(out, volume_page_script);
    buffer_append_text(out, "; connect-src 'self'; img-src 'self'; form-action 'self'; "
                            "base-uri 'none'; frame-ancestors 'none'");
}

/* ---- who this is ---- */

static void print_status(const struct volume_page_facts *facts, struct buffer *out)
{
    const char *class = "ok", *text = "serving";
    if (facts->is_stopping) {
        class = "warn";
        text = "stopping";
    } else if (facts->has_left) {
        class = "warn";
        text = "has left the cluster";
    } else if (!facts->is_connected) {
        class = "bad";
        text = "no master answers";
    } else if (facts->is_in_maintenance) {
        class = "warn";
        text = "in maintenance";
    }
    buffer_printf(out, "<span id=\"status\" data-live class=\"pill %s\">%s</span>", class, text);
}

static void print_head(const struct volume_page_view *view, struct buffer *out)
{
    buffer_append_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                            "<meta name=\"viewport\" content=\"width=device-width\">"
                            "<link rel=\"icon\" href=\"/favicon.ico\"><title>");
    page_text(out, view->facts.address);
    buffer_append_text(out, " &ndash; kelp volume server</title>\n<style>");
    buffer_append_text(out, volume_page_style);
    buffer_append_text(out, "</style></head>\n<body><header>" MARK "<h1>Volume server ");
    page_text(out, view->facts.address);
    buffer_append_text(out, "</h1>");
    print_status(&view->facts, out);
    buffer_append_text(out, "<span class=\"stale\" id=\"stale\">as of now; load it again for news"
                            "</span></header>\n<main>");
}

static void print_fact(struct buffer *out, const char *name, const char *value)
{
    if (!*value)
        return;
    buffer_printf(out, "<div><dt>%s</dt><dd>", name);
    page_text(out, value);
    buffer_append_text(out, "</dd></div>");
}

static void print_facts(const struct volume_page_view *view, struct buffer *out)
{
    static const char *const indexes[] = {
        [STORE_INDEX_MEMORY] = "in memory",
        [STORE_INDEX_LEVELDB] = "on disk (leveldb)",
        [STORE_INDEX_LEVELDB_MEDIUM] = "on disk (leveldbMedium)",
        [STORE_INDEX_LEVELDB_LARGE] = "on disk (leveldbLarge)",
    };
    const struct volume_page_facts *facts = &view->facts;
    struct buffer text = BUFFER_INIT;
    uint64_t index_memory = 0, index_files = 0;
    for (size_t i = 0; i < view->disk_count; i++) {
        index_memory += view->disks[i].index_memory_bytes;
        index_files += view->disks[i].index_file_bytes;
    }
    buffer_append_text(out, "<dl class=\"facts\" id=\"facts\" data-live>");
    print_fact(out, "Version", facts->version);
    page_duration(&text, view->now_second > facts->started_second
                             ? (uint64_t)(view->now_second - facts->started_second)
                             : 0);
    print_fact(out, "Up for", buffer_cstr(&text));
    print_fact(out, "Master", facts->leader[0] ? facts->leader : facts->masters);
    if (strcmp(facts->public_url, facts->address) != 0)
        print_fact(out, "Public URL", facts->public_url);
    print_fact(out, "Data center", facts->data_center);
    print_fact(out, "Rack", facts->rack);
    buffer_clear(&text);
    buffer_printf(&text, "%s, ", indexes[facts->index]);
    page_bytes(&text, index_memory);
    buffer_append_text(&text, facts->index == STORE_INDEX_MEMORY ? "" : " of memory");
    print_fact(out, "Index", buffer_cstr(&text));
    buffer_clear(&text);
    page_bytes(&text, index_files);
    print_fact(out, ".idx files", buffer_cstr(&text));
    buffer_clear(&text);
    if (facts->durability == STORE_DURABILITY_INTERVAL)
        buffer_printf(&text, "synced within %" PRIu32 " ms",
                      facts->sync_interval_ms ? facts->sync_interval_ms : 1000);
    else
        buffer_append_text(&text, facts->durability == STORE_DURABILITY_ALWAYS
                                      ? "every write is synced"
                                      : "synced on request");
    print_fact(out, "Durability", buffer_cstr(&text));
    buffer_append_text(out, "</dl>\n");
    buffer_fini(&text);
}

/* ---- sums ---- */

static void begin_tile(struct buffer *out, bool is_bad)
{
    buffer_printf(out, "<div class=\"tile%s\"><b>", is_bad ? " bad" : "");
}

static void end_tile(struct buffer *out, const char *what)
{
    buffer_printf(out, "</b><span>%s</span></div>", what);
}

static void print_sums(const struct volume_page_view *view, struct buffer *out)
{
    uint64_t bytes = 0, waste = 0, files = 0, damaged = 0;
    for (size_t i = 0; i < view->volume_count; i++) {
        const struct volume_stat *stat = &view->volumes[i].stat;
        bytes += stat->dat_bytes;
        waste += (uint64_t)(stat->garbage_ratio * (double)stat->dat_bytes);
        files += stat->live_count;
        damaged += stat->damaged_count;
    }
    buffer_printf(out, "<div class=\"tiles\" id=\"sums\" data-live%s>",
                  view->loading_count > 0 ? " data-busy" : "");
    begin_tile(out, false);
    page_count(out, view->volume_count);
    end_tile(out, "volumes");
    begin_tile(out, false);
    page_count(out, files);
    end_tile(out, "files");
    begin_tile(out, false);
    page_bytes(out, bytes);
    end_tile(out, "in volumes");
    begin_tile(out, false);
    page_bytes(out, waste);
    buffer_append_text(out, " <small class=\"soft small\">");
    page_percent(out, bytes ? (double)waste / (double)bytes : 0);
    buffer_append_text(out, "</small>");
    end_tile(out, "garbage");
    if (view->loading_count > 0) {
        begin_tile(out, false);
        page_count(out, view->loading_count);
        end_tile(out, "still being loaded");
    }
    if (view->not_loaded_count > 0) {
        begin_tile(out, true);
        page_count(out, view->not_loaded_count);
        end_tile(out, "could not be loaded");
    }
    begin_tile(out, damaged > 0);
    page_count(out, damaged);
    end_tile(out, "damaged records");
    buffer_append_text(out, "</div>\n");
}

/* ---- disks ---- */

static void print_latencies(const struct volume_page_disk *disk, struct buffer *out)
{
    static const char *const names[FOREGROUND_KINDS] = {
        [FOREGROUND_READ] = "reads from disk", [FOREGROUND_WRITE] = "writes"};
    for (unsigned kind = 0; kind < FOREGROUND_KINDS; kind++) {
        if (disk->p99_ns[kind] == 0)
            continue;
        buffer_printf(out, "<span>p99 of %s ", names[kind]);
        page_latency(out, disk->p99_ns[kind]);
        buffer_append_text(out, "</span>");
    }
}

static void print_disk_bar(const struct volume_page_disk *disk, struct buffer *out)
{
    uint64_t total = disk->space.total_bytes;
    uint64_t used = total > disk->space.free_bytes ? total - disk->space.free_bytes : 0;
    uint64_t ours = disk->volume_bytes < used ? disk->volume_bytes : used;
    struct page_bar_part parts[] = {{"live", ours}, {"other", used - ours}};
    char label[64];
    snprintf(label, sizeof(label), "%.0f %% used",
             total ? (double)used / (double)total * 100 : 0);
    page_bar(out, label, total, parts, 2,
             total > disk->space.reserve_bytes ? total - disk->space.reserve_bytes : UINT64_MAX);
    buffer_append_text(out, "<div class=\"row small soft legend\"><span><i class=\"key l\"></i>"
                            "volumes ");
    page_bytes(out, disk->volume_bytes);
    buffer_append_text(out, "</span><span><i class=\"key o\"></i>other ");
    page_bytes(out, used - ours);
    buffer_append_text(out, "</span><span><i class=\"key t\"></i>free ");
    page_bytes(out, disk->space.free_bytes);
    buffer_append_text(out, " of ");
    page_bytes(out, total);
    buffer_append_text(out, "</span><span>kept free ");
    page_bytes(out, disk->space.reserve_bytes);
    buffer_append_text(out, "</span>");
    print_latencies(disk, out);
    buffer_append_text(out, "</div>");
}

static void print_disk(const struct volume_page_disk *disk, struct buffer *out)
{
    buffer_append_text(out, "<div class=\"card\"><div class=\"row\"><span class=\"mono grow\">");
    page_text(out, disk->directory);
    buffer_append_text(out, "</span><span class=\"soft\">");
    page_text(out, disk->type[0] ? disk->type : "hdd");
    buffer_append_text(out, "</span><span>");
    page_count(out, disk->volume_count);
    buffer_append_text(out, " of ");
    page_count(out, disk->slots);
    buffer_printf(out, " volumes</span><span class=\"pill %s\">%s</span></div>",
                  disk->space.is_unavailable ? "bad" : disk->space.is_low ? "warn" : "ok",
                  disk->space.is_unavailable ? "does not answer"
                  : disk->space.is_low       ? "low on space: read-only"
                                             : "ok");
    print_disk_bar(disk, out);
    buffer_append_text(out, "</div>\n");
}

static void print_disks(const struct volume_page_view *view, struct buffer *out)
{
    buffer_append_text(out, "<h2>Disks</h2><div id=\"disks\" data-live>");
    for (size_t i = 0; i < view->disk_count; i++)
        print_disk(&view->disks[i], out);
    buffer_append_text(out, "</div>\n");
}

/* ---- vacuums ---- */

static void print_job(const struct volume_page_view *view, const struct volume_page_volume *volume,
                      struct buffer *out)
{
    const struct vacuum_progress *vacuum = &volume->vacuum;
    bool is_over = vacuum->state == VACUUM_COPIED || vacuum->state == VACUUM_COMMITTING;
    uint64_t done = is_over ? vacuum->bytes_total : vacuum->source_offset;
    double share = vacuum->bytes_total ? (double)done / (double)vacuum->bytes_total : 0;
    char label[32];
    buffer_printf(out, "<div class=\"card\"><div class=\"row\"><span><b>Volume %" PRIu32 "</b> ",
                  volume->id);
    page_text(out, volume->collection);
    buffer_printf(out, "</span><span class=\"pill ok\">%s</span><span class=\"grow soft\">",
                  vacuum->is_waiting  ? "waiting for its turn"
                  : vacuum->is_paused ? "paused"
                                      : vacuum_state_name(vacuum->state));
    page_percent(out, share > 1 ? 1 : share);
    if (vacuum->state == VACUUM_COPYING && vacuum->left_ns > 0) {
        buffer_append_text(out, ", about ");
        page_duration(out, vacuum->left_ns / 1000000000 + 1);
        buffer_append_text(out, " left");
    }
    buffer_append_text(out, "</span><span class=\"soft mono\">");
    page_text(out, view->disks[volume->disk].directory);
    buffer_append_text(out, "</span></div>");
    snprintf(label, sizeof(label), "%.0f %% done", share * 100);
    struct page_bar_part part = {"live", done};
    page_bar(out, label, vacuum->bytes_total, &part, 1, UINT64_MAX);
    buffer_append_text(out, "<div class=\"row small soft legend\"><span>");
    page_bytes(out, done);
    buffer_append_text(out, " of ");
    page_bytes(out, vacuum->bytes_total);
    if (vacuum->bytes_per_second > 0) {
        buffer_append_text(out, "</span><span>");
        page_bytes(out, vacuum->bytes_per_second);
        buffer_append_text(out, "/s");
    }
    buffer_append_text(out, "</span><span>copied ");
    page_bytes(out, vacuum->bytes_copied);
    buffer_append_text(out, "</span><span>given back ");
    page_bytes(out, vacuum->bytes_reclaimed);
    buffer_append_text(out, "</span>");
    if (vacuum->damaged > 0)
        buffer_printf(out, "<span class=\"pill bad\">%" PRIu64 " damaged</span>", vacuum->damaged);
    buffer_append_text(out, "</div></div>\n");
}

static void print_jobs(const struct volume_page_view *view, struct buffer *out)
{
    size_t count = 0;
    for (size_t i = 0; i < view->volume_count; i++)
        count += view->volumes[i].vacuum.state != VACUUM_IDLE;
    buffer_printf(out, "<div id=\"vacuums\" data-live%s><h2>Vacuums",
                  count > 0 ? " data-busy" : "");
    for (size_t i = 0; i < view->disk_count; i++)
        if (view->disks[i].vacuum_jobs > 0 && view->disks[i].vacuum_share < 0.995)
            buffer_printf(out,
                          "<small>at %.0f %% of the time on disk %zu, for clients' sake</small>",
                          view->disks[i].vacuum_share * 100, i);
    buffer_append_text(out, "</h2>");
    if (count == 0)
        buffer_append_text(out, "<p class=\"none\">None is running.</p>");
    size_t shown = 0;
    for (size_t i = 0; i < view->volume_count && shown < VOLUME_PAGE_JOBS; i++)
        if (view->volumes[i].vacuum.state != VACUUM_IDLE) {
            print_job(view, &view->volumes[i], out);
            shown++;
        }
    if (count > shown)
        buffer_printf(out, "<p class=\"none\">And %zu more.</p>", count - shown);
    buffer_append_text(out, "</div>\n");
}

/* ---- what went wrong ---- */

static void print_errors(const struct volume_page_view *view, struct buffer *out)
{
    buffer_append_text(out, "<div id=\"errors\" data-live><h2>Recent warnings and errors "
                            "<small>of this process</small></h2>");
    if (view->error_count == 0) {
        buffer_append_text(out, "<p class=\"none\">None since it started.</p></div>\n");
        return;
    }
    buffer_append_text(out, "<div class=\"card scroll\"><table><thead><tr><th>When, UTC</th>"
                            "<th></th><th>What</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < view->error_count; i++) {
        const struct log_recent *entry = &view->errors[i];
        bool is_error = entry->level == LOG_ERROR;
        buffer_append_text(out, "<tr><td class=\"soft small\">");
        page_date(out, entry->at_second);
        buffer_printf(out,
                      "</td><td><span class=\"pill %s\">%s</span></td><td class=\"wrap small\">",
                      is_error ? "bad" : "warn", is_error ? "error" : "warning");
        page_text(out, entry->text);
        if (entry->count > 1)
            buffer_printf(out, " <span class=\"soft\">(%" PRIu64 " times)</span>", entry->count);
        buffer_append_text(out, "</td></tr>\n");
    }
    buffer_append_text(out, "</tbody></table></div></div>\n");
}

static void print_loops(const struct volume_page_view *view, struct buffer *out)
{
    bool has_any = false;
    buffer_append_text(out, "<div id=\"loops\" data-live>");
    for (size_t i = 0; i < view->loop_count; i++) {
        const struct volume_page_loop *loop = &view->loops[i];
        for (size_t c = 0; c < loop->cause_count; c++) {
            if (!has_any)
                buffer_append_text(
                    out, "<h2>Slow turns <small>an event loop was busy for more than 10 ms, and "
                         "its other clients waited</small></h2><div class=\"card scroll\"><table>"
                         "<thead><tr><th>Loop</th><th>Cause</th><th class=\"n\">Times</th>"
                         "<th class=\"n\">Longest</th></tr></thead><tbody>\n");
            has_any = true;
            buffer_append_text(out, "<tr><td>");
            page_text(out, loop->name);
            buffer_append_text(out, "</td><td class=\"wrap\">");
            page_text(out, loop->causes[c].what);
            buffer_printf(out,
                          "</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%" PRIu64 " ms",
                          loop->causes[c].count, loop->causes[c].longest_ms);
            buffer_append_text(out, "</td></tr>\n");
        }
    }
    buffer_append_text(out, has_any ? "</tbody></table></div></div>\n" : "</div>\n");
}

void volume_page_print(struct volume_page_view *view, struct buffer *out)
{
    print_head(view, out);
    print_facts(view, out);
    print_sums(view, out);
    print_disks(view, out);
    print_jobs(view, out);
    volume_page_print_volumes(view, out);
    volume_page_print_damage(view, out);
    print_errors(view, out);
    print_loops(view, out);
    buffer_append_text(out, "</main><footer>The same as JSON: <a href=\"/status\">/status</a>."
                            "</footer>\n<script>");
    buffer_append_text(out, volume_page_script);
    buffer_append_text(out, "</script></body></html>\n");
}
