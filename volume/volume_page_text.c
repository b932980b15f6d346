/* See the header. */
#include "volume/volume_page_text.h"

#include "common/html.h"

#include <inttypes.h>
#include <time.h>

#define BAR_WIDTH 1000.0

void page_text(struct buffer *out, const char *text) { html_append_escaped(out, slice_cstr(text)); }

void page_bytes(struct buffer *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 999.5 && unit < 6) {
        value /= 1024;
        unit++;
    }
    int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    buffer_printf(out, "%.*f %s", digits, value, units[unit]);
}

void page_count(struct buffer *out, uint64_t count)
{
    char text[24];
    int length = snprintf(text, sizeof(text), "%" PRIu64, count);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            buffer_append_char(out, ',');
        buffer_append_char(out, text[i]);
    }
}

void page_percent(struct buffer *out, double share)
{
    double percent = share * 100;
    buffer_printf(out, percent > 0 && percent < 10 ? "%.1f %%" : "%.0f %%", percent);
}

void page_duration(struct buffer *out, uint64_t seconds)
{
    if (seconds >= 86400)
        buffer_printf(out, "%" PRIu64 " d %" PRIu64 " h", seconds / 86400, seconds / 3600 % 24);
    else if (seconds >= 3600)
        buffer_printf(out, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
    else if (seconds >= 60)
        buffer_printf(out, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
    else
        buffer_printf(out, "%" PRIu64 " s", seconds);
}

void page_latency(struct buffer *out, int64_t ns)
{
    if (ns < 1000000)
        buffer_printf(out, "%.0f µs", (double)ns / 1e3);
    else if (ns < 1000000000)
        buffer_printf(out, "%.1f ms", (double)ns / 1e6);
    else
        buffer_printf(out, "%.1f s", (double)ns / 1e9);
}

void page_date(struct buffer *out, int64_t unix_second)
{
    struct tm utc;
    char text[32];
    time_t second = (time_t)unix_second;
    if (!gmtime_r(&second, &utc) || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &utc) == 0)
        text[0] = '\0';
    buffer_append_text(out, text);
}

void page_bar(struct buffer *out, const char *label, uint64_t total,
              const struct page_bar_part *parts, size_t count, uint64_t mark)
{
    buffer_append_text(out, "<svg class=\"bar\" viewBox=\"0 0 1000 8\" "
                            "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    page_text(out, label);
    buffer_append_text(out, "\">");
    double at = 0;
    for (size_t i = 0; i < count && total > 0; i++) {
        double width = (double)parts[i].amount / (double)total * BAR_WIDTH;
        if (width > BAR_WIDTH - at)
            width = BAR_WIDTH - at;
        if (width <= 0)
            continue;
        buffer_printf(out, "<rect class=\"%s\" x=\"%.1f\" width=\"%.1f\" height=\"8\"/>",
                      parts[i].class, at, width);
        at += width;
    }
    if (total > 0 && mark <= total)
        buffer_printf(out, "<rect class=\"mark\" x=\"%.1f\" width=\"2\" height=\"8\"/>",
                      (double)mark / (double)total * (BAR_WIDTH - 2));
    buffer_append_text(out, "</svg>");
}
