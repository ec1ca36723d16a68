// Finding a route: by an index over first bytes, and by regular expressions for those that are left; and what the worst
// pattern and the worst path can cost.

import Platform
import Policy
import Wire

enum RouteSteps {
  static var all: [Step] {
    [
      Step("route: 1, for everything") {
        try matching([(nil, nil)], path: "/service-0000/state", finds: .route(0))
      },
      numbered(10), numbered(1_000),
      // The index knows sixteen bytes. Where all routes begin with the same sixteen, every pattern is asked.
      Step("route: 1000, alike in their first 16 bytes, the last") {
        let routes = (0..<1_000).map { (host: String?.none, path: String?.some("/api/v1/printers/\($0)/.*")) }
        return try matching(routes, path: "/api/v1/printers/999/state", finds: .route(999))
      },
      Step("route: by patterns for host and path") {
        try matching(
          [(#"(www|printers)\.example\.com"#, "/api/v[0-9]+/printers(/.*)?")], path: "/api/v1/printers/ada-3",
          finds: .route(0))
      },
      // The limit is one on steps of backtracking. How long a step takes is the pattern's affair: a reference back
      // compares as many bytes as it stands for.
      hostile("(a|aa)*(a|aa)*[0-9]", pathBytes: 40),
      hostile("[a-f]*[a-g]*[a-h]*[0-9]", pathBytes: 30_000),
      hostile(#"(.+)\1[0-9]"#, pathBytes: 30_000),
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

  /// Never matches, and takes too many steps to say so.
  private static func hostile(_ pattern: String, pathBytes: Int) -> Step {
    Step("route: gives up, /\(pattern) on \(pathBytes) B") {
      try matching(
        [(nil, "/" + pattern)], path: "/" + String(repeating: "a", count: pathBytes - 1), finds: .undecided)
    }
  }

  private static func matching(
    _ routes: [(host: String?, path: String?)], path: String, finds found: Router.Found
  ) throws -> Operation {
    let router = try Router(routes)
    let bytes = Samples.head(["GET \(path) HTTP/1.1", "Host: printers.example.com"])
    let head = try Samples.parsed(bytes)
    return Operation { _ in router.route(bytes.span, head) == found }
  }
}

/// The loop of `Plan.route` over the same index and the same patterns. A plan is its worker's own, and takes a loaded
/// configuration to make; what is left out is only to look for a port in the authority.
private struct Router {
  enum Found: Equatable {
    case route(Int)
    case none
    case undecided
  }

  private let index: RouteIndex
  private let routes: ContiguousArray<(host: Pattern?, path: Pattern?)>

  init(_ routes: [(host: String?, path: String?)]) throws {
    index = RouteIndex(routes)
    self.routes = try ContiguousArray(
      routes.map { route in
        (
          host: try route.host.map { try Pattern($0, ignoresCase: true) },
          path: try route.path.map { try Pattern($0, ignoresCase: false) }
        )
      })
  }

  func route(_ bytes: Span<UInt8>, _ head: RequestHead) -> Found {
    let host = bytes.extracting(head.authority.range)
    let path = bytes.extracting(head.path.range)
    let (hostStart, pathStart) = (LeadingBytes(host, ignoresCase: true), LeadingBytes(path, ignoresCase: false))
    var from = 0
    while let i = index.next(from: from, host: hostStart, path: pathStart) {
      from = i + 1
      if let pattern = routes[i].host {
        let outcome = pattern.match(host)
        if outcome == .undecided { return .undecided }
        if outcome == .noMatch { continue }
      }
      if let pattern = routes[i].path {
        let outcome = pattern.match(path)
        if outcome == .undecided { return .undecided }
        if outcome == .noMatch { continue }
      }
      return .route(i)
    }
    return .none
  }
}
