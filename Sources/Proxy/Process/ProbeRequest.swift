// A GET of the process's own, for the self-test: parsed as a client's request is, and written for an upstream by what writes those.
// Confined to one thread.

import Platform
import Policy
import Wire

struct ProbeRequest {
  private let text: [UInt8]
  private let head: RequestHead

  /// - Parameters:
  ///   - claims: what a client says of itself, as field lines with their ends. None of it may go on.
  ///   - names: what the names of fields are, with those that the configuration adds.
  /// - Returns: nil where no request can have that host or that path.
  init?(
    host: [UInt8], path: [UInt8], claims: String = "", names: FieldNames = .request, method: String = "GET"
  ) {
    text = Array("\(method) ".utf8) + path + Array(" HTTP/1.1\r\nHost: ".utf8) + host + Array("\r\n\(claims)\r\n".utf8)
    head = RequestHead(fieldsMax: 32, names: names)
    guard case .complete(text.count) = head.parse(text.span, limits: HeadLimits(headBytes: text.count, fields: 32)),
      head.path.count == path.count
    else { return nil }
  }

  /// The route that it takes.
  func route(_ table: RouteTable, _ facts: RouteFacts) -> RouteTable.Found { table.find(text.span, head, facts) }

  var host: [UInt8] { head.authority.range.map { text[$0] } }

  /// What is changed about it on its way.
  struct Changes {
    var path: PathChange?
    var fields: HeadEdit?
    var rewritesHost = false
  }

  /// In place of a server's name.
  private static let server = Array("server.invalid".utf8)

  /// The head as an upstream gets it, for HTTP/2 the lines of its fields; nil where it cannot be changed as the route says, or signed.
  func written(
    _ identity: ClientIdentity, as kind: Config.UpstreamIdentity, fields: Config.PlainFields, signer: Signer?,
    _ changes: Changes, wallMilliseconds: UInt64, protocol spoken: Config.ServerProtocol = .http1,
    isSecure: Bool = false
  ) -> [UInt8]? {
    let added = changes.fields?.lines.bytesMax(hostBytes: Int(head.authority.count)) ?? 0
    let line = Buffer(capacity: 2 * text.count + Worker.headGrowthBytes)
    let out = Buffer(capacity: 3 * text.count + added + 2 * Worker.headGrowthBytes)
    let (target, refusal) = RequestTarget.write(
      text.span, head, changes.path, host: changes.rewritesHost ? ProbeRequest.server.span : nil, into: line)
    guard refusal == nil else { return nil }
    var values = FieldValues()
    values.client = identity.address
    values.isSecure = identity.secure
    values.requestID = .made(identity.connection, 1)
    let isSigned = line.withReadable { line in
      switch spoken {
      case .http1:
        HeadWriter.writeRequest(
          text.span, head: head, line: line, target, framing: head.framing, webSocket: false, expectsContinue: false,
          edit: changes.fields, values, into: out)
      case .http2:
        HeadWriter.writeStreamRequest(
          text.span, head: head, line: line, target, framing: head.framing, isSecure: isSecure, expectsContinue: false,
          edit: changes.fields, values, into: out)
      }
      return Attempt.writeIdentity(
        identity, as: kind, fields: fields, signer: signer, host: host.span, line: line, target,
        wallMilliseconds: wallMilliseconds, into: out)
    }
    guard isSigned else { return nil }
    if spoken == .http1 { out.append("\r\n") }
    return out.overflowed ? nil : out.copyBytes()
  }
}

extension Signer {
  /// The PROXY header for a connection of a probe's or a check's client, of whose own connection nothing is known.
  /// - Parameter destination: where that client is connected to, if it is known.
  func makeProxyHeader(
    _ identity: ClientIdentity, destination: SocketAddress? = nil, nowMilliseconds: UInt64
  ) -> ProxyHeaderDraft? {
    let none: [UInt8] = []
    return makeProxyHeader(
      identity, destination: destination?.ip ?? .unspecified(identity.address.family),
      destinationPort: destination?.port ?? 0, alpn: none.span, authority: none.span, tlsVersion: none.span,
      tlsCipher: none.span, nowMilliseconds: nowMilliseconds)
  }
}

extension ClientIdentity {
  /// A client that a probe is signed for.
  init(probe address: IPAddress, connection: ConnectionID = ConnectionID(high: 1, low: 1)) {
    self.init(address: address, port: 40_000, secure: true, via: .socket, connection: connection)
  }
}
