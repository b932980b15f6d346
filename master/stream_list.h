/* The long-lived streams that are open, so that a stop can end them instead of waiting for them.
 * Any thread. */
#pragma once

#include "common/rpc_server.h"

struct stream_list;

struct stream_list *stream_list_create(void);
void stream_list_destroy(struct stream_list *list); /* empty again; NULL is fine */

/* Holds a reference until the removal. False once closed: the caller ends the call. */
bool stream_list_add(struct stream_list *list, struct rpc_call *call);
void stream_list_remove(struct stream_list *list, struct rpc_call *call); /* absent: nothing */
/* Ends all of them, and from now on refuses new ones. */
void stream_list_close(struct stream_list *list, const char *why);
