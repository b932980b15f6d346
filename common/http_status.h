/* Reason phrases of HTTP status codes. Pure; any thread. */
#pragma once

/* "Not Found"; "Status" for a code that has no name. */
const char *http_status_text(int status);
