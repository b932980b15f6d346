/* The request parser.
 *
 * llhttp cuts the bytes into spans; a span that is split over two reads comes in two calls. All
 * spans of a header are gathered in one text in the exchange's arena, each with a terminator, and
 * while that text can still move, the header table holds offsets into it. When the header is
 * complete they become pointers.
 *
 * llhttp is built strict and used with no lenient flag: it refuses two lengths, a length beside
 * chunks, other codings than chunked at the end, and blanks before the colon. Here we add: line
 * ends and folded lines, single blanks in the request line, the limits (header bytes, header
 * count, framing of chunks, a chunk's size), the Host rule of RFC 9112, "chunked" alone and only
 * in HTTP/1.1. And we open it up where the peer is wider: any token is a method, bytes beyond
 * ASCII may stand in a target, and any version 1.x is taken. */
#include "common/http_parser.h"

#include "common/check.h"
#include "common/http_body.h"
#include "common/http_request_line.h"
#include "common/url.h"

#include <ctype.h>

#define FIRST_HEAD_CAPACITY 1024u
#define FIRST_HEADER_CAPACITY 16u

static struct http_connection *connection_of(llhttp_t *parser) { return parser->data; }

static int fail(struct http_connection *connection, int status, const char *text)
{
    connection->fail_status = (uint16_t)status;
    connection->fail_text = text;
    return HPE_USER;
}

static int append_head(struct http_exchange *x, const char *data, size_t size)
{
    /* The bytes fed are bounded by the header limit, so this is too. */
    size_t need = x->head_length + size;
    if (need > x->head_capacity) {
        size_t capacity = x->head_capacity ? x->head_capacity * 2 : FIRST_HEAD_CAPACITY;
        while (capacity < need)
            capacity *= 2;
        char *head = arena_alloc(&x->arena, capacity);
        if (x->head_length)
            memcpy(head, x->head, x->head_length);
        x->head = head;
        x->head_capacity = (uint32_t)capacity;
    }
    memcpy(x->head + x->head_length, data, size);
    x->head_length += (uint32_t)size;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    return append_head(connection_of(parser)->exchange, at, size);
}

static int on_url_complete(llhttp_t *parser)
{
    struct http_exchange *x = connection_of(parser)->exchange;
    x->target_length = x->head_length;
    append_head(x, "", 1);
    x->span_start = x->head_length;
    return 0;
}

/* The header table starts with the first header, not with the first trailer: those are dropped. */
static bool is_in_head(const struct http_connection *connection)
{
    return connection->state == HTTP_CONNECTION_HEAD;
}

static int on_header_bytes(llhttp_t *parser, const char *at, size_t size)
{
    struct http_connection *connection = connection_of(parser);
    return is_in_head(connection) ? append_head(connection->exchange, at, size) : 0;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct http_connection *connection = connection_of(parser);
    struct http_exchange *x = connection->exchange;
    if (!is_in_head(connection))
        return 0;
    size_t count = x->request.header_count;
    if (count == x->header_capacity) {
        if (count >= HTTP_HEADER_COUNT_LIMIT)
            return fail(connection, 431, "too many header fields");
        uint32_t capacity = count ? x->header_capacity * 2 : FIRST_HEADER_CAPACITY;
        struct http_header *headers = arena_alloc(&x->arena, capacity * sizeof(*headers));
        if (count)
            memcpy(headers, x->headers, count * sizeof(*headers));
        x->headers = headers;
        x->header_capacity = capacity;
    }
    x->headers[count].name =
        slice_of((char *)(uintptr_t)x->span_start, x->head_length - x->span_start);
    append_head(x, "", 1);
    x->span_start = x->head_length;
    return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct http_connection *connection = connection_of(parser);
    struct http_exchange *x = connection->exchange;
    if (!is_in_head(connection))
        return 0;
    while (x->head_length > x->span_start &&
           (x->head[x->head_length - 1] == ' ' || x->head[x->head_length - 1] == '\t'))
        x->head_length--;
    x->headers[x->request.header_count++].value =
        slice_of((char *)(uintptr_t)x->span_start, x->head_length - x->span_start);
    append_head(x, "", 1);
    x->span_start = x->head_length;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    /* "Upgrade:" is an offer that this server never takes up, and what follows is still HTTP. */
    parser->upgrade = 0;
    return HPE_PAUSED;
}

/* A chunk that could never be taken in is refused when it is announced. */
static int on_chunk_header(llhttp_t *parser)
{
    struct http_connection *connection = connection_of(parser);
    const struct http_exchange *x = connection->exchange;
    if (connection->state == HTTP_CONNECTION_BODY &&
        parser->content_length > x->body_limit - x->body_length)
        return fail(connection, 413, "request body too large");
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct http_connection *connection = connection_of(parser);
    connection->has_fed_body = true;
    if (connection->state == HTTP_CONNECTION_DISCARD)
        return 0;
    switch (http_body_append(connection->exchange, at, size)) {
    case 0:
        return 0;
    case KELP_E_TOO_LARGE:
        return fail(connection, 413, "request body too large");
    default:
        return fail(connection, 503, "too many request bodies in flight, try again later");
    }
}

static int on_message_complete(llhttp_t *parser) { return HPE_PAUSED; }

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_header_bytes,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_bytes,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* Line ends are CR LF and nothing else, and a line never goes on in the next: llhttp 8 lets folded
 * lines through. `last` is the byte before `data`. */
static bool has_bad_line(const char *data, size_t size, char last)
{
    if (last == '\n' && size > 0 && (data[0] == ' ' || data[0] == '\t'))
        return true;
    const char *end = data + size, *at = data;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        char before = at > data ? at[-1] : last;
        at++;
        if (before != '\r' || (at < end && (*at == ' ' || *at == '\t')))
            return true;
    }
    return false;
}

static bool check_lines(struct http_connection *connection, const char *data, size_t size)
{
    if (size == 0)
        return true;
    bool is_bad = has_bad_line(data, size, connection->overhead_bytes ? connection->last_byte : 0);
    connection->last_byte = data[size - 1];
    if (is_bad)
        fail(connection, 400, "bad line end or folded line in the request header");
    return !is_bad;
}

void http_parser_start(struct http_connection *connection)
{
    /* llhttp takes the settings as non-const and never writes to them. */
    llhttp_init(&connection->parser, HTTP_REQUEST, (llhttp_settings_t *)(uintptr_t)&settings);
    connection->parser.data = connection;
    connection->parser.lenient_flags |= LENIENT_VERSION; /* llhttp 8 has no call for it */
}

static void set_error(struct http_connection *connection, llhttp_errno_t code)
{
    if (connection->fail_status) /* one of the callbacks above has said why */
        return;
    connection->fail_status = 400;
    const char *reason = llhttp_get_error_reason(&connection->parser);
    connection->fail_text = reason && *reason ? reason : llhttp_errno_name(code);
}

/* llhttp knows a fixed list of methods, and treats some of them in a way of their own: it gets
 * to see those that we tell apart, and POST in the place of all others. */
static size_t take_method(struct http_connection *connection, const char *data, size_t size,
                          enum http_parser_event *ret)
{
    struct http_exchange *x = connection->exchange;
    size_t used = 0;
    switch (http_request_line_method(x, data, size, &used)) {
    case HTTP_METHOD_MORE:
        *ret = HTTP_PARSER_MORE;
        break;
    case HTTP_METHOD_DONE: {
        bool is_other = x->request.method == HTTP_METHOD_OTHER;
        struct slice name = is_other ? SLICE("POST") : x->request.method_name;
        *ret = HTTP_PARSER_MORE;
        if (llhttp_execute(&connection->parser, name.ptr, name.len) != HPE_OK) {
            set_error(connection, llhttp_get_errno(&connection->parser));
            *ret = HTTP_PARSER_ERROR;
        }
        connection->last_byte = name.ptr[name.len - 1];
        break;
    }
    case HTTP_METHOD_INVALID:
        *ret = HTTP_PARSER_ERROR;
        fail(connection, 400, "malformed method");
        break;
    case HTTP_METHOD_TOO_LONG:
        *ret = HTTP_PARSER_ERROR;
        fail(connection, 501, "method too long");
        break;
    }
    connection->overhead_bytes += (uint32_t)used;
    return used;
}

size_t http_parser_execute(struct http_connection *connection, const char *data, size_t size,
                           enum http_parser_event *ret)
{
    bool is_head = is_in_head(connection);
    size_t limit = connection->lane->shared->header_limit_bytes;
    if (is_head || connection->is_chunked) {
        /* A body of known length needs no bound: its bytes are counted by the parser. */
        size_t room = limit > connection->overhead_bytes ? limit - connection->overhead_bytes : 0;
        if (room == 0 && size > 0) {
            *ret = HTTP_PARSER_ERROR;
            fail(connection, is_head ? 431 : 400,
                 is_head ? "request header too large" : "chunk framing too large");
            return 0;
        }
        if (is_head && size > room)
            size = room;
    }
    struct http_exchange *x = connection->exchange;
    if (connection->is_paused) {
        llhttp_resume(&connection->parser);
        connection->is_paused = false;
    }
    if (is_head && !x->has_method)
        return take_method(connection, data, size, ret);
    size_t raw_count = 0;
    if (is_head && !x->has_request_line) {
        raw_count = http_request_line_scan(x, data, size);
        if (x->has_request_line && x->blank_count != 2) {
            *ret = HTTP_PARSER_ERROR;
            fail(connection, 400, "malformed request line");
            return 0;
        }
        if (raw_count > 0) {
            data = http_request_line_encode(&x->arena, data, size, raw_count);
            size += 2 * raw_count;
        }
    }
    connection->has_fed_body = false;
    llhttp_errno_t code = llhttp_execute(&connection->parser, data, size);
    size_t used = size;
    if (code == HPE_OK) {
        *ret = HTTP_PARSER_MORE;
    } else if (code == HPE_PAUSED) {
        connection->is_paused = true;
        used = (size_t)(llhttp_get_error_pos(&connection->parser) - data);
        *ret = is_head ? HTTP_PARSER_HEAD : HTTP_PARSER_MESSAGE;
    } else {
        set_error(connection, code);
        *ret = HTTP_PARSER_ERROR;
    }
    if (is_head && *ret != HTTP_PARSER_ERROR && !check_lines(connection, data, used))
        *ret = HTTP_PARSER_ERROR;
    used -= 2 * raw_count; /* an event comes after the request line, so all of them are in */
    if (connection->has_fed_body) /* a client that sends data is not cut off */
        connection->overhead_bytes = 0;
    else if (is_head || connection->is_chunked)
        connection->overhead_bytes += (uint32_t)used;
    return used;
}

static bool name_is(struct slice name, const char *lower, size_t length)
{
    return name.len == length && strncasecmp(name.ptr, lower, length) == 0;
}

#define NAME_IS(name, literal) name_is(name, literal, sizeof(literal) - 1)

/* The characters that a host and a port can have, as the peer sees it. */
static bool is_host(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (!isalnum((unsigned char)value.ptr[i]) &&
            !memchr("!$%&'()*+,-.:;=[]_~", value.ptr[i], 19))
            return false;
    return true;
}

/* Turns offsets into pointers and looks at the fields that are the server's own business. */
static int finish_headers(struct http_connection *connection)
{
    struct http_exchange *x = connection->exchange;
    unsigned hosts = 0, codings = 0;
    bool says_close = false, says_keep_alive = false;
    for (size_t i = 0; i < x->request.header_count; i++) {
        struct http_header *h = &x->headers[i];
        h->name.ptr = x->head + (uintptr_t)h->name.ptr;
        h->value.ptr = x->head + (uintptr_t)h->value.ptr;
        if (h->name.len == 0)
            return fail(connection, 400, "header field without a name");
        if (NAME_IS(h->name, "host")) {
            hosts++;
            if (!is_host(h->value))
                return fail(connection, 400, "malformed Host header");
        } else if (NAME_IS(h->name, "connection")) {
            struct slice rest = h->value, one;
            while (slice_take_item(&rest, &one)) {
                says_close |= slice_equals_nocase(one, SLICE("close"));
                says_keep_alive |= slice_equals_nocase(one, SLICE("keep-alive"));
            }
        } else if (NAME_IS(h->name, "expect")) {
            if (!slice_equals_nocase(h->value, SLICE("100-continue")))
                return fail(connection, 417, "unknown expectation");
            x->expects_continue = !x->is_http10;
        } else if (NAME_IS(h->name, "transfer-encoding")) {
            codings++;
            if (!slice_equals_nocase(h->value, SLICE("chunked")))
                return fail(connection, 501, "unsupported transfer encoding");
        }
    }
    x->request.headers = x->headers;
    x->request.is_keep_alive = !says_close && (says_keep_alive || !x->is_http10);
    if (hosts > 1)
        return fail(connection, 400, "too many Host headers");
    if (hosts == 0 && !x->is_http10)
        return fail(connection, 400, "missing required Host header");
    if (codings > 1 || (codings == 1 && x->is_http10))
        return fail(connection, 400, "misplaced Transfer-Encoding");
    return 0;
}

int http_parser_finish_head(struct http_connection *connection, struct error *detail)
{
    struct http_exchange *x = connection->exchange;
    struct http_request *r = &x->request;
    llhttp_t *parser = &connection->parser;
    if (parser->http_major != 1) /* 1.2 and on, if there ever is one, are answered as 1.1 */
        return fail(connection, 505, "unsupported protocol version"), -1;
    x->is_http10 = parser->http_minor == 0;
    r->target = slice_of(x->head, x->target_length);
    if (finish_headers(connection) != 0)
        return -1;
    /* llhttp counts "Proxy-Connection" in and has "keep-alive" win over "close". */
    parser->flags &= (uint16_t) ~(F_CONNECTION_CLOSE | F_CONNECTION_KEEP_ALIVE);
    parser->flags |= r->is_keep_alive ? F_CONNECTION_KEEP_ALIVE : F_CONNECTION_CLOSE;
    connection->is_chunked = (parser->flags & F_CHUNKED) != 0;
    r->has_body = connection->is_chunked || parser->content_length > 0;
    connection->overhead_bytes = 0;

    struct url_parts parts;
    url_split(r->target, &parts);
    r->raw_path = parts.path;
    r->query = parts.query;
    if (parts.scheme.len && parts.path.len == 0)
        r->raw_path = SLICE("/");
    if (url_decode_path(&x->arena, r->raw_path, &r->path, detail) != 0)
        return fail(connection, 400, detail->message), -1;
    memcpy(&r->peer, &connection->peer, sizeof(connection->peer));
    return 0;
}
