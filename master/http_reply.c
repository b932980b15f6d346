/* Replies are built in malloc'd buffers, because many are made on other threads than the loop that
 * owns the request's arena. */
#include "master/http_reply.h"

#include "common/check.h"
#include "common/url.h"

#include <errno.h>

/* ---- Parameters ------------------------------------------------------------------------------ */

static bool has_form_body(struct http_request *request)
{
    struct slice type = http_request_header(request, "Content-Type");
    struct slice form = SLICE("application/x-www-form-urlencoded");
    return request->body.len > 0 && type.len >= form.len &&
           slice_equals_nocase(slice_until(type, form.len), form);
}

struct slice master_http_param(struct http_request *request, const char *name)
{
    struct slice value = {NULL, 0};
    if (has_form_body(request))
        value = url_query_get(request->arena, request->body, name);
    if (!value.ptr)
        value = http_request_query(request, name);
    return value.ptr ? value : SLICE("");
}

const char *master_http_text(struct http_request *request, const char *name)
{
    struct slice value = master_http_param(request, name);
    return arena_strndup(request->arena, value.ptr, value.len);
}

bool master_http_is_pretty(struct http_request *request)
{
    return http_request_query(request, "pretty").len > 0;
}

static int number_error(struct slice text, const char *function, const char *why, struct error *err)
{
    return error_set(err, KELP_E_INVALID, "strconv.%s: parsing \"%.*s\": %s", function,
                     (int)(text.len < 200 ? text.len : 200), text.ptr, why);
}

static bool is_number(struct slice text, bool may_be_signed)
{
    if (may_be_signed && text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+'))
        text = slice_from(text, 1);
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return text.len > 0;
}

/* Checks the form and copies, for strtoll. */
static int copy_number(struct slice text, const char *function, bool may_be_signed, char digits[32],
                       struct error *err)
{
    if (!is_number(text, may_be_signed))
        return number_error(text, function, "invalid syntax", err);
    if (text.len >= 32)
        return number_error(text, function, "value out of range", err);
    memcpy(digits, text.ptr, text.len);
    digits[text.len] = '\0';
    return 0;
}

int master_http_parse_int(struct slice text, const char *function, int64_t least, int64_t most,
                          int64_t *ret, struct error *err)
{
    char digits[32];
    int code = copy_number(text, function, true, digits, err);
    if (code != 0)
        return code;
    errno = 0;
    long long value = strtoll(digits, NULL, 10);
    if (errno || value < least || value > most)
        return number_error(text, function, "value out of range", err);
    *ret = value;
    return 0;
}

int master_http_parse_uint(struct slice text, const char *function, uint64_t most, uint64_t *ret,
                           struct error *err)
{
    char digits[32];
    int code = copy_number(text, function, false, digits, err);
    if (code != 0)
        return code;
    errno = 0;
    unsigned long long value = strtoull(digits, NULL, 10);
    if (errno || value > most)
        return number_error(text, function, "value out of range", err);
    *ret = value;
    return 0;
}

/* ---- Replies --------------------------------------------------------------------------------- */

void master_http_send_text(struct http_request *request, int status, const char *content_type,
                           struct buffer *body)
{
    http_response_set_header(request, "Content-Type", slice_cstr(content_type));
    struct slice bytes = buffer_slice(body);
    char *data = body->data;
    *body = (struct buffer)BUFFER_INIT;
    http_respond(request, status, bytes, free, data);
}

void master_http_send_json(struct http_request *request, int status, struct buffer *body)
{
    http_response_set_header(request, "X-Content-Type-Options", SLICE("nosniff"));
    master_http_send_text(request, status, "application/json", body);
}

static void write_error(struct json_writer *w, const char *message)
{
    json_writer_begin_object(w);
    json_writer_member_text(w, "error", message);
    json_writer_end_object(w);
}

void master_http_fail(struct http_request *request, int status, const char *fmt, ...)
{
    struct buffer message = BUFFER_INIT, body = BUFFER_INIT;
    va_list args;
    va_start(args, fmt);
    buffer_vprintf(&message, fmt, args);
    va_end(args);
    struct json_writer w;
    json_writer_init(&w, &body, master_http_is_pretty(request));
    write_error(&w, buffer_cstr(&message));
    master_http_send_json(request, status, &body);
    buffer_fini(&message);
}

void master_http_retry_after(struct http_request *request, int64_t ns)
{
    int64_t seconds = (ns + 999999999) / 1000000000;
    const char *text =
        arena_printf(request->arena, "%lld", (long long)(seconds > 1 ? seconds : 1));
    http_response_set_header(request, "Retry-After", slice_cstr(text));
}

/* ---- Work elsewhere -------------------------------------------------------------------------- */

static void answer_on_loop(struct loop_task *task)
{
    struct master_http_work *work =
        (struct master_http_work *)((char *)task - offsetof(struct master_http_work, back));
    if (work->answer)
        work->answer(work);
    else
        master_http_send_json(work->request, work->status, &work->body);
    buffer_fini(&work->body);
    free(work);
}

static void run_on_worker(struct worker_task *task)
{
    struct master_http_work *work = (struct master_http_work *)task;
    work->run(work);
    master_http_work_done(work);
}

void *master_http_work_create(struct http_request *request, struct services *services, size_t size)
{
    struct master_http_work *work = must(calloc(1, size));
    work->task.run = run_on_worker;
    work->back.run = answer_on_loop;
    work->request = request;
    work->services = services;
    work->status = 200;
    json_writer_init(&work->json, &work->body, master_http_is_pretty(request));
    return work;
}

void master_http_work_done(struct master_http_work *work)
{
    loop_post(work->request->loop, &work->back);
}

void master_http_work_submit(struct master_http_work *work)
{
    const struct services *s = work->services;
    if (worker_pool_submit(work->is_patient ? s->patient_pool : s->pool, &work->task) == 0)
        return;
    master_http_retry_after(work->request, 0);
    master_http_work_fail(work, 503, "too many requests wait; try again later");
    master_http_work_done(work);
}

void master_http_work_fail(struct master_http_work *work, int status, const char *fmt, ...)
{
    struct buffer message = BUFFER_INIT;
    va_list args;
    va_start(args, fmt);
    buffer_vprintf(&message, fmt, args);
    va_end(args);
    buffer_clear(&work->body);
    bool is_pretty = work->json.is_pretty;
    json_writer_init(&work->json, &work->body, is_pretty);
    write_error(&work->json, buffer_cstr(&message));
    work->status = status;
    buffer_fini(&message);
}
