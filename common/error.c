/* Error codes and messages, generated from the one list in error.h. Any thread. */
#include "common/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct error_row {
    const char *name;
    const char *text;
    int http_status;
    int grpc_status;
    bool is_retryable;
};

static const struct error_row rows[] = {
    {"OK", "ok", 200, 0, false},
#define X(name, text, http, grpc, retryable) {#name, text, http, grpc, retryable},
    KELP_ERRORS(X)
#undef X
};

static const struct error_row *row_of(int code)
{
    size_t index = (size_t)(code < 0 ? -code : code);
    if (index >= sizeof(rows) / sizeof(rows[0]))
        index = (size_t)-KELP_E_UNKNOWN;
    return &rows[index];
}

const char *error_name(int code) { return row_of(code)->name; }
const char *error_text(int code) { return row_of(code)->text; }
int error_http_status(int code) { return row_of(code)->http_status; }
int error_grpc_status(int code) { return row_of(code)->grpc_status; }
bool error_is_retryable(int code) { return row_of(code)->is_retryable; }

int error_vset(struct error *err, int code, const char *fmt, va_list args)
{
    if (err) {
        err->code = code;
        vsnprintf(err->message, sizeof(err->message), fmt, args);
    }
    return code;
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_vset(err, code, fmt, args);
    va_end(args);
    return code;
}

int error_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return KELP_OK;
    case ENOENT:
        return KELP_E_NOT_FOUND;
    case EEXIST:
        return KELP_E_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return KELP_E_NO_SPACE;
    case ENOMEM:
        return KELP_E_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return KELP_E_LIMIT;
    case EAGAIN:
        return KELP_E_AGAIN;
    case EBUSY:
    case ETXTBSY:
        return KELP_E_BUSY;
    case EACCES:
    case EPERM:
        return KELP_E_DENIED;
    case EROFS:
        return KELP_E_READ_ONLY;
    case EFBIG:
        return KELP_E_TOO_LARGE;
    case EINVAL:
    case ENAMETOOLONG:
        return KELP_E_INVALID;
    case ETIMEDOUT:
        return KELP_E_TIMEOUT;
    case ECANCELED:
        return KELP_E_CANCELLED;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRINUSE:
        return KELP_E_UNAVAILABLE;
    case ENOSYS:
    case EOPNOTSUPP:
        return KELP_E_UNIMPLEMENTED;
    default:
        return KELP_E_IO;
    }
}

int error_set_errno(struct error *err, int errnum, const char *fmt, ...)
{
    int code = error_from_errno(errnum);
    if (!err)
        return code;
    va_list args;
    va_start(args, fmt);
    error_vset(err, code, fmt, args);
    va_end(args);
    size_t length = strlen(err->message);
    char reason[128];
    const char *text = strerror_r(errnum, reason, sizeof(reason));
    snprintf(err->message + length, sizeof(err->message) - length, ": %s", text);
    return code;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
    if (!err)
        return KELP_E_UNKNOWN;
    char old[ERROR_MESSAGE_MAX];
    memcpy(old, err->message, sizeof(old));
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    size_t length = strlen(err->message);
    snprintf(err->message + length, sizeof(err->message) - length, ": %s", old);
    return err->code;
}
