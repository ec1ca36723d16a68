// Media types (RFC 9110 section 8.3.1) that a configuration lists, and whether Content-Type names one of them. Bounded by whoever
// reads the list. Callers: the configuration's reader; the rule that decides what is compressed.

/// One entry of such a list: `text/html`, `text/*` or `application/*+json`.
public struct MediaTypePattern: Sendable, Equatable {
  /// In lower case.
  public let text: String
  /// All of it where it is one type, else what stands before the asterisk.
  private let front: [UInt8]
  /// What stands behind it.
  private let back: [UInt8]
  fileprivate let isOneType: Bool

  /// Nil where it is none.
  public init?(_ given: String) {
    guard given.utf8.count <= 128, given.utf8.allSatisfy({ Token.isTokenByte($0) || $0 == 0x2f }) else { return nil }
    let bytes = given.utf8.map(\.asciiLowercased)
    guard let slash = bytes.firstIndex(of: 0x2f), slash > 0, slash + 1 < bytes.count,
      !bytes[(slash + 1)...].contains(0x2f)
    else { return nil }
    text = String(decoding: bytes, as: UTF8.self)
    let star = bytes.firstIndex(of: 0x2a)
    isOneType = star == nil
    front = Array(bytes[..<(star ?? bytes.count)])
    back = star.map { Array(bytes[($0 + 1)...]) } ?? []
    guard let star else { return }
    // An asterisk stands for a whole subtype, or for what is before its suffix.
    guard star == slash + 1, !back.contains(0x2a), back.isEmpty || (back[0] == 0x2b && back.count > 1) else {
      return nil
    }
  }

  /// `type`: without parameters.
  fileprivate func matches(_ type: Span<UInt8>) -> Bool {
    if isOneType { return type.equalsIgnoringCase(lowercase: front.span) }
    guard type.count > front.count + back.count else { return false }
    return type.extracting(first: front.count).equalsIgnoringCase(lowercase: front.span)
      && type.extracting(last: back.count).equalsIgnoringCase(lowercase: back.span)
  }
}

public struct MediaTypes: Sendable, Equatable {
  public let patterns: [MediaTypePattern]

  public init(_ patterns: [MediaTypePattern]) { self.patterns = patterns }

  /// Whether Content-Type names one of them, whatever its parameters.
  public func holds(_ contentType: Span<UInt8>) -> Bool {
    let slash = Token.end(contentType, 0, contentType.count)
    guard slash > 0, slash < contentType.count, contentType[slash] == 0x2f else { return false }
    let end = Token.end(contentType, slash + 1, contentType.count)
    guard end > slash + 1,
      end == contentType.count || contentType[end] == 0x3b || Ascii.isBlank(contentType[end])
    else { return false }
    let type = contentType.extracting(first: end)
    let isOfEvents = Self.events.matches(type)
    var i = 0
    while i < patterns.count {
      if patterns[i].matches(type), patterns[i].isOneType || !isOfEvents { return true }
      i += 1
    }
    return false
  }

  /// A stream of events: `text/*` does not mean it.
  private static let events: MediaTypePattern = {
    guard let pattern = MediaTypePattern("text/event-stream") else { preconditionFailure("it is a media type") }
    return pattern
  }()
}
