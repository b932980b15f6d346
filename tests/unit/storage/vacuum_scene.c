/* A volume on a simulated disk, filled. See the header. */
#include "tests/unit/storage/vacuum_scene.h"

int scene_setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    disk_os_create(&s->disk, 64 << 20);
    fault_os_create(&s->fault, disk_os_get(s->disk));
    s->os = fault_os_get(s->fault);
    assert_int_equal(os_mkdir(s->os, "/d", 0755), 0);
    assert_int_equal(os_mkdir(s->os, "/i", 0755), 0);
    *state = s;
    return 0;
}

int scene_teardown(void **state)
{
    struct scene *s = *state;
    stage_close(&s->stage);
    for (unsigned i = 0; i < s->moment_count; i++)
        disk_os_destroy(s->moments[i].disk);
    fault_os_destroy(s->fault);
    disk_os_destroy(s->disk);
    free(s);
    return 0;
}

void scene_check(struct stage *stage)
{
    if (stage_check(stage) != 0)
        fail_msg("%s", stage->complaint);
}

void scene_reopen(struct scene *s)
{
    stage_close(&s->stage);
    if (stage_open(&s->stage, s->os) != 0)
        fail_msg("%s", s->stage.err.message);
}

/* Sizes round every alignment, an empty one, overwrites, deletes, one reborn. */
void scene_fill(struct stage *stage)
{
    for (uint64_t key = 1; key <= SCENE_KEYS; key++)
        OK(stage_put(stage, key, key == 7 ? 0 : key * key * 3));
    for (uint64_t key = 2; key <= SCENE_KEYS; key += 3)
        OK(stage_delete(stage, key));
    for (uint64_t key = 3; key <= SCENE_KEYS; key += 5)
        OK(stage_put(stage, key, key * 11));
    OK(stage_put(stage, 2, 99));
}

void scene_begin(struct scene *s, const char *index_dir)
{
    OK(stage_create(&s->stage, s->os, "/d", index_dir, 5, ""));
    scene_fill(&s->stage);
}

bool scene_exists(struct scene *s, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/d/%s", name);
    bool is_in_data = volume_file_exists(s->os, path);
    path[1] = 'i';
    return is_in_data || volume_file_exists(s->os, path);
}

void scene_assert_no_leftovers(struct scene *s)
{
    assert_false(scene_exists(s, "1.cpd"));
    assert_false(scene_exists(s, "1.cpx"));
    assert_false(scene_exists(s, "1.cpc"));
}

struct volume_stat scene_stat(struct scene *s)
{
    struct volume_stat st;
    volume_stat(s->stage.volume, &st);
    return st;
}
