// Finding a route: by the trees over what patterns begin with, and by regular expressions where those do not decide; and
// what the worst pattern and the worst path can cost.

import Platform
import Policy
import Wire

enum RouteSteps {
  static var all: [Step] {
    [
      Step("route: 1, for everything") {
        try matching([(nil, nil)], path: "/service-0000/state", finds: .route(0))
      },
      Step("route: 1000, the first for everything") {
        let rest = (0..<999).map { (host: String?.none, path: String?.some("/service-\($0)/.*")) }
        return try matching([(nil, nil)] + rest, path: "/service-0998/state", finds: .route(0))
      },
      numbered(10), numbered(1_000),
      Step("route: 1000, none of them") {
        let routes = (0..<1_000).map { (host: String?.none, path: String?.some("/service-\($0)/.*")) }
        return try matching(routes, path: "/services", finds: .none)
      },
      // All routes begin with the same sixteen bytes and more.
      Step("route: 1000, alike in their first 16 bytes, the last") {
        let routes = (0..<1_000).map { (host: String?.none, path: String?.some("/api/v1/printers/\($0)/.*")) }
        return try matching(routes, path: "/api/v1/printers/999/state", finds: .route(999))
      },
      Step("route: 1000 hosts, alike at their end, the last") {
        let routes = (0..<1_000).map { (host: String?.some(#"p\#($0)\.example\.com"#), path: String?.none) }
        return try matching(routes, host: "p999.example.com", path: "/state", finds: .route(999))
      },
      // Every host has the same paths: neither the host nor the path alone says which.
      Step("route: 1000, of 100 hosts and 10 paths, the last") {
        let routes = (0..<1_000).map { number in
          (
            host: String?.some(#"printers-\#(number / 10)\.example\.com"#),
            path: String?.some("/api/v1/\(number % 10)/.*")
          )
        }
        return try matching(routes, host: "printers-99.example.com", path: "/api/v1/9/state", finds: .route(999))
      },
      // What is behind the literal is asked of the engine, for one of the thousand.
      Step("route: 1000, patterns behind their literals, the last") {
        let routes = (0..<1_000).map {
          (host: String?.none, path: String?.some("/api/v1/printers/\($0)/(state|jobs/[0-9]+)"))
        }
        return try matching(routes, path: "/api/v1/printers/999/jobs/17", finds: .route(999))
      },
      Step("route: by patterns for host and path") {
        try matching(
          [(#"(www|printers)\.example\.com"#, "/api/v[0-9]+/printers(/.*)?")], path: "/api/v1/printers/ada-3",
          finds: .route(0))
      },
      // A group that goes round fifteen thousand times, each harmless.
      Step("route: (?:/[a-z0-9-]+)* on 30000 B") {
        try matching([(nil, "(?:/[a-z0-9-]+)*")], path: String(repeating: "/a", count: 15_000), finds: .route(0))
      },
      // What no limit on steps alone bounds: a step that reads all that is left.
      hostile("(a|aa)*(a|aa)*[0-9]", pathBytes: 40),
      hostile("[a-f]*[a-g]*[a-h]*[0-9]", pathBytes: 2_000),
      hostile("[a-f]*[a-g]*[a-h]*[0-9]", pathBytes: 30_000),
      hostile(#"(.+)\1[0-9]"#, pathBytes: 2_000),
      hostile(#"(.+)\1[0-9]"#, pathBytes: 30_000),
      hostile("(?:a(?=a*+))*+[0-9]", pathBytes: 30_000),
      hostile("(?:/|a(?=.*+))*+[0-9]", pathBytes: 30_000),
      hostile("(?:/|a(?=.*+))*[0-9]", pathBytes: 30_000),
      hostile("(?:a(?!.*x))*[0-9]", pathBytes: 30_000),
      hostile("(?:a|.*x)*[0-9]", pathBytes: 30_000),
      hostile("(?:a*?x|a)*[0-9]", pathBytes: 30_000),
      hostile("(?:a{9000}b|a{9000}c|a{9000}d|a)*+[0-9]", pathBytes: 30_000),
      hostile(doubling, pathBytes: 40),
    ]
  }

  /// As in the bench's row `routes`.
  private static func numbered(_ count: Int) -> Step {
    Step("route: \(count), the last") {
      let name = { (number: Int) in "/service-" + String("\(10_000 + number)".dropFirst()) }
      let routes = (0..<count).map { (host: String?.none, path: String?.some(name($0) + "/.*")) }
      return try matching(routes, path: name(count - 1) + "/state", finds: .route(count - 1))
    }
  }

  /// Groups of which each calls the one before it twice.
  private static let doubling =
    "(?(DEFINE)(?<g0>(?=a))" + (1...20).map { "(?<g\($0)>(?&g\($0 - 1))(?&g\($0 - 1)))" }.joined() + ")(?&g20)x"

  /// Never matches, and takes too many steps to say so.
  private static func hostile(_ pattern: String, pathBytes: Int) -> Step {
    Step("route: gives up, /\(pattern.prefix(40)) on \(pathBytes) B") {
      try matching(
        [(nil, "/" + pattern)], path: "/" + String(repeating: "a", count: pathBytes - 1), finds: .undecided)
    }
  }

  private static func matching(
    _ routes: [(host: String?, path: String?)], host: String = "printers.example.com", path: String,
    finds found: RouteTable.Found
  ) throws -> Operation {
    let table = try RouteTable(
      routes.map { pattern in
        var match = Config.RouteMatch()
        match.host = pattern.host.map { .pattern($0) }
        match.path = pattern.path.map { .pattern($0) }
        return Config.Route(match: match, to: "app")
      }, listeners: [], pathBytesMax: 8_192)
    let bytes = Samples.head(["GET \(path) HTTP/1.1", "Host: \(host)"])
    let head = try Samples.parsed(bytes)
    let facts = RouteFacts(listener: 0, client: nil, isSecure: false)
    return Operation { _ in table.find(bytes.span, head, facts) == found }
  }
}
