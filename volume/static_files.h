/* Files that are part of the program: /favicon.ico and what is under /seaweedfsstatic/. Any
 * method reads them. Of the peer's files only the pictures are here, and they are our own: its
 * page's libraries serve nobody else. Source: spec/volume-http.md 16.4. Loop thread. */
#pragma once

#include "common/http_server.h"

/* For paths of theirs, and for "/seaweedfsstatic", which is sent on to the folder. */
void static_files_serve(struct http_request *request);
