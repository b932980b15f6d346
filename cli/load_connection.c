/* Sockets and bytes of the load client. The loop's thread. */
#include "cli/load_connection.h"

#include "common/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static void advance(struct load_connection *c);

/* ---- What comes back ------------------------------------------------------------------------- */

static struct load_connection *connection_of(llhttp_t *parser)
{
    return parser->data;
}

static int on_field(llhttp_t *parser, const char *at, size_t size)
{
    struct load_connection *c = connection_of(parser);
    if (c->is_in_value)
        c->field_length = 0;
    c->is_in_value = false;
    size_t room = sizeof(c->field) - c->field_length, n = size < room ? size : room;
    memcpy(c->field + c->field_length, at, n);
    c->field_length += n;
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    struct load_connection *c = connection_of(parser);
    struct load_call *call = c->call;
    c->is_in_value = true;
    if (slice_equals_nocase(slice_of(c->field, c->field_length), SLICE("Authorization")) &&
        size < sizeof(call->authorization) - call->authorization_length) {
        memcpy(call->authorization + call->authorization_length, at, size);
        call->authorization_length += size;
        call->authorization[call->authorization_length] = '\0';
    }
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct load_call *call = connection_of(parser)->call;
    size_t room = sizeof(call->kept) - 1 - call->kept_length, n = size < room ? size : room;
    memcpy(call->kept + call->kept_length, at, n);
    call->kept_length += n;
    call->body_bytes += size;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct load_connection *c = connection_of(parser);
    if (parser->status_code / 100 == 1)
        return 0;
    c->is_complete = true;
    c->is_kept = llhttp_should_keep_alive(parser);
    return HPE_PAUSED; /* nothing may follow */
}

static const llhttp_settings_t *parser_settings(void)
{
    static const llhttp_settings_t settings = {
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    return &settings;
}

/* ---- The socket ------------------------------------------------------------------------------ */

static void broken(struct load_connection *c, int code, const char *what)
{
    struct error err;
    error_set(&err, code, "%s: %s", c->server->text, what);
    c->owner->broken(c, &err);
}

static void broken_by_errno(struct load_connection *c, const char *call)
{
    struct error err;
    error_set_errno(&err, errno, "%s %s", call, c->server->text);
    c->owner->broken(c, &err);
}

static void broken_by_tls(struct load_connection *c)
{
    unsigned long reason = ERR_get_error();
    char text[256] = "the server has ended the TLS connection";
    if (SSL_get_verify_result(c->ssl) != X509_V_OK)
        snprintf(text, sizeof(text), "its certificate is not trusted: %s",
                 X509_verify_cert_error_string(SSL_get_verify_result(c->ssl)));
    else if (reason)
        ERR_error_string_n(reason, text, sizeof(text));
    ERR_clear_error();
    broken(c, KELP_E_UNAVAILABLE, text);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct load_connection *c = poll->data;
    if (status >= 0) {
        advance(c);
        return;
    }
    int failure = 0; /* the socket knows better than libuv why */
    socklen_t size = sizeof(failure);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    errno = failure ? failure : ECONNRESET;
    broken_by_errno(c, c->state == LOAD_CONNECTING ? "connect to" : "talk to");
}

static void wait_for(struct load_connection *c, int events)
{
    if (c->events != events)
        uv_poll_start(&c->poll, events, on_poll);
    c->events = events;
}

/* What TLS wants before it goes on; false: the connection is broken, and has been reported. */
static bool wait_for_tls(struct load_connection *c, int result)
{
    int wanted = SSL_get_error(c->ssl, result);
    if (wanted == SSL_ERROR_WANT_READ || wanted == SSL_ERROR_WANT_WRITE) {
        wait_for(c, wanted == SSL_ERROR_WANT_READ ? UV_READABLE : UV_WRITABLE);
        return true;
    }
    if (c->state == LOAD_IDLE || wanted == SSL_ERROR_ZERO_RETURN) {
        ERR_clear_error();
        broken(c, KELP_E_UNAVAILABLE, "the server has closed the connection");
    } else {
        broken_by_tls(c);
    }
    return false;
}

static void finish_connect(struct load_connection *c)
{
    int failure = 0;
    socklen_t size = sizeof(failure);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure) {
        errno = failure;
        broken_by_errno(c, "connect to");
        return;
    }
    c->state = c->ssl ? LOAD_HANDSHAKE : LOAD_SENDING;
    advance(c);
}

static void shake_hands(struct load_connection *c)
{
    ERR_clear_error();
    int result = SSL_connect(c->ssl);
    if (result != 1) {
        wait_for_tls(c, result);
        return;
    }
    c->state = LOAD_SENDING;
    advance(c);
}

/* Head and body leave in one call, and so in one packet where they are small. Returns bytes, 0 to
 * wait (the poll is set), or -1 when the connection is broken. */
static ssize_t send_some(struct load_connection *c)
{
    struct slice head = slice_from(c->call->head, c->sent);
    size_t in_body = c->sent > c->call->head.len ? c->sent - c->call->head.len : 0;
    struct slice body = slice_from(c->call->body, in_body);
    if (c->ssl) {
        struct slice next = head.len ? head : body;
        ERR_clear_error();
        int result = SSL_write(c->ssl, next.ptr, next.len < 1 << 20 ? (int)next.len : 1 << 20);
        if (result > 0)
            return result;
        return wait_for_tls(c, result) ? 0 : -1;
    }
    struct iovec parts[2] = {{(void *)(uintptr_t)head.ptr, head.len},
                             {(void *)(uintptr_t)body.ptr, body.len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR) {
        wait_for(c, UV_WRITABLE);
        return 0;
    }
    broken_by_errno(c, "send to");
    return -1;
}

static void send_all(struct load_connection *c)
{
    size_t whole = c->call->head.len + c->call->body.len;
    while (c->sent < whole) {
        ssize_t n = send_some(c);
        if (n <= 0)
            return;
        c->sent += (size_t)n;
        c->moved_ms = uv_now(c->poll.loop);
    }
    c->state = LOAD_RECEIVING;
    wait_for(c, UV_READABLE);
}

/* The answer is whole. */
static void complete(struct load_connection *c)
{
    struct load_call *call = c->call;
    call->code = 0;
    call->status = c->parser.status_code;
    call->kept[call->kept_length] = '\0';
    c->call = NULL;
    c->has_answered = true;
    c->state = c->is_kept ? LOAD_IDLE : LOAD_CLOSED;
    c->owner->answered(c, call);
}

static void parse(struct load_connection *c, const char *data, size_t size)
{
    c->moved_ms = uv_now(c->poll.loop);
    c->has_received = true;
    llhttp_errno_t result = llhttp_execute(&c->parser, data, size);
    if (c->is_complete) {
        if (llhttp_get_error_pos(&c->parser) != data + size)
            c->is_kept = false; /* more than one answer: what is next would be nobody's */
        complete(c);
    } else if (result != HPE_OK) {
        broken(c, KELP_E_PROTOCOL, llhttp_get_error_reason(&c->parser));
    }
}

static void end_of_stream(struct load_connection *c)
{
    if (c->state == LOAD_RECEIVING)
        llhttp_finish(&c->parser); /* completes what ends with the connection */
    if (c->is_complete && c->call)
        complete(c);
    else
        broken(c, KELP_E_UNAVAILABLE, "the server has closed the connection");
}

static void receive(struct load_connection *c)
{
    char *buffer = c->owner->buffer;
    size_t size = c->owner->buffer_size;
    if (!c->ssl) {
        ssize_t n = recv(c->fd, buffer, size, 0);
        if (n == 0)
            end_of_stream(c);
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            broken_by_errno(c, "receive from");
        else if (n > 0 && c->state == LOAD_IDLE)
            broken(c, KELP_E_PROTOCOL, "an answer that nobody has asked for");
        else if (n > 0)
            parse(c, buffer, (size_t)n);
        return;
    }
    /* What TLS has read and not handed out yet wakes nobody: take it all. */
    struct load_call *call = c->call;
    do {
        ERR_clear_error();
        int n = SSL_read(c->ssl, buffer, (int)size);
        if (n <= 0) {
            if (c->state == LOAD_RECEIVING && SSL_get_error(c->ssl, n) == SSL_ERROR_ZERO_RETURN)
                end_of_stream(c);
            else
                wait_for_tls(c, n);
            return;
        }
        parse(c, buffer, (size_t)n);
    } while (call && c->state == LOAD_RECEIVING && c->call == call);
}

static void advance(struct load_connection *c)
{
    switch (c->state) {
    case LOAD_CONNECTING:
        finish_connect(c);
        break;
    case LOAD_HANDSHAKE:
        shake_hands(c);
        break;
    case LOAD_SENDING:
        send_all(c);
        break;
    case LOAD_RECEIVING:
    case LOAD_IDLE:
        receive(c);
        break;
    case LOAD_CLOSED:
        break;
    }
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static SSL *tls_of(const struct load_server *server, SSL_CTX *tls, int fd)
{
    SSL *ssl = must(SSL_new(tls));
    struct in6_addr ignored;
    bool is_ip = uv_inet_pton(AF_INET, server->host, &ignored) == 0 ||
                 uv_inet_pton(AF_INET6, server->host, &ignored) == 0;
    SSL_set_fd(ssl, fd);
    if (is_ip) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server->host);
    } else {
        SSL_set_tlsext_host_name(ssl, server->host);
        SSL_set1_host(ssl, server->host);
    }
    return ssl;
}

struct load_connection *load_connection_create(struct load_owner *owner, struct load_server *server,
                                               SSL_CTX *tls, struct error *err)
{
    int one = 1,
        fd = socket(server->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set_errno(err, errno, "socket for %s", server->text);
        if (errno == EMFILE)
            error_prefix(err, "give a smaller -c, or raise the limit of open files (ulimit -n)");
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&server->address, server->address_size) != 0 &&
        errno != EINPROGRESS) {
        error_set_errno(err, errno, "connect to %s", server->text);
        close(fd);
        return NULL;
    }
    struct load_connection *c = must(calloc(1, sizeof(*c)));
    c->owner = owner;
    c->server = server;
    c->fd = fd;
    c->ssl = tls ? tls_of(server, tls, fd) : NULL;
    CHECK(uv_poll_init(owner->loop, &c->poll, fd) == 0);
    c->poll.data = c;
    llhttp_init(&c->parser, HTTP_RESPONSE, parser_settings());
    c->parser.data = c;
    return c;
}

void load_connection_begin(struct load_connection *c, struct load_call *call)
{
    c->call = call;
    c->sent = 0;
    c->moved_ms = uv_now(c->poll.loop);
    c->has_received = c->is_complete = c->is_kept = c->is_in_value = false;
    c->field_length = 0;
    call->body_bytes = call->kept_length = call->authorization_length = 0;
    call->authorization[0] = '\0';
    llhttp_init(&c->parser, HTTP_RESPONSE, parser_settings());
    c->parser.data = c;
    if (c->state == LOAD_CONNECTING) {
        wait_for(c, UV_WRITABLE);
        return;
    }
    c->state = LOAD_SENDING;
    wait_for(c, UV_READABLE);
    send_all(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct load_connection *c = handle->data;
    free(c);
}

void load_connection_close(struct load_connection *c)
{
    c->state = LOAD_CLOSED;
    SSL_free(c->ssl);
    c->ssl = NULL;
    uv_poll_stop(&c->poll);
    close(c->fd);
    uv_close((uv_handle_t *)&c->poll, on_closed);
}
