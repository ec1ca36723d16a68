// The field lines of one section (a head's or a trailer's), as offsets: names, trimmed values, what each name is to us,
// and which were nominated by Connection. One scan over the bytes; the storage is reused and grows to the configured
// number of fields once.
// Invariant: after a complete scan every range lies inside the bytes that were scanned, every name is a token and
// no value holds a control byte. Callers: RequestHead, ResponseHead, TrailerSection.

/// One field line.
public struct FieldLine: Sendable {
  public var name: ByteRange
  public var value: ByteRange
  public var kind: FieldKind
  public var isNominated: Bool

  public init(name: ByteRange, value: ByteRange, kind: FieldKind, isNominated: Bool) {
    self.name = name
    self.value = value
    self.kind = kind
    self.isNominated = isNominated
  }
}

final class FieldTable {
  // Every access to these is over at once (a scan works on local copies), so the optimiser can prove exclusivity and
  // drops the checks at run time.
  private var lines: [FieldLine]
  private(set) var count = 0
  /// Which kinds occur, and which occur more than once, by `FieldKind.bit`.
  private(set) var seen: UInt64 = 0
  private(set) var repeated: UInt64 = 0
  /// The first line of each kind in `seen`.
  private var first = InlineArray<32, UInt16>(repeating: 0)
  /// A line of the last scan ended in a bare LF.
  private(set) var hasBareLF = false
  /// The length that Content-Length states several times over, in one line or several, always the same.
  private(set) var repeatedLength: UInt64?
  private let names: FieldNames
  private let fieldsMax: Int
  /// From the operator's own servers what has one reading is taken though it is not how it should be: lines that end in a
  /// bare LF (RFC 9112 section 2.2 lets a recipient take them), and one length stated twice (RFC 9110 section 8.6).
  private let isLenient: Bool

  init(fieldsMax: Int, names: FieldNames, isLenient: Bool = false) {
    self.isLenient = isLenient
    precondition(fieldsMax > 0 && fieldsMax <= Int(UInt16.max), "a line's index fits 16 bits")
    precondition(FieldKind.allCases.count <= 32)
    self.fieldsMax = fieldsMax
    self.names = names
    let unused = FieldLine(name: .empty, value: .empty, kind: .other, isNominated: false)
    lines = [FieldLine](repeating: unused, count: fieldsMax)
  }

  func removeAll() {
    count = 0
    seen = 0
    repeated = 0
    hasBareLF = false
    repeatedLength = nil
  }

  func line(_ index: Int) -> FieldLine {
    precondition(index >= 0 && index < count, "no such field")
    return lines[index]
  }

  func has(_ kind: FieldKind) -> Bool { seen & kind.bit != 0 }

  /// The first line of a kind that occurs.
  func firstIndex(_ kind: FieldKind) -> Int {
    precondition(has(kind))
    return Int(first[Int(kind.rawValue)])
  }

  /// The value of the first line of `kind`, empty when there is none.
  func firstValue(_ kind: FieldKind) -> ByteRange { has(kind) ? lines[firstIndex(kind)].value : .empty }

  // MARK: Scanning

  private struct Marks {
    var count = 0
    var seen: UInt64 = 0
    var repeated: UInt64 = 0
    var hasBareLF = false
    var first = InlineArray<32, UInt16>(repeating: 0)

    @inline(__always) mutating func add(_ kind: FieldKind) {
      if kind != .other {
        if seen & kind.bit == 0 {
          first[Int(kind.rawValue)] = UInt16(truncatingIfNeeded: count)
        } else {
          repeated |= kind.bit
        }
        seen |= kind.bit
      }
      count &+= 1
    }
  }

  /// Reads field lines from `start` up to and with the empty line that ends them; no byte at or past `end` is looked at.
  /// Stops at the first byte that cannot be right, so that a prefix is refused just as the whole would be.
  func scan(_ bytes: Span<UInt8>, from start: Int, end: Int, limits: HeadLimits) -> Scan {
    var lines: [FieldLine] = []
    swap(&lines, &self.lines)
    var marks = Marks()
    let scan = scanLines(bytes, from: start, end: end, countMax: min(limits.fields, fieldsMax), &lines, &marks)
    swap(&lines, &self.lines)
    count = marks.count
    seen = marks.seen
    repeated = marks.repeated
    first = marks.first
    hasBareLF = marks.hasBareLF
    return scan
  }

  private func scanLines(
    _ bytes: Span<UInt8>, from start: Int, end: Int, countMax: Int, _ lines: inout [FieldLine], _ marks: inout Marks
  ) -> Scan {
    var at = start
    while true {
      guard at < end else { return .incomplete }
      switch bytes[at] {
      case Ascii.cr: return Scan.lineEnd(bytes, at, end)
      case Ascii.lf:
        guard isLenient else { return .refused(.lineEnding) }
        marks.hasBareLF = true
        return .next(at &+ 1)
      // A line that continues the one before (RFC 9112 section 5.2), or stands before the first (section 2.2).
      case Ascii.space, Ascii.tab: return .refused(.obsFold)
      default: break
      }
      guard marks.count < countMax else { return .refused(.tooManyFields) }

      let nameStart = at
      let packed = PackedName(plainFrom: at, to: end, bytes)
      at &+= packed.count
      let isPlain = at < end && bytes[at] == Ascii.colon
      if !isPlain {
        while at < end, Token.isTokenByte(bytes[at]) { at &+= 1 }
        guard at < end else { return .incomplete }
        guard bytes[at] == Ascii.colon else { return nameStop(bytes, at, end) }
      }
      let name = ByteRange(nameStart, at &- nameStart)
      guard !name.isEmpty else { return .refused(.nameToken) }
      at &+= 1

      while at < end, Ascii.isBlank(bytes[at]) { at &+= 1 }
      let valueStart = at
      at = Self.textEnd(bytes, at, end)
      guard at < end else { return .incomplete }
      var valueEnd = at
      while valueEnd > valueStart, Ascii.isBlank(bytes[valueEnd &- 1]) { valueEnd &-= 1 }
      if bytes[at] == Ascii.cr {
        let scan = Scan.lineEnd(bytes, at, end)
        guard case .next(let next) = scan else { return scan }
        at = next
      } else {
        guard bytes[at] == Ascii.lf else { return .refused(.valueInvalid) }
        guard isLenient else { return .refused(.lineEnding) }
        marks.hasBareLF = true
        at &+= 1
      }

      let kind = isPlain ? names.kind(packed, bytes, name) : names.foldedKind(bytes, name)
      let value = ByteRange(valueStart, valueEnd &- valueStart)
      lines[marks.count] = FieldLine(name: name, value: value, kind: kind, isNominated: false)
      marks.add(kind)
    }
  }

  /// The first byte from `start` that may not stand in a value, or `end`.
  @inline(__always) private static func textEnd(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int {
    var at = start
    while true {
      while end &- at >= 8 {
        let found = Word.notText(bytes.word(at: at))
        // Asked, not added: the next word is loaded before it is known what this one holds.
        guard found == 0 else {
          at &+= Word.firstIndex(found)
          break
        }
        at &+= 8
      }
      while at < end, Ascii.isText(bytes[at]) { at &+= 1 }
      guard at < end, bytes[at] == Ascii.tab else { return at }
      at &+= 1
    }
  }

  /// Why a name ended before its colon.
  private func nameStop(_ bytes: Span<UInt8>, _ at: Int, _ end: Int) -> Scan {
    switch bytes[at] {
    // RFC 9112 section 5.1: no whitespace between name and colon.
    case Ascii.space, Ascii.tab: return .refused(.nameSpace)
    case Ascii.lf: return .refused(isLenient ? .nameToken : .lineEnding)
    case Ascii.cr:
      let scan = Scan.lineEnd(bytes, at, end)
      guard case .next = scan else { return scan }
      return .refused(.nameToken)
    default: return .refused(.nameToken)
    }
  }

  // MARK: Connection and Trailer

  /// What the Connection lines say (RFC 9110 section 7.6.1).
  struct ConnectionOptions {
    var close = false
    var keepAlive = false
    var upgrade = false
    /// A protected identity name was nominated.
    var nominatesProtected = false
  }

  private static let closeOption = PackedName("close")

  /// The fields that Connection lists: by kind where a kind has one name, else by name. There are few in honest
  /// messages; the bound keeps the comparison with every field cheap in others.
  private struct Nominations {
    static let namesMax = 16

    var kinds: UInt64 = 0
    var names = InlineArray<16, ByteRange>(repeating: .empty)
    var count = 0
  }

  /// Reads every Connection line and marks the nominated fields. Refused: what is not a list of tokens, a field that
  /// the message cannot do without, and more than 16 names that are not the hop's own.
  func readConnection(_ bytes: Span<UInt8>, into options: inout ConnectionOptions) -> Refusal? {
    guard has(.connection) else { return nil }
    var nominations = Nominations()
    let last = repeated & FieldKind.connection.bit == 0 ? firstIndex(.connection) : count &- 1
    for index in firstIndex(.connection)...last where lines[index].kind == .connection {
      if let refusal = readOptions(bytes, lines[index].value, into: &options, &nominations) { return refusal }
    }
    markNominated(bytes, nominations)
    return nil
  }

  private func readOptions(
    _ bytes: Span<UInt8>, _ value: ByteRange, into options: inout ConnectionOptions, _ nominations: inout Nominations
  ) -> Refusal? {
    var cursor = TokenCursor(value)
    while true {
      let token: ByteRange
      switch cursor.next(bytes) {
      case .end: return nil
      case .malformed: return .valueInvalid
      case .token(let range): token = range
      }
      let kind = names.kind(bytes, token)
      switch kind {
      case .host, .contentLength, .transferEncoding: return .hopNominated
      case .keepAlive: options.keepAlive = true
      case .upgrade: options.upgrade = true
      case .other where bytes.holds(Self.closeOption, at: token):
        options.close = true
        continue
      default: if kind.isIdentity { options.nominatesProtected = true }
      }
      switch kind {
      case .other, .foreign, .claim, .alias:
        guard nominations.count < Nominations.namesMax else { return .tooManyFields }
        nominations.names[nominations.count] = token
        nominations.count &+= 1
      default: nominations.kinds |= kind.bit
      }
    }
  }

  private func markNominated(_ bytes: Span<UInt8>, _ nominations: Nominations) {
    guard nominations.kinds & seen != 0 || nominations.count > 0 else { return }
    var lines: [FieldLine] = []
    swap(&lines, &self.lines)
    for index in 0..<count {
      var isNominated = lines[index].kind.bit & nominations.kinds != 0
      var at = 0
      while at < nominations.count, !isNominated {
        isNominated = bytes.equalsIgnoringCase(lines[index].name, nominations.names[at])
        at &+= 1
      }
      lines[index].isNominated = isNominated
    }
    swap(&lines, &self.lines)
  }

  /// Whether a Trailer line announces a protected name; nil when one is not a list of tokens.
  func trailerNamesIdentity(_ bytes: Span<UInt8>) -> Bool? {
    guard has(.trailer) else { return false }
    var found = false
    for index in firstIndex(.trailer)..<count where lines[index].kind == .trailer {
      var cursor = TokenCursor(lines[index].value)
      reading: while true {
        switch cursor.next(bytes) {
        case .end: break reading
        case .malformed: return nil
        case .token(let token): if names.kind(bytes, token).isIdentity { found = true }
        }
      }
    }
    return found
  }

  // MARK: Framing

  private static let chunked = PackedName("chunked")

  /// What Content-Length and Transfer-Encoding say together (RFC 9112 section 6), refusing all that two readers
  /// could take in two ways. `.none` when neither is there.
  func framing(_ bytes: Span<UInt8>, minorVersion: Int) -> Framing {
    let hasLength = has(.contentLength)
    guard has(.transferEncoding) else {
      guard hasLength else { return .stated(.none) }
      if repeated & FieldKind.contentLength.bit == 0, let length = Self.length(bytes, firstValue(.contentLength)) {
        return .stated(.length(length))
      }
      guard isLenient, let length = readRepeatedLength(bytes) else { return .refused(.framingLength) }
      repeatedLength = length
      return .stated(.length(length))
    }
    if hasLength { return .refused(.framingTeCl) }
    guard minorVersion == 1, repeated & FieldKind.transferEncoding.bit == 0,
      bytes.holds(Self.chunked, at: firstValue(.transferEncoding))
    else { return .refused(.framingTe) }
    return .stated(.chunked)
  }

  /// The length that all lines and elements of Content-Length state alike; nil where one differs or is none.
  private func readRepeatedLength(_ bytes: Span<UInt8>) -> UInt64? {
    var stated: UInt64?
    for index in firstIndex(.contentLength)..<count where lines[index].kind == .contentLength {
      let value = lines[index].value
      var start = value.lower
      while true {
        var end = start
        while end < value.upper, bytes[end] != Ascii.comma { end &+= 1 }
        var (first, last) = (start, end)
        while first < last, Ascii.isBlank(bytes[first]) { first &+= 1 }
        while last > first, Ascii.isBlank(bytes[last &- 1]) { last &-= 1 }
        guard let length = Self.length(bytes, ByteRange(first, last &- first)) else { return nil }
        if let stated, stated != length { return nil }
        stated = length
        guard end < value.upper else { break }
        start = end &+ 1
      }
    }
    return stated
  }

  enum Framing {
    case stated(BodyFraming)
    case refused(Refusal)
  }

  /// Digits only, at most 19 of them and below 2^63.
  private static func length(_ bytes: Span<UInt8>, _ range: ByteRange) -> UInt64? {
    guard range.count >= 1, range.count <= 19 else { return nil }
    var length: UInt64 = 0
    for at in range.range {
      guard Ascii.isDigit(bytes[at]) else { return nil }
      length = length &* 10 &+ UInt64(bytes[at] &- 0x30)  // 19 digits stay below 2^64
    }
    return length <= UInt64(Int64.max) ? length : nil
  }
}
