// The head of one response and where its content ends (RFC 9112 section 6.3). Its text is HTTP/1's (section 4), or what
// a codec has made of fields. It comes from the operator's own server, so what has one reading only is taken though it is not how it should be: the head is then `isIrregular`, its
// connection serves no further request, and what goes on to the client is written clean. What two readers could take in two
// ways is refused as `.upstreamResponse`, with its `fault`. Caller: the upstream connection; one object for each worker, reused.

public final class ResponseHead {
  let table: FieldTable
  var facts = ResponseFacts()

  public init(fieldsMax: Int) { table = FieldTable(fieldsMax: fieldsMax, names: .response, isLenient: true) }

  /// 100–999; what is over 599 passes on as it came.
  public var status: Int { facts.status }
  /// May be empty.
  public var reason: ByteRange { facts.reason }
  public var minorVersion: Int { facts.minorVersion }
  public var framing: BodyFraming { facts.framing }
  /// What Content-Length says, also where no content follows.
  public var statedLength: UInt64? { facts.statedLength }
  /// False where content ends with the connection.
  public var keepAlive: Bool { facts.keepAlive }
  /// 101 with `Connection: upgrade` and `Upgrade: websocket` alone.
  public var wantsWebSocket: Bool { facts.wantsWebSocket }
  /// It is not how it should be, in a way that leaves one reading.
  public var isIrregular: Bool { facts.isIrregular || table.hasBareLF || table.repeatedLength != nil }
  /// A field line ended in a bare LF, so that lines cannot go on as they came.
  public var hasBareLF: Bool { table.hasBareLF }
  /// The length that Content-Length states several times over, in one line or several; nil where it is stated once or not at all.
  public var repeatedLength: UInt64? { table.repeatedLength }
  /// What was wrong, after a refusal.
  public var fault: ResponseFault { facts.fault }

  public var fieldCount: Int { table.count }
  /// All about one field at once: for loops over every field.
  public func field(_ index: Int) -> FieldLine { table.line(index) }
  public func kind(_ index: Int) -> FieldKind { table.line(index).kind }
  public func name(_ index: Int) -> ByteRange { table.line(index).name }
  /// Without the whitespace around it.
  public func value(_ index: Int) -> ByteRange { table.line(index).value }
  /// Listed in Connection, so meant for this hop only.
  public func isNominated(_ index: Int) -> Bool { table.line(index).isNominated }
  /// Has a field go no further: it is left out, or written anew.
  public func withhold(_ index: Int) { table.withhold(index) }
  public func firstIndex(_ kind: FieldKind) -> Int? { table.has(kind) ? table.firstIndex(kind) : nil }
  public func has(_ kind: FieldKind) -> Bool { table.has(kind) }

  /// Parses the head at the front of `bytes`. `seen`: how many of these bytes an earlier call for the same head found
  /// incomplete. `requestWasHead`: the request's method was HEAD, so no content follows whatever the fields say.
  /// `isFirst`: it is the first response of its connection, before which empty lines may stand. Behind another one they say that
  /// the connection is out of step.
  public func parse(
    _ bytes: Span<UInt8>, limits: HeadLimits, requestWasHead: Bool, isFirst: Bool = true, seen: Int = 0
  ) -> HeadOutcome {
    let end = min(bytes.count, limits.headBytes)
    facts = ResponseFacts()
    table.removeAll()
    var scan = Scan.incomplete
    if bytes.endsLine(after: seen, before: end) {
      var facts = ResponseFacts()
      scan = facts.scan(bytes, end: end, emptyLinesMax: isFirst ? ResponseFacts.emptyLinesMax : 0)
      self.facts = facts
      if case .next(let start) = scan { scan = table.scan(bytes, from: start, end: end, limits: limits) }
    }
    switch scan {
    case .incomplete: return bytes.count >= limits.headBytes ? .refused(refuse(.headTooLarge)) : .incomplete
    case .refused(let refusal): return .refused(refuse(refusal))
    case .next(let length):
      facts.fault = conclude(bytes, requestWasHead: requestWasHead)
      return facts.fault == .none ? .complete(length: length) : .refused(.upstreamResponse)
    }
  }

  /// What a refusal is called of a response; the first one says what was wrong.
  private func refuse(_ refusal: Refusal) -> Refusal {
    if facts.fault == .none { facts.fault = ResponseFault(refusal) }
    return .upstreamResponse
  }

  private func conclude(_ bytes: Span<UInt8>, requestWasHead: Bool) -> ResponseFault {
    let stated: BodyFraming
    switch table.framing(bytes, minorVersion: facts.minorVersion) {
    case .stated(let framing): stated = framing
    case .refused(let refusal): return ResponseFault(refusal)
    }
    if case .length(let length) = stated { facts.statedLength = length }
    var options = FieldTable.ConnectionOptions()
    if let refusal = table.readConnection(bytes, into: &options) { return ResponseFault(refusal) }

    // RFC 9112 section 6.3, rules 1 and 4 to 8.
    if facts.status < 200 {
      // A length or a coding must not be stated here (RFC 9110 section 8.6, RFC 9112 section 6.1), and where content comes with
      // it, it would be read as the final response; a length of 0 is common and harmless.
      guard stated == .none || stated == .length(0) else { return .interimContent }
      facts.framing = .none
    } else if facts.status == 204 {
      // The status ends it, whatever the fields say. Content that comes all the same is left unread with the connection.
      if stated != .none, stated != .length(0) { facts.isIrregular = true }
      facts.framing = .none
    } else if requestWasHead || facts.status == 304 {
      // A length is that of the content which is left out. Chunks may be announced with a 304 (RFC 9112 section 6.1), but a
      // server that announces them may send the last one all the same, for the next request to find.
      if facts.status == 304, stated == .chunked { facts.isIrregular = true }
      facts.framing = .none
    } else {
      facts.framing = stated == .none ? .untilClose : stated
    }
    facts.keepAlive =
      !isIrregular && !options.close && facts.framing != .untilClose && (facts.minorVersion == 1 || options.keepAlive)
    if facts.status == 101, options.upgrade, facts.minorVersion == 1, table.has(.upgrade) {
      facts.wantsWebSocket =
        table.repeated & FieldKind.upgrade.bit == 0 && bytes.holds(.websocket, at: table.firstValue(.upgrade))
    }
    return .none
  }
}

struct ResponseFacts {
  var status = 0
  var reason = ByteRange.empty
  var minorVersion = 1
  var framing = BodyFraming.none
  var statedLength: UInt64?
  var keepAlive = false
  var wantsWebSocket = false
  var isIrregular = false
  var fault = ResponseFault.none

  init() {}

  /// Empty lines that may stand before a status line.
  static let emptyLinesMax = 2

  /// `HTTP/1.x SP 3DIGIT [ SP reason ] CRLF`, where a bare LF does as well. The space before an empty reason is asked for by the
  /// grammar and often missing. Some servers end a response before this one, or its request, with an empty line too many.
  mutating func scan(_ bytes: Span<UInt8>, end: Int, emptyLinesMax: Int) -> Scan {
    var start = 0
    for _ in 0..<emptyLinesMax {
      guard start < end else { return .incomplete }
      guard bytes[start] == Ascii.cr || bytes[start] == Ascii.lf else { break }
      let scan = lineEnd(bytes, start, end)
      guard case .next(let next) = scan else { return scan }
      isIrregular = true
      start = next
    }
    guard start < end else { return .incomplete }
    if bytes[start] == Ascii.cr || bytes[start] == Ascii.lf { return .refused(.requestLine) }
    let version = Scan.version(bytes, start, end, minor: &minorVersion)
    guard case .next(var at) = version else { return version }
    guard at < end else { return .incomplete }
    guard bytes[at] == Ascii.space else { return .refused(.upstreamResponse) }
    let digits = readStatus(bytes, at &+ 1, end)
    guard case .next(let digitsEnd) = digits else { return digits }
    at = digitsEnd
    guard at < end else { return .incomplete }
    if bytes[at] == Ascii.space {
      at &+= 1
      let start = at
      while at < end, Ascii.isText(bytes[at]) || bytes[at] == Ascii.tab { at &+= 1 }
      guard at < end else { return .incomplete }
      reason = ByteRange(start, at &- start)
    }
    guard bytes[at] == Ascii.cr || bytes[at] == Ascii.lf else { return .refused(.upstreamResponse) }
    return lineEnd(bytes, at, end)
  }

  /// Three digits, of which the first is not 0.
  @inline(__always) private mutating func readStatus(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Scan {
    for at in start..<start &+ 3 {
      guard at < end else { return .incomplete }
      guard Ascii.isDigit(bytes[at]) else { return .refused(.upstreamResponse) }
      status = status &* 10 &+ Int(bytes[at] &- 0x30)
      guard status > 0 else { return .refused(.upstreamResponse) }
    }
    return .next(start &+ 3)
  }

  /// Behind the CR or LF at `at`.
  private mutating func lineEnd(_ bytes: Span<UInt8>, _ at: Int, _ end: Int) -> Scan {
    guard bytes[at] == Ascii.lf else { return Scan.lineEnd(bytes, at, end) }
    isIrregular = true
    return .next(at &+ 1)
  }
}

/// What was wrong with a response: for the log, beside the refusal's name.
public enum ResponseFault: UInt8, Sendable {
  case none, headTooLarge, tooManyFields, notHTTP, version, status, lineEnding, obsFold, nameSpace, nameToken,
    valueInvalid
  case framingTeCl, framingTe, framingLength, connection, interimContent, interimFlood, chunk, excess, trailers, upgrade
  // What only HTTP/2 has (RFC 9113 section 8).
  case nameCase, connectionField, pseudoField, http2Upgrade, interimEnd, contentFirst, secondHead

  /// What a refusal is called of a response.
  public init(_ refusal: Refusal) {
    self =
      switch refusal {
      case .headTooLarge: .headTooLarge
      case .tooManyFields: .tooManyFields
      case .requestLine: .notHTTP
      case .version: .version
      case .upstreamResponse: .status
      case .lineEnding: .lineEnding
      case .obsFold: .obsFold
      case .nameSpace: .nameSpace
      case .nameToken: .nameToken
      case .framingTeCl: .framingTeCl
      case .framingTe: .framingTe
      case .framingLength: .framingLength
      case .hopNominated: .connection
      case .nameCase: .nameCase
      case .http2ConnectionField: .connectionField
      case .http2PseudoField: .pseudoField
      default: .valueInvalid
      }
  }

  public var text: StaticString {
    switch self {
    case .none: ""
    case .headTooLarge: "the response's head is larger than the limit"
    case .tooManyFields: "the response has too many fields, or names too many in Connection"
    case .notHTTP: "what the server sent is no HTTP/1 response"
    case .version: "the response's version is neither HTTP/1.0 nor HTTP/1.1"
    case .status: "the response's status line has no status of three digits, or a control character"
    case .lineEnding: "a CR without LF in the response's head"
    case .obsFold: "a folded field line, or a space before the first one, in the response"
    case .nameSpace: "a space between a field's name and its colon in the response"
    case .nameToken: "a line without a field's name and a colon in the response's head"
    case .valueInvalid: "a control character, or an empty element, in a field's value of the response"
    case .framingTeCl: "the response has Content-Length and Transfer-Encoding"
    case .framingTe: "the response's Transfer-Encoding is not chunked alone, or is one of HTTP/1.0"
    case .framingLength: "the response's Content-Length is no number, or states two that differ"
    case .connection: "the response's Connection names a field that frames it"
    case .interimContent: "an interim response (1xx) states content"
    case .interimFlood: "more interim responses (1xx) than are passed on"
    case .chunk: "the chunks of the response's body are malformed"
    case .excess: "the response's body is longer than its Content-Length"
    case .trailers: "the response's trailers are malformed, too long, or hold a field that frames a message"
    case .upgrade: "the server switches to a protocol that was not asked for"
    case .nameCase: "an upper-case letter in a field's name of the response"
    case .connectionField: "the response has a field of HTTP/1 connections, such as Transfer-Encoding"
    case .pseudoField: "the response has no :status of three digits in front, or a pseudo-field that has no place there"
    case .http2Upgrade: "the response has status 101, which HTTP/2 does not have"
    case .interimEnd: "an interim response (1xx) ends its stream"
    case .contentFirst: "content came before the response's head"
    case .secondHead: "a second head behind the response's, or trailers that do not end it"
    }
  }
}
