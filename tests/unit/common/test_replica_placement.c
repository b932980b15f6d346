/* Replica placement: strict parsing, byte form. */
#include "tests/unit/cmocka_all.h"

#include "common/replica_placement.h"

static void pads_short_texts(void **state)
{
    static const struct {
        const char *text;
        uint8_t byte;
    } rows[] = {{"", 0}, {"1", 1}, {"01", 1}, {"10", 10}, {"210", 210}, {"000", 0}, {"255", 255}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct replica_placement p;
        assert_int_equal(replica_placement_parse(slice_cstr(rows[i].text), &p, NULL), 0);
        assert_int_equal(replica_placement_to_byte(p), rows[i].byte);
    }
}

static void refuses_what_is_no_placement(void **state)
{
    struct replica_placement p = {9, 9, 9};
    struct error err = {0};
    assert_int_equal(replica_placement_parse(SLICE("a"), &p, &err), KELP_E_INVALID);
    assert_string_equal(err.message, "unknown replication type: 00a");
    assert_int_equal(replica_placement_parse(SLICE("0000"), &p, &err), KELP_E_INVALID);
    assert_int_equal(replica_placement_parse(SLICE("256"), &p, &err), KELP_E_INVALID);
    assert_string_equal(err.message, "unexpected replication type: 256");
    assert_int_equal(p.same_rack, 9);
}

static void every_byte_decodes(void **state)
{
    for (unsigned b = 0; b < 256; b++) {
        struct replica_placement p = replica_placement_from_byte((uint8_t)b);
        assert_int_equal(replica_placement_to_byte(p), b);
        assert_int_equal(replica_placement_copies(p), b / 100 + b / 10 % 10 + b % 10 + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pads_short_texts),
        cmocka_unit_test(refuses_what_is_no_placement),
        cmocka_unit_test(every_byte_decodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
