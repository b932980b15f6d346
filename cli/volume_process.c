/* A volume server as a process runs it. Main thread; the callbacks come on the server's own. */
#include "cli/volume_process.h"

#include "cli/process.h"
#include "common/log.h"
#include "common/memory_trim.h"

static void on_serving(void *ctx)
{
    log_info("volume server serves", "ip=%s", (const char *)ctx);
    memory_trim();
}

static void on_failed(void *ctx, const struct error *err)
{
    log_error("volume server cannot go on", "error=\"%s\"", err->message);
    process_fail();
}

static void hurry(void *ctx) { volume_server_hurry(ctx); }

int volume_process_start(struct volume_server **ret, struct volume_server_config *config,
                         struct error *err)
{
    config->on_serving = on_serving;
    config->on_failed = on_failed;
    config->ctx = (void *)(uintptr_t)config->ip; /* a flag's value: lives as long as the process */
    return volume_server_start(ret, config, err);
}

void volume_process_run(struct volume_server *server, struct process_security *security,
                        unsigned grace_ms)
{
    while (process_wait() != PROCESS_STOP) {
        process_security_reload(security);
        volume_server_rescan(server);
    }
    log_info("volume server stops", "reason=signal");
    process_hurry_on_signal(hurry, server);
    volume_server_stop(server, grace_ms);
}
