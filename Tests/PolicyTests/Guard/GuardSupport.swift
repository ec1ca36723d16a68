// Two configurations and what is said of them: one as it stands here, and one with an edit.

import Foundation
import Platform
import Policy
import Testing

enum Guarded {
  /// With something of everything that counts; its lines are those that the tests expect.
  static let base = """
    identity:
      edge: edge-a
      keys: k.jwks.json
      sign_with: k1
      audience: v-1
      edges: [edge-b]
      clock_skew: 2s
      infrastructure: [172.16.0.0/12]
      claims: [X-Acme]
    listeners:
      - name: public
        listen: "127.0.0.1:8443"
        tls: [{ certificate: a.pem, key: a.key }]
        tls_minimum: 1.3
        client_certificates: { ca: clients.pem, require: true }
        trust:
          - { from: [10.0.0.0/24], evidence: proxy-protocol }
          - { from: [10.0.1.0/24], evidence: forwarded, hops: [192.0.2.0/24] }
          - { from: [10.0.2.0/24], evidence: proxy-protocol, then: forwarded, hops: [198.51.100.0/24] }
          - { from: [10.0.3.0/24], evidence: attested, proxy_protocol: required }
          - { from: [10.0.4.0/24], evidence: refuse }
          - { from: any, evidence: socket }
    routes:
      - { path: /a, to: signed }
      - { to: signed }
    upstreams:
      signed: { identity: attest, audience: app-1, proxy_protocol: v2, servers: ["127.0.0.1:1"] }
      secure: { identity: attest, audience: app-1, servers: ["127.0.0.1:1"], tls: { ca: up.pem, name: up.test } }
      plain: { identity: plain, servers: ["127.0.0.1:2"] }
    admin: { listen: "127.0.0.1:9901" }

    """

  struct NotAConfiguration: Error { let why: String }

  static func boundary(
    _ yaml: String, keys: KeySet? = nil, path: String = "/etc/countersign/edge.yaml"
  ) throws -> TrustBoundary {
    let read = ConfigReader.read(text: yaml, path: path)
    guard let config = read.config else {
      throw NotAConfiguration(why: read.diagnostics.map { $0.text(file: "") }.joined(separator: "\n"))
    }
    return try TrustBoundary(config, keys: keys)
  }

  static func changes(_ old: String, _ new: String) throws -> [TrustChange] {
    TrustDiff.compare(old: try boundary(old), new: try boundary(new))
  }

  /// As `weakens header-renamed 18>18`: what, and the lines in both files.
  static func brief(_ changes: [TrustChange]) -> [String] {
    changes.map { "\($0.effect.text) \($0.kind.rawValue) \($0.old.place.line)>\($0.new.place.line)" }
  }

  /// `text` with the one place where `from` stands written as `to`.
  static func edit(
    _ text: String, _ from: String, _ to: String, sourceLocation: SourceLocation = #_sourceLocation
  ) -> String {
    #expect(text.components(separatedBy: from).count == 2, "\(from) is not there once", sourceLocation: sourceLocation)
    return text.replacing(from, with: to)
  }
}
