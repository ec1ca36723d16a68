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
    (["path_regex: '/a\\.b'", "path_regex: '/a\\.b'"], ["2<1"]),
    (["path_regex: '/a(b|c)'", "path_regex: '/a(b|c)'"], ["2<1"]),
    (["host: a, path: /a", "host: a, path: /a"], ["2<1"]),
    (["path: /a", "host: a, path: /a"], ["2<1"]),
    (["host: a", "host: A, path: /x"], ["2<1"]),
    (["host_regex: '.*'", "host: a"], ["2<1"]),
    (["path_regex: '/api/.*'", "path_regex: '/api/v1/.*'"], ["2<1"]),
    (["path_regex: '/api/.*'", "path: /api/x"], ["2<1"]),
    (["path_regex: '/api/.*'", "path_regex: '/api/[0-9]+'"], ["2<1"]),
    (["path_regex: '/api/.*'", "host: a, path_regex: '/api/(a|b)'"], ["2<1"]),
    (["path_regex: '/.*'", "path: /a", "path_regex: '/b/.*'", ""], ["2<1", "3<1"]),
    (["path_regex: '/api/.*', enabled: false", "path_regex: '/api/v1/.*'"], ["2<1"]),
    (["path: /a", "path_regex: '/.*'", "path: /a"], ["3<1"]),
    (["path_prefix: /api/", "path_prefix: /api/v1"], ["2<1"]),
    (["path_prefix: /api", "path: /api", "path_prefix: /api/", "path: /api/x"], ["2<1", "3<1", "4<1"]),
    (["path_prefix: /api", "path_regex: '/api/[0-9]+'"], ["2<1"]),
    (["path_prefix: /", "path_regex: '/.*'", "host: a, path: /a"], ["2<1", "3<1"]),
    (["host: '*.b.example'", "host: a.b.example", "host: '*.c.b.example'", "host: b.example"], ["2<1", "3<1"]),
    (["method: GET", "path: /a, method: GET"], ["2<1"]),
    (["path: /a", "path: /a, method: GET", "path: /a, client: [192.0.2.1]"], ["2<1", "3<1"]),
    (["", "path_prefix: /a, normalize: true"], ["2<1 all"]),
    (["path_prefix: /a, normalize: true", "path: /a/b, normalize: true"], ["2<1"]),
    // What may be reached, or is not known.
    (["method: GET", "path: /a, method: POST"], []),
    (["path: /a, method: GET", "path: /a"], []),
    (["path_prefix: /api/", "path: /api"], []),
    (["path_prefix: /api", "path: /apis", "path_regex: '/api.*'"], []),
    (["path_prefix: /a", "path_prefix: /a/b, normalize: true"], []),
    (["path_prefix: /a, normalize: true", "path_prefix: /a/b"], []),
    (["path_regex: '/api/v1/.*'", "path_regex: '/api/.*'"], []),
    (["path_regex: '/api/.*'", "path: /api"], []),
    (["path_regex: '/api/.*'", "path_regex: '/api.*'"], []),
    (["path_regex: '/api/.*'", "path_regex: '/ap(i)/.*'"], []),
    (["path_regex: '/api/.+'", "path_regex: '/api/a'"], []),
    (["path_regex: '/api/.*'", "path_regex: '/api/.*|/b'"], []),
    (["host: a, path_regex: '/api/.*'", "path_regex: '/api/v1/.*'"], []),
    (["host: a", "host: b"], []),
    (["host_regex: 'a.*'", "host: ab"], []),
    (["path_regex: '/.*'", ""], []),
    (["path_regex: '(?i)/a'", "path_regex: '/a'"], []),
  ]) func whatIsNeverReachedIsAWarning(_ routes: [String], _ expected: [String]) {
    #expect(covered(routes) == expected)
  }

  @Test func manyRoutesTakeNoLongTime() {
    let routes = (0..<5_000).map { "path_regex: '/\($0)/.*'" } + ["path: /77/x"]
    #expect(covered(routes) == ["5001<78"])
  }
}
