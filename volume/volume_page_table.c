/* Sorting, choosing and turning pages are links and a form, so that they work without script. */
#include "volume/volume_page_table.h"

#include "common/url.h"
#include "volume/volume_page_text.h"

#include <inttypes.h>

/* ---- the way around ---- */

static void print_link(const struct volume_page_view *view, struct buffer *out,
                       enum volume_page_sort sort, size_t page)
{
    const struct volume_page_query *query = &view->query;
    buffer_append_text(out, "?q=");
    url_encode_query(out, slice_cstr(query->text));
    buffer_printf(out, "&amp;show=%s&amp;sort=%s&amp;page=%zu#volumes",
                  volume_page_show_name(query->show), volume_page_sort_name(sort), page + 1);
}

static void print_form(const struct volume_page_view *view, struct buffer *out)
{
    static const char *const titles[VOLUME_PAGE_SHOWS] = {
        [VOLUME_PAGE_ALL] = "all volumes",
        [VOLUME_PAGE_WRITABLE] = "writable",
        [VOLUME_PAGE_READ_ONLY] = "read-only",
        [VOLUME_PAGE_GARBAGE] = "30 % garbage or more",
        [VOLUME_PAGE_DAMAGED] = "with damaged records",
        [VOLUME_PAGE_VACUUM] = "in a vacuum",
    };
    buffer_append_text(out, "<form method=\"get\" action=\"#volumes\"><input name=\"q\" value=\"");
    page_text(out, view->query.text);
    buffer_append_text(out, "\" placeholder=\"id or collection\" aria-label=\"id or collection\" "
                            "maxlength=\"63\"><select name=\"show\" aria-label=\"which\">");
    for (unsigned i = 0; i < VOLUME_PAGE_SHOWS; i++)
        buffer_printf(out, "<option value=\"%s\"%s>%s</option>", volume_page_show_name(i),
                      i == (unsigned)view->query.show ? " selected" : "", titles[i]);
    buffer_printf(out,
                  "</select><input type=\"hidden\" name=\"sort\" value=\"%s\">"
                  "<button>Show</button></form>",
                  volume_page_sort_name(view->query.sort));
}

static void print_column(const struct volume_page_view *view, struct buffer *out, const char *title,
                         bool is_number, enum volume_page_sort sort)
{
    buffer_printf(out, "<th%s><a%s href=\"", is_number ? " class=\"n\"" : "",
                  view->query.sort == sort ? " class=\"on\"" : "");
    print_link(view, out, sort, 0);
    buffer_printf(out, "\">%s</a></th>", title);
}

static void print_pages(const struct volume_page_view *view, struct buffer *out, size_t count)
{
    size_t pages = (count + VOLUME_PAGE_ROWS - 1) / VOLUME_PAGE_ROWS, page = view->query.page;
    if (pages <= 1)
        return;
    buffer_append_text(out, "<div class=\"pages\">");
    if (page > 0) {
        buffer_append_text(out, "<a rel=\"prev\" href=\"");
        print_link(view, out, view->query.sort, page - 1);
        buffer_append_text(out, "\">&larr; back</a>");
    }
    buffer_printf(out, "<span class=\"soft\">page %zu of %zu</span>", page + 1, pages);
    if (page + 1 < pages) {
        buffer_append_text(out, "<a rel=\"next\" href=\"");
        print_link(view, out, view->query.sort, page + 1);
        buffer_append_text(out, "\">on &rarr;</a>");
    }
    buffer_append_text(out, "</div>");
}

/* ---- one volume ---- */

static void print_state(const struct volume_page_volume *volume, struct buffer *out)
{
    unsigned bits = volume->stat.read_only;
    bool is_bad = (bits & (VOLUME_RO_IO_ERROR | VOLUME_RO_CORRUPT)) != 0;
    if (volume->vacuum.state != VACUUM_IDLE)
        buffer_printf(out, "<span class=\"pill ok\">%s</span> ",
                      vacuum_state_name(volume->vacuum.state));
    for (unsigned i = 0; i < VOLUME_READ_ONLY_REASONS; i++)
        if (bits & 1u << i)
            buffer_printf(out, "<span class=\"pill %s\">read-only: %s</span> ",
                          is_bad ? "bad" : "warn", volume_read_only_name(i));
    if (volume->stat.damaged_count > 0) {
        buffer_append_text(out, "<span class=\"pill bad\">");
        page_count(out, volume->stat.damaged_count);
        buffer_append_text(out, " damaged</span> ");
    }
    if (volume->stat.is_data_missing)
        buffer_append_text(out, "<span class=\"pill bad\">data file gone</span> ");
    if (volume->fault[0]) {
        buffer_append_text(out, "<span class=\"small\">");
        page_text(out, volume->fault);
        buffer_append_text(out, "</span>");
    }
    if (bits == 0 && volume->stat.damaged_count == 0 && volume->vacuum.state == VACUUM_IDLE)
        buffer_append_text(out, "<span class=\"soft\">writable</span>");
}

static void print_fill(const struct volume_page_view *view,
                       const struct volume_page_volume *volume, struct buffer *out)
{
    uint64_t bytes = volume->stat.dat_bytes;
    uint64_t waste = (uint64_t)(volume->stat.garbage_ratio * (double)bytes);
    uint64_t total = view->size_limit_bytes > bytes ? view->size_limit_bytes : bytes;
    char label[80];
    if (waste > bytes)
        waste = bytes;
    snprintf(label, sizeof(label), "%.0f %% full, of that %.0f %% garbage",
             total ? (double)bytes / (double)total * 100 : 0, volume->stat.garbage_ratio * 100);
    struct page_bar_part parts[] = {{"live", bytes - waste}, {"waste", waste}};
    page_bar(out, label, total, parts, 2, UINT64_MAX);
}

static void print_volume(const struct volume_page_view *view,
                         const struct volume_page_volume *volume, struct buffer *out)
{
    char replication[10], ttl[8];
    const struct volume_stat *stat = &volume->stat;
    buffer_printf(out, "<tr><td class=\"n\">%" PRIu32 "</td><td class=\"wrap\">", volume->id);
    if (volume->collection[0])
        page_text(out, volume->collection);
    else
        buffer_append_text(out, "<span class=\"soft\">&ndash;</span>");
    replica_placement_format(stat->replica_placement, replication);
    ttl_format(stat->ttl, ttl);
    buffer_printf(out, "</td><td>%s%s%s</td><td class=\"n\">", replication,
                  *ttl ? " &middot; " : "", ttl);
    page_bytes(out, stat->dat_bytes);
    buffer_append_text(out, "</td><td>");
    print_fill(view, volume, out);
    buffer_append_text(out, "</td><td class=\"n\">");
    page_percent(out, stat->garbage_ratio);
    buffer_append_text(out, "</td><td class=\"n\">");
    page_count(out, stat->live_count);
    buffer_append_text(out, "</td><td class=\"soft small\">");
    page_date(out, (int64_t)stat->modified_at_second);
    buffer_append_text(out, "</td>");
    if (view->disk_count > 1)
        buffer_printf(out, "<td class=\"n soft\">%" PRIu32 "</td>", volume->disk);
    buffer_append_text(out, "<td class=\"wrap\">");
    print_state(volume, out);
    buffer_append_text(out, "</td></tr>\n");
}

void volume_page_print_volumes(struct volume_page_view *view, struct buffer *out)
{
    size_t count = volume_page_select(view);
    size_t first = view->query.page * VOLUME_PAGE_ROWS;
    buffer_append_text(out, "<h2 id=\"volumes\">Volumes <small>garbage is what a vacuum would give "
                            "back</small></h2>\n");
    print_form(view, out);
    buffer_append_text(out, "<div id=\"volume-table\" data-live>");
    if (count == 0) {
        buffer_append_text(out, view->volume_count == 0
                                    ? "<p class=\"none\">There are no volumes here yet.</p>"
                                    : "<p class=\"none\">No volume is like that.</p>");
    } else {
        buffer_append_text(out, "<div class=\"card scroll\"><table><thead><tr>");
        print_column(view, out, "Id", true, VOLUME_PAGE_BY_ID);
        buffer_append_text(out, "<th>Collection</th><th>Copies, TTL</th>");
        print_column(view, out, "Size", true, VOLUME_PAGE_BY_SIZE);
        buffer_append_text(out, "<th>Fill</th>");
        print_column(view, out, "Garbage", true, VOLUME_PAGE_BY_GARBAGE);
        print_column(view, out, "Files", true, VOLUME_PAGE_BY_FILES);
        print_column(view, out, "Changed, UTC", false, VOLUME_PAGE_BY_CHANGE);
        buffer_append_text(out, view->disk_count > 1 ? "<th class=\"n\">Disk</th>" : "");
        buffer_append_text(out, "<th>State</th></tr></thead><tbody>\n");
        for (size_t i = first; i < count && i < first + VOLUME_PAGE_ROWS; i++)
            print_volume(view, &view->volumes[i], out);
        buffer_append_text(out, "</tbody></table></div>");
        print_pages(view, out, count);
    }
    buffer_append_text(out, "</div>\n");
}

void volume_page_print_damage(const struct volume_page_view *view, struct buffer *out)
{
    buffer_append_text(out, "<div id=\"damage\" data-live>");
    if (view->damage_count > 0) {
        buffer_append_text(out,
                           "<h2>Damaged records <small>fetch them from a replica</small></h2>"
                           "<div class=\"card scroll\"><table><thead><tr>"
                           "<th class=\"n\">Volume</th><th>Needle</th><th class=\"n\">Offset</th>"
                           "<th>Found, UTC</th>"
                           "<th>Why</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < view->damage_count; i++) {
            const struct volume_page_damage *found = &view->damage[i];
            buffer_printf(out,
                          "<tr><td class=\"n\">%" PRIu32 "</td><td class=\"mono\">%" PRIx64
                          "</td><td class=\"n\">%" PRIu64 "</td><td class=\"soft small\">",
                          found->volume_id, found->damage.key, found->damage.offset);
            page_date(out, found->damage.found_at_ns / 1000000000);
            buffer_append_text(out, "</td><td class=\"wrap\">");
            page_text(out, found->damage.reason);
            buffer_append_text(out, "</td></tr>\n");
        }
        buffer_append_text(out, "</tbody></table></div>");
    }
    buffer_append_text(out, "</div>\n");
}
