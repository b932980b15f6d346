/* The handlers behind the route table, by file. Loop threads; whoever waits goes elsewhere. */
#pragma once

#include "common/http_server.h"
#include "master/services.h"

/* http_dir.c */
void master_http_assign(struct http_request *request, struct services *s);
void master_http_lookup(struct http_request *request, struct services *s);
void master_http_redirect(struct http_request *request, struct services *s); /* /{fileId} */
/* http_status.c */
void master_http_dir_status(struct http_request *request, struct services *s);
void master_http_vol_status(struct http_request *request, struct services *s);
/* http_vol.c */
void master_http_grow(struct http_request *request, struct services *s);
void master_http_vacuum(struct http_request *request, struct services *s);
/* http_collection.c */
void master_http_collection_delete(struct http_request *request, struct services *s);
void master_http_collection_info(struct http_request *request, struct services *s);
/* http_submit.c */
void master_http_submit(struct http_request *request, struct services *s);
/* http_cluster.c */
void master_http_healthz(struct http_request *request, struct services *s);
void master_http_cluster_status(struct http_request *request, struct services *s);
void master_http_page(struct http_request *request, struct services *s); /* the web page */
void master_http_metrics(struct http_request *request, struct services *s);
/* http_vacuum.c: /kelp/vacuum/... */
void master_http_vacuum_jobs(struct http_request *request, struct services *s);
void master_http_vacuum_plan(struct http_request *request, struct services *s);
void master_http_vacuum_cancel(struct http_request *request, struct services *s);
void master_http_vacuum_pause(struct http_request *request, struct services *s);
void master_http_vacuum_resume(struct http_request *request, struct services *s);
void master_http_vacuum_start(struct http_request *request, struct services *s);
void master_http_vacuum_enable(struct http_request *request, struct services *s);
void master_http_vacuum_disable(struct http_request *request, struct services *s);
