/* See the header. */
#include "common/http_head.h"

#include "common/check.h"
#include "common/http_status.h"

#define HTTP_HEAD_FRONT 64u
#define FIRST_CAPACITY  2048u /* with a small body behind it, which goes out in the same piece */

char *http_head_room(struct http_head *head, struct arena *arena, size_t size)
{
    size_t length = head->text ? head->length : HTTP_HEAD_FRONT;
    if (!head->text || size > head->capacity - length) {
        size_t capacity = head->text ? 2 * (size_t)head->capacity : FIRST_CAPACITY;
        while (size > capacity - length)
            capacity *= 2;
        CHECK(capacity <= UINT32_MAX);
        char *text = arena_alloc(arena, capacity);
        if (head->text)
            memcpy(text, head->text, length);
        head->text = text;
        head->capacity = (uint32_t)capacity;
        head->length = (uint32_t)length;
    }
    return head->text + length;
}

static uint64_t bit_of(struct slice name)
{
    return (uint64_t)1 << ((name.len * 7 + ((unsigned char)name.ptr[0] | 0x20u)) & 63);
}

static bool breaks_line(char c) { return c == '\r' || c == '\n' || c == '\0'; }

/* Copies a value without what would end its line. Eight bytes at a time: only words with a byte below
 * 0x0e in them are looked at more closely. */
static char *put_value(char *at, struct slice value)
{
    size_t i = 0;
    for (; i + 8 <= value.len; i += 8) {
        uint64_t word;
        memcpy(&word, value.ptr + i, 8);
        memcpy(at + i, &word, 8);
        if ((word - 0x0e0e0e0e0e0e0e0eu) & ~word & 0x8080808080808080u)
            for (size_t j = i; j < i + 8; j++)
                at[j] = breaks_line(value.ptr[j]) ? ' ' : value.ptr[j];
    }
    for (; i < value.len; i++)
        at[i] = breaks_line(value.ptr[i]) ? ' ' : value.ptr[i];
    return at + value.len;
}

void http_head_add(struct http_head *head, struct arena *arena, struct slice name,
                   struct slice value)
{
    CHECK(name.len > 0);
    char *at = http_head_room(head, arena, name.len + value.len + 4);
    at = http_head_put(at, name.ptr, name.len);
    at = http_head_put(at, ": ", 2);
    at = put_value(at, value);
    at = http_head_put(at, "\r\n", 2);
    head->length = (uint32_t)(at - head->text);
    head->seen |= bit_of(name);
}

void http_head_remove(struct http_head *head, struct slice name)
{
    if (!head->text || !name.len || !(head->seen & bit_of(name)))
        return;
    char *line = head->text + HTTP_HEAD_FRONT, *end = head->text + head->length, *kept = line;
    while (line < end) {
        size_t size = (size_t)((char *)memchr(line, '\n', (size_t)(end - line)) + 1 - line);
        if (size <= name.len || line[name.len] != ':' ||
            strncasecmp(line, name.ptr, name.len) != 0) {
            memmove(kept, line, size);
            kept += size;
        }
        line += size;
    }
    head->length = (uint32_t)(kept - head->text);
}

void http_head_clear(struct http_head *head)
{
    if (head->text)
        head->length = HTTP_HEAD_FRONT;
    head->seen = 0;
}

char *http_head_put_uint(char *at, uint64_t value)
{
    char digits[20];
    size_t n = 0;
    do
        digits[sizeof(digits) - ++n] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    return http_head_put(at, digits + sizeof(digits) - n, n);
}

struct slice http_head_finish(struct http_head *head, int status)
{
    const char *reason = http_status_text(status);
    size_t size = strlen(reason);
    char line[HTTP_HEAD_FRONT], *at = line;
    CHECK(head->text && status >= 0 && size + 16 + 10 <= sizeof(line));
    at = http_head_put(at, "HTTP/1.1 ", 9);
    at = http_head_put_uint(at, (uint64_t)status);
    *at++ = ' ';
    at = http_head_put(at, reason, size);
    at = http_head_put(at, "\r\n", 2);
    size = (size_t)(at - line);
    char *start = head->text + HTTP_HEAD_FRONT - size;
    memcpy(start, line, size);
    return slice_of(start, head->length - HTTP_HEAD_FRONT + size);
}
