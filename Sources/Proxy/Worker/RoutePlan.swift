// A route of the configuration as one worker uses it: where its requests go or what answers them here, whether they may, and what is
// changed about them. Immutable; an exchange keeps the one that it began with.

import Platform
import Policy
import Wire

final class RoutePlan {
  /// In the order of the file.
  let index: Int
  /// Nil where `answer` says what to do.
  let group: UpstreamPlan?
  let answer: RouteAnswer?
  /// In the RouteDirectory.
  let number: Int
  let isEnabled: Bool
  let needsDistinctClients: Bool
  /// What this worker counts of it.
  let counts: RequestCounts
  /// For the access log: its name, or `line 12`.
  let nameBytes: [UInt8]
  let times: RouteTimes
  /// Nil: it asks nothing of a request.
  let demands: RouteDemands?
  /// Nil: it has none of its own.
  let pages: AnswerPages?
  /// What is changed about the head of a request, or of its response; nil: nothing.
  let requestEdit: HeadEdit?
  let responseEdit: HeadEdit?
  let pathChange: PathChange?
  /// Nil: its responses go as they come.
  let compression: CompressionRule?
  let requestIDMode: Config.RequestIDMode
  /// Something asks for X-Request-Id.
  let needsRequestID: Bool

  /// What it is called in the log and the metrics.
  static func label(of route: Config.Route) -> String { route.name ?? route.place.name }

  /// - Parameters:
  ///   - content: what answers here, as it was loaded.
  ///   - scratch: of the worker, for paths.
  init(
    _ route: Config.Route, index: Int, number: Int, to group: UpstreamPlan?, _ content: RouteContent?,
    _ snapshot: Snapshot, _ counts: RequestCounts, _ workspace: PatternWorkspace, _ scratch: Buffer
  ) throws(Pattern.SyntaxError) {
    let headers = snapshot.config.headers
    self.index = index
    self.group = group
    self.number = number
    isEnabled = route.isEnabled
    needsDistinctClients = route.needsDistinctClients
    nameBytes = Array(RoutePlan.label(of: route).utf8)
    self.counts = counts
    times = RouteTimes(route.limits)
    demands = RouteDemands(route, users: snapshot.routeFiles.users)
    pages = snapshot.routeFiles.pagesOfRoutes[index]
    requestEdit = group == nil ? nil : HeadEdit.request(route.changes.request, headers)
    var own: [Config.FieldValue] = []
    if case .respond(let respond)? = route.answer { own = respond.headers }
    let edit = HeadEdit.response(route.changes, headers, own: own)
    responseEdit = edit
    answer = try route.answer.map { wanted throws(Pattern.SyntaxError) in
      try RouteAnswer(wanted, route.match, content, edit, workspace, scratch: scratch)
    }
    pathChange = try PathChange(route, workspace, scratch: scratch)
    compression = route.compression.map(CompressionRule.init)
    requestIDMode = headers.requestID
    needsRequestID =
      [requestEdit?.lines, responseEdit?.lines, answer?.lines].contains { $0?.usesRequestID ?? false }
  }
}
