/* The echo service as a program, and its opposite.
 *
 *     rpc_echo serve ADDRESS         prints the port, serves until standard input ends
 *     rpc_echo call HOST:PORT        makes a call of each kind there, prints what came back */
#include "common/rpc_client.h"
#include "proto/volume_server.pb-c.h"
#include "tests/proto/echo_service.h"

#include <stdio.h>
#include <string.h>

#define MESSAGE VolumeServerPb__VolumeTailSenderResponse
#define DESCRIPTOR &volume_server_pb__volume_tail_sender_response__descriptor
#define TIMEOUT_MS 10000

static int report(const struct error *err)
{
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

static int serve(const char *address)
{
    struct echo_service service;
    struct rpc_server *server = NULL;
    struct error err = {0};
    echo_service_init(&service);
    struct rpc_server_config config = {
        .bind_address = address, .services = &service.rpc, .service_count = 1};
    if (rpc_server_create(&server, &config, &err) < 0)
        return report(&err);
    printf("%u\n", rpc_server_port(server));
    fflush(stdout);
    while (getchar() != EOF)
        ;
    rpc_server_destroy(server, 100);
    printf("closed %u, overlapped %u\n", service.closed, service.overlapped);
    echo_service_fini(&service);
    return 0;
}

static int print_message(void *ctx, const ProtobufCMessage *message)
{
    const MESSAGE *m = (const void *)message;
    printf("%s %u %.*s\n", (const char *)ctx, m->version, (int)m->needle_body.len,
           (const char *)m->needle_body.data);
    return 0;
}

struct finish {
    const char *name;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
};

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    struct finish *finish = ctx;
    print_message((void *)(uintptr_t)finish->name, message);
}

static void on_closed(struct rpc_stream *stream, enum rpc_status status, const struct error *err,
                      void *ctx)
{
    struct finish *finish = ctx;
    printf("%s %s %s\n", finish->name, rpc_status_name(status), err ? err->message : "");
    pthread_mutex_lock(&finish->lock);
    finish->is_done = true;
    pthread_cond_signal(&finish->done);
    pthread_mutex_unlock(&finish->lock);
}

static void run_stream(struct rpc_client *client, const char *address, const char *path,
                       const char *name)
{
    static const struct rpc_stream_ops ops = {.on_message = on_message, .on_closed = on_closed};
    struct finish finish = {.name = name};
    pthread_mutex_init(&finish.lock, NULL);
    pthread_cond_init(&finish.done, NULL);
    struct rpc_stream *stream = NULL;
    rpc_stream_open(client, address, path, DESCRIPTOR, TIMEOUT_MS, &ops, &finish, &stream, NULL);
    MESSAGE m = VOLUME_SERVER_PB__VOLUME_TAIL_SENDER_RESPONSE__INIT;
    m.needle_body = (ProtobufCBinaryData){2, (uint8_t[]){'a', 'b'}};
    for (m.version = 1; m.version <= 3; m.version++)
        rpc_stream_send(stream, &m.base);
    rpc_stream_half_close(stream);
    pthread_mutex_lock(&finish.lock);
    while (!finish.is_done)
        pthread_cond_wait(&finish.done, &finish.lock);
    pthread_mutex_unlock(&finish.lock);
    pthread_mutex_destroy(&finish.lock);
    pthread_cond_destroy(&finish.done);
}

static int call(const char *address)
{
    struct rpc_client *client = NULL;
    struct error err = {0};
    if (rpc_client_create(&client, &err) < 0)
        return report(&err);
    MESSAGE m = VOLUME_SERVER_PB__VOLUME_TAIL_SENDER_RESPONSE__INIT;
    m.needle_body = (ProtobufCBinaryData){5, (uint8_t[]){'h', 'e', 'l', 'l', 'o'}};
    ProtobufCMessage *answer = NULL;
    enum rpc_status status;
    if (rpc_client_call(client, address, "/echo.Echo/Unary", &m.base, DESCRIPTOR, TIMEOUT_MS,
                        &answer, &status, &err) == 0) {
        print_message("unary", answer);
        protobuf_c_message_free_unpacked(answer, NULL);
    } else {
        printf("unary %s %s\n", rpc_status_name(status), err.message);
    }
    m.version = 3;
    rpc_client_read_stream(client, address, "/echo.Echo/ServerStream", &m.base, DESCRIPTOR,
                           TIMEOUT_MS, print_message, "server-stream", &status, &err);
    printf("server-stream %s\n", rpc_status_name(status));
    run_stream(client, address, "/echo.Echo/ClientStream", "client-stream");
    run_stream(client, address, "/echo.Echo/TwoWay", "two-way");
    if (rpc_client_call(client, address, "/echo.Echo/Fail", &m.base, DESCRIPTOR, TIMEOUT_MS, NULL,
                        &status, &err) < 0)
        printf("fail %s %s\n", rpc_status_name(status), err.message);
    rpc_client_destroy(client);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc == 3 && strcmp(argv[1], "call") == 0)
        return call(argv[2]);
    fprintf(stderr, "usage: rpc_echo serve ADDRESS | call HOST:PORT\n");
    return 2;
}
