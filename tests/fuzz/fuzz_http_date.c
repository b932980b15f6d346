/* Dates of headers: whatever is taken prints as it was written, but for the weekday, which is
 * not looked at. */
#include "tests/fuzz/fuzz.h"

#include "common/http_date.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    int64_t seconds, again;
    char text[HTTP_DATE_SIZE];
    if (!http_date_parse(input, &seconds))
        return 0;
    CHECK(input.len == HTTP_DATE_SIZE - 1);
    http_date_format(seconds, text);
    CHECK(strncasecmp(text + 3, input.ptr + 3, input.len - 3) == 0); /* "JAN" is a month, too */
    CHECK(http_date_parse(slice_cstr(text), &again) && again == seconds);
    return 0;
}
