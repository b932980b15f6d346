/* MD5, for Content-MD5, on OpenSSL. Any thread. */
#pragma once

#include "common/bytes.h"

#define MD5_SIZE 16
#define MD5_BASE64_SIZE 25 /* with the terminator */

void md5_digest(struct slice data, unsigned char digest[MD5_SIZE]);
void md5_base64(struct slice data, char text[MD5_BASE64_SIZE]);
