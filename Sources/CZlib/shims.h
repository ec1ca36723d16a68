// zlib's inflate, for rotated logs.
#pragma once
#include <zlib.h>

/// `inflateInit2` is a macro. 31: the largest window, and a gzip header.
static inline int cs_inflate_init(z_stream *stream) { return inflateInit2(stream, 31); }
