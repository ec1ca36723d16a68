// A head's text, one `name: value` line after the other, as the list of fields that libnghttp2 takes. Each worker has one.
// Invariant: the entries below `count` point into the bytes of the span that `withFields` was given, and only while it runs.

import CNGHTTP2
import Glibc
import Wire

@safe package final class HTTP2Lines {
  // SAFETY: room for `fieldsMax` entries, allocated in init and freed in deinit; read only below the count that was filled.
  private let entries: UnsafeMutablePointer<nghttp2_nv>
  private let fieldsMax: Int
  /// The list of the last head is more than any peer takes: `listBytesMax`, `fieldBytesMax`, or what that peer has said.
  package var isTooLarge: Bool { wasTooLarge }
  private var wasTooLarge = false

  /// What a header block can have in nine frames of the usual size, whatever it is compressed to: libnghttp2 ends a connection on which
  /// one comes in more.
  package static let listBytesMax = 128 * 1024
  /// What each field counts besides its bytes (RFC 9113 section 6.5.2).
  package static let fieldOverhead = 32
  /// libnghttp2 ends a connection on which a longer name or value comes, and with it the requests of others.
  package static let fieldBytesMax = 64 * 1024

  /// - Parameter fieldsMax: how many fields a head may have, pseudo-fields included.
  package init(fieldsMax: Int) {
    self.fieldsMax = fieldsMax
    // SAFETY: as at `entries`.
    unsafe entries = .allocate(capacity: fieldsMax)
  }

  // SAFETY: nobody has a reference to self any more.
  deinit { unsafe entries.deallocate() }

  /// Calls `body` with the fields of `lines`, whose names libnghttp2 writes in lower case. Nil, without calling it, if there are
  /// too many of them, a line is none, or they are too large for the peer, which takes
  /// `peerMax` bytes as RFC 9113 section 6.5.2 counts them: names, values, and 32 for each field.
  func withFields<R>(
    _ lines: Span<UInt8>, peerMax: Int = HTTP2Lines.listBytesMax, _ body: (UnsafeMutablePointer<nghttp2_nv>, Int) -> R
  ) -> R? {
    wasTooLarge = false
    return unsafe lines.withUnsafeBufferPointer { bytes in
      var count = 0
      var total = 0
      var longest = 0
      var at = 0
      let end = bytes.count
      while at < end {
        // A pseudo-field's name begins with a colon (RFC 9113 section 8.3).
        let colon = unsafe HTTP2Lines.find(0x3a, in: bytes, from: at + 1)
        var begin = colon + 1
        while begin < end, unsafe bytes[begin] == 0x20 || bytes[begin] == 0x09 { begin += 1 }
        let lineEnd = unsafe HTTP2Lines.find(0x0d, in: bytes, from: begin)
        guard lineEnd + 1 < end, count < fieldsMax else { return nil }
        var valueEnd = lineEnd
        while valueEnd > begin, unsafe bytes[valueEnd - 1] == 0x20 || bytes[valueEnd - 1] == 0x09 { valueEnd -= 1 }
        // SAFETY: at < colon < begin <= valueEnd < end, so both ranges lie in the span's bytes; libnghttp2 copies them and changes
        // its copy only. count is below fieldsMax.
        let base = unsafe UnsafeMutablePointer(mutating: bytes.baseAddress!)
        let isPerRequest = unsafe HTTP2Lines.isPerRequest(bytes, at, colon)
        unsafe entries[count] = nghttp2_nv(
          name: base + at, value: base + begin, namelen: colon - at, valuelen: valueEnd - begin,
          flags: UInt8(isPerRequest ? NGHTTP2_NV_FLAG_NO_INDEX.rawValue : NGHTTP2_NV_FLAG_NONE.rawValue))
        count += 1
        total += colon - at + valueEnd - begin + HTTP2Lines.fieldOverhead
        longest = max(longest, colon - at, valueEnd - begin)
        at = lineEnd + 2
      }
      guard total <= min(peerMax, HTTP2Lines.listBytesMax), longest <= HTTP2Lines.fieldBytesMax else {
        wasTooLarge = true
        return nil
      }
      return unsafe body(entries, count)
    }
  }

  /// Where that byte stands first from `start` on; their end where it does not.
  // SAFETY: the bytes that are looked at lie between `start` and the end.
  @inline(__always) private static func find(_ byte: Int32, in bytes: UnsafeBufferPointer<UInt8>, from start: Int)
    -> Int
  {
    guard start < bytes.count, let base = bytes.baseAddress,
      let found = unsafe memchr(base + start, byte, bytes.count - start)
    else { return bytes.count }
    return unsafe UnsafeRawPointer(found) - UnsafeRawPointer(base)
  }

  /// `Signature`, `Signature-Input` and `Client-Attest` are other ones for each request: in the compressor's table they would only
  /// push out what requests share.
  // SAFETY: the indices lie within the bytes.
  private static func isPerRequest(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int) -> Bool {
    switch end - start {
    case 9, 15:
      return unsafe bytes[start] | 0x20 == 0x73 && bytes[start + 1] | 0x20 == 0x69 && bytes[start + 2] | 0x20 == 0x67
    case 13: return unsafe bytes[start] | 0x20 == 0x63 && bytes[start + 6] == 0x2d && bytes[start + 7] | 0x20 == 0x61
    default: return false
    }
  }
}
