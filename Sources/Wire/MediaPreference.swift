// What a client would rather read, HTML or JSON, by its Accept fields (RFC 9110 section 12.5.1). Only for answers of our own.

/// Fed each line of Accept.
public struct MediaPreference: Sendable {
  /// In thousandths, by the most specific range that names the type; nil: none does.
  private struct Weight {
    var specificity = -1
    var quality = 0

    mutating func note(_ specificity: Int, _ quality: Int) {
      guard specificity > self.specificity else { return }
      self = Weight(specificity: specificity, quality: quality)
    }
  }

  private var html = Weight()
  private var json = Weight()

  public init() {}

  /// JSON only where it is wanted more: whoever says nothing of either, or of both alike, is taken for a person.
  public var prefersJSON: Bool { json.quality > html.quality }

  public mutating func note(_ line: Span<UInt8>) {
    var at = 0
    while let range = FieldList.next(line, &at) { noteRange(line, range.lowerBound, range.upperBound) }
  }

  private mutating func noteRange(_ line: Span<UInt8>, _ start: Int, _ end: Int) {
    var nameEnd = start
    while nameEnd < end, line[nameEnd] != 0x3b, !Ascii.isBlank(line[nameEnd]) { nameEnd += 1 }
    let quality = Self.quality(line, nameEnd, end)
    let name = line.extracting(start..<nameEnd)
    if name.equalsIgnoringCase(lowercase: "*/*".utf8.span) {
      html.note(0, quality)
      json.note(0, quality)
    } else if name.equalsIgnoringCase(lowercase: "text/*".utf8.span) {
      html.note(1, quality)
    } else if name.equalsIgnoringCase(lowercase: "application/*".utf8.span) {
      json.note(1, quality)
    } else if name.equalsIgnoringCase(lowercase: "text/html".utf8.span)
      || name.equalsIgnoringCase(lowercase: "application/xhtml+xml".utf8.span)
    {
      html.note(2, quality)
    } else if name.equalsIgnoringCase(lowercase: "application/json".utf8.span) || Self.isOfJSON(name) {
      json.note(2, quality)
    }
  }

  /// `application/problem+json` and its like.
  private static func isOfJSON(_ name: Span<UInt8>) -> Bool {
    let (prefix, suffix) = ("application/".utf8.count, "+json".utf8.count)
    guard name.count > prefix + suffix else { return false }
    return name.extracting(first: prefix).equalsIgnoringCase(lowercase: "application/".utf8.span)
      && name.extracting(last: suffix).equalsIgnoringCase(lowercase: "+json".utf8.span)
  }

  /// `;q=0.5` in thousandths; 1000 where nothing is said, 0 for what is none.
  private static func quality(_ line: Span<UInt8>, _ start: Int, _ end: Int) -> Int {
    var at = start
    while at < end {
      while at < end, line[at] == 0x3b || Ascii.isBlank(line[at]) { at += 1 }
      var next = at
      while next < end, line[next] != 0x3b { next += 1 }
      if next - at >= 2, line[at] | 0x20 == 0x71, line[at + 1] == 0x3d {
        at += 2
        return min(QualityValue.read(line, &at, before: next) ?? 0, 1_000)
      }
      at = next
    }
    return 1_000
  }
}
