/* What the server commands share: a few flags, the address of this host, and running until a signal
 * says stop. */
#pragma once

#include "common/config.h"
#include "common/error.h"

/* The peer's flags of every server for looking into it, without effect here. */
#define PROCESS_IGNORED_ROWS                                                                       \
    {"debug", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},                                            \
    {"debug.port", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},                                        \
    {"cpuprofile", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},                                        \
    {"memprofile", CONFIG_IGNORED_VALUE, NULL, NULL, NULL}

/* The first IPv4 address of an interface that is up and not loopback, else "localhost". Static
 * memory. */
const char *process_default_ip(void);

/* "" or "~..." -> a path; the result lives as long as the process. */
const char *process_expand_path(const char *path);

/* Before any thread is started: the signals below then wait for process_wait. */
void process_block_signals(void);

/* A connection is a descriptor, and the limit that a shell hands down is meant for tools: takes
 * all that is allowed. */
void process_raise_limits(void);

enum process_event { PROCESS_STOP, PROCESS_RELOAD };
/* Waits for SIGTERM or SIGINT (stop), SIGHUP (reload), or process_fail. */
enum process_event process_wait(void);
/* Any thread: ends process_wait with PROCESS_STOP; the exit status will be 1. */
void process_fail(void);
int process_exit_status(void);
/* From now on the first SIGTERM or SIGINT calls `hurry` (once), the second ends the process. */
void process_hurry_on_signal(void (*hurry)(void *ctx), void *ctx);
