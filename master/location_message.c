/* Field by field; the ids of a list are the same uint32_t in both forms. Any thread. */
#include "master/location_message.h"

#include "common/check.h"

#include <string.h>

static char *text_or_empty(char *text) { return text ? text : (char *)protobuf_c_empty_string; }

void location_message_view(const struct location_update *update, MasterPb__VolumeLocation *ret)
{
    master_pb__volume_location__init(ret);
    ret->url = text_or_empty(update->url);
    ret->public_url = text_or_empty(update->public_url);
    ret->data_center = text_or_empty(update->data_center);
    ret->grpc_port = update->grpc_port;
#define LIST(name)                                                                                 \
    ret->name = update->name.ids;                                                                  \
    ret->n_##name = update->name.count;
    LIST(new_vids)
    LIST(deleted_vids)
    LIST(new_ec_vids)
    LIST(deleted_ec_vids)
    LIST(remote_vids)
    LIST(read_only_vids)
    LIST(read_only_can_delete_vids)
#undef LIST
}

static uint32_t *copy_ids(const struct id_list *list)
{
    if (list->count == 0)
        return NULL;
    uint32_t *ids = must(malloc(list->count * sizeof(*ids)));
    memcpy(ids, list->ids, list->count * sizeof(*ids));
    return ids;
}

void location_message_copy(struct location_message *ret, const struct location_update *update)
{
    MasterPb__VolumeLocation *location = &ret->location;
    location_message_view(update, location);
    location->url = must(strdup(location->url));
    location->public_url = must(strdup(location->public_url));
    location->data_center = must(strdup(location->data_center));
    location->new_vids = copy_ids(&update->new_vids);
    location->deleted_vids = copy_ids(&update->deleted_vids);
    location->new_ec_vids = copy_ids(&update->new_ec_vids);
    location->deleted_ec_vids = copy_ids(&update->deleted_ec_vids);
    location->remote_vids = copy_ids(&update->remote_vids);
    location->read_only_vids = copy_ids(&update->read_only_vids);
    location->read_only_can_delete_vids = copy_ids(&update->read_only_can_delete_vids);
}

void location_message_fini(struct location_message *message)
{
    MasterPb__VolumeLocation *location = &message->location;
    free(location->url);
    free(location->public_url);
    free(location->data_center);
    free(location->new_vids);
    free(location->deleted_vids);
    free(location->new_ec_vids);
    free(location->deleted_ec_vids);
    free(location->remote_vids);
    free(location->read_only_vids);
    free(location->read_only_can_delete_vids);
}
