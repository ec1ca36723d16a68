// gRPC's health service (grpc.health.v1.Health, https://github.com/grpc/grpc/blob/master/doc/health-checking.md): its two messages, which
// have one field each, by hand, and what an answer means. Bytes to meaning, without I/O.

import Wire

/// A call's status, from its trailers or from a head that is its own trailers.
package struct GRPCStatus: Equatable {
  package let code: Int
  /// As it came: percent-encoded.
  package let message: String

  private static let messageBytesMax = 80

  /// - Parameter lines: fields, `name: value`, each with its line end; others than the status do not matter. Nil without one.
  package init?(_ lines: Span<UInt8>) {
    var code: Int?
    var message = ""
    for line in GRPCStatus.text(lines).split(separator: "\r\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2 else { continue }
      let value = parts[1].drop { $0 == " " }
      switch parts[0].lowercased() {
      case "grpc-status":
        // Twice is none.
        guard code == nil, value.utf8.count <= 3, let number = Int(value), number >= 0 else { return nil }
        code = number
      case "grpc-message": message = String(value.prefix(GRPCStatus.messageBytesMax))
      default: break
      }
    }
    guard let code else { return nil }
    (self.code, self.message) = (code, message)
  }

  package init(code: Int, message: String) { (self.code, self.message) = (code, message) }

  private static func text(_ bytes: Span<UInt8>) -> String {
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count)
    for i in 0..<bytes.count { text.append(bytes[i] < 0x80 ? bytes[i] : 0x3f) }
    return String(decoding: text, as: UTF8.self)
  }

  private static let names = [
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
  ]

  /// `NOT_FOUND (unknown service)`.
  var text: String {
    let name = code < GRPCStatus.names.count ? GRPCStatus.names[code] : "\(code)"
    let shown = message.unicodeScalars.filter { (0x20...0x7e).contains($0.value) }
    return shown.isEmpty ? name : "\(name) (\(String(String.UnicodeScalarView(shown))))"
  }
}

package enum GRPCHealth {
  static let path = "/grpc.health.v1.Health/Check"

  /// What is in front of a message: whether it is compressed, and its length.
  private static let prefixBytes = 5

  /// A HealthCheckRequest, `string service = 1`, with its prefix.
  package static func request(_ service: String) -> [UInt8] {
    var message: [UInt8] = []
    if !service.isEmpty {
      message.append(0x0a)
      append(varint: service.utf8.count, to: &message)
      message += Array(service.utf8)
    }
    let count = UInt32(message.count)
    return [0, UInt8(count >> 24), UInt8(count >> 16 & 0xff), UInt8(count >> 8 & 0xff), UInt8(count & 0xff)] + message
  }

  private static func append(varint value: Int, to bytes: inout [UInt8]) {
    var rest = value
    while rest > 0x7f {
      bytes.append(UInt8(rest & 0x7f) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  /// What an answer of status 200 means: its body, and its status.
  package static func judge(_ body: [UInt8], _ status: GRPCStatus?) -> HealthOutcome {
    guard let status else { return .failed("status 200 without grpc-status: no server of gRPC is there") }
    guard status.code == 0 else { return .failed("grpc-status \(status.text)") }
    guard let serving = serving(body) else { return .failed("the answer is no HealthCheckResponse") }
    switch serving {
    case 0: return .failed("the service is UNKNOWN")
    case 1: return .passed
    case 2: return .failed("the service is NOT_SERVING")
    case 3: return .failed("the service is SERVICE_UNKNOWN")
    default: return .failed("the service has the status \(serving)")
    }
  }

  /// The status in a HealthCheckResponse, `ServingStatus status = 1`; 0 where it has none. Nil if it is no such message.
  package static func serving(_ body: [UInt8]) -> UInt64? {
    guard body.count >= prefixBytes, body[0] == 0 else { return nil }
    let count = body[1..<prefixBytes].reduce(0) { $0 << 8 | Int($1) }
    guard body.count - prefixBytes == count else { return nil }
    var rest = body[prefixBytes...]
    var status: UInt64 = 0
    while !rest.isEmpty {
      guard let tag = varint(&rest), tag >> 3 > 0 else { return nil }
      // Other fields may come with time; one that comes again counts as it came last.
      switch tag & 7 {
      case 0:
        guard let value = varint(&rest) else { return nil }
        if tag >> 3 == 1 { status = value }
      case 1: guard skip(8, &rest) else { return nil }
      case 2: guard let count = varint(&rest), skip(count, &rest) else { return nil }
      case 5: guard skip(4, &rest) else { return nil }
      default: return nil
      }
    }
    return status
  }

  /// At most ten bytes, of which the last has one bit.
  private static func varint(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 64, by: 7) {
      guard let byte = bytes.popFirst(), shift < 63 || byte <= 1 else { return nil }
      value |= UInt64(byte & 0x7f) << UInt64(shift)
      if byte < 0x80 { return value }
    }
    return nil
  }

  private static func skip(_ count: UInt64, _ bytes: inout ArraySlice<UInt8>) -> Bool {
    guard count <= UInt64(bytes.count) else { return false }
    bytes.removeFirst(Int(count))
    return true
  }
}
