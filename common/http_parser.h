/* Bytes to requests: llhttp in strict mode, plus the checks that it leaves out. Loop thread only.
 * Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

enum http_parser_event {
    HTTP_PARSER_MORE,    /* all bytes are used up */
    HTTP_PARSER_HEAD,    /* the header of connection->exchange is complete; the body follows */
    HTTP_PARSER_MESSAGE, /* the body is complete too */
    HTTP_PARSER_ERROR,   /* connection->fail_status and fail_text say what to answer */
};

void http_parser_start(struct http_connection *connection);
/* Feeds bytes of the state HEAD, BODY or DISCARD and stops at the first event; returns how many
 * were used. In HEAD an exchange must be there; in DISCARD body bytes are dropped. */
size_t http_parser_execute(struct http_connection *connection, const char *data, size_t size,
                           enum http_parser_event *ret);
/* After HTTP_PARSER_HEAD: fills the public part of the request. 0, or -1 with fail_status and
 * fail_text set (*detail may then hold the text's storage: an error object of the caller). */
int http_parser_finish_head(struct http_connection *connection, struct error *detail);
