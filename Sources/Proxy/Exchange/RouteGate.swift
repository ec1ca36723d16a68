// Whether a request may take the route that it matches: a route can be closed, by an operator or in the configuration, and one that
// needs to tell clients apart is closed while that cannot be done; and a route may be for some addresses only.

import Platform
import Policy
import Wire

enum RouteGate {
  /// What a closed route tells clients to wait where nobody knows how long it stays closed.
  private static let usualRetrySeconds = 60
  private static let mostRetrySeconds: UInt64 = 3_600

  /// The route that a request takes, or why it takes none.
  enum Chosen {
    case route(RoutePlan)
    case refused(Refusal)
  }

  /// Finds the route of a request whose client is settled, and asks whether it may take it.
  static func choose(_ x: Exchange, _ worker: Worker) -> Chosen {
    switch worker.plan.route(of: x) {
    case .undecided: return .refused(.routeUndecided)
    case .none: return .refused(.routeNone)
    case .route(let route):
      x.route = route
      if let refusal = refusal(x, route, worker) { return .refused(refusal) }
      return .route(route)
    case .ambiguous(let sent, let normal): return chooseStricter(x, sent, normal, worker)
    case .unclear:
      x.detail = .text("servers differ in what `..` takes away in such a path")
      return .refused(.pathAmbiguous)
    }
  }

  /// Of a path that leads to two routes by the way it is read: what either route refuses is refused. Then what is answered here is
  /// stricter than what reaches an upstream, what asks for something is stricter than what does not, and the route that stands first
  /// is stricter than the other.
  private static func chooseStricter(
    _ x: Exchange, _ sent: RoutePlan?, _ normal: RoutePlan?, _ worker: Worker
  ) -> Chosen {
    guard worker.plan.config.pathMismatch == .stricter else {
      x.route = sent ?? normal
      let names = "\(text(sent)) as it was sent, \(text(normal)) as others read it"
      x.detail = .named("the path takes ", Array(names.utf8), "")
      return .refused(.pathAmbiguous)
    }
    guard let sent, let normal else { return .refused(.routeNone) }
    x.route = sent
    if let refusal = refusal(x, sent, worker) { return .refused(refusal) }
    x.route = normal
    if let refusal = refusal(x, normal, worker) { return .refused(refusal) }
    let route = isStricter(sent, than: normal) ? sent : normal
    let other = route === sent ? normal : sent
    // What both ask of a client cannot be asked by one.
    if route.answer == nil, other.demands != nil { return .refused(.pathAmbiguous) }
    x.route = route
    x.otherRoute = other
    return .route(route)
  }

  private static func isStricter(_ route: RoutePlan, than other: RoutePlan) -> Bool {
    if (route.answer != nil) != (other.answer != nil) { return route.answer != nil }
    if (route.demands != nil) != (other.demands != nil) { return route.demands != nil }
    return route.index < other.index
  }

  private static func text(_ route: RoutePlan?) -> String {
    route.map { "the route \(String(decoding: $0.nameBytes, as: UTF8.self))" } ?? "no route"
  }

  /// Of a request that has waited for its connection: false where it is to be asked anew (`Exchange.tryAgain`).
  static func maySend(_ x: Exchange, _ worker: Worker) -> Bool {
    !worker.waitsForLine() && refusal(x, worker) == nil
  }

  /// Why a request that has waited may not go on.
  static func refusal(_ x: Exchange, _ worker: Worker) -> Refusal? {
    if let route = x.route, let refusal = refusal(x, route, worker) { return refusal }
    guard let other = x.otherRoute else { return nil }
    return refusal(x, other, worker)
  }

  /// By what holds now, also of a request that has waited for something: in a long turn there may be more to take.
  static func refusal(_ x: Exchange, _ route: RoutePlan, _ worker: Worker) -> Refusal? {
    if worker.takenCount != worker.shared.toldCount { readClosures(worker) }
    guard route.isEnabled else {
      x.retryAfterSeconds = usualRetrySeconds
      x.detail = .text("the configuration says `enabled: false`")
      return .routeClosed
    }
    if let end = closureEnd(route.number, worker) {
      let left = end == .max ? UInt64(usualRetrySeconds) : (end - worker.nowMilliseconds + 999) / 1_000
      x.retryAfterSeconds = Int(min(left, mostRetrySeconds))
      if let closure = worker.shared.routes.closure(number: route.number) {
        x.detail = .named("", closure.whyBytes, "")
      }
      return .routeClosed
    }
    if let demands = route.demands, !demands.admits(x.identity) {
      x.detail = .text("the client's address may not take this route")
      return .accessDenied
    }
    if let rules = worker.successorRules, let refusal = refusal(x, route, by: rules) { return refusal }
    guard route.needsDistinctClients, let why = whyIndistinct(x) else { return nil }
    x.retryAfterSeconds = usualRetrySeconds
    x.detail = why
    return .clientsIndistinct
  }

  /// What the process says that serves instead of this one.
  private static func refusal(_ x: Exchange, _ route: RoutePlan, by rules: SuccessorRules) -> Refusal? {
    switch rules[route.number] {
    case .closed:
      x.retryAfterSeconds = usualRetrySeconds
      x.detail = .text("closed, gone, or not known to be open in the process that serves now")
      return .routeClosed
    case .open(let terms):
      if let access = terms.access, !access.allows(x.identity?.address) {
        x.detail = .text("the client's address may not take this route where another process serves now")
        return .accessDenied
      }
      guard terms.needsDistinctClients else { return nil }
      var why = whyIndistinct(x)
      if why == nil, let listener = x.downstream.listener, rules.collapsedListeners.contains(listener.place) {
        why = .text("the listener's clients have become one (on_collapse: refuse)")
      }
      guard let why else { return nil }
      x.retryAfterSeconds = usualRetrySeconds
      x.detail = why
      return .clientsIndistinct
    }
  }

  /// Why it is not known that this request's client is not many; nil: it is.
  private static func whyIndistinct(_ x: Exchange) -> RefusalDetail? {
    // Only in observe mode: the backend would take its peer for the client of each such request.
    if x.identity == nil {
      let refusal = x.refusal.map { Array("\($0.name)".utf8) } ?? []
      return .named("there is no client to tell apart: not verified (", refusal, ")")
    }
    if x.isInCutover { return .text("a peer in a cutover may stand for many clients") }
    if x.downstream.listener?.watch.isClosed == true {
      return .text("the listener's clients have become one (on_collapse: refuse)")
    }
    return nil
  }

  // MARK: Closures

  /// Until when a route is closed; nil when it is open.
  private static func closureEnd(_ number: Int, _ worker: Worker) -> UInt64? {
    guard number < worker.closureEnds.count, worker.nowMilliseconds < worker.closureEnds[number] else { return nil }
    return worker.closureEnds[number]
  }

  /// Some routes were closed or opened, or those that need to tell clients apart are.
  static func renewClosures(_ worker: Worker) {
    readClosures(worker)
    endTunnels(worker)
  }

  static func readClosures(_ worker: Worker) {
    worker.closureEnds = worker.shared.routes.ends()
    worker.successorRules = worker.shared.routes.successorRules
  }

  /// Ends each tunnel that took a route which is closed, and each that could not be begun now: a reload may have closed its route,
  /// or given its requests to another one. Requests under way come to their end.
  static func endTunnels(_ worker: Worker) {
    for x in worker.exchanges.all where x.isTunnel && !x.tunnel.isRefused {
      guard let refusal = tunnelRefusal(x, worker) else { continue }
      // In place of what only observing has found, if anything.
      x.refusal = refusal
      x.tunnel.isRefused = true
      worker.counters.add(refusal)
      TunnelClosing.beginAtOnce(x, worker)
    }
  }

  /// For a tunnel that begins: its route may have been closed since its request was sent. It ends when messages are taken next.
  static func noteTunnel(_ x: Exchange, _ worker: Worker) {
    if tunnelRefusal(x, worker) != nil { worker.remindOfClosures() }
  }

  private static func tunnelRefusal(_ x: Exchange, _ worker: Worker) -> Refusal? {
    refusal(x, worker) ?? refusalNow(x, worker)
  }

  /// Why the request of a tunnel could not be begun now, as far as its route decides.
  private static func refusalNow(_ x: Exchange, _ worker: Worker) -> Refusal? {
    switch worker.plan.route(of: x) {
    case .route(let now): refusal(x, now, worker)
    case .ambiguous(let sent, let normal):
      sent.flatMap { refusal(x, $0, worker) } ?? normal.flatMap { refusal(x, $0, worker) }
    case .none, .undecided, .unclear: nil
    }
  }
}
