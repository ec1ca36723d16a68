// libnghttp2: frames, header compression, streams and flow control of HTTP/2 (RFC 9113, RFC 7541).
#pragma once
#include <nghttp2/nghttp2.h>

/// What kind of frame it is, where it belongs, and how long it is. `nghttp2_frame` is a union.
static inline const nghttp2_frame_hd *cs_frame_hd(const nghttp2_frame *frame) { return &frame->hd; }

/// Of a HEADERS frame: NGHTTP2_HCAT_…
static inline int cs_headers_category(const nghttp2_frame *frame) { return (int)frame->headers.cat; }

/// Of a GOAWAY frame.
static inline int32_t cs_goaway_last_stream(const nghttp2_frame *frame) { return frame->goaway.last_stream_id; }
