// Whether a client takes content that is coded with gzip, by its Accept-Encoding fields (RFC 9110 section 12.5.3). Strict: fields
// that do not keep to the grammar are as none, since everybody can take the content as it is. Caller: the rule that decides
// what is compressed.

/// Fed each line of Accept-Encoding.
public struct CodingPreference: Sendable {
  /// In thousandths; nil where it is not listed.
  private var gzip: Int?
  private var identity: Int?
  private var anyOther: Int?
  private var isMalformed = false

  public init() {}

  /// gzip is taken, and the content as it is is not wanted more.
  public var takesGzip: Bool {
    guard !isMalformed, let quality = gzip ?? anyOther, quality > 0 else { return false }
    return quality >= identity ?? anyOther ?? 0
  }

  public mutating func note(_ line: Span<UInt8>) {
    var at = 0
    while at < line.count {
      // Elements may be empty (section 5.6.1.2).
      Self.skipBlanks(line, &at)
      let start = at
      at = Token.end(line, at, line.count)
      if at > start {
        let name = line.extracting(start..<at)
        guard let quality = Self.weight(line, &at) else { return isMalformed = true }
        note(name, quality)
      }
      Self.skipBlanks(line, &at)
      guard at < line.count else { return }
      guard line[at] == Ascii.comma else { return isMalformed = true }
      at += 1
    }
  }

  /// Of a coding that is listed twice the lower weight counts.
  private mutating func note(_ name: Span<UInt8>, _ quality: Int) {
    // `x-gzip` is gzip (section 8.4.1.3).
    if name.equalsIgnoringCase(lowercase: "gzip".utf8.span) || name.equalsIgnoringCase(lowercase: "x-gzip".utf8.span) {
      gzip = min(gzip ?? quality, quality)
    } else if name.equalsIgnoringCase(lowercase: "identity".utf8.span) {
      identity = min(identity ?? quality, quality)
    } else if name.equalsIgnoringCase(lowercase: "*".utf8.span) {
      anyOther = min(anyOther ?? quality, quality)
    }
  }

  /// `OWS ";" OWS "q=" qvalue` if it comes next (section 12.4.2), in thousandths: 1000 where nothing is said, nil for what is none.
  private static func weight(_ line: Span<UInt8>, _ at: inout Int) -> Int? {
    var next = at
    skipBlanks(line, &next)
    guard next < line.count, line[next] == 0x3b else { return 1_000 }
    next += 1
    skipBlanks(line, &next)
    guard next + 1 < line.count, line[next] | 0x20 == 0x71, line[next + 1] == 0x3d else { return nil }
    next += 2
    guard let quality = QualityValue.read(line, &next, before: line.count) else { return nil }
    at = next
    return quality <= 1_000 ? quality : nil
  }

  private static func skipBlanks(_ line: Span<UInt8>, _ at: inout Int) {
    while at < line.count, Ascii.isBlank(line[at]) { at += 1 }
  }
}
