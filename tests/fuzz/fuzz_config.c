/* Texts of flags: durations, sizes, TTLs, replica placements, addresses, dates. */
#include "tests/fuzz/fuzz.h"

#include "common/address.h"
#include "common/config.h"
#include "common/http_date.h"
#include "common/replica_placement.h"
#include "common/ttl.h"

static void check_ttl(struct slice text)
{
    struct ttl ttl, again;
    char formatted[8];
    if (ttl_parse(text, &ttl, NULL) != 0)
        return;
    ttl_format(ttl, formatted);
    CHECK(ttl_parse(slice_cstr(formatted), &again, NULL) == 0);
    CHECK(ttl_minutes(again) == ttl_minutes(ttl)); /* "14d" comes back as "2w" */
    CHECK(ttl_to_u32(ttl_from_u32(ttl_to_u32(ttl))) == ttl_to_u32(ttl));
}

static void check_placement(struct slice text)
{
    struct replica_placement p, again;
    char formatted[10];
    if (replica_placement_parse(text, &p, NULL) != 0)
        return;
    replica_placement_format(p, formatted);
    CHECK(replica_placement_parse(slice_cstr(formatted), &again, NULL) == 0);
    CHECK(replica_placement_to_byte(again) == replica_placement_to_byte(p));
    CHECK(replica_placement_to_byte(replica_placement_from_byte(replica_placement_to_byte(p))) ==
          replica_placement_to_byte(p));
}

static void check_address(struct slice text)
{
    struct address address, again;
    char formatted[ADDRESS_TEXT_SIZE];
    if (memchr(text.ptr, 0, text.len) || address_parse(text, &address, NULL) != 0 ||
        strlen(address.host) + 2 >= sizeof(address.host)) /* no room for brackets */
        return;
    address_format(&address, formatted);
    CHECK(address_parse(slice_cstr(formatted), &again, NULL) == 0);
    CHECK(address_equals(&address, &again) && address.grpc_port == again.grpc_port);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice text = slice_of(bytes ? (const char *)bytes : "", input_size);
    struct error err;
    int64_t ns, second;
    uint64_t size;
    char date[HTTP_DATE_SIZE];
    config_parse_duration(text, &ns, &err);
    config_parse_size(text, &size, &err);
    check_ttl(text);
    check_placement(text);
    check_address(text);
    if (http_date_parse(text, &second)) {
        http_date_format(second, date);
        CHECK(text.len == HTTP_DATE_SIZE - 1 && strncasecmp(date + 5, text.ptr + 5, text.len - 5) == 0);
    }
    return 0;
}
