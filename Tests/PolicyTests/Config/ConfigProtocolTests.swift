// `protocols` of a listener, `protocol` of an upstream, and `limits.streams`.

import Policy
import Testing

@Suite struct ConfigProtocolTests {
  private static func document(_ listener: String, upstream: String = "", limits: String = "{}") -> String {
    """
    listeners:
      - { name: web, listen: "127.0.0.1:8443", \(listener) }
    routes: [{ to: app }]
    upstreams: { app: { servers: ["127.0.0.1:3000"]\(upstream) } }
    limits: \(limits)
    """
  }

  private static let tls = "tls: [{ certificate: a.pem, key: a.key }]"

  private func read(_ text: String) -> (config: Config?, findings: [String]) {
    let reading = ConfigReader.read(text: text, path: "/etc/edge.yaml")
    return (reading.config, reading.diagnostics.map { $0.text(file: "edge.yaml") })
  }

  @Test(arguments: [
    (tls, [Config.ApplicationProtocol.http2, .http1]), ("trust: []", [.http1]),
    ("\(tls), protocols: [http/1.1]", [.http1]), ("\(tls), protocols: [http/1.1, h2]", [.http1, .http2]),
    ("protocols: [h2c]", [.h2c]), ("protocols: [h2c, http/1.1]", [.h2c, .http1]),
  ])
  func theProtocolsAreTheStatedOnesOrTheUsual(_ listener: String, _ protocols: [Config.ApplicationProtocol]) throws {
    let (config, findings) = read(Self.document(listener))
    #expect(findings.filter { $0.contains("error") || $0.contains("protocol") } == [])
    #expect(try #require(config).listeners[0].protocols == protocols)
  }

  @Test func whoStatesTheDefaultSaysNothingElse() throws {
    let stated = try #require(read(Self.document("\(Self.tls), protocols: [h2, http/1.1]")).config)
    let silent = try #require(read(Self.document(Self.tls)).config)
    #expect(stated.withoutPlaces == silent.withoutPlaces)
  }

  @Test(arguments: [
    ("protocols: [h2]", "2:56: `h2` is HTTP/2 with TLS; without `tls` it is `h2c`"),
    ("protocols: []", "2:55: expected at least one protocol in `listeners[0].protocols`"),
    ("protocols: [h2c, h2c]", "2:61: the protocol `h2c` is given twice"),
  ])
  func aWrongProtocolIsNamed(_ listener: String, _ finding: String) {
    #expect(
      read(Self.document(listener)).findings.contains { $0.contains(finding) },
      "\(read(Self.document(listener)).findings)")
  }

  @Test func httpTwoWithoutTLSIsAnotherWordThanWithIt() {
    let findings = read(Self.document("\(Self.tls), protocols: [h2c]")).findings
    #expect(findings.contains { $0.contains("`h2c` is HTTP/2 without TLS; with `tls` it is `h2`") }, "\(findings)")
    let unknown = read(Self.document("protocols: [http2]")).findings
    #expect(unknown.contains { $0.contains("`h2`") }, "\(unknown)")
  }

  @Test func anUpstreamSpeaksHTTPOneUnlessItSaysOtherwise() throws {
    #expect(try #require(read(Self.document("trust: []")).config).upstreams[0].serverProtocol == .http1)
    let config = try #require(read(Self.document("trust: []", upstream: ", protocol: http2")).config)
    #expect(config.upstreams[0].serverProtocol == .http2)
    #expect(!read(Self.document("trust: []", upstream: ", protocol: h2")).findings.isEmpty)
  }

  @Test(arguments: [("{}", 100), ("{ streams: 1 }", 1), ("{ streams: 10000 }", 10_000)])
  func streamsHaveALimit(_ limits: String, _ streams: Int) throws {
    #expect(try #require(read(Self.document("trust: []", limits: limits)).config).limits.streams == streams)
  }
}
