/* What the tests of the append queue start from: an empty volume on a simulated disk whose calls can be made
 * to fail. */
#pragma once

#include "common/check.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_internal.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern struct disk_os *disk;
extern struct fault_os *fault;
extern struct os *os;
extern struct append_queue *queue;
extern struct volume *volume;
extern struct volume_place place;

/* Volume 1 in /d. */
int append_setup(void **state);
int append_teardown(void **state);
void create_volume(uint32_t id, struct ttl ttl, struct volume **ret);
void reopen(void);
struct append_request put(uint64_t key, uint32_t cookie, const char *text);
bool has(uint64_t key, const char *text);
struct volume_stat stat_now(void);

struct batch_sink {
    struct append_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t delivered, calls;
};

void count_delivery(struct append_sink *sink, struct append_request *list);
void wait_delivered(struct batch_sink *batch, size_t count);
/* `count` puts of keys first.., in one list; results stay in the array. */
void submit_batch(struct batch_sink *batch, struct append_request *requests, size_t count,
                  uint64_t first, size_t distinct, bool is_durable);
