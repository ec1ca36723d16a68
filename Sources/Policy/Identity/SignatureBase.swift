// The signature base of RFC 9421 section 2.5, assembled the same way by whoever signs and whoever verifies.
// Invariant: the method, the authority and the target come from a parsed request head, so no byte of theirs is below
// 0x21: no line of the base can be forged by another. Called by Signer and Verifier.

import Platform
import Wire

enum SignatureBase {
  /// Bytes that the base has beside the request's own, with room to spare.
  static let overheadBytesMax = 1024

  /// Appends the lines about the request, up to the value of `client-attest`.
  static func appendRequest(
    _ base: Buffer, head: Span<UInt8>, method: ByteRange, authority: ByteRange, path: ByteRange, query: ByteRange
  ) {
    base.append("\"@method\": ")
    base.append(head.extracting(method.range))
    base.append("\n\"@authority\": ")
    // RFC 9421 section 2.2.3: the authority is in lower case.
    base.append(lowerCase: head.extracting(authority.range))
    base.append("\n\"@path\": ")
    // RFC 9421 section 2.2.6: an empty path is a slash; section 2.2.7: an absent query is a question mark.
    if path.isEmpty { base.append("/") } else { base.append(head.extracting(path.range)) }
    base.append("\n\"@query\": ")
    if query.isEmpty { base.append("?") } else { base.append(head.extracting(query.range)) }
    base.append("\n\"client-attest\": ")
  }
}
