/* The vacuum runner and its tasks in the hands of a test: volume servers that answer when it says
 * so, a clock that it moves, a disk in memory. */
#pragma once

#include "master/vacuum_runner.h"
#include "tests/fixtures/disk_os.h"

#define SECOND    INT64_C(1000000000)
#define CALLS_MAX 64

struct vacuum_fixture {
    struct disk_os *disk;
    struct master_state *state;
    struct master_metrics *metrics;
    struct client_registry_ops client_ops;
    struct client_registry *clients;
    struct cluster *cluster;
    struct vacuum_ops ops;
    struct vacuum_runner *runner;
    struct vacuum_call *calls[CALLS_MAX]; /* unanswered, in the order in which they were made */
    size_t call_count;
    unsigned cancels;
    struct data_node *nodes[4];
    unsigned done;
    struct vacuum_summary summary;
};

/* The runner of the fixture is made by the test. */
int set_up(void **state);
int tear_down(void **state);
void make_runner(struct vacuum_fixture *f, struct vacuum_runner_config config);

/* Server `index` reports volumes first..last, each of 1 MB with that much garbage. */
void add_server(struct vacuum_fixture *f, size_t index, uint32_t first, uint32_t last,
                uint32_t placement, uint64_t garbage);
void request(struct vacuum_fixture *f, uint32_t volume_id, double threshold);
/* A runner, volume 1 in so many copies (on ports 8000, 8001, ...), and a request with threshold
 * 0.3. */
struct vacuum_fixture *start_vacuum(void **state, size_t copies);

/* Takes the oldest unanswered call, which must be of this kind, to this port, about this volume. */
struct vacuum_call *take(struct vacuum_fixture *f, enum vacuum_call_kind kind, unsigned port,
                         uint32_t volume_id);
void answer(struct vacuum_call *call, struct vacuum_reply reply);
void answer_check(struct vacuum_fixture *f, unsigned port, uint32_t volume_id, double ratio);
void answer_ok(struct vacuum_fixture *f, enum vacuum_call_kind kind, unsigned port,
               uint32_t volume_id);

/* Whether the one layout has its one volume open for writes. */
bool is_writable(struct vacuum_fixture *f);
