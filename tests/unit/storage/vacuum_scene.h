/* What the tests of a vacuum start from: a volume with a bit of everything on a simulated disk whose calls
 * can be made to fail, and moments of it to lose the power at. */
#pragma once

#include "common/check.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_stage.h"
#include "volume/storage/format/volume_files.h"
#include "volume/storage/vacuum_internal.h"
#include "volume/storage/volume_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SCENE_KEYS 40u
#define OK(call) assert_int_equal(call, 0)

/* What was on the disk, and promised, in the middle of something. */
#define SCENE_MOMENTS 8u
struct scene_moment {
    struct disk_os *disk;
    struct stage stage;
};

struct scene {
    struct scene_moment moments[SCENE_MOMENTS];
    unsigned moment_count;
    bool broken; /* something failed where no assertion may leave */
    struct disk_os *disk;
    struct fault_os *fault;
    struct os *os;
    struct stage stage;
};

int scene_setup(void **state);
int scene_teardown(void **state);
void scene_check(struct stage *stage);
void scene_reopen(struct scene *s);
/* Sizes round every alignment, an empty one, overwrites, deletes, one reborn. */
void scene_fill(struct stage *stage);
/* A filled volume 1 in /d; index_dir NULL: there too. */
void scene_begin(struct scene *s, const char *index_dir);
bool scene_exists(struct scene *s, const char *name);
void scene_assert_no_leftovers(struct scene *s);
struct volume_stat scene_stat(struct scene *s);
