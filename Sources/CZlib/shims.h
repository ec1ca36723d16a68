// zlib's inflate, for rotated logs, and its deflate, for responses.
#pragma once
#include <zlib.h>

/// `inflateInit2` is a macro. 31: the largest window, and a gzip header.
static inline int cs_inflate_init(z_stream *stream) { return inflateInit2(stream, 31); }

/// `deflateInit2` is a macro. A gzip header without name and time, the default strategy.
static inline int cs_deflate_init(z_stream *stream, int level, int windowBits, int memoryLevel) {
  return deflateInit2(stream, level, Z_DEFLATED, windowBits + 16, memoryLevel, Z_DEFAULT_STRATEGY);
}
