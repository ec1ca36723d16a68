// The fields of one section (a head's or a trailer's), as offsets: names, trimmed values, what each name is to us, and which
// were nominated by Connection. They are read from lines (`scan`), be it HTTP/1's or a codec's. The
// storage is made once, for the configured number of fields.
// Invariant: after a complete section every range lies inside its bytes, every name is a token and no value holds a control
// byte. Callers: RequestHead, ResponseHead, TrailerSection.

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
  // drops the checks at run time. It cannot for one struct that holds all of them.
  var lines: [FieldLine]
  private(set) var count = 0
  /// Which kinds occur, and which occur more than once, by `FieldKind.bit`.
  private(set) var seen: UInt64 = 0
  private(set) var repeated: UInt64 = 0
  /// The first line of each kind in `seen`.
  private var first = InlineArray<32, UInt16>(repeating: 0)
  /// A line of the last scan ended in a bare LF.
  private(set) var hasBareLF = false
  /// The length that Content-Length states several times over, in one line or several, always the same.
  var repeatedLength: UInt64?
  let names: FieldNames
  private let fieldsMax: Int
  /// From the operator's own servers what has one reading is taken though it is not how it should be: lines that end in a
  /// bare LF (RFC 9112 section 2.2 lets a recipient take them), and one length stated twice (RFC 9110 section 8.6).
  let isLenient: Bool

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

  func withhold(_ index: Int) {
    precondition(index >= 0 && index < count, "no such field")
    // By way of a local, so that no access to `lines` is under way while an array is copied.
    var lines: [FieldLine] = []
    swap(&lines, &self.lines)
    lines[index].isNominated = true
    swap(&lines, &self.lines)
  }

  func has(_ kind: FieldKind) -> Bool { seen & kind.bit != 0 }

  /// The first line of a kind that occurs.
  func firstIndex(_ kind: FieldKind) -> Int {
    precondition(has(kind))
    return Int(first[Int(kind.rawValue)])
  }

  /// The value of the first line of `kind`, empty when there is none.
  func firstValue(_ kind: FieldKind) -> ByteRange { has(kind) ? lines[firstIndex(kind)].value : .empty }

  // MARK: A field

  /// What the fields so far add up to: the properties above, where a field is put.
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

  /// The value between `start` and `end`, without the whitespace around it, and the first byte that may not stand in it, or
  /// `end` (RFC 9110 section 5.5).
  @inline(__always) private static func value(
    _ bytes: Span<UInt8>, _ start: Int, _ end: Int
  ) -> (range: ByteRange, stop: Int) {
    var lower = start
    while lower < end, Ascii.isBlank(bytes[lower]) { lower &+= 1 }
    let stop = textEnd(bytes, lower, end)
    var upper = stop
    while upper > lower, Ascii.isBlank(bytes[upper &- 1]) { upper &-= 1 }
    return (ByteRange(lower, upper &- lower), stop)
  }

  // MARK: Scanning

  /// Reads field lines from `start` up to and with the empty line that ends them; no byte at or past `end` is looked at.
  /// Stops at the first byte that cannot be right, so that a prefix is refused just as the whole would be.
  func scan(_ bytes: Span<UInt8>, from start: Int, end: Int, limits: HeadLimits) -> Scan {
    var lines: [FieldLine] = []
    swap(&lines, &self.lines)
    var marks = Marks()
    let scan = scanLines(bytes, from: start, end: end, countMax: min(limits.fields, fieldsMax), &lines, &marks)
    swap(&lines, &self.lines)
    take(marks)
    return scan
  }

  @inline(__always) private func take(_ marks: Marks) {
    count = marks.count
    seen = marks.seen
    repeated = marks.repeated
    first = marks.first
    hasBareLF = marks.hasBareLF
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
        at = Token.end(bytes, at, end)
        guard at < end else { return .incomplete }
        guard bytes[at] == Ascii.colon else { return nameStop(bytes, at, end) }
      }
      let name = ByteRange(nameStart, at &- nameStart)
      guard !name.isEmpty else { return .refused(.nameToken) }

      let value = Self.value(bytes, at &+ 1, end)
      at = value.stop
      guard at < end else { return .incomplete }
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
      lines[marks.count] = FieldLine(name: name, value: value.range, kind: kind, isNominated: false)
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
}
