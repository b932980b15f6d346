/* From flags to the volumes of a folder. */
#include "cli/offline_flags.h"

struct offline_flags offline_flags;

int offline_flags_check(struct error *err)
{
    if (offline_flags.volume_id > UINT32_MAX)
        return error_set(err, KELP_E_INVALID, "-volumeId %lld is no volume",
                         (long long)offline_flags.volume_id);
    return 0;
}

/* Without -collection, `any_collection` makes it those of all instead of those of none. */
static struct offline_selection selection(bool any_collection)
{
    return (struct offline_selection){
        .index_directory = offline_flags.index_directory,
        .collection = offline_flags.collection,
        .any_collection = any_collection && !*offline_flags.collection,
        .volume_id = offline_flags.volume_id,
    };
}

int offline_flags_find_one(struct offline_list *list, struct error *err)
{
    const struct offline_selection wanted = selection(false);
    if (offline_flags.volume_id <= 0)
        return error_set(err, KELP_E_INVALID,
                         "-volumeId is needed: the number in the name of the .dat");
    int code = offline_flags_check(err);
    return code != 0 ? code : offline_list_one(list, offline_flags.directory, &wanted, err);
}

int offline_flags_add(struct offline_list *list, const char *path, struct error *err)
{
    const struct offline_selection wanted = selection(true);
    return offline_list_add(list, path, &wanted, err);
}
