/* The request line before llhttp sees it. Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

enum http_method_step {
    HTTP_METHOD_MORE, /* all bytes are part of it, and more may be */
    HTTP_METHOD_DONE, /* request.method and method_name are set; a blank follows */
    HTTP_METHOD_INVALID,
    HTTP_METHOD_TOO_LONG,
};

/* Takes the method off the bytes of a new request; `ret_used` of them were it. */
enum http_method_step http_request_line_method(struct http_exchange *x, const char *data,
                                               size_t size, size_t *ret_used);

/* The rest of the line: counts its blanks, notes its end, and returns how many of its bytes are
 * no ASCII, or a "#". llhttp refuses the former, but curl and others send file names as they are,
 * and the peer takes them. */
size_t http_request_line_scan(struct http_exchange *x, const char *data, size_t size);

/* A copy with those bytes percent-encoded, which is what they stand for. */
char *http_request_line_encode(struct arena *arena, const char *data, size_t size,
                               size_t raw_count);
