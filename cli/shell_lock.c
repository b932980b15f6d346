/* lock, unlock: the cluster's admin lock, leased from the leader and renewed every four seconds by a
 * thread of its own, so that two operators do not change a cluster at the same time. */
#include "cli/shell_lock.h"

#include "cli/shell_commands.h"
#include "common/check.h"
#include "proto/master.pb-c.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define RENEW_SECONDS 4
#define LEASE_TIMEOUT_MS 3000
#define WAIT_NOTICE_SECONDS 5

static char lock_name[] = "shell";

/* One lease call with the token we have (zero: none). */
static int lease(struct shell *shell, int64_t token, int64_t time_ns, int64_t *ret_token,
                 int64_t *ret_time, struct error *err)
{
    char host[256] = "kelp";
    gethostname(host, sizeof(host) - 1);
    MasterPb__LeaseAdminTokenRequest request = MASTER_PB__LEASE_ADMIN_TOKEN_REQUEST__INIT;
    request.previous_token = token;
    request.previous_lock_time = time_ns;
    request.lock_name = lock_name;
    request.client_name = host;
    ProtobufCMessage *answer;
    int code = shell_call_master(shell, "LeaseAdminToken", &request.base,
                                 &master_pb__lease_admin_token_response__descriptor, LEASE_TIMEOUT_MS,
                                 &answer, err);
    if (code != 0)
        return code;
    const MasterPb__LeaseAdminTokenResponse *response = (const void *)answer;
    *ret_token = response->token;
    *ret_time = response->lock_ts_ns;
    shell_free_message(answer);
    return 0;
}

bool shell_lock_is_held(struct shell *shell)
{
    pthread_mutex_lock(&shell->lock_mutex);
    bool is_held = shell->is_locked;
    pthread_mutex_unlock(&shell->lock_mutex);
    return is_held;
}

static void *renew(void *arg)
{
    struct shell *shell = arg;
    pthread_mutex_lock(&shell->lock_mutex);
    while (shell->is_locked) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += RENEW_SECONDS;
        if (pthread_cond_timedwait(&shell->lock_changed, &shell->lock_mutex, &until) != ETIMEDOUT)
            continue;
        int64_t token = shell->lock_token, time_ns = shell->lock_time;
        pthread_mutex_unlock(&shell->lock_mutex);
        int code = lease(shell, token, time_ns, &token, &time_ns, NULL);
        pthread_mutex_lock(&shell->lock_mutex);
        if (code == 0) {
            shell->lock_token = token;
            shell->lock_time = time_ns;
        } else if (shell->is_locked) {
            shell->is_locked = false;
            shell->is_lock_lost = true;
        }
    }
    pthread_mutex_unlock(&shell->lock_mutex);
    return NULL;
}

static void join_renewer(struct shell *shell)
{
    if (shell->is_renewer_running)
        pthread_join(shell->renewer, NULL);
    shell->is_renewer_running = false;
}

int shell_lock_acquire(struct shell *shell, struct error *err)
{
    int64_t token = 0, time_ns = 0;
    if (shell_lock_is_held(shell))
        return 0;
    join_renewer(shell); /* of a lock that was lost */
    for (int second = 0;; second++) {
        int code = lease(shell, 0, 0, &token, &time_ns, err);
        if (code == 0)
            break;
        if (!err || !strstr(err->message, "already locked"))
            return code;
        if (second % WAIT_NOTICE_SECONDS == 0)
            fprintf(stderr, "waiting for the admin lock: %s\n", err->message);
        sleep(1);
    }
    pthread_mutex_lock(&shell->lock_mutex);
    shell->lock_token = token;
    shell->lock_time = time_ns;
    shell->is_locked = true;
    shell->is_lock_lost = false;
    pthread_mutex_unlock(&shell->lock_mutex);
    CHECK(pthread_create(&shell->renewer, NULL, renew, shell) == 0);
    shell->is_renewer_running = true;
    return 0;
}

void shell_lock_release(struct shell *shell)
{
    pthread_mutex_lock(&shell->lock_mutex);
    bool was_locked = shell->is_locked;
    shell->is_locked = false;
    pthread_cond_signal(&shell->lock_changed);
    pthread_mutex_unlock(&shell->lock_mutex);
    join_renewer(shell);
    if (!was_locked)
        return;
    MasterPb__ReleaseAdminTokenRequest request = MASTER_PB__RELEASE_ADMIN_TOKEN_REQUEST__INIT;
    request.previous_token = shell->lock_token;
    request.previous_lock_time = shell->lock_time;
    request.lock_name = lock_name;
    /* Where this fails the lease runs out by itself. */
    shell_call_master(shell, "ReleaseAdminToken", &request.base,
                      &master_pb__release_admin_token_response__descriptor, LEASE_TIMEOUT_MS, NULL, NULL);
}

static int run_lock(struct shell *shell, struct error *err)
{
    int code = shell_lock_acquire(shell, err);
    if (code == 0 && shell->is_json)
        fprintf(shell->out, "{\"locked\":true}\n");
    return code;
}

static int run_unlock(struct shell *shell, struct error *err)
{
    pthread_mutex_lock(&shell->lock_mutex);
    bool was_lost = shell->is_lock_lost;
    shell->is_lock_lost = false;
    pthread_mutex_unlock(&shell->lock_mutex);
    shell_lock_release(shell);
    if (was_lost)
        return error_set(err, KELP_E_PRECONDITION,
                         "the lock had been lost meanwhile: another shell may have changed things");
    if (shell->is_json)
        fprintf(shell->out, "{\"locked\":false}\n");
    return 0;
}

static const struct config_command lock_config = {
    .name = "lock",
    .summary = "take the admin lock; waits for another holder",
    .usage = "",
    .ignores_environment = true,
};
static const struct config_command unlock_config = {
    .name = "unlock",
    .summary = "give the admin lock back",
    .usage = "",
    .ignores_environment = true,
};

const struct shell_command shell_lock = {&lock_config, false, run_lock};
const struct shell_command shell_unlock = {&unlock_config, false, run_unlock};
