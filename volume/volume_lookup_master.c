/* The source of locations that asks the current master, LookupVolume over gRPC. Asking runs on a
 * loop thread, answers come on a thread of the rpc client; nothing here waits. */
#include "volume/volume_lookup.h"

#include "common/address.h"
#include "common/check.h"
#include "common/rpc_client.h"
#include "proto/master.pb-c.h"

#include <inttypes.h>
#include <string.h>

#define LOOKUP_PATH "/master_pb.Seaweed/LookupVolume"

struct volume_lookup_master {
    struct volume_lookup_master_config config;
};

int volume_lookup_master_create(struct volume_lookup_master **ret,
                                const struct volume_lookup_master_config *config, struct error *err)
{
    struct volume_lookup_master *master = calloc(1, sizeof(*master));
    if (!master)
        return error_set(err, KELP_E_NO_MEMORY, "volume lookup: out of memory");
    master->config = *config;
    if (master->config.timeout_ms == 0)
        master->config.timeout_ms = 5000;
    *ret = master;
    return 0;
}

void volume_lookup_master_destroy(struct volume_lookup_master *master) { free(master); }

static struct volume_locations *
read_locations(const MasterPb__LookupVolumeResponse__VolumeIdLocation *answer)
{
    struct volume_locations *locations = volume_locations_create(answer->n_locations);
    for (size_t i = 0; i < answer->n_locations; i++) {
        const MasterPb__Location *from = answer->locations[i];
        locations->items[i].url = must(strdup(from->url));
        locations->items[i].public_url = must(strdup(from->public_url));
        locations->items[i].is_read_only = from->read_only;
    }
    return locations;
}

static void on_response(void *ctx, const ProtobufCMessage *message, enum rpc_status status,
                        const struct error *err)
{
    struct volume_lookup_question *question = ctx;
    if (!message) {
        volume_lookup_answer(question, NULL, err);
        return;
    }
    const MasterPb__LookupVolumeResponse *response =
        (const MasterPb__LookupVolumeResponse *)message;
    /* An unknown volume comes as a text in the answer, which is an answer: it is nowhere. */
    struct volume_locations *locations =
        response->n_volume_id_locations > 0 && !response->volume_id_locations[0]->error[0]
            ? read_locations(response->volume_id_locations[0])
            : volume_locations_create(0);
    volume_lookup_answer(question, locations, NULL);
}

static void ask_master(void *ctx, uint32_t volume_id, struct volume_lookup_question *question)
{
    struct volume_lookup_master *master = ctx;
    char address[ADDRESS_TEXT_SIZE];
    if (!master->config.master(master->config.ctx, address, sizeof(address))) {
        struct error err;
        error_set(&err, KELP_E_UNAVAILABLE, "no master is known yet");
        volume_lookup_answer(question, NULL, &err);
        return;
    }
    char id_text[16];
    snprintf(id_text, sizeof(id_text), "%" PRIu32, volume_id);
    char *ids[] = {id_text};
    MasterPb__LookupVolumeRequest request = MASTER_PB__LOOKUP_VOLUME_REQUEST__INIT;
    request.n_volume_or_file_ids = 1;
    request.volume_or_file_ids = ids;
    rpc_client_send(master->config.client, address, LOOKUP_PATH, &request.base,
                    &master_pb__lookup_volume_response__descriptor, master->config.timeout_ms,
                    on_response, question);
}

struct volume_lookup_source volume_lookup_master_source(struct volume_lookup_master *master)
{
    return (struct volume_lookup_source){.ask = ask_master, .ctx = master};
}
