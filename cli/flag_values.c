/* Checks on flag values. Main thread, at start. */
#include "cli/flag_values.h"

#include "common/bytes.h"
#include "common/check.h"
#include "common/config.h"

#include <ctype.h>
#include <string.h>

int flag_port(const char *name, int64_t value, uint16_t *ret, struct error *err)
{
    if (value < 0 || value > UINT16_MAX)
        return error_set(err, KELP_E_INVALID, "%s %lld is no port; take one from 1 to 65535", name,
                         (long long)value);
    *ret = (uint16_t)value;
    return 0;
}

int flag_u32(const char *name, int64_t value, uint32_t *ret, struct error *err)
{
    if (value < 0 || value > UINT32_MAX)
        return error_set(err, KELP_E_INVALID, "%s %lld is out of range; take one from 0 on", name,
                         (long long)value);
    *ret = (uint32_t)value;
    return 0;
}

void flag_list_init(struct flag_list *list, const char *text)
{
    size_t count = 1;
    for (const char *p = text; *p; p++)
        count += *p == ',';
    list->count = count;
    list->items = must(malloc(count * sizeof(*list->items) + strlen(text) + 1));
    char *rest = (char *)(list->items + count);
    strcpy(rest, text);
    for (size_t i = 0; i < count; i++) {
        char *item = strsep(&rest, ",");
        item += strspn(item, " \t");
        size_t length = strlen(item);
        while (length > 0 && isspace((unsigned char)item[length - 1]))
            item[--length] = '\0';
        list->items[i] = item;
    }
}

void flag_list_fini(struct flag_list *list)
{
    free(list->items);
    *list = (struct flag_list){NULL, 0};
}

const char *flag_list_at(const struct flag_list *list, size_t i, size_t count)
{
    if (list->count == 1)
        return list->items[0];
    return list->count == count ? list->items[i] : NULL;
}

int flag_min_free(const char *name, const char *text, double *ret_percent, uint64_t *ret_bytes,
                  struct error *err)
{
    char *end;
    double percent = strtod(text, &end);
    bool is_plain = end != text && *end == '\0';
    uint64_t bytes = 0;
    if (is_plain && percent >= 0 && percent <= 100) { /* and no NaN */
        *ret_percent = percent;
        return 0;
    }
    if (!is_plain && config_parse_size(slice_cstr(text), &bytes, err) != 0)
        return error_prefix(err, "%s", name);
    if (is_plain || bytes <= 100)
        return error_set(err, KELP_E_INVALID,
                         "%s %s: a plain number up to 100 is a percentage; write a size with its unit, as "
                         "in 10GiB",
                         name, text);
    *ret_bytes = bytes;
    return 0;
}
