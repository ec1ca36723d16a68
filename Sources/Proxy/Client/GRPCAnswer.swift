// An answer of our own to a request of gRPC: a response that is its own trailers ("Trailers-Only" in gRPC's protocol over HTTP/2), with
// the status that gRPC's mapping gives for one of HTTP (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
//
// A client gets it with 200, as every response of gRPC. An edge gets it from its validator with the status of HTTP, by which it knows
// a refusal, a validator that starts, and what it may send again; its client gets 200 from it.

import Platform
import Wire

package enum GRPCAnswer {
  private static let type: StaticString = "application/grpc"

  /// `application/grpc`, alone or with a suffix (`+proto`) or parameters.
  static func isType(_ value: Span<UInt8>) -> Bool {
    let count = type.utf8CodeUnitCount
    guard value.count >= count, value.extracting(first: count).equalsIgnoringCase(type) else { return false }
    return value.count == count || value[count] == 0x2b || value[count] == 0x3b || value[count] == 0x20
  }

  /// gRPC's status for one of HTTP.
  package static func status(_ status: Int) -> Int {
    switch status {
    case 400, 431: 13  // INTERNAL
    case 401: 16  // UNAUTHENTICATED
    case 403: 7  // PERMISSION_DENIED
    case 404: 12  // UNIMPLEMENTED
    case 413: 8  // RESOURCE_EXHAUSTED
    case 408, 425, 429, 502, 503, 504: 14  // UNAVAILABLE
    default: 2  // UNKNOWN
    }
  }

  /// Whether a response that ended with its head is such an answer of a validator's.
  static func isOne(_ bytes: Span<UInt8>, _ head: ResponseHead) -> Bool {
    guard head.status >= 400 else { return false }
    for i in 0..<head.fieldCount where bytes.extracting(head.name(i).range).equalsIgnoringCase("grpc-status") {
      return true
    }
    return false
  }

  /// - Parameter isForEdge: who asks is an edge.
  static func write(status: Int, isForEdge: Bool, mark: ValidatorMark, date: Span<UInt8>, into out: Buffer) {
    out.append(":status: ")
    out.append(decimal: UInt64(isForEdge ? status : 200))
    out.append("\r\ncontent-type: application/grpc\r\ndate: ")
    out.append(date)
    out.append("\r\ngrpc-status: ")
    out.append(decimal: UInt64(GRPCAnswer.status(status)))
    // Percent-encoding, which the reasons need only for what they have not: none has a byte outside of space to tilde, or a %.
    out.append("\r\ngrpc-message: ")
    out.append(decimal: UInt64(status))
    out.append(0x20)
    out.append(HeadWriter.reason(status))
    out.append("\r\n")
    out.append(mark.line)
  }
}
