// What operators can change while the process runs, over the admin listener where that is a unix socket: routes are closed and opened.
// Only root and the process's own user may; the kernel says who asks. Each change is a line in the operational log.
//
//     POST /routes/close?name=NAME[&for=MILLISECONDS][&why=TEXT]     POST /routes/open?name=NAME     GET /routes
//     POST /upgrade                                                   GET /upgrade
//     POST /walks/begin?n=COUNT[&for=MILLISECONDS][&peer=RANGE][&path=PREFIX][&connection=HEX][&listener=NAME]
//     POST /walks/read?recording=NUMBER&from=INDEX                    POST /walks/end?recording=NUMBER
//
// The other ends are `countersign route`, `countersign upgrade` and `countersign explain --live` (AdminClient).

import Platform
import Policy
import Wire

package struct AdminControl {
  package struct Answer {
    package let status: String
    package let body: String

    static func refused(_ status: String, _ why: String) -> Answer { Answer(status: status, body: "\(why)\n") }
    static func done(_ json: String) -> Answer { Answer(status: "200 OK", body: "\(json)\n") }
  }

  package let shared: ProcessShared

  package init(shared: ProcessShared) { self.shared = shared }

  /// A longer reason is cut.
  private static let whyBytesMax = 256

  // MARK: Changing

  /// `user`: who asks, if the kernel says so.
  package func change(_ path: String, query: String, user: UInt32?) -> Answer {
    guard let user else {
      return .refused(
        "403 Forbidden",
        "changes are taken over a unix socket alone: give the configuration `admin.control: \"unix:PATH\"`, so that it is known who asks"
      )
    }
    guard user == 0 || user == ProcessLimits.user else {
      return .refused("403 Forbidden", "only root and the user that the process runs as may change anything")
    }
    guard let values = AdminControl.values(query) else {
      return .refused("400 Bad Request", "the query cannot be read")
    }
    switch path {
    case "/routes/close": return close(values, user)
    case "/routes/open": return open(values, user)
    case "/upgrade": return upgrade(user)
    case "/walks/begin": return beginWalks(values)
    case "/walks/read": return readWalks(values)
    case "/walks/end":
      shared.walks.end(values["recording"].flatMap { UInt64($0) } ?? 0)
      return .done("{}")
    case _ where path.hasPrefix("/servers/"): return order(path.dropFirst("/servers/".count), values, user)
    default: return .refused("404 Not Found", "not found")
    }
  }

  /// Begins it. What becomes of it is asked for with GET: of this process, or of the one that goes on for it.
  private func upgrade(_ user: UInt32) -> Answer {
    guard shared.upgrades.request() else { return .refused("409 Conflict", "an upgrade is under way already") }
    shared.operationalLog.logger.info("upgrade asked for by user \(user)")
    Signals.raise(.upgrade)
    return .done(shared.upgrades.json)
  }

  private func close(_ values: [String: String], _ user: UInt32) -> Answer {
    guard let name = values["name"] else { return .refused("400 Bad Request", "the query lacks `name`") }
    var duration: UInt64?
    if let text = values["for"] {
      guard let milliseconds = UInt64(text), (1...31_536_000_000).contains(milliseconds) else {
        return .refused("400 Bad Request", "`for` is a number of milliseconds, a year at most")
      }
      duration = milliseconds
    }
    let why = AdminControl.line(values["why"] ?? "")
    let now = Clock.read()
    guard shared.routes.close(name, forMilliseconds: duration, why: why, user: user, now: now) else {
      return .refused("404 Not Found", noSuchRoute(name))
    }
    shared.tellOfRoutes()
    // What its answer says of them, and what is asked for next, is then behind the closure.
    _ = shared.older.waitUntilTold()
    let time = duration.map { "for \(Timestamp.span(milliseconds: $0))" } ?? "until it is opened"
    shared.operationalLog.logger.warning(
      "route \(name) closed \(time) by user \(user)\(why.isEmpty ? "" : ": \(why)"); its requests are answered 503")
    return .done(AdminControl.json(shared.routes))
  }

  private func open(_ values: [String: String], _ user: UInt32) -> Answer {
    guard let name = values["name"] else { return .refused("400 Bad Request", "the query lacks `name`") }
    guard shared.routes.open(name) else {
      let isKnown = shared.routes.routes.contains { $0.name == name }
      return .refused("404 Not Found", isKnown ? "the route \(name) is not closed" : noSuchRoute(name))
    }
    shared.tellOfRoutes()
    shared.operationalLog.logger.warning("route \(name) opened by user \(user)")
    return .done(AdminControl.json(shared.routes))
  }

  /// One line for the log and for terminals, without control characters.
  static func line(_ text: String) -> String {
    var line = ""
    for scalar in text.unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator: continue
      default: break
      }
      guard line.utf8.count + UTF8.width(scalar) <= whyBytesMax else { break }
      line.unicodeScalars.append(scalar)
    }
    return line
  }

  private func noSuchRoute(_ name: String) -> String {
    let names = shared.routes.routes.map(\.name)
    return names.isEmpty
      ? "no route has a name; give those that may have to be closed a `name`"
      : "there is no route \(name); there is \(names.joined(separator: ", "))"
  }

  /// Opens what was closed for a time that is over, and says so.
  func endClosures() {
    let names = shared.routes.takeExpired(nowMilliseconds: Clock.monotonicMilliseconds())
    guard !names.isEmpty else { return }
    shared.tellOfRoutes()
    for name in names {
      shared.operationalLog.logger.warning("route \(name) is open again: the time it was closed for is over")
    }
  }

  // MARK: Walks

  private func beginWalks(_ values: [String: String]) -> Answer {
    var filter = WalkRecorder.Filter()
    guard let count = values["n"].flatMap({ Int($0) }), (1...WalkRecorder.walksMax).contains(count) else {
      return .refused("400 Bad Request", "`n` is a number from 1 to \(WalkRecorder.walksMax)")
    }
    if let text = values["peer"] {
      guard let range = ConfigReader.range(text) else {
        return .refused("400 Bad Request", "`peer` is an address or a range such as 10.0.0.0/24")
      }
      filter.peers = range
    }
    if let name = values["listener"] { filter.listener = name }
    if let path = values["path"] { filter.pathPrefix = Array(path.utf8) }
    if let connection = values["connection"] { filter.connection = connection.lowercased() }
    let most = values["for"].flatMap { UInt64($0) } ?? 60_000
    let now = Clock.monotonicMilliseconds()
    let recording = shared.walks.begin(filter, count: count, forMilliseconds: most, nowMilliseconds: now)
    return .done("{\"recording\":\(recording)}")
  }

  private func readWalks(_ values: [String: String]) -> Answer {
    guard let recording = values["recording"].flatMap({ UInt64($0) }), let from = values["from"].flatMap({ Int($0) }),
      from >= 0
    else { return .refused("400 Bad Request", "the query lacks `recording` and `from`") }
    let now = Clock.monotonicMilliseconds()
    guard let (walks, isOver) = shared.walks.read(recording, from: from, nowMilliseconds: now) else {
      return .refused("409 Conflict", "somebody else has begun to look at live traffic")
    }
    return .done("{\"over\":\(isOver),\"walks\":[\(walks.map(JSONText.quote).joined(separator: ","))]}")
  }

  // MARK: Showing

  /// Routes with a name, and whether they are closed; also closures of routes that are missing now.
  static func json(_ directory: RouteDirectory) -> String {
    let routes = directory.routes
    var entries = routes.map { route in
      var text =
        "{\"name\":\(JSONText.quote(route.name)),\"to\":\(JSONText.quote(route.to)),\"line\":\(route.place.line)"
      text += ",\"enabled\":\(route.isEnabled),\"needs_distinct_clients\":\(route.needsDistinctClients)"
      if let file = route.place.file { text += ",\"file\":\(JSONText.quote(file))" }
      if let closure = directory.closure(of: route.name) { text += ",\"closed\":\(json(closure))" }
      return text + "}"
    }
    for (name, closure) in directory.closures where !routes.contains(where: { $0.name == name }) {
      entries.append("{\"name\":\(JSONText.quote(name)),\"closed\":\(json(closure))}")
    }
    return "[\(entries.joined(separator: ","))]"
  }

  private static func json(_ closure: RouteDirectory.Closure) -> String {
    let since = Timestamp.text(milliseconds: closure.sinceWallMilliseconds)
    let until = closure.endWallMilliseconds.map { "\"\(Timestamp.text(milliseconds: $0))\"" } ?? "null"
    return
      "{\"since\":\"\(since)\",\"until\":\(until),\"user\":\(closure.user),\"why\":\(JSONText.quote(closure.why))}"
  }

  // MARK: Queries

  /// The values of `name=value&…` after RFC 3986 section 2.1; nil where it is none, or a name comes twice.
  package static func values(_ query: String) -> [String: String]? {
    var values: [String: String] = [:]
    for pair in query.drop(while: { $0 == "?" }).split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, let value = decoded(parts[1]), values.updateValue(value, forKey: String(parts[0])) == nil
      else {
        return nil
      }
    }
    return values
  }

  private static func decoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst(), let low = rest.popFirst(),
        let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16)
      else { return nil }
      bytes.append(value)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  package static func encoded(_ text: String) -> String {
    text.utf8.reduce(into: "") { out, byte in
      let scalar = Unicode.Scalar(byte)
      if scalar.isASCII, scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) {
        out.unicodeScalars.append(scalar)
      } else {
        out += byte < 16 ? "%0" : "%"
        out += String(byte, radix: 16)
      }
    }
  }
}
