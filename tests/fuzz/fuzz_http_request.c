/* Requests as bytes, the way a connection feeds them to the parser. The first byte says where the
 * reads are cut: the outcome must be the same as with one read. */
#include "tests/fuzz/fuzz.h"

#include "common/http_body.h"
#include "common/http_lane.h"
#include "common/http_parser.h"

#define BODY_LIMIT 65536u

struct outcome {
    unsigned requests;
    uint16_t status; /* of the refusal; 0: none */
    uint64_t sum;    /* of all that handlers could see */
};

static void add(struct outcome *outcome, struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        outcome->sum = (outcome->sum ^ (uint8_t)text.ptr[i]) * 0x100000001b3u;
    outcome->sum = (outcome->sum ^ 0x100) * 0x100000001b3u;
}

static void add_request(struct outcome *outcome, const struct http_request *request)
{
    outcome->requests++;
    add(outcome, request->method_name);
    add(outcome, request->target);
    add(outcome, request->path);
    add(outcome, request->query);
    for (size_t i = 0; i < request->header_count; i++) {
        CHECK(request->headers[i].value.ptr[request->headers[i].value.len] == '\0');
        add(outcome, request->headers[i].name);
        add(outcome, request->headers[i].value);
    }
}

static bool finish_head(struct http_connection *c, struct outcome *outcome)
{
    struct error detail;
    if (http_parser_finish_head(c, &detail) != 0) {
        outcome->status = c->fail_status;
        CHECK(c->fail_text && *c->fail_text);
        return false;
    }
    add_request(outcome, &c->exchange->request);
    c->state = HTTP_CONNECTION_BODY;
    uint64_t length = c->is_chunked ? 0 : c->parser.content_length;
    if (c->exchange->request.has_body && http_body_reserve(c->exchange, length) < 0) {
        outcome->status = 413;
        return false;
    }
    return true;
}

static void finish_message(struct http_connection *c, struct outcome *outcome)
{
    add(outcome, slice_of(c->exchange->body, c->exchange->body_length));
    http_lane_return(c->exchange);
    c->exchange = NULL;
    c->state = HTTP_CONNECTION_HEAD;
}

/* One read. False when the connection is over. */
static bool feed(struct http_connection *c, const char *data, size_t size, struct outcome *outcome)
{
    size_t used = 0;
    while (used < size || c->is_paused) {
        if (!c->exchange) {
            while (used < size && (data[used] == '\r' || data[used] == '\n'))
                used++;
            if (used == size)
                return true;
            c->exchange = http_lane_borrow(c->lane);
            c->exchange->connection = c;
            c->overhead_bytes = 0;
        }
        enum http_parser_event event;
        size_t taken = http_parser_execute(c, data + used, size - used, &event);
        CHECK(taken <= size - used);
        used += taken;
        if (event == HTTP_PARSER_ERROR) {
            outcome->status = c->fail_status;
            CHECK(c->fail_status >= 400 && c->fail_text && *c->fail_text);
            return false;
        }
        if (event == HTTP_PARSER_HEAD && !finish_head(c, outcome))
            return false;
        if (event == HTTP_PARSER_MESSAGE)
            finish_message(c, outcome);
    }
    return true;
}

/* `step` bytes at a time; 0: all at once. */
static struct outcome parse(struct slice bytes, size_t step)
{
    static struct http_shared shared = {.header_limit_bytes = 2048, .body_limit_bytes = BODY_LIMIT};
    struct http_lane *lane = must(calloc(1, sizeof(*lane)));
    struct http_connection *c = must(calloc(1, sizeof(*c)));
    struct outcome outcome = {0};
    http_lane_init(lane, &shared, NULL);
    c->lane = lane;
    http_parser_start(c);
    bool goes_on = true;
    while (goes_on && bytes.len > 0) {
        /* A block of its own: the parser must not look behind the bytes of a read. */
        struct slice piece = fuzz_take(&bytes, step ? step : bytes.len);
        char *copy = must(malloc(piece.len));
        memcpy(copy, piece.ptr, piece.len);
        goes_on = feed(c, copy, piece.len, &outcome);
        free(copy);
    }
    if (c->exchange)
        http_lane_return(c->exchange);
    CHECK(atomic_load(&shared.buffered_bytes) == 0);
    http_lane_fini(lane);
    free(c);
    free(lane);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    size_t step = 1 + fuzz_take_byte(&input) % 40u;
    if (input.len == 0)
        return 0;
    struct outcome whole = parse(input, 0), cut = parse(input, step);
    CHECK(whole.requests == cut.requests && whole.sum == cut.sum);
    CHECK((whole.status == 0) == (cut.status == 0));
    return 0;
}
