/* Signals are blocked in all threads and taken one by one by the main thread, or, while a server is
 * stopping, by a thread of its own. */
#include "cli/process.h"

#include "common/check.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static atomic_bool has_failed;

const char *process_default_ip(void)
{
    static char text[INET_ADDRSTRLEN];
    struct ifaddrs *list;
    strcpy(text, "localhost");
    if (getifaddrs(&list) != 0)
        return text;
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
            (i->ifa_flags & IFF_LOOPBACK))
            continue;
        const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)i->ifa_addr;
        inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text));
        break;
    }
    freeifaddrs(list);
    return text;
}

/* Paths of flags live as long as the process; the list keeps leak checkers informed. */
struct kept_path {
    struct kept_path *next;
    char text[];
};
static struct kept_path *kept_paths;

const char *process_expand_path(const char *path)
{
    const char *home = getenv("HOME");
    if (path[0] != '~' || (path[1] != '/' && path[1] != '\0') || !home)
        home = "";
    const char *rest = *home ? path + 1 : path;
    size_t size = strlen(home) + strlen(rest) + 1;
    struct kept_path *kept = must(malloc(sizeof(*kept) + size));
    snprintf(kept->text, size, "%s%s", home, rest);
    kept->next = kept_paths;
    kept_paths = kept;
    return kept->text;
}

static sigset_t our_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

void process_block_signals(void)
{
    sigset_t set = our_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void process_raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

enum process_event process_wait(void)
{
    sigset_t set = our_signals();
    int number;
    CHECK(sigwait(&set, &number) == 0);
    return number == SIGHUP ? PROCESS_RELOAD : PROCESS_STOP;
}

void process_fail(void)
{
    if (!atomic_exchange(&has_failed, true))
        kill(getpid(), SIGTERM);
}

int process_exit_status(void) { return atomic_load(&has_failed) ? 1 : 0; }

struct hurry {
    void (*call)(void *ctx);
    void *ctx;
};

static void *wait_for_second_signal(void *arg)
{
    struct hurry hurry = *(struct hurry *)arg;
    free(arg);
    while (process_wait() != PROCESS_STOP)
        ;
    hurry.call(hurry.ctx);
    while (process_wait() != PROCESS_STOP)
        ;
    _exit(1);
}

void process_hurry_on_signal(void (*hurry)(void *ctx), void *ctx)
{
    struct hurry *arg = must(malloc(sizeof(*arg)));
    *arg = (struct hurry){hurry, ctx};
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_second_signal, arg) != 0)
        free(arg);
    else
        pthread_detach(thread);
}
