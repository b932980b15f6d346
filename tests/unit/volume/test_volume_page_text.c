/* The pieces of the page: what people read. */
#include "tests/unit/cmocka_all.h"

#include "volume/volume_page_text.h"

static struct buffer out;

static const char *taken(void)
{
    static char text[512];
    snprintf(text, sizeof(text), "%s", buffer_cstr(&out));
    buffer_clear(&out);
    return text;
}

#define EXPECT(call, text)                                                                         \
    do {                                                                                           \
        call;                                                                                      \
        assert_string_equal(taken(), text);                                                        \
    } while (0)

static void sizes_have_three_digits(void **state)
{
    EXPECT(page_bytes(&out, 0), "0 B");
    EXPECT(page_bytes(&out, 999), "999 B");
    EXPECT(page_bytes(&out, 1000), "0.98 KiB");
    EXPECT(page_bytes(&out, 1024), "1.00 KiB");
    EXPECT(page_bytes(&out, 15 << 10), "15.0 KiB");
    EXPECT(page_bytes(&out, 150 << 10), "150 KiB");
    EXPECT(page_bytes(&out, 30ull << 30), "30.0 GiB");
    EXPECT(page_bytes(&out, UINT64_MAX), "16.0 EiB");
}

static void counts_are_grouped(void **state)
{
    EXPECT(page_count(&out, 7), "7");
    EXPECT(page_count(&out, 999), "999");
    EXPECT(page_count(&out, 1000), "1,000");
    EXPECT(page_count(&out, 1234567), "1,234,567");
}

static void shares_and_times_are_short(void **state)
{
    EXPECT(page_percent(&out, 0), "0 %");
    EXPECT(page_percent(&out, 0.051), "5.1 %");
    EXPECT(page_percent(&out, 0.5), "50 %");
    EXPECT(page_duration(&out, 59), "59 s");
    EXPECT(page_duration(&out, 61), "1 min 1 s");
    EXPECT(page_duration(&out, 2 * 3600 + 60), "2 h 1 min");
    EXPECT(page_duration(&out, 3 * 86400 + 3600), "3 d 1 h");
    EXPECT(page_latency(&out, 83000), "83 µs");
    EXPECT(page_latency(&out, 8300000), "8.3 ms");
    EXPECT(page_latency(&out, 2500000000), "2.5 s");
    EXPECT(page_date(&out, 1700000000), "2023-11-14 22:13:20");
}

static void text_cannot_leave_its_place(void **state)
{
    EXPECT(page_text(&out, "<script>\"a\"&'b'"), "&lt;script&gt;&#34;a&#34;&amp;&#39;b&#39;");
}

#define SVG                                                                                        \
    "<svg class=\"bar\" viewBox=\"0 0 1000 8\" preserveAspectRatio=\"none\" role=\"img\" "         \
    "aria-label=\"l&lt;\">"

static void a_bar_ends_where_its_total_does(void **state)
{
    struct page_bar_part parts[] = {{"live", 25}, {"waste", 0}, {"other", 500}};
    EXPECT(page_bar(&out, "l<", 100, parts, 3, UINT64_MAX),
           SVG "<rect class=\"live\" x=\"0.0\" width=\"250.0\" height=\"8\"/>"
               "<rect class=\"other\" x=\"250.0\" width=\"750.0\" height=\"8\"/></svg>");
    EXPECT(page_bar(&out, "l<", 0, parts, 3, 0), SVG "</svg>");
    EXPECT(page_bar(&out, "l<", 100, parts, 0, 50),
           SVG "<rect class=\"mark\" x=\"499.0\" width=\"2\" height=\"8\"/></svg>");
}

static int tear_down(void **state)
{
    buffer_fini(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_three_digits),
        cmocka_unit_test(counts_are_grouped),
        cmocka_unit_test(shares_and_times_are_short),
        cmocka_unit_test(text_cannot_leave_its_place),
        cmocka_unit_test(a_bar_ends_where_its_total_does),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
