/* Addresses as 16 bytes with a prefix length; IPv4 is mapped into IPv6, so one comparison serves
 * both. */
#include "volume/guard.h"

#include "common/bytes.h"
#include "common/check.h"

#include <arpa/inet.h>
#include <ctype.h>

struct guard_entry {
    uint8_t address[16];
    unsigned prefix_bits;
    char *name; /* when it is neither an address nor a block */
};

struct guard {
    bool is_open;
    struct guard_entry *entries;
    size_t count;
};

static bool parse_ip(const char *text, uint8_t ret[16], bool *ret_is_v4)
{
    struct in_addr v4;
    *ret_is_v4 = inet_pton(AF_INET, text, &v4) == 1;
    if (!*ret_is_v4)
        return inet_pton(AF_INET6, text, ret) == 1;
    memset(ret, 0, 10);
    memset(ret + 10, 0xff, 2);
    memcpy(ret + 12, &v4, 4);
    return true;
}

/* "10.0.0.0/8"; changes the text. */
static bool parse_block(char *text, char *slash, struct guard_entry *ret)
{
    bool is_v4;
    *slash = '\0';
    if (!parse_ip(text, ret->address, &is_v4))
        return false;
    char *end;
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (!isdigit((unsigned char)slash[1]) || *end || bits > (is_v4 ? 32 : 128))
        return false;
    ret->prefix_bits = (unsigned)bits + (is_v4 ? 96 : 0);
    return true;
}

static bool parse_entry(char *text, struct guard_entry *ret)
{
    bool is_v4;
    char *slash = strchr(text, '/');
    *ret = (struct guard_entry){.prefix_bits = 128};
    if (slash)
        return parse_block(text, slash, ret);
    if (!parse_ip(text, ret->address, &is_v4))
        ret->name = must(strdup(text));
    return true;
}

static char *trim(char *word)
{
    while (isspace((unsigned char)*word))
        word++;
    for (char *end = word + strlen(word); end > word && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    return word;
}

int guard_create(struct guard **ret, const char *list, size_t *ret_skipped, struct error *err)
{
    struct guard *guard = calloc(1, sizeof(*guard));
    char *copy = strdup(list ? list : "");
    if (!guard || !copy) {
        free(guard);
        free(copy);
        return error_set(err, KELP_E_NO_MEMORY, "white list: out of memory");
    }
    size_t skipped = 0;
    char *rest = copy;
    guard->is_open = true;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        word = trim(word);
        if (!*word)
            continue;
        guard->is_open = false;
        guard->entries =
            must(realloc(guard->entries, (guard->count + 1) * sizeof(*guard->entries)));
        if (parse_entry(word, &guard->entries[guard->count]))
            guard->count++;
        else
            skipped++;
    }
    free(copy);
    if (ret_skipped)
        *ret_skipped = skipped;
    *ret = guard;
    return 0;
}

void guard_destroy(struct guard *guard)
{
    if (!guard)
        return;
    for (size_t i = 0; i < guard->count; i++)
        free(guard->entries[i].name);
    free(guard->entries);
    free(guard);
}

static bool entry_covers(const struct guard_entry *entry, const uint8_t address[16])
{
    unsigned bytes = entry->prefix_bits / 8, bits = entry->prefix_bits % 8;
    if (memcmp(entry->address, address, bytes) != 0)
        return false;
    return bits == 0 || (entry->address[bytes] ^ address[bytes]) >> (8 - bits) == 0;
}

bool guard_allows(const struct guard *guard, const char *ip)
{
    if (guard_is_open(guard))
        return true;
    uint8_t address[16];
    bool is_v4, is_ip = parse_ip(ip, address, &is_v4);
    for (size_t i = 0; i < guard->count; i++) {
        const struct guard_entry *entry = &guard->entries[i];
        if (entry->name ? strcmp(entry->name, ip) == 0 : is_ip && entry_covers(entry, address))
            return true;
    }
    return false;
}

bool guard_is_open(const struct guard *guard) { return !guard || guard->is_open; }
