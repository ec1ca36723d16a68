// What operators see of servers and let them do, over the admin listener: `countersign servers`. Orders outlive reloads, and end with
// the process.
//
//     GET /servers     POST /servers/drain?name=UPSTREAM/SERVER[&why=TEXT]     POST /servers/down?…     POST /servers/up?…

import Platform
import Policy
import Wire

extension AdminControl {
  /// - Parameter order: the last part of the path.
  func order(_ order: Substring, _ values: [String: String], _ user: UInt32) -> Answer {
    guard let order = ServerStatus.Order(rawValue: String(order)) else {
      return .refused("404 Not Found", "not found")
    }
    guard let name = values["name"] else { return .refused("400 Bad Request", "the query lacks `name`") }
    let found = AdminControl.servers(shared.servers, named: name)
    guard let (upstream, server) = found.first else {
      let names = shared.servers.all.flatMap { upstream in upstream.all.map { "\(upstream.name)/\($0.name)" } }
      return .refused("404 Not Found", "there is no server \(name); there is \(names.joined(separator: ", "))")
    }
    guard found.count == 1 else {
      let names = found.map { "\($0.upstream.name)/\($0.server.name)" }
      return .refused(
        "409 Conflict", "several upstreams have a server \(name); name one of them: \(names.joined(separator: ", "))")
    }
    let why = AdminControl.line(values["why"] ?? "")
    let isNews = shared.setOrder(server, of: upstream, order, user: user, why: why, now: Clock.read())
    guard isNews else {
      return .refused("409 Conflict", "the server \(server.name) of the upstream \(upstream.name) is so already")
    }
    return .done(AdminControl.json(shared.servers, now: Clock.read()))
  }

  /// `UPSTREAM/SERVER`, or a server alone, which several upstreams may have. A unix socket's path has slashes of its own.
  private static func servers(
    _ directory: ServerDirectory, named name: String
  ) -> [(upstream: UpstreamStatus, server: ServerStatus)] {
    directory.all.flatMap { upstream in
      upstream.all.filter { $0.name == name || "\(upstream.name)/\($0.name)" == name }.map { (upstream, $0) }
    }
  }

  static func json(_ directory: ServerDirectory, now: Clock.Reading) -> String {
    var entries: [String] = []
    for upstream in directory.all {
      for server in upstream.all {
        let report = server.report(
          slowStartMilliseconds: upstream.slowStartMilliseconds, nowMilliseconds: now.monotonicMilliseconds)
        var text = "{\"upstream\":\(JSONText.quote(upstream.name)),\"server\":\(JSONText.quote(server.name))"
        text += ",\"state\":\"\(report.state)\",\"why\":\(JSONText.quote(report.why))"
        if report.sinceWallMilliseconds > 0 {
          text += ",\"since\":\"\(Timestamp.text(milliseconds: report.sinceWallMilliseconds))\""
        }
        if report.order != .up { text += ",\"user\":\(report.user)" }
        if server.placesTaken > 0 { text += ",\"places_taken\":\(server.placesTaken)" }
        entries.append(text + "}")
      }
    }
    return "[\(entries.joined(separator: ","))]"
  }
}

extension ServerStatus.Report {
  /// All that there are.
  package static let states = [
    "up", "starting-slowly", "check-failed", "ejected", "on-probation", "drained", "taken-down",
  ]

  /// As operators see it.
  package var state: StaticString {
    switch (order, standing) {
    case (.drain, _): "drained"
    case (.down, _): "taken-down"
    case (.up, .checkFailed): "check-failed"
    case (.up, .ejected): "ejected"
    case (.up, .onProbation): "on-probation"
    case (.up, .serving), (.up, .withdrawn): startsSlowly ? "starting-slowly" : "up"
    }
  }
}

extension MetricsPage {
  /// The escapes of the exposition format: backslash, quote and line feed.
  static func escaped(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": out += "\\\\"
      case "\"": out += "\\\""
      case "\n": out += "\\n"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
