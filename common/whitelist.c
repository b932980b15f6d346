/* Addresses as 16 bytes with a prefix length; IPv4 is mapped into IPv6, so one comparison serves both. */
#include "common/whitelist.h"

#include "common/bytes.h"
#include "common/check.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint8_t address[16];
    unsigned prefix_bits;
};

struct whitelist {
    struct entry *entries;
    size_t count;
};

static bool parse_ip(const char *text, uint8_t ret[16], bool *ret_is_v4)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        memset(ret, 0, 10);
        memset(ret + 10, 0xff, 2);
        memcpy(ret + 12, &v4, 4);
        *ret_is_v4 = true;
        return true;
    }
    *ret_is_v4 = false;
    return inet_pton(AF_INET6, text, ret) == 1;
}

static bool parse_entry(char *text, struct entry *ret)
{
    char *slash = strchr(text, '/');
    bool is_v4;
    if (slash)
        *slash = '\0';
    bool is_ip = parse_ip(text, ret->address, &is_v4);
    if (slash)
        *slash = '/';
    if (!is_ip)
        return false;
    ret->prefix_bits = 128;
    if (!slash)
        return true;
    char *end;
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (!isdigit((unsigned char)slash[1]) || *end || bits > (is_v4 ? 32 : 128))
        return false;
    ret->prefix_bits = (unsigned)bits + (is_v4 ? 96 : 0);
    return true;
}

int whitelist_create(struct whitelist **ret, const char *text, struct error *err)
{
    struct whitelist *list = must(calloc(1, sizeof(*list)));
    char *copy = must(strdup(text ? text : ""));
    char *rest = copy;
    int code = 0;
    for (char *word; !code && (word = strsep(&rest, ",")) != NULL;) {
        while (isspace((unsigned char)*word))
            word++;
        for (char *end = word + strlen(word); end > word && isspace((unsigned char)end[-1]);)
            *--end = '\0';
        if (!*word)
            continue;
        list->entries = must(realloc(list->entries, (list->count + 1) * sizeof(*list->entries)));
        if (parse_entry(word, &list->entries[list->count]))
            list->count++;
        else
            code = error_set(err, KELP_E_INVALID,
                             "white list: \"%s\" is neither an IP address nor a CIDR such as "
                             "10.0.0.0/8",
                             word);
    }
    free(copy);
    if (code) {
        whitelist_destroy(list);
        return code;
    }
    *ret = list;
    return 0;
}

void whitelist_destroy(struct whitelist *list)
{
    if (!list)
        return;
    free(list->entries);
    free(list);
}

static bool entry_covers(const struct entry *entry, const uint8_t address[16])
{
    unsigned bytes = entry->prefix_bits / 8, bits = entry->prefix_bits % 8;
    if (memcmp(entry->address, address, bytes) != 0)
        return false;
    return bits == 0 || (entry->address[bytes] ^ address[bytes]) >> (8 - bits) == 0;
}

bool whitelist_admits(const struct whitelist *list, const char *ip)
{
    if (!list || list->count == 0)
        return true;
    uint8_t address[16];
    bool is_v4;
    if (!parse_ip(ip, address, &is_v4))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (entry_covers(&list->entries[i], address))
            return true;
    return false;
}
