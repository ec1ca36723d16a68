// libcrypt's password hashes, for htpasswd files.
#pragma once
#include <crypt.h>

/// What `crypt_rn` works in; Swift does not import a structure with an array this large.
static inline int cs_crypt_bytes(void) { return (int)sizeof(struct crypt_data); }
