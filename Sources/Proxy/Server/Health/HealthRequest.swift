// What a check sends, and what it makes of the answers. Of a server that is a validator two things are asked, on one connection: who
// it verifies the sender to be, which it answers itself (Exchange/ValidatorProbe), and the path of the check, which it passes on to
// its backend. So a check that passes has gone the way of a request, identity included.

import Platform
import Policy
import Wire

/// What a check has shown.
package enum HealthOutcome: Equatable {
  case passed
  case failed(String)
  /// The validator has just started, and verifies nothing yet.
  case starting
  /// It says nothing about the server: it could not be made.
  case skipped(String)
}

struct HealthRequest {
  /// The head: text, or with HTTP/2 the lines of its fields.
  private(set) var head: [UInt8] = []
  private(set) var body: [UInt8] = []

  /// What a check asks: a validator first who it verifies the sender to be; last, what the configuration says.
  enum Question { case probe, last }

  private static let probeTarget = ValidatorProbe.prefix + "health"

  /// The client that a signed check speaks for: this process itself, at its end of the connection. A unix socket has no address;
  /// there it is the loopback address with a port that no connection has.
  static func identity(at local: SocketAddress, isSecure: Bool) -> ClientIdentity? {
    guard let connection = try? ConnectionID.random() else { return nil }
    return ClientIdentity(
      address: local.ip?.unmapped ?? IPAddress(v4: 0x7f00_0001), port: local.ip == nil ? 1 : local.port,
      secure: isSecure, via: .socket, connection: connection)
  }

  /// More than a head with all that is signed.
  private static let headBytesMax = 16 * 1024

  /// Signed where there is somebody to sign as and a signer. Nil where it cannot be signed now.
  init?(
    _ question: Question, of target: HealthTarget, as identity: ClientIdentity?, _ signer: Signer?,
    wallMilliseconds: UInt64
  ) {
    var method = "GET"
    let host: String
    var path: String
    var more = "Accept: */*\r\n"
    switch target.kind {
    case .tcp: return nil
    case .http(let its, let name, _): (path, host) = (its, name)
    case .grpc(let service, let name):
      (path, host) = (GRPCHealth.path, name)
      if question == .last {
        method = "POST"
        more = "content-type: application/grpc\r\nte: trailers\r\ngrpc-timeout: \(target.timeoutMilliseconds)m\r\n"
        body = GRPCHealth.request(service)
      }
    }
    if question == .probe { path = HealthRequest.probeTarget }
    let out = Buffer(capacity: HealthRequest.headBytesMax)
    func put(_ text: String) -> ByteRange {
      let start = out.count
      out.append(Array(text.utf8).span)
      return ByteRange(start, out.count - start)
    }
    let query = String(path.drop { $0 != "?" })
    path = String(path.prefix { $0 != "?" })
    let methodAt: ByteRange
    let authorityAt: ByteRange
    let pathAt: ByteRange
    let queryAt: ByteRange
    if target.isHTTP2 {
      _ = put(":method: ")
      methodAt = put(method)
      _ = put("\r\n:scheme: \(target.tls == nil ? "http" : "https")\r\n:authority: ")
      authorityAt = put(host)
      _ = put("\r\n:path: ")
      (pathAt, queryAt) = (put(path), put(query))
    } else {
      methodAt = put(method)
      _ = put(" ")
      (pathAt, queryAt) = (put(path), put(query))
      _ = put(" HTTP/1.1\r\nHost: ")
      authorityAt = put(host)
      if question == .last { more += "Connection: close\r\n" }
    }
    _ = put("\r\nUser-Agent: countersign-health\r\n\(more)")
    if let identity, let signer {
      let asked = out.copyBytes()
      guard
        signer.writeFields(
          identity, head: asked.span, method: methodAt, authority: authorityAt, path: pathAt, query: queryAt,
          nowMilliseconds: wallMilliseconds, into: out)
      else { return nil }
    }
    if !target.isHTTP2 { _ = put("\r\n") }
    guard !out.overflowed else { return nil }
    head = out.copyBytes()
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
    return .failed("the validator verified another client: \(text.prefix { $0 != "\n" }.description.printable)")
  }
}
