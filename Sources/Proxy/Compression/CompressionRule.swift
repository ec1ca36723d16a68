// Which responses of a route are compressed, by what their heads and those of their requests say. Made with a plan; immutable, and asked
// once for each response that a server gave to a route that has one.
//
// Content that is compressed tells by its length how much of it repeats. Where it holds a secret (a token against forged requests, say)
// beside something that whoever makes the browser ask can choose, the length tells the secret bit by bit, TLS or not (the attack is called
// BREACH). A browser adds to requests that others make it send what it has for the site: cookies, passwords, certificates. Responses to
// requests without any of these are the same for everybody, and hold no secret. So the others are left as they are, unless the
// route says that it knows.

import Platform
import Policy
import Wire

package struct CompressionRule: Sendable {
  private let types: MediaTypes
  private let minimumBytes: UInt64
  let level: Int
  private let includesCredentials: Bool

  package init(_ configured: Config.Compression) {
    types = configured.types
    minimumBytes = UInt64(configured.minimumBytes)
    level = configured.level
    includesCredentials = configured.includesCredentials
  }

  /// What is known of a request besides its head.
  package struct Asker: Sendable {
    /// What it asks for is no tunnel and no call of gRPC, and its client knows how to read what is compressed as it comes: chunks, or a
    /// stream's DATA.
    package var isPlain = true
    package var hasCertificate = false
    package init() {}
  }

  package enum Verdict: Equatable, Sendable {
    /// Nothing of this kind is compressed here, for whomever.
    case untouched
    /// It goes as it is to this client; others may get it compressed.
    case identity
    case gzip
    /// It says that the client has what would be compressed.
    case notModified
  }

  /// - Parameters:
  ///   - contentBytes: what the content has, or would have with GET; nil where that is not known.
  ///   - setsCookie: beside the cookies of the response's own.
  package func judge(
    _ request: Span<UInt8>, _ head: RequestHead, _ asker: Asker, _ response: Span<UInt8>, _ responseHead: ResponseHead,
    contentBytes: UInt64?, setsCookie: Bool
  ) -> Verdict {
    let isNotModified = responseHead.status == 304
    let facts = ResponseFields(response, responseHead)
    guard isNotModified || isContent(responseHead.status), facts.mayChange, !(setsCookie && !includesCredentials),
      includesCredentials || !facts.setsCookie
    else { return .untouched }
    // A 304 need not say what the content is (RFC 9110 section 15.4.5).
    if facts.type.isEmpty {
      guard isNotModified else { return .untouched }
    } else if !types.holds(response.extracting(facts.type.range)) {
      return .untouched
    }
    if let contentBytes, contentBytes < minimumBytes { return .untouched }
    guard asker.isPlain, includesCredentials || !asker.hasCertificate, allows(request, head) else { return .identity }
    return isNotModified ? .notModified : .gzip
  }

  /// 205 has no content, 206 a part of some, in which ranges are counted as it is.
  private func isContent(_ status: Int) -> Bool {
    (200..<300).contains(status) && status != 204 && status != 205 && status != 206
  }

  /// The request's fields: the client takes gzip, did not ask for a part, and shows nothing that is its own.
  private func allows(_ bytes: Span<UInt8>, _ head: RequestHead) -> Bool {
    var preference = CodingPreference()
    for i in 0..<head.fieldCount {
      let line = head.field(i)
      let name = bytes.extracting(line.name.range)
      switch name.count {
      case 15 where name.equalsIgnoringCase("accept-encoding"):
        preference.note(bytes.extracting(line.value.range))
      case 5 where name.equalsIgnoringCase("range"): return false
      case 6 where name.equalsIgnoringCase("cookie"): guard includesCredentials else { return false }
      case 13 where name.equalsIgnoringCase("authorization"): guard includesCredentials else { return false }
      default: break
      }
    }
    return preference.takesGzip
  }
}

/// What a response's fields say about its content.
private struct ResponseFields {
  /// Nothing forbids to send the content otherwise than it came.
  var mayChange = true
  var setsCookie = false
  /// Content-Type; empty where there is none, or several.
  var type = ByteRange.empty

  init(_ bytes: Span<UInt8>, _ head: ResponseHead) {
    // Fields that a backend has signed stay what they are (RFC 9421).
    if head.has(.signature) || head.has(.signatureInput) { mayChange = false }
    var types = 0
    var tags = 0
    for i in 0..<head.fieldCount {
      let line = head.field(i)
      guard line.kind == .other || line.kind == .trailer else { continue }
      let name = bytes.extracting(line.name.range)
      switch name.count {
      case 12 where name.equalsIgnoringCase("content-type"):
        type = line.value
        types += 1
      case 16 where name.equalsIgnoringCase("content-encoding"): mayChange = false
      case 13 where name.equalsIgnoringCase("content-range"): mayChange = false
      case 13 where name.equalsIgnoringCase("cache-control"):
        if Self.lists(bytes.extracting(line.value.range), "no-transform") { mayChange = false }
      case 10 where name.equalsIgnoringCase("set-cookie"): setsCookie = true
      case 4 where name.equalsIgnoringCase("etag"): tags += 1
      case 7 where line.kind == .trailer:
        if Self.announcesDigest(bytes.extracting(line.value.range)) { mayChange = false }
      default: if ContentDigest.isName(name) { mayChange = false }
      }
    }
    if types > 1 { type = .empty }
    if tags > 1 { mayChange = false }
  }

  /// Whether a list of directives has this one (RFC 9111 section 5.2), in whatever case and wherever blanks stand. What stands in quotes
  /// may look like it: then content goes as it is.
  private static func lists(_ value: Span<UInt8>, _ directive: StaticString) -> Bool {
    anyElement(of: value) { $0.equalsIgnoringCase(directive) }
  }

  private static func announcesDigest(_ value: Span<UInt8>) -> Bool { anyElement(of: value, ContentDigest.isName) }

  private static func anyElement(of value: Span<UInt8>, _ isWanted: (Span<UInt8>) -> Bool) -> Bool {
    var start = 0
    while start < value.count {
      var end = start
      while end < value.count, value[end] != 0x2c { end += 1 }
      var (lower, upper) = (start, end)
      while lower < upper, value[lower] == 0x20 || value[lower] == 0x09 { lower += 1 }
      while upper > lower, value[upper - 1] == 0x20 || value[upper - 1] == 0x09 { upper -= 1 }
      if isWanted(value.extracting(lower..<upper)) { return true }
      start = end + 1
    }
    return false
  }
}

/// Fields that hold a digest of the content, or of the representation in the coding that it is sent in (RFC 9530, and those before it).
enum ContentDigest {
  static func isName(_ name: Span<UInt8>) -> Bool {
    switch name.count {
    case 6: name.equalsIgnoringCase("digest")
    case 11: name.equalsIgnoringCase("content-md5") || name.equalsIgnoringCase("repr-digest")
    case 14: name.equalsIgnoringCase("content-digest")
    default: false
    }
  }

  /// Of content that went out in another coding, trailers tell what it was before.
  static func withhold(_ bytes: Span<UInt8>, _ trailers: TrailerSection) {
    for i in 0..<trailers.fieldCount where isName(bytes.extracting(trailers.name(i).range)) { trailers.withhold(i) }
  }
}
