// A request as an edge would sign it, every part open to change before it is signed or after: what a thief of the
// wire, of a key or of a format could put together.

import Foundation

/// The derived keys of one audience, as a validator holds them, and the sender lane that signs with them.
final class Forger: @unchecked Sendable {
  let httpKey: [UInt8]
  let proxyKey: [UInt8]
  let kid: String
  let epoch: [UInt8]
  private let sequence = Guarded<UInt64>(0)

  init(httpKey: [UInt8], proxyKey: [UInt8]) {
    (self.httpKey, self.proxyKey, kid) = (httpKey, proxyKey, Keys.kid)
    epoch = Forger.freshEpoch()
  }

  /// From the set that was exported for the validator.
  init(validatorKeys path: String, kid: String = Keys.kid) throws {
    self.kid = kid
    struct Set: Decodable {
      struct Key: Decodable { var k: String, cs_purpose: String }
      var keys: [Key]
    }
    let set = try JSONDecoder().decode(Set.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    func key(_ purpose: String) throws -> [UInt8] {
      guard let text = set.keys.first(where: { $0.cs_purpose == purpose })?.k, let bytes = Self.base64url(text) else {
        throw Trouble("\(path) has no key for \(purpose)")
      }
      return bytes
    }
    httpKey = try key("http")
    proxyKey = try key("pp2")
    epoch = Forger.freshEpoch()
  }

  /// The start in milliseconds as 48 bits, then 16 random ones.
  static func freshEpoch(at milliseconds: UInt64 = Forger.milliseconds) -> [UInt8] {
    bigEndian(milliseconds << 16 | UInt64.random(in: 0..<65536))
  }

  static var milliseconds: UInt64 { UInt64(Date().timeIntervalSince1970 * 1000) }

  func nextSequence() -> UInt64 {
    sequence.with {
      $0 += 1
      return $0
    }
  }

  static func base64url(_ text: String) -> [UInt8]? {
    let padded = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    return Data(base64Encoded: padded + String(repeating: "=", count: (4 - padded.count % 4) % 4)).map { Array($0) }
  }
}

extension [UInt8] {
  var base64: String { Data(self).base64EncodedString() }
  var base64url: String {
    base64.replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
      .replacingOccurrences(of: "=", with: "")
  }
}

struct SignedRequest {
  // What the edge knows of the client.
  var address = Peer.client()
  var port = 51324
  var proto = "https"
  var via = "socket"
  var edge = "edge-a"
  var audience = Keys.audience
  var cid: [UInt8] = (0..<16).map { _ in .random(in: 0...255) }
  var certificate: [UInt8]?

  // The request that it speaks for.
  var method = "GET"
  var target: String
  var host = Site.host
  /// Fields after the three.
  var fields: [String] = []
  var body = ""

  // The signature.
  var components = #"("@method" "@authority" "@path" "@query" "client-attest")"#
  var created: Int
  var expires: Int
  var epoch: [UInt8]
  var sequence: UInt64
  var kid = Keys.kid
  var tag: String? = "countersign"
  var key: [UInt8]

  /// In place of what the parts above would give.
  var attestOverride: String?
  var parametersOverride: String?
  var signatureOverride: String?

  init(_ target: String, by forger: Forger) {
    self.target = target
    epoch = forger.epoch
    sequence = forger.nextSequence()
    kid = forger.kid
    key = forger.httpKey
    created = Int(Date().timeIntervalSince1970)
    expires = created + 30
  }

  var attest: String {
    if let attestOverride { return attestOverride }
    let last = certificate.map { ", cert=:\($0.base64):" } ?? ""
    return
      "ip=\"\(address)\", port=\(port), proto=\"\(proto)\", via=\"\(via)\", edge=\"\(edge)\", "
      + "aud=\"\(audience)\", cid=:\(cid.base64):\(last)"
  }

  var parameters: String {
    if let parametersOverride { return parametersOverride }
    let nonce = "\(epoch.base64url).\(sequence)"
    let end = tag.map { ";tag=\"\($0)\"" } ?? ""
    return "\(components);created=\(created);expires=\(expires);nonce=\"\(nonce)\";keyid=\"\(kid)\"\(end)"
  }

  /// RFC 9421's signature base for what the request now is.
  var base: String {
    let question = target.firstIndex(of: "?")
    let path = question.map { target[..<$0] } ?? target[...]
    let query = question.map { target[$0...] } ?? "?"
    return """
      "@method": \(method)
      "@authority": \(host.lowercased())
      "@path": \(path)
      "@query": \(query)
      "client-attest": \(attest)
      "@signature-params": \(parameters)
      """
  }

  var signature: String { signatureOverride ?? "cs=:\(Digest.hmac(key, Array(base.utf8)).base64):" }

  /// The three lines, signed for what the request now is.
  var identityFields: [String] {
    ["client-attest: \(attest)", "signature-input: cs=\(parameters)", "signature: \(signature)"]
  }

  /// The request as bytes for the wire.
  var text: String { text(with: identityFields) }

  /// The request with these lines where the identity stands.
  func text(with identity: [String]) -> String {
    let length = body.isEmpty ? [] : ["Content-Length: \(body.utf8.count)"]
    let lines = ["\(method) \(target) HTTP/1.1", "Host: \(host)"] + identity + fields + length
    return lines.map { $0 + "\r\n" }.joined() + "\r\n" + body
  }
}
