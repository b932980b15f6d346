/* Peers that replicate are counted and never wait: the write that they are part of has been let
 * in already. */
#include "volume/upload_gate.h"

#include "common/check.h"

#include <inttypes.h>

/* A client that has been told to wait and gave nothing up should not be back at once. */
#define RETRY_AFTER SLICE("1")

static void refuse(struct blob_call *call)
{
    const struct in_flight *uploads = &call->http->uploads;
    const char *text = arena_printf(call->request->arena,
                                    "reject because inflight upload data %" PRIu64 " > %" PRIu64
                                    ", and wait timeout",
                                    in_flight_bytes(&call->http->uploads), uploads->limit_bytes);
    call->is_sending_body = false;
    http_request_drop_body(call->request);
    http_response_header(call->request, "Retry-After", RETRY_AFTER);
    blob_call_reply_error(call, 429, text);
}

static void on_room(void *ctx, int code)
{
    struct blob_call *call = ctx;
    call->waiter = NULL;
    if (code == IN_FLIGHT_LEADS)
        call->leads_uploads = true;
    if (code == 0 || code == IN_FLIGHT_LEADS)
        http_request_resume(call->request);
    else
        refuse(call);
}

static void wait_for_room(struct blob_call *call, bool may_lead)
{
    struct volume_http *http = call->http;
    blob_metrics_event(http->metrics, BLOB_EVENT_UPLOAD_LIMIT);
    http_request_pause(call->request);
    if (in_flight_wait(&http->uploads, call->request->loop, http->config.upload_wait_ms, may_lead,
                       on_room, call, &call->waiter) != 0)
        refuse(call);
}

static bool is_over(const struct blob_call *call)
{
    return in_flight_is_over(&call->http->uploads) &&
           !blob_call_query_is(call, "type", "replicate");
}

static void count(struct blob_call *call, uint64_t length)
{
    if (call->http->uploads.limit_bytes == 0)
        return;
    CHECK(length >= call->upload_bytes);
    in_flight_enter(&call->http->uploads, length - call->upload_bytes);
    call->upload_bytes = length;
}

void upload_gate_enter(struct blob_call *call)
{
    call->is_sending_body = true;
    if (is_over(call))
        wait_for_room(call, false);
}

void upload_gate_progress(struct blob_call *call, uint64_t length)
{
    count(call, length);
    if (call->leads_uploads || !is_over(call))
        return;
    call->leads_uploads = in_flight_take_lead(&call->http->uploads);
    if (!call->leads_uploads)
        wait_for_room(call, true);
}

void upload_gate_pass(struct blob_call *call)
{
    call->is_sending_body = false;
    count(call, call->request->body.len);
}

void upload_gate_abandon(struct blob_call *call)
{
    call->is_sending_body = false;
    if (call->waiter)
        in_flight_abandon(call->waiter);
    call->waiter = NULL;
    blob_call_close(call, 499);
}
