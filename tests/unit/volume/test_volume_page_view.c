/* The page of a volume server as text, made from values that a test chose. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "volume/volume_page_view.h"

#include <stdlib.h>
#include <string.h>

#define EVIL "\"><script>alert('1')</script>&"

static struct volume_page_view view;
static struct volume_page_disk disk;
static struct buffer out;

static int set_up(void **state)
{
    memset(&view, 0, sizeof(view));
    disk = (struct volume_page_disk){.directory = "/data/one",
                                     .type = "",
                                     .slots = 100,
                                     .space.total_bytes = 1000,
                                     .space.free_bytes = 400};
    view.facts = (struct volume_page_facts){.address = "127.0.0.1:8080",
                                            .public_url = "127.0.0.1:8080",
                                            .version = "8000GB 4.48 kelp",
                                            .data_center = "",
                                            .rack = "",
                                            .masters = "m:9333",
                                            .started_second = 1000,
                                            .is_connected = true};
    view.now_second = 1090;
    view.size_limit_bytes = 1000;
    view.disks = &disk;
    view.disk_count = 1;
    return 0;
}

static int tear_down(void **state)
{
    free(view.volumes);
    buffer_fini(&out);
    out = (struct buffer)BUFFER_INIT;
    return 0;
}

/* Volume i + 1 of `count` is bigger and emptier than the one before. */
static void add_volumes(uint32_t count)
{
    view.volumes = must(calloc(count, sizeof(*view.volumes)));
    view.volume_count = count;
    for (uint32_t i = 0; i < count; i++) {
        view.volumes[i].id = i + 1;
        view.volumes[i].collection = i % 2 ? "pictures" : "";
        view.volumes[i].stat.dat_bytes = i;
        view.volumes[i].stat.garbage_ratio = (double)i / count;
        view.volumes[i].stat.live_count = count - i;
        view.volumes[i].stat.modified_at_second = 1700000000 + i % 3;
    }
}

static void query(const char *text, const char *show, const char *sort, const char *page)
{
    volume_page_read_query(&view.query, slice_cstr(text), slice_cstr(show), slice_cstr(sort),
                           slice_cstr(page));
}

static const char *print(void)
{
    buffer_clear(&out);
    volume_page_print(&view, &out);
    return buffer_cstr(&out);
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        count++;
    return count;
}

static void an_empty_server_has_a_page(void **state)
{
    const char *text = print();
    assert_non_null(strstr(text, "<!doctype html>\n<html"));
    assert_non_null(strstr(text, "There are no volumes here yet."));
    assert_non_null(strstr(text, "None is running."));
    assert_non_null(strstr(text, "None since it started."));
    assert_non_null(strstr(text, "class=\"pill ok\">serving<"));
    assert_non_null(strstr(text, "1 min 30 s"));
    assert_string_equal(text + strlen(text) - 8, "</html>\n");
}

static void nothing_that_others_wrote_leaves_its_place(void **state)
{
    add_volumes(1);
    disk.directory = disk.type = EVIL;
    view.volumes[0].collection = EVIL;
    view.volumes[0].stat.damaged_count = 1;
    view.volumes[0].vacuum.state = VACUUM_COPYING;
    strcpy(view.volumes[0].fault, EVIL);
    view.facts.address = view.facts.public_url = view.facts.version = view.facts.masters = EVIL;
    view.facts.data_center = view.facts.rack = EVIL;
    strcpy(view.facts.leader, EVIL);
    strcpy(view.errors[0].text, EVIL);
    view.error_count = 1;
    strcpy(view.damage[0].damage.reason, EVIL);
    view.damage_count = 1;
    query(EVIL, EVIL, EVIL, EVIL);
    const char *text = print();
    assert_null(strstr(text, "alert('1')"));
    assert_int_equal(count_of(text, "<script"), 1);
    view.query.text[0] = '\0';
    text = print();
    assert_int_equal(count_of(text, "<script"), 1);
    assert_true(
        count_of(text, "&#34;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;") > 8);
}

static void a_page_holds_a_hundred_volumes(void **state)
{
    add_volumes(3000);
    const char *text = print();
    assert_int_equal(count_of(text, "<tr><td class=\"n\">"), VOLUME_PAGE_ROWS);
    assert_non_null(strstr(text, "page 1 of 30"));
    assert_null(strstr(text, "rel=\"prev\""));
    assert_non_null(strstr(text, "href=\"?q=&amp;show=all&amp;sort=id&amp;page=2#volumes\">on"));
    assert_true(strlen(text) < 120000);
    query("", "", "", "30");
    text = print();
    assert_non_null(strstr(text, "<tr><td class=\"n\">3000<"));
    assert_null(strstr(text, "rel=\"next\""));
    query("", "", "", "99999999999999999999999");
    assert_non_null(strstr(print(), "page 30 of 30"));
}

static void expect_first(const char *sort, uint32_t first, uint32_t second)
{
    query("", "all", sort, "1");
    assert_int_equal(volume_page_select(&view), view.volume_count);
    assert_int_equal(view.volumes[0].id, first);
    assert_int_equal(view.volumes[1].id, second);
}

static void volumes_are_sorted_as_asked(void **state)
{
    add_volumes(10);
    expect_first("size", 10, 9);
    expect_first("garbage", 10, 9);
    expect_first("files", 1, 2);
    expect_first("changed", 3, 6);
    expect_first("nonsense", 1, 2);
}

static size_t selected(const char *text, const char *show)
{
    query(text, show, "id", "1");
    return volume_page_select(&view);
}

static void volumes_are_chosen_as_asked(void **state)
{
    add_volumes(10);
    view.volumes[4].stat.read_only = VOLUME_RO_FULL;
    view.volumes[5].stat.damaged_count = 2;
    view.volumes[6].vacuum.state = VACUUM_COPIED;
    assert_int_equal(selected("", "all"), 10);
    assert_int_equal(selected("", "read-only"), 1);
    assert_int_equal(view.volumes[0].id, 5);
    assert_int_equal(selected("", "writable"), 9);
    assert_int_equal(selected("", "damaged"), 1);
    assert_int_equal(view.volumes[0].id, 6);
    assert_int_equal(selected("", "vacuum"), 1);
    assert_int_equal(view.volumes[0].id, 7);
    assert_int_equal(selected("", "garbage"), 7);
    assert_int_equal(selected("pict", "all"), 5);
    assert_int_equal(selected("10", "all"), 1);
    assert_int_equal(view.volumes[0].id, 10);
    assert_int_equal(selected("none", "all"), 0);
    assert_non_null(strstr(print(), "No volume is like that."));
}

static void a_vacuum_shows_how_far_it_is(void **state)
{
    add_volumes(2);
    view.volumes[1].vacuum = (struct vacuum_progress){.state = VACUUM_COPYING,
                                                      .bytes_total = 4 << 20,
                                                      .source_offset = 1 << 20,
                                                      .bytes_per_second = 1 << 20,
                                                      .left_ns = 2500000000,
                                                      .bytes_copied = 700 << 10,
                                                      .bytes_reclaimed = 300 << 10};
    const char *text = print();
    assert_non_null(strstr(text, "<div id=\"vacuums\" data-live data-busy>"));
    assert_non_null(strstr(text, "25 %, about 3 s left"));
    assert_non_null(strstr(text, "1.00 MiB of 4.00 MiB"));
    assert_non_null(strstr(text, "given back 300 KiB"));
    view.volumes[1].vacuum.is_paused = true;
    assert_non_null(strstr(print(), ">paused<"));
}

static void what_is_wrong_is_said(void **state)
{
    add_volumes(2);
    view.volumes[0].stat.read_only = VOLUME_RO_IO_ERROR;
    strcpy(view.volumes[0].fault, "fsync failed");
    view.volumes[1].stat.read_only = VOLUME_RO_OPERATOR;
    view.loading_count = 12;
    view.not_loaded_count = 3;
    disk.space.is_low = true;
    view.facts.is_connected = false;
    const char *text = print();
    assert_non_null(strstr(text, "<span class=\"pill bad\">read-only: io-error</span>"));
    assert_non_null(strstr(text, "fsync failed"));
    assert_non_null(strstr(text, "<span class=\"pill warn\">read-only: operator</span>"));
    assert_non_null(strstr(text, "12</b><span>still being loaded"));
    assert_non_null(strstr(text, "3</b><span>could not be loaded"));
    assert_non_null(strstr(text, "low on space: read-only"));
    assert_non_null(strstr(text, "no master answers"));
}

static void slow_turns_are_listed_with_their_cause(void **state)
{
    struct volume_page_loop loop = {.name = "http-0", .cause_count = 1};
    loop.causes[0] = (struct loop_slow_cause){"a GET", 17, 44};
    view.loops = &loop;
    view.loop_count = 1;
    const char *text = print();
    assert_non_null(strstr(text, "<td>http-0</td><td class=\"wrap\">a GET</td>"
                                 "<td class=\"n\">17</td><td class=\"n\">44 ms</td>"));
    loop.cause_count = 0;
    assert_null(strstr(print(), "Slow turns"));
}

/* A browser runs and shows only what has these hashes. */
static void the_policy_names_what_is_in_the_page(void **state)
{
    struct buffer policy = BUFFER_INIT;
    volume_page_policy(&policy);
    const char *text = buffer_cstr(&policy);
    assert_int_equal(strncmp(text, "default-src 'none'; style-src 'sha256-", 38), 0);
    assert_int_equal(count_of(text, "sha256-"), 2);
    assert_null(strstr(text, "unsafe"));
    assert_null(strstr(print(), " style=\""));
    buffer_fini(&policy);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_empty_server_has_a_page),
        CASE(nothing_that_others_wrote_leaves_its_place),
        CASE(a_page_holds_a_hundred_volumes),
        CASE(volumes_are_sorted_as_asked),
        CASE(volumes_are_chosen_as_asked),
        CASE(a_vacuum_shows_how_far_it_is),
        CASE(what_is_wrong_is_said),
        CASE(slow_turns_are_listed_with_their_cause),
        CASE(the_policy_names_what_is_in_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
