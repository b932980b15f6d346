/* Normalisation goes through seconds: the coarsest unit that divides, else the finest that fits.
 * Pure; any thread. */
#include "common/ttl.h"

#include <stdio.h>

#define UNITS 7
static const char letters[UNITS] = {0, 'm', 'h', 'd', 'w', 'M', 'y'};
static const uint32_t unit_minutes[UNITS] = {0, 1, 60, 1440, 10080, 43200, 525600};

struct ttl ttl_from_seconds(uint64_t seconds)
{
    for (uint8_t unit = 6; unit >= 2; unit--) {
        uint64_t length = unit_minutes[unit] * 60ull;
        if (seconds && seconds % length == 0 && seconds / length < 256)
            return (struct ttl){(uint8_t)(seconds / length), unit};
    }
    for (uint8_t unit = 1; unit < UNITS; unit++) {
        uint64_t count = seconds / (unit_minutes[unit] * 60ull);
        if (count < 256)
            return count ? (struct ttl){(uint8_t)count, unit} : (struct ttl){0, 0};
    }
    return (struct ttl){0, 0};
}

int ttl_parse(struct slice text, struct ttl *ret, struct error *err)
{
    struct slice digits = text;
    uint8_t unit = 1;
    if (text.len > 0) {
        char last = text.ptr[text.len - 1];
        if (last < '0' || last > '9') {
            digits.len--;
            unit = 0;
            for (uint8_t u = 1; u < UNITS; u++)
                if (letters[u] == last)
                    unit = u;
        }
    }
    uint64_t count = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        if (c < '0' || c > '9' || count > UINT32_MAX)
            return error_set(err, KELP_E_INVALID, "strconv.Atoi: parsing \"%.*s\": %s",
                             (int)(digits.len < 64 ? digits.len : 64), digits.ptr,
                             c < '0' || c > '9' ? "invalid syntax" : "value out of range");
        count = count * 10 + (uint64_t)(c - '0');
    }
    if (text.len > 0 && digits.len == 0)
        return error_set(err, KELP_E_INVALID, "strconv.Atoi: parsing \"\": invalid syntax");
    *ret = ttl_from_seconds(count * unit_minutes[unit] * 60);
    return 0;
}

struct ttl ttl_from_u32(uint32_t packed)
{
    return (struct ttl){(uint8_t)(packed >> 8), (uint8_t)packed};
}

uint32_t ttl_to_u32(struct ttl t) { return t.count ? (uint32_t)t.count << 8 | t.unit : 0; }

uint64_t ttl_minutes(struct ttl t)
{
    return t.unit < UNITS ? (uint64_t)t.count * unit_minutes[t.unit] : 0;
}

void ttl_format(struct ttl t, char text[8])
{
    if (t.count == 0 || t.unit == 0 || t.unit >= UNITS)
        text[0] = '\0';
    else
        snprintf(text, 8, "%u%c", t.count, letters[t.unit]);
}
