// The head of one HTTP/1 response (RFC 9112 section 4) and where its content ends (section 6.3). As strict as for
// requests: a backend that answers with an ambiguous message gets its connection closed and the client a 502.
// Every refusal is `.upstreamResponse`. Caller: the upstream connection; one object for each worker, reused.

public final class ResponseHead {
  let table: FieldTable
  var facts = ResponseFacts()

  public init(fieldsMax: Int) { table = FieldTable(fieldsMax: fieldsMax, names: .response) }

  /// 100–599.
  public var status: Int { facts.status }
  /// May be empty.
  public var reason: ByteRange { facts.reason }
  public var minorVersion: Int { facts.minorVersion }
  public var framing: BodyFraming { facts.framing }
  /// False where content ends with the connection.
  public var keepAlive: Bool { facts.keepAlive }
  /// 101 with `Connection: upgrade` and `Upgrade: websocket` alone.
  public var wantsWebSocket: Bool { facts.wantsWebSocket }

  public var fieldCount: Int { table.count }
  /// All about one field at once: for loops over every field.
  public func field(_ index: Int) -> FieldLine { table.line(index) }
  public func kind(_ index: Int) -> FieldKind { table.line(index).kind }
  public func name(_ index: Int) -> ByteRange { table.line(index).name }
  /// Without the whitespace around it.
  public func value(_ index: Int) -> ByteRange { table.line(index).value }
  /// Listed in Connection, so meant for this hop only.
  public func isNominated(_ index: Int) -> Bool { table.line(index).isNominated }
  public func firstIndex(_ kind: FieldKind) -> Int? { table.has(kind) ? table.firstIndex(kind) : nil }
  public func has(_ kind: FieldKind) -> Bool { table.has(kind) }

  /// Parses the head at the front of `bytes`. `seen`: how many of these bytes an earlier call for the same head found
  /// incomplete. `requestWasHead`: the request's method was HEAD, so no content follows whatever the fields say.
  public func parse(_ bytes: Span<UInt8>, limits: HeadLimits, requestWasHead: Bool, seen: Int = 0) -> HeadOutcome {
    let end = min(bytes.count, limits.headBytes)
    facts = ResponseFacts()
    table.removeAll()
    var scan = Scan.incomplete
    if bytes.endsLine(after: seen, before: end) {
      var facts = ResponseFacts()
      scan = facts.scan(bytes, end: end)
      self.facts = facts
      if case .next(let start) = scan { scan = table.scan(bytes, from: start, end: end, limits: limits) }
    }
    switch scan {
    case .incomplete: return bytes.count >= limits.headBytes ? .refused(.upstreamResponse) : .incomplete
    case .refused: return .refused(.upstreamResponse)
    case .next(let length):
      guard conclude(bytes, requestWasHead: requestWasHead) else { return .refused(.upstreamResponse) }
      return .complete(length: length)
    }
  }

  private func conclude(_ bytes: Span<UInt8>, requestWasHead: Bool) -> Bool {
    guard case .stated(let stated) = table.framing(bytes, minorVersion: facts.minorVersion) else { return false }
    var options = FieldTable.ConnectionOptions()
    guard table.readConnection(bytes, into: &options) == nil else { return false }

    // RFC 9112 section 6.3, rules 1 and 4 to 8.
    if facts.status < 200 || facts.status == 204 {
      // A length or a coding must not be stated here (RFC 9110 section 8.6, RFC 9112 section 6.1), and who states one may
      // send content too; a length of 0 is common and harmless.
      guard stated == .none || stated == .length(0) else { return false }
      facts.framing = .none
    } else if requestWasHead || facts.status == 304 {
      facts.framing = .none
    } else {
      facts.framing = stated == .none ? .untilClose : stated
    }
    facts.keepAlive =
      !options.close && facts.framing != .untilClose && (facts.minorVersion == 1 || options.keepAlive)
    if facts.status == 101, options.upgrade, facts.minorVersion == 1, table.has(.upgrade) {
      facts.wantsWebSocket =
        table.repeated & FieldKind.upgrade.bit == 0 && bytes.holds(.websocket, at: table.firstValue(.upgrade))
    }
    return true
  }
}

struct ResponseFacts {
  var status = 0
  var reason = ByteRange.empty
  var minorVersion = 1
  var framing = BodyFraming.none
  var keepAlive = false
  var wantsWebSocket = false

  init() {}

  /// `HTTP/1.x SP 3DIGIT [ SP reason ] CRLF`. The space before an empty reason is asked for by the grammar and often missing.
  mutating func scan(_ bytes: Span<UInt8>, end: Int) -> Scan {
    let version = Scan.version(bytes, 0, end, minor: &minorVersion)
    guard case .next(var at) = version else { return version }
    guard at < end else { return .incomplete }
    guard bytes[at] == Ascii.space else { return .refused(.upstreamResponse) }
    at &+= 1
    for digit in 0..<3 {
      guard at < end else { return .incomplete }
      guard Ascii.isDigit(bytes[at]) else { return .refused(.upstreamResponse) }
      status = status &* 10 &+ Int(bytes[at] &- 0x30)
      guard digit > 0 || (1...5).contains(status) else { return .refused(.upstreamResponse) }
      at &+= 1
    }
    guard at < end else { return .incomplete }
    if bytes[at] == Ascii.space {
      at &+= 1
      let start = at
      while at < end, Ascii.isText(bytes[at]) || bytes[at] == Ascii.tab { at &+= 1 }
      guard at < end else { return .incomplete }
      reason = ByteRange(start, at &- start)
    }
    guard bytes[at] == Ascii.cr else { return .refused(.upstreamResponse) }
    return Scan.lineEnd(bytes, at, end)
  }
}
