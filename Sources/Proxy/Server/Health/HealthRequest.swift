// What a check sends, and what it makes of the answers. Of a server that is a validator two things are asked, on one connection: who
// it verifies the sender to be, which it answers itself (Exchange/ValidatorProbe), and the path of the check, which it passes on to
// its backend. So a check that passes has gone the way of a request, identity included.

import Platform
import Policy
import Wire

/// What a check has shown.
enum HealthOutcome: Equatable {
  case passed
  case failed(String)
  /// The validator has just started, and verifies nothing yet.
  case starting
  /// It says nothing about the server: it could not be made.
  case skipped(String)
}

enum HealthRequest {
  static let probeTarget = ValidatorProbe.prefix + "health"

  /// The client that a signed check speaks for: this process itself, at its end of the connection. A unix socket has no address;
  /// there it is the loopback address with a port that no connection has.
  static func identity(at local: SocketAddress, isSecure: Bool) -> ClientIdentity? {
    guard let connection = try? ConnectionID.random() else { return nil }
    return ClientIdentity(
      address: local.ip?.unmapped ?? IPAddress(v4: 0x7f00_0001), port: local.ip == nil ? 1 : local.port,
      secure: isSecure, via: .socket, connection: connection)
  }

  /// Writes a request into `out`, which is empty; signed where there is somebody to sign as and a signer.
  /// - Returns: false where it cannot be signed now.
  static func write(
    _ target: String, host: String, isLast: Bool, as identity: ClientIdentity?, _ signer: Signer?,
    wallMilliseconds: UInt64, into out: Buffer
  ) -> Bool {
    let method = "GET"
    let pathCount = target.utf8.prefix { $0 != UInt8(ascii: "?") }.count
    let start = "\(method) \(target) HTTP/1.1\r\nHost: "
    let more = "\r\nUser-Agent: countersign-health\r\nAccept: */*\r\n\(isLast ? "Connection: close\r\n" : "")"
    let head = Array((start + host + more).utf8)
    out.append(head.span)
    if let identity, let signer {
      let targetAt = method.utf8.count + 1
      let isSigned = signer.writeFields(
        identity, head: head.span, method: ByteRange(0, method.utf8.count),
        authority: ByteRange(start.utf8.count, host.utf8.count), path: ByteRange(targetAt, pathCount),
        query: ByteRange(targetAt + pathCount, target.utf8.count - pathCount), nowMilliseconds: wallMilliseconds,
        into: out)
      guard isSigned else { return false }
    }
    out.append("\r\n")
    return !out.overflowed
  }

  // MARK: Answers

  /// What the mark in a validator's answer says; nil: its status is to be looked at.
  static func judge(_ mark: ValidatorMark, status: Int) -> HealthOutcome? {
    switch mark {
    case .enforced, .observed: nil
    case .starting: .starting
    case .refused: .failed("the validator refused the signature: \(refusal(status)); its log says which check failed")
    case .none: .failed("status \(status) without a word on whether the signature was verified: no validator is there")
    }
  }

  /// An answer does not name the refusal. Its status tells as much (docs/IDENTITY.md section 6).
  private static func refusal(_ status: Int) -> String {
    switch status {
    case 421: "status 421, it has another audience"
    case 403: "status 403, it does not know the key or the edge, or its clock is another"
    default: "status \(status)"
    }
  }

  /// What the answer to the probe says; nil: that the validator has verified this client.
  static func judgeProbe(_ answer: [UInt8], for identity: ClientIdentity) -> HealthOutcome? {
    let text = String(decoding: answer, as: UTF8.self)
    guard text != ValidatorProbe.line(about: identity) + "\n" else { return nil }
    guard text.hasPrefix("client=") else { return .failed("the answer to the probe is not a validator's") }
    let shown = text.unicodeScalars.prefix { (0x20...0x7e).contains($0.value) }
    return .failed("the validator verified another client: \(String(shown))")
  }
}
