/* A volume and its queue. See the header. */
#include "tests/unit/storage/append_scene.h"

struct disk_os *disk;
struct fault_os *fault;
struct os *os;
struct append_queue *queue;
struct volume *volume;
struct volume_place place;

void create_volume(uint32_t id, struct ttl ttl, struct volume **ret)
{
    struct volume_options options = {.ttl = ttl, .offset_bytes = 5};
    place = (struct volume_place){os, "/d", NULL, "", id};
    assert_int_equal(volume_create(ret, &place, &options, NULL), 0);
}

int append_setup(void **state)
{
    disk_os_create(&disk, 64 << 20);
    fault_os_create(&fault, disk_os_get(disk));
    os = fault_os_get(fault);
    assert_int_equal(os_mkdir(os, "/d", 0755), 0);
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    create_volume(1, (struct ttl){0}, &volume);
    return 0;
}

int append_teardown(void **state)
{
    fault_os_clear(fault);
    volume_close(volume);
    append_queue_destroy(queue);
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    return 0;
}

struct append_request put(uint64_t key, uint32_t cookie, const char *text)
{
    struct needle needle = fixture_needle(key, cookie, text, strlen(text));
    return fixture_put(queue, volume, &needle, false);
}

bool has(uint64_t key, const char *text)
{
    return fixture_has(volume, key, text, strlen(text));
}

struct volume_stat stat_now(void)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    return stat;
}

void reopen(void)
{
    volume_close(volume);
    char *note = NULL;
    assert_int_equal(volume_open(&volume, &place, &note, NULL), 0);
    assert_null(note);
}

void count_delivery(struct append_sink *sink, struct append_request *list)
{
    struct batch_sink *batch = (struct batch_sink *)sink;
    pthread_mutex_lock(&batch->lock);
    for (; list; list = list->next)
        batch->delivered++;
    batch->calls++;
    pthread_cond_signal(&batch->changed);
    pthread_mutex_unlock(&batch->lock);
}

void wait_delivered(struct batch_sink *batch, size_t count)
{
    pthread_mutex_lock(&batch->lock);
    while (batch->delivered < count)
        pthread_cond_wait(&batch->changed, &batch->lock);
    pthread_mutex_unlock(&batch->lock);
}

/* `count` puts of keys first.., in one list; results stay in the array. */
void submit_batch(struct batch_sink *batch, struct append_request *requests, size_t count,
                  uint64_t first, size_t distinct, bool is_durable)
{
    static char data[1024];
    memset(data, 'd', sizeof(data));
    *batch = (struct batch_sink){.sink = {count_delivery}, .lock = PTHREAD_MUTEX_INITIALIZER,
                                 .changed = PTHREAD_COND_INITIALIZER};
    for (size_t i = 0; i < count; i++)
        requests[i] = (struct append_request){
            .next = i + 1 < count ? &requests[i + 1] : NULL,
            .sink = &batch->sink,
            .volume = volume,
            .needle = fixture_needle(first + i % distinct, 1, data, 1 + (i * 37) % sizeof(data)),
            .check_cookie = true,
            .is_durable = is_durable && i == count / 2,
        };
    assert_int_equal(append_queue_submit(queue, requests), 0);
    wait_delivered(batch, count);
}
