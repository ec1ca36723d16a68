// What a route asks of a request beyond that it matches: where its client is, how many requests it has had, who it says it is.
// Made with the plan; a route that asks nothing has none, so that a request there pays one look.
//
//   RouteGate: closed? address? ─► rate ─► size of the body ─► password ─► sent on
//
// The rate comes before the password, so that guessing is limited by it too.

import Platform
import Policy
import Wire

final class RouteDemands {
  let access: AccessList?
  let rate: RouteRate?
  let login: RouteLogin?

  /// Nil where the route asks nothing.
  init?(_ route: Config.Route, users: [String: UserFile]) {
    access = AccessList(route.access)
    rate = route.limits.rate.map { RouteRate($0, of: route) }
    login = route.access.basic.map { basic in
      guard let file = users[basic.htpasswd] else { preconditionFailure("a file of the snapshot was not read") }
      return RouteLogin(basic, file)
    }
    guard access != nil || rate != nil || login != nil else { return nil }
  }

  /// Whether the client's address may take the route.
  @inline(__always) func admits(_ identity: ClientIdentity?) -> Bool { access?.allows(identity?.address) ?? true }

  /// Counts the request, and looks at its password. Nil where it may go on.
  func step(_ x: Exchange, _ worker: Worker) -> Step? {
    if let rate, !rate.allows(x, worker) { return .refuse(.rateLimited) }
    if Begin.isBodyTooLarge(x, worker) { return .refuse(.bodyTooLarge) }
    return login?.step(x, worker)
  }
}

/// Times and sizes that a route has of its own; nil: those of the configuration in use.
struct RouteTimes {
  var idleMilliseconds: Int?
  var connectMilliseconds: Int?
  var responseMilliseconds: Int?
  var tunnelMilliseconds: Int?
  var bodyBytes: Int?

  init() {}

  init(_ limits: Config.RouteLimits) {
    idleMilliseconds = limits.idleMilliseconds
    connectMilliseconds = limits.upstreamConnectMilliseconds
    responseMilliseconds = limits.upstreamResponseMilliseconds
    tunnelMilliseconds = limits.tunnelMilliseconds
    bodyBytes = limits.bodyBytes
  }

  func idleMilliseconds(_ worker: Worker) -> Int {
    idleMilliseconds ?? worker.plan.config.timeouts.idleMilliseconds
  }
  func connectMilliseconds(_ worker: Worker) -> Int {
    connectMilliseconds ?? worker.plan.config.timeouts.upstreamConnectMilliseconds
  }
  func responseMilliseconds(_ worker: Worker) -> Int {
    responseMilliseconds ?? worker.plan.config.timeouts.upstreamResponseMilliseconds
  }
  func tunnelMilliseconds(_ worker: Worker) -> Int {
    tunnelMilliseconds ?? worker.plan.config.timeouts.tunnelMilliseconds
  }
  /// 0: no limit.
  func bodyBytesMax(_ worker: Worker) -> UInt64 { UInt64(bodyBytes ?? worker.plan.config.limits.bodyBytes) }
}
