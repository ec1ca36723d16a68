// What an edge signs: the fields of each request, and the header that a bound connection begins with.

import Platform
import Policy
import Wire

enum SignSteps {
  static var all: [Step] {
    [
      fields("HMAC", .hmac), fields("Ed25519", .ed25519),
      Step("sign: PROXY v2 header of a bound connection, HMAC") {
        let signer = try Samples.signer(Samples.keys(.hmac))
        return Operation { _ in proxyHeader(signer) != nil }
      },
    ]
  }

  private static func fields(_ name: String, _ algorithm: KeyAlgorithm) -> Step {
    Step("sign: the fields of a request, \(name)") {
      let signer = try Samples.signer(Samples.keys(algorithm))
      let bytes = Samples.browser
      let head = try Samples.parsed(bytes)
      let (client, now) = (Samples.client, Samples.nowMilliseconds)
      let out = Buffer(capacity: 4_096)
      return Operation { _ in
        out.removeAll()
        return signer.writeFields(
          client, head: bytes.span, method: head.methodRange, authority: head.authority, path: head.path,
          query: head.query, nowMilliseconds: now, into: out)
      }
    }
  }

  /// With the names that a TLS connection has.
  static func proxyHeader(_ signer: Signer) -> ProxyHeaderDraft? {
    signer.makeProxyHeader(
      Samples.client, destination: Samples.local, destinationPort: 443, alpn: "http/1.1".utf8.span,
      authority: "printers.example.com".utf8.span, tlsVersion: "TLSv1.3".utf8.span,
      tlsCipher: "TLS_AES_128_GCM_SHA256".utf8.span, nowMilliseconds: Samples.nowMilliseconds)
  }
}
