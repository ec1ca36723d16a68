// A route that no request can come to is told of with the line of the one that takes them all; where that is not certain, nothing is.

import Policy
import Testing

@Suite struct RouteCoverTests {
  /// The lines of routes that are never reached, and of those that take their requests.
  private func covered(_ routes: [String]) -> [String] {
    let yaml = """
      listeners: [{ name: web, listen: "127.0.0.1:8080" }]
      upstreams: { app: { servers: ["127.0.0.1:1"] } }
      routes:

      """ + routes.map { "  - { \($0)\($0.isEmpty ? "" : ", ")to: app }\n" }.joined()
    let read = ConfigReader.read(text: yaml, path: "/c.yaml")
    #expect(read.config != nil, "\(read.diagnostics)")
    return read.diagnostics.compactMap { finding in
      guard let text = finding.message.prefixMatch(of: /never reached: the route in line (\d+) takes every (.*)/) else {
        return nil
      }
      return "\(finding.line - 3)<\((Int(text.1) ?? 0) - 3)\(text.2 == "request" ? " all" : "")"
    }
  }

  @Test(arguments: [
    (["", "path: /a"], ["2<1 all"]),
    (["path: /a", "path: /a"], ["2<1"]),
    (["path: '/a\\.b'", "path: '/a\\.b'"], ["2<1"]),
    (["path: '/a(b|c)'", "path: '/a(b|c)'"], ["2<1"]),
    (["host: a, path: /a", "host: a, path: /a"], ["2<1"]),
    (["path: /a", "host: a, path: /a"], ["2<1"]),
    (["host: a", "host: A, path: /x"], ["2<1"]),
    (["host: '.*'", "host: a"], ["2<1"]),
    (["path: '/api/.*'", "path: '/api/v1/.*'"], ["2<1"]),
    (["path: '/api/.*'", "path: /api/x"], ["2<1"]),
    (["path: '/api/.*'", "path: '/api/[0-9]+'"], ["2<1"]),
    (["path: '/api/.*'", "host: a, path: '/api/(a|b)'"], ["2<1"]),
    (["path: '/.*'", "path: /a", "path: '/b/.*'", ""], ["2<1", "3<1"]),
    (["path: '/api/.*', enabled: false", "path: '/api/v1/.*'"], ["2<1"]),
    (["path: /a", "path: '/.*'", "path: /a"], ["3<1"]),
    // What may be reached, or is not known.
    (["path: '/api/v1/.*'", "path: '/api/.*'"], []),
    (["path: '/api/.*'", "path: /api"], []),
    (["path: '/api/.*'", "path: '/api.*'"], []),
    (["path: '/api/.*'", "path: '/ap(i)/.*'"], []),
    (["path: '/api/.+'", "path: '/api/a'"], []),
    (["path: '/api/.*'", "path: '/api/.*|/b'"], []),
    (["host: a, path: '/api/.*'", "path: '/api/v1/.*'"], []),
    (["host: a", "host: b"], []),
    (["host: 'a.*'", "host: ab"], []),
    (["path: '/.*'", ""], []),
    (["path: '(?i)/a'", "path: '/a'"], []),
  ]) func whatIsNeverReachedIsAWarning(_ routes: [String], _ expected: [String]) {
    #expect(covered(routes) == expected)
  }

  @Test func manyRoutesTakeNoLongTime() {
    let routes = (0..<5_000).map { "path: '/\($0)/.*'" } + ["path: /77/x"]
    #expect(covered(routes) == ["5001<78"])
  }
}
