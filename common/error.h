/* Errors: one list of codes, and a small object that carries the message upwards.
 *
 * Functions return 0 or one of these negative codes. The lowest layer names the call and the path
 * ("pwrite 3.dat at 8192: No space left on device"); layers above prefix the volume and the needle.
 * Nothing here logs; the edge that handles an error logs it once. Any thread.
 *
 * Each row: name, text, HTTP status, gRPC status, whether a retry may help. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define KELP_ERRORS(X)                                                                             \
    X(INVALID, "invalid argument", 400, 3, false)                                                  \
    X(NOT_FOUND, "not found", 404, 5, false)                                                       \
    X(DELETED, "already deleted", 404, 5, false)                                                   \
    X(EXISTS, "already exists", 409, 6, false)                                                     \
    X(COOKIE, "cookie mismatch", 404, 2, false)                                                    \
    X(READ_ONLY, "read only", 500, 9, false)                                                       \
    X(TOO_LARGE, "too large", 413, 11, false)                                                      \
    X(CORRUPT, "corrupt data", 500, 15, false)                                                     \
    X(IO, "input/output error", 500, 15, false)                                                    \
    X(NO_SPACE, "no space left on device", 507, 8, true)                                           \
    X(NO_MEMORY, "out of memory", 503, 8, true)                                                    \
    X(LIMIT, "limit reached", 503, 8, true)                                                        \
    X(BUSY, "busy", 503, 14, true)                                                                 \
    X(AGAIN, "would block", 503, 14, true)                                                         \
    X(UNAVAILABLE, "unavailable", 503, 14, true)                                                   \
    X(TIMEOUT, "timed out", 504, 4, true)                                                          \
    X(CANCELLED, "cancelled", 499, 1, true)                                                        \
    X(DENIED, "permission denied", 403, 7, false)                                                  \
    X(UNAUTHENTICATED, "unauthenticated", 401, 16, false)                                          \
    X(PRECONDITION, "failed precondition", 409, 9, false)                                          \
    X(UNIMPLEMENTED, "not implemented", 501, 12, false)                                            \
    X(PROTOCOL, "protocol error", 400, 3, false)                                                   \
    X(INTERNAL, "internal error", 500, 13, false)                                                  \
    X(UNKNOWN, "error", 500, 2, false)

enum error_code {
    KELP_OK = 0,
#define X(name, text, http, grpc, retryable) KELP_E_POSITIVE_##name,
    KELP_ERRORS(X)
#undef X
#define X(name, text, http, grpc, retryable) KELP_E_##name = -KELP_E_POSITIVE_##name,
    KELP_ERRORS(X)
#undef X
};

#define ERROR_MESSAGE_MAX 512

/* Lives on the caller's stack. Functions take `struct error *err`, which may be NULL; on success it is
 * left untouched. A message that does not fit is cut, never overrun. */
struct error {
    int code;
    char message[ERROR_MESSAGE_MAX];
};

/* Sets code and message; returns code, so that `return error_set(...)` reads well. */
int error_set(struct error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int error_vset(struct error *err, int code, const char *fmt, va_list args);

/* From a positive errno value: maps it to a code and appends ": <strerror>" to the message. */
int error_set_errno(struct error *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<text>: " before the message; keeps and returns the code. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The code that stands for a positive errno value (ENOSPC -> KELP_E_NO_SPACE, ...). */
int error_from_errno(int errnum);

const char *error_name(int code); /* "NOT_FOUND" */
const char *error_text(int code); /* "not found" */
int error_http_status(int code);
int error_grpc_status(int code);
bool error_is_retryable(int code);
