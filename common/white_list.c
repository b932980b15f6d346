/* Entries are compared as 16 address bytes and a prefix length; IPv4 takes the mapped form, which a wide
 * block of IPv6 would cover, too: "::/0" is for IPv6 alone. */
#include "common/white_list.h"

#include "common/bytes.h"
#include "common/check.h"

#include <arpa/inet.h>

#define MAPPED_BITS 96u /* what all IPv4 addresses have in common */

struct white_entry {
    uint8_t address[16];
    unsigned bits;
};

struct white_list {
    struct white_entry *entries;
    size_t count;
};

static bool parse_address(const char *text, uint8_t bytes[16], unsigned *ret_offset)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    *ret_offset = 0;
    if (inet_pton(AF_INET6, text, bytes) == 1)
        return true;
    memcpy(bytes, mapped, sizeof(mapped));
    *ret_offset = MAPPED_BITS;
    return inet_pton(AF_INET, text, bytes + 12) == 1;
}

static bool parse_entry(struct slice text, struct white_entry *ret)
{
    char copy[80];
    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *slash = strchr(copy, '/');
    if (slash)
        *slash++ = '\0';
    unsigned offset;
    if (!parse_address(copy, ret->address, &offset))
        return false;
    ret->bits = 128;
    if (!slash)
        return true;
    char *end;
    unsigned long bits = strtoul(slash, &end, 10);
    if (*slash < '0' || *slash > '9' || *end || bits > 128 - offset)
        return false;
    ret->bits = (unsigned)bits + offset;
    return true;
}

int white_list_create(struct white_list **ret, const char *text, struct error *err)
{
    struct white_list *list = NULL;
    struct slice rest = slice_cstr(text ? text : ""), entry;
    while (slice_take_item(&rest, &entry)) {
        if (!list)
            list = must(calloc(1, sizeof(*list)));
        list->entries = must(realloc(list->entries, (list->count + 1) * sizeof(*list->entries)));
        if (!parse_entry(entry, &list->entries[list->count])) {
            white_list_destroy(list);
            return error_set(err, KELP_E_INVALID,
                             "white list: \"%.*s\" is neither an IP address nor a CIDR such as "
                             "10.0.0.0/8",
                             (int)entry.len, entry.ptr);
        }
        list->count++;
    }
    *ret = list;
    return 0;
}

void white_list_destroy(struct white_list *list)
{
    if (!list)
        return;
    free(list->entries);
    free(list);
}

static bool is_mapped(const uint8_t address[16])
{
    return IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)address);
}

static bool matches(const struct white_entry *entry, const uint8_t address[16])
{
    if (entry->bits < MAPPED_BITS && is_mapped(address))
        return false;
    unsigned whole = entry->bits / 8, rest = entry->bits % 8;
    if (memcmp(entry->address, address, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return ((entry->address[whole] ^ address[whole]) & mask) == 0;
}

bool white_list_admits(const struct white_list *list, const char *ip)
{
    uint8_t address[16];
    unsigned offset;
    char plain[INET6_ADDRSTRLEN];
    if (!list)
        return true;
    size_t length = strcspn(ip, "%"); /* a link-local address may name its interface */
    if (length >= sizeof(plain))
        return false;
    memcpy(plain, ip, length);
    plain[length] = '\0';
    if (!parse_address(plain, address, &offset))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (matches(&list->entries[i], address))
            return true;
    return false;
}
