/* Source: spec/master-http.md 2.1, 2.3. */
#include "master/http_option.h"

#include "master/http_reply.h"

int master_http_read_option(struct http_request *request, const struct services *s,
                            struct volume_option *option, struct error *err)
{
    *option = (struct volume_option){
        .collection = master_http_text(request, "collection"),
        .disk_type = master_http_text(request, "disk"),
        .data_center = master_http_text(request, "dataCenter"),
        .rack = master_http_text(request, "rack"),
        .data_node = master_http_text(request, "dataNode"),
        .preallocate_bytes = services_preallocate_bytes(s),
    };
    int code = services_parse_option(s, master_http_param(request, "replication"),
                                     master_http_param(request, "ttl"), option, err);
    struct slice text = master_http_param(request, "memoryMapMaxSizeMb");
    uint64_t megabytes = 0;
    if (!code && text.len > 0)
        code = master_http_parse_uint(text, "ParseUint", UINT32_MAX, &megabytes, err);
    option->memory_map_max_size_mb = (uint32_t)megabytes;
    text = master_http_param(request, "preallocate");
    if (!code && text.len > 0) {
        code = master_http_parse_int(text, "ParseInt", INT64_MIN, INT64_MAX,
                                     &option->preallocate_bytes, err);
        if (code) {
            struct error reason = *err;
            error_set(err, code, "Failed to parse int64 preallocate = %.*s: %s",
                      (int)(text.len < 100 ? text.len : 100), text.ptr, reason.message);
        }
    }
    return code;
}
