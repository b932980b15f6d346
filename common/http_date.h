/* Dates in HTTP headers: "Mon, 02 Jan 2006 15:04:05 GMT". Pure; any thread. */
#pragma once

#include "common/bytes.h"

#define HTTP_DATE_SIZE 30 /* with the terminator */

/* Years 0 to 9999. */
void http_date_format(int64_t unix_seconds, char text[HTTP_DATE_SIZE]);
/* Exactly that format and nothing else; the name of the weekday is not compared with the date. */
bool http_date_parse(struct slice text, int64_t *ret_unix_seconds);
