/* What uploads leave on a disk whatever the flags say: room for tombstones, and for one vacuum of
 * the smallest volume that is worth one. So a disk that was filled by uploads can still be cleaned,
 * and each vacuum pays for the next.
 *
 * Volumes far smaller than the largest do not count: what their vacuum gives back would not pay for
 * another. Of a small disk with few large volumes at most a quarter is kept, or half of it could
 * never be used; there a vacuum may have to wait until more was deleted. What running vacuums hold
 * counts as free: it comes back. */
#include "volume/store_internal.h"

#include "common/check.h"

#define TOMBSTONE_BYTES (1u << 20)
#define WORTH_PART      16u /* of the largest volume's bytes */
#define FLOOR_PART      4u  /* of the disk, at most */

struct floor {
    uint64_t largest, smallest_needs;
};

struct floors {
    struct floor *disks; /* by id */
    bool is_second_walk;
};

static int add_volume(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct floors *floors = ctx;
    struct floor *floor = &floors->disks[disk_location_id(location)];
    struct volume_stat stat;
    volume_stat(volume, &stat);
    if (stat.read_only & (VOLUME_RO_TIERED | VOLUME_RO_CORRUPT | VOLUME_RO_FILE_MODE))
        return 0; /* cannot be vacuumed */
    uint64_t needs = volume_vacuum_needs(&stat);
    if (!floors->is_second_walk)
        floor->largest = stat.dat_bytes > floor->largest ? stat.dat_bytes : floor->largest;
    else if (stat.file_count > 0 && stat.dat_bytes >= floor->largest / WORTH_PART &&
             (floor->smallest_needs == 0 || needs < floor->smallest_needs))
        floor->smallest_needs = needs;
    return 0;
}

void store_set_floors(struct store *store)
{
    struct floors floors = {.disks = must(calloc(store->disk_count, sizeof(*floors.disks)))};
    store_for_each(store, add_volume, &floors);
    floors.is_second_walk = true;
    store_for_each(store, add_volume, &floors);
    for (size_t i = 0; i < store->disk_count; i++) {
        struct disk_location *location = store->disks[i].location;
        struct disk_space space;
        disk_location_space(location, &space);
        uint64_t floor = TOMBSTONE_BYTES + floors.disks[i].smallest_needs;
        if (floor > space.total_bytes / FLOOR_PART)
            floor = space.total_bytes / FLOOR_PART;
        disk_location_set_floor(location, floor, vacuum_budget_held(store->disks[i].budget));
    }
    free(floors.disks);
}
