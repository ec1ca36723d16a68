// One line of an access log, as ExchangeRecord (Proxy) writes it: which member lies where, and the few numbers in it. Not a parser
// for JSON, but for the lines that we write: one object without white space, in it names, texts and numbers; a text is ASCII, its
// only escape is \u00 with two digits, and no name comes twice. Anything else is malformed, and counted by the caller.
//
// Invariant: after `.line` every range lies in the line, and texts are printable ASCII without quotes, so a report can print them
// as they are. No string is made, and nothing is allocated. Called by MergedLog.

import Platform
import Wire

package struct LogLine {
  package enum Outcome: Equatable, Sendable {
    case line
    /// It was over before the window: nothing else was looked at.
    case early
    /// It tells of a beginning (`event`); the exchange has another line at its end.
    case beginning
    case malformed
  }

  /// When it was written.
  package private(set) var milliseconds: UInt64 = 0
  /// When what it tells of began.
  package private(set) var startMilliseconds: UInt64 = 0
  package private(set) var client: IPAddress?
  package private(set) var status = 0
  /// How many refused connections it stands for; 0: it is no such count.
  package private(set) var suppressed: UInt64 = 0
  /// Texts without their quotes; empty where there is none.
  package private(set) var time = ByteRange.empty
  package private(set) var clientText = ByteRange.empty
  package private(set) var evidence = ByteRange.empty
  package private(set) var listener = ByteRange.empty
  package private(set) var rule = ByteRange.empty
  package private(set) var edge = ByteRange.empty
  package private(set) var config = ByteRange.empty
  package private(set) var generation = ByteRange.empty
  package private(set) var connection = ByteRange.empty
  package private(set) var route = ByteRange.empty
  package private(set) var method = ByteRange.empty
  package private(set) var host = ByteRange.empty
  package private(set) var path = ByteRange.empty
  package private(set) var refusal = ByteRange.empty
  package private(set) var upstream = ByteRange.empty
  /// Of the field that was asked for.
  package private(set) var value = ByteRange.empty
  package private(set) var hasValue = false
  private var hasEvent = false

  package init() {}

  /// A request whose head was understood.
  package var isRequest: Bool { !method.isEmpty }

  private static let prefix: UInt64 = 0x3a22_656d_6974_227b  // {"time":
  private static let timeStart = 9
  private static let afterTime = timeStart + LogTime.textCount + 1

  /// Reads a line.
  /// - Parameters:
  ///   - from: lines before it are `.early`.
  ///   - field: the name of a member that is asked for; empty: none.
  package mutating func parse(_ line: Span<UInt8>, from: UInt64, field: [UInt8], _ clock: inout LogTime) -> Outcome {
    guard line.count > LogLine.afterTime, line.word(at: 0) == LogLine.prefix, line[8] == 0x22,
      line[LogLine.afterTime - 1] == 0x22, let now = clock.milliseconds(line, at: LogLine.timeStart)
    else { return .malformed }
    guard now >= from else { return .early }
    self = LogLine()
    milliseconds = now
    startMilliseconds = now
    time = ByteRange(LogLine.timeStart, LogTime.textCount)
    var seen: UInt32 = 1
    var at = LogLine.afterTime
    while line[at] == 0x2c {
      guard let name = LogLine.text(line, at + 1), name.upper + 1 < line.count, line[name.upper + 1] == 0x3a else {
        return .malformed
      }
      at = name.upper + 2
      guard at < line.count else { return .malformed }
      let isText = line[at] == 0x22
      let value: ByteRange
      if isText {
        guard let text = LogLine.text(line, at) else { return .malformed }
        value = text
        at = text.upper + 1
      } else {
        guard let number = LogLine.number(line, at) else { return .malformed }
        value = number
        at = number.upper
      }
      guard at < line.count else { return .malformed }
      if let member = Member(line, name) {
        let bit: UInt32 = 1 &<< UInt32(member.rawValue)
        guard seen & bit == 0, isText != member.isNumber, take(member, line, value) else { return .malformed }
        seen |= bit
      }
      if !field.isEmpty, ByteComparison.isEqual(line.extracting(name.range), field.span) {
        guard !hasValue else { return .malformed }
        self.value = value
        hasValue = true
      }
    }
    guard line[at] == 0x7d, at + 1 == line.count else { return .malformed }
    return hasEvent ? .beginning : .line
  }

  // MARK: Members

  private enum Member: UInt8 {
    case time, client, evidence, listener, rule, edge, config, generation, connection, route, method, host, path,
      status, refusal, suppressed, duration, upstream, event

    /// Nil for one that is not looked at. A name as two words, the first byte lowest.
    @inline(__always) init?(_ line: Span<UInt8>, _ name: ByteRange) {
      guard name.count <= 16 else { return nil }
      let middle = min(name.upper, name.lower &+ 8)
      let words = (
        line.word(at: name.lower, before: middle), middle == name.upper ? 0 : line.word(at: middle, before: name.upper)
      )
      switch words {
      case (0x656d6974, 0x0): self = .time
      case (0x746e65696c63, 0x0): self = .client
      case (0x65636e6564697665, 0x0): self = .evidence
      case (0x72656e657473696c, 0x0): self = .listener
      case (0x656c7572, 0x0): self = .rule
      case (0x65676465, 0x0): self = .edge
      case (0x6769666e6f63, 0x0): self = .config
      case (0x69746172656e6567, 0x6e6f): self = .generation
      case (0x697463656e6e6f63, 0x6e6f): self = .connection
      case (0x6574756f72, 0x0): self = .route
      case (0x646f6874656d, 0x0): self = .method
      case (0x74736f68, 0x0): self = .host
      case (0x68746170, 0x0): self = .path
      case (0x737574617473, 0x0): self = .status
      case (0x6c617375666572, 0x0): self = .refusal
      case (0x7373657270707573, 0x6465): self = .suppressed
      case (0x6e6f697461727564, 0x736d5f): self = .duration
      case (0x6d61657274737075, 0x0): self = .upstream
      case (0x746e657665, 0x0): self = .event
      default: return nil
      }
    }

    var isNumber: Bool {
      switch self {
      case .generation, .status, .suppressed, .duration: true
      default: false
      }
    }
  }

  /// Takes over a member's value; false where it is none.
  @inline(__always) private mutating func take(_ member: Member, _ line: Span<UInt8>, _ value: ByteRange) -> Bool {
    switch member {
    case .time: return false
    case .client:
      clientText = value
      client = IPAddress.parse(line.extracting(value.range))
      return client != nil
    case .evidence: evidence = value
    case .listener: listener = value
    case .rule: rule = value
    case .edge: edge = value
    case .config: config = value
    case .generation:
      generation = value
      for at in value.range where line[at] == 0x2e { return false }
    case .connection: connection = value
    case .route: route = value
    case .method: method = value
    case .host: host = value
    case .path: path = value
    case .refusal: refusal = value
    case .upstream: upstream = value
    case .event: hasEvent = true
    case .status:
      guard let number = LogLine.whole(line, value), number <= 999 else { return false }
      status = Int(number)
    case .suppressed:
      // So many in a minute is more than anybody counts, and of as many lines as there can be the sum fits.
      guard let number = LogLine.whole(line, value), number <= UInt64(UInt32.max) else { return false }
      suppressed = number
    case .duration:
      guard let number = LogLine.whole(line, value) else { return false }
      // One more, for the places behind the point.
      startMilliseconds = milliseconds - min(milliseconds, number + 1)
    }
    return true
  }

  // MARK: Values

  /// What stands between the quotes, of which the first one is at `start`.
  @inline(__always) private static func text(_ line: Span<UInt8>, _ start: Int) -> ByteRange? {
    guard start < line.count, line[start] == 0x22 else { return nil }
    var at = start &+ 1
    while at < line.count {
      let special = Word.notJSONText(line.word(at: at, before: line.count))
      guard special != 0 else {
        at &+= 8
        continue
      }
      at &+= Word.firstIndex(special)
      guard at < line.count else { return nil }
      if line[at] == 0x22 { return ByteRange(start &+ 1, at &- start &- 1) }
      guard isEscape(line, at) else { return nil }
      at &+= 6
    }
    return nil
  }

  /// `\u00` and two digits.
  private static func isEscape(_ line: Span<UInt8>, _ at: Int) -> Bool {
    guard at + 6 <= line.count, line[at] == 0x5c, line[at + 1] == 0x75, line[at + 2] == 0x30, line[at + 3] == 0x30
    else {
      return false
    }
    return isHex(line[at + 4]) && isHex(line[at + 5])
  }

  private static func isHex(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 || byte &- 0x61 < 6 }

  /// Digits, and a point between them.
  @inline(__always) private static func number(_ line: Span<UInt8>, _ start: Int) -> ByteRange? {
    var at = start
    while at < line.count, line[at] &- 0x30 < 10 || line[at] == 0x2e { at &+= 1 }
    guard at > start, at &- start <= 24, line[start] != 0x2e else { return nil }
    return ByteRange(start, at &- start)
  }

  /// The digits before the point.
  @inline(__always) private static func whole(_ line: Span<UInt8>, _ range: ByteRange) -> UInt64? {
    var number: UInt64 = 0
    for at in range.range {
      let digit = line[at] &- 0x30
      if digit >= 10 { break }
      guard number < 1 << 53 else { return nil }
      number = number &* 10 &+ UInt64(digit)
    }
    return number
  }
}
