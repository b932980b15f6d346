#include "data_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the server ---- */

static void ask_table(void *ctx, uint32_t volume_id, struct volume_lookup_question *question)
{
    struct data_port *port = ctx;
    pthread_mutex_lock(&port->lock);
    port->question_count++;
    struct volume_locations *locations = NULL;
    struct error err;
    if (port->lookup_failure) {
        error_set(&err, KELP_E_UNAVAILABLE, "%s", port->lookup_failure);
    } else {
        size_t count = volume_id == 99 ? 0 : port->peer_count;
        locations = volume_locations_create(count);
        for (size_t i = 0; i < count; i++) {
            locations->items[i].url = strdup(port->peers[i]);
            locations->items[i].public_url = strdup(port->peers[i]);
            locations->items[i].is_read_only = port->is_read_only[i];
        }
    }
    pthread_mutex_unlock(&port->lock);
    volume_lookup_answer(question, locations, &err);
}

static bool is_healthy(void *ctx) { return !((struct data_port *)ctx)->is_unhealthy; }

static ssize_t read_nothing(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    return -EAGAIN;
}

static bool is_on_second_disk(int fd)
{
    char name[64], path[256];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof(path) - 1);
    path[length < 0 ? 0 : length] = '\0';
    return strstr(path, "/second/") != NULL;
}

static ssize_t read_when_released(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    struct data_port *port = (struct data_port *)((char *)os - offsetof(struct data_port, os));
    if (atomic_load(&port->is_stuck) && (!port->has_second_disk || is_on_second_disk(fd))) {
        uv_sem_post(&port->read_begun);
        uv_sem_wait(&port->read_released);
    }
    return os_pread(os_real(), fd, buf, n, offset);
}

static ssize_t fail_read(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    return -EIO;
}

void data_port_wait_for_read(struct data_port *port) { uv_sem_wait(&port->read_begun); }

void data_port_release(struct data_port *port)
{
    atomic_store(&port->is_stuck, false);
    for (int i = 0; i < 16; i++)
        uv_sem_post(&port->read_released);
}

static void open_store(struct data_port *port, const struct data_port_options *options)
{
    struct error err;
    snprintf(port->directory, sizeof(port->directory), "/tmp/kelp-data-port-XXXXXX");
    assert_non_null(mkdtemp(port->directory));
    char second[80];
    snprintf(second, sizeof(second), "%s/second", port->directory);
    port->has_second_disk = options->has_second_disk;
    if (options->has_second_disk)
        assert_int_equal(mkdir(second, 0755), 0);
    struct store_location_config locations[] = {
        {.directory = port->directory, .max_volumes = 8, .disk_type = ""},
        {.directory = second, .max_volumes = 8, .disk_type = ""},
    };
    port->os_ops = *os_real()->ops;
    port->os.ops = &port->os_ops;
    if (options->is_cold)
        port->os_ops.pread_nowait = read_nothing;
    if (options->is_stuck)
        port->os_ops.pread = read_when_released;
    if (options->is_failing)
        port->os_ops.pread = port->os_ops.pread_nowait = fail_read;
    struct store_config config = {.os = &port->os,
                                  .locations = locations,
                                  .location_count = options->has_second_disk ? 2 : 1,
                                  .offset_bytes = 5};
    if (store_open(&port->store, &config, &err) != 0)
        fail_msg("%s", err.message);
    if (options->has_no_volume)
        return;
    struct store_allocate allocate = {.id = 3, .collection = "", .disk_type = ""};
    assert_int_equal(replica_placement_parse(slice_cstr(options->replication ? options->replication
                                                                             : "000"),
                                             &allocate.replica_placement, NULL),
                     0);
    if (options->ttl)
        assert_int_equal(ttl_parse(slice_cstr(options->ttl), &allocate.ttl, NULL), 0);
    if (store_allocate_volume(port->store, &allocate, &err) != 0)
        fail_msg("%s", err.message);
    allocate.id = 4;
    if (options->has_second_disk && store_allocate_volume(port->store, &allocate, &err) != 0)
        fail_msg("%s", err.message);
}

static void open_server(struct data_port *port, const struct http_handler *handler,
                        struct http_server **ret)
{
    struct error err;
    struct http_server_config config = {.bind_address = "127.0.0.1",
                                        .loops = &port->loop,
                                        .loop_count = 1,
                                        .handler = handler,
                                        .body_limit_bytes = volume_http_body_limit(port->http)};
    if (http_server_create(ret, &config, &err) != 0)
        fail_msg("%s", err.message);
}

void data_port_start(struct data_port *port, const struct data_port_options *options)
{
    struct error err;
    *port = (struct data_port){.is_unhealthy = options->is_unhealthy};
    pthread_mutex_init(&port->lock, NULL);
    uv_sem_init(&port->read_begun, 0);
    uv_sem_init(&port->read_released, 0);
    open_store(port, options);
    assert_int_equal(loop_create(&port->loop, "http", &err), 0);
    assert_int_equal(security_create(&port->security, options->settings, options->white_list, NULL, &err), 0);
    port->metrics = metrics_create();
    assert_int_equal(volume_lookup_create(&port->lookup,
                                          &(struct volume_lookup_source){ask_table, port}, &err),
                     0);
    struct volume_http_config config = {
        .store = port->store,
        .loops = &port->loop,
        .loop_count = 1,
        .lookup = port->lookup,
        .own_url = port->url, /* filled in below, before the first request */
        .server_text = "SeaweedFS Volume 8000GB 4.48",
        .version_text = "8000GB 4.48 kelp",
        .read_mode = options->read_mode,
        .turns_upright = options->turns_upright,
        .file_size_limit_bytes =
            options->file_size_limit_bytes ? options->file_size_limit_bytes : 64u << 20,
        .upload_limit_bytes = options->upload_limit_bytes,
        .download_limit_bytes = options->download_limit_bytes,
        .upload_wait_ms = options->wait_ms ? options->wait_ms : 1,
        .download_wait_ms = options->wait_ms ? options->wait_ms : 1,
        .peer_timeout_ms = options->peer_timeout_ms,
        .reader_threads = 2,
        .reader_queue = options->reader_queue,
        .security = port->security,
        .metrics = port->metrics,
        .is_healthy = is_healthy,
        .ctx = port,
    };
    assert_int_equal(volume_http_create(&port->http, &config, &err), 0);
    open_server(port, volume_http_handler(port->http), &port->server);
    if (options->has_public_port)
        open_server(port, volume_http_public_handler(port->http), &port->public_server);
    snprintf(port->url, sizeof(port->url), "127.0.0.1:%u", http_server_port(port->server));
    port->peers[0] = port->url;
    port->peer_count = options->has_no_volume ? 0 : 1;
}

static int remove_file(void *ctx, const char *name)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, name);
    return unlink(path);
}

void data_port_stop(struct data_port *port)
{
    http_server_destroy(port->server, 1000);
    if (port->public_server)
        http_server_destroy(port->public_server, 1000);
    volume_http_destroy(port->http);
    loop_destroy(port->loop);
    volume_lookup_destroy(port->lookup);
    store_close(port->store);
    security_destroy(port->security);
    metrics_destroy(port->metrics);
    if (port->has_second_disk) {
        char second[80];
        snprintf(second, sizeof(second), "%s/second", port->directory);
        os_real()->ops->list(os_real(), second, remove_file, second);
        rmdir(second);
    }
    os_real()->ops->list(os_real(), port->directory, remove_file, port->directory);
    rmdir(port->directory);
    pthread_mutex_destroy(&port->lock);
    uv_sem_destroy(&port->read_begun);
    uv_sem_destroy(&port->read_released);
}

/* ---- the client ---- */

static void send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server has answered early and closed */
        bytes += n;
        size -= (size_t)n;
    }
}

void data_port_exchange(uint16_t port, const void *bytes, size_t size, struct reply *ret)
{
    *ret = (struct reply){0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    send_all(fd, bytes, size);
    size_t used = 0, room = 1u << 16;
    ret->text = malloc(room);
    for (ssize_t n; (n = recv(fd, ret->text + used, room - used - 1, 0)) > 0;) {
        used += (size_t)n;
        if (room - used < 1u << 15)
            ret->text = realloc(ret->text, room *= 2);
    }
    close(fd);
    ret->text[used] = 0;
    char *end = memmem(ret->text, used, "\r\n\r\n", 4);
    if (!end)
        return;
    ret->body = end + 4;
    ret->body_size = used - (size_t)(ret->body - ret->text);
    ret->status = atoi(ret->text + 9);
    const char *length = reply_header(ret, "Content-Length");
    bool is_head = size > 4 && memcmp(bytes, "HEAD", 4) == 0;
    ret->is_short = length && !is_head && strtoull(length, NULL, 10) > ret->body_size;
}

void data_port_ask(struct data_port *port, const char *method, const char *target,
                   const char *headers, const void *body, size_t size, struct reply *ret)
{
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", method, target,
                  headers);
    if (body)
        buffer_printf(&text, "Content-Length: %zu\r\n", size);
    buffer_append_text(&text, "\r\n");
    if (size > 0)
        buffer_append(&text, body, size);
    data_port_exchange(http_server_port(port->server), text.data, text.length, ret);
    buffer_fini(&text);
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[4096];
    size_t length = strlen(name);
    if (!reply->body)
        return NULL;
    for (const char *line = reply->text; line < reply->body; line = strchr(line, '\n') + 1) {
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *start = line + length + 1;
        while (*start == ' ')
            start++;
        size_t n = strcspn(start, "\r\n");
        snprintf(value, sizeof(value), "%.*s", (int)n, start);
        return value;
    }
    return NULL;
}

void reply_fini(struct reply *reply)
{
    free(reply->text);
    *reply = (struct reply){0};
}
