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
  /// Below the path that validators answer.
  static let probeTarget = "/.well-known/countersign-probe/health"

  /// The client that a signed check speaks for: this process itself, at its end of the connection. A unix socket has no address;
  /// there it is the loopback address with a port that no connection has.
  static func identity(at local: SocketAddress, isSecure: Bool) -> ClientIdentity? {
    guard let high = try? SecureRandom.word(), let low = try? SecureRandom.word() else { return nil }
    return ClientIdentity(
      address: local.ip?.unmapped ?? IPAddress(v4: 0x7f00_0001), port: local.ip == nil ? 1 : local.port,
      secure: isSecure, via: .socket, connection: ConnectionID(high: high, low: low))
  }

  /// Appends a request.
  static func write(_ target: String, host: String, isLast: Bool, into out: Buffer) {
    out.append("GET ")
    out.append(text: target)
    out.append(" HTTP/1.1\r\nHost: ")
    out.append(text: host)
    out.append("\r\nUser-Agent: countersign-health\r\nAccept: */*\r\n")
    if isLast { out.append("Connection: close\r\n") }
    out.append("\r\n")
  }

  /// Appends a request that is signed. False, with nothing appended, where it cannot be signed now.
  static func write(
    _ target: String, host: String, isLast: Bool, as identity: ClientIdentity, _ signer: Signer,
    wallMilliseconds: UInt64, into out: Buffer
  ) -> Bool {
    // The parts that are signed, one behind the other.
    let method = Array("GET".utf8)
    let authority = Array(host.utf8)
    let path = Array(target.utf8.prefix { $0 != UInt8(ascii: "?") })
    let query = Array(target.utf8.dropFirst(path.count))
    let parts = method + authority + path + query
    let lines = Buffer(capacity: 4_096)
    let isSigned = signer.writeFields(
      identity, head: parts.span, method: ByteRange(0, method.count),
      authority: ByteRange(method.count, authority.count),
      path: ByteRange(method.count + authority.count, path.count),
      query: ByteRange(method.count + authority.count + path.count, query.count),
      nowMilliseconds: wallMilliseconds, into: lines)
    guard isSigned, !lines.overflowed else { return false }
    write(target, host: host, isLast: isLast, into: out)
    // Before the empty line.
    let head = out.copyBytes().dropLast(2)
    out.removeAll()
    out.append(Array(head).span)
    lines.withReadable { out.append($0) }
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

  /// What a validator says of whom it has verified, for this client.
  static func probeAnswer(for identity: ClientIdentity) -> String {
    "client=\(identity.address) port=\(identity.port) proto=\(identity.secure ? "https" : "http") via=\(identity.via.text)\n"
  }

  /// What the answer to the probe says; nil: that the validator has verified this client.
  static func judgeProbe(_ answer: [UInt8], for identity: ClientIdentity) -> HealthOutcome? {
    let text = String(decoding: answer, as: UTF8.self)
    guard text != probeAnswer(for: identity) else { return nil }
    guard text.hasPrefix("client=") else { return .failed("the answer to the probe is not a validator's") }
    let shown = text.unicodeScalars.prefix { (0x20...0x7e).contains($0.value) }
    return .failed("the validator verified another client: \(String(shown))")
  }
}
