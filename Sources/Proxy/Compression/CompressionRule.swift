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
    /// On its connection to us, or on the one to whoever signed it or began the connection with a PROXY header.
    package var hasCertificate = false
    package init() {}
  }

  package enum Verdict: Equatable, Sendable {
    /// Nothing of this kind is compressed here, for whomever.
    case untouched
    /// It goes as it is to this client; others may get it compressed.
    case identity
    case gzip
    /// It says that the client still has what was compressed for it.
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
    // A part of what would be compressed as a whole.
    let isPart = responseHead.status == 206
    let facts = ResponseFields(response, responseHead)
    guard isNotModified || isPart || isContent(responseHead.status), facts.mayChange, isPart || !facts.hasRange,
      includesCredentials || !(setsCookie || facts.setsCookie)
    else { return .untouched }
    // A 304 need not say what the content is (RFC 9110 section 15.4.5).
    if facts.type.isEmpty {
      guard isNotModified else { return .untouched }
    } else if !types.holds(response.extracting(facts.type.range)) {
      return .untouched
    }
    // Ranges are counted in the content as it is. A 206 has the Vary that a 200 would have (section 15.3.7); how much that would be is
    // not looked for.
    if isPart { return .identity }
    if let contentBytes, contentBytes < minimumBytes { return .untouched }
    if isNotModified { return hasCompressed(request, head, response, facts.tag) ? .notModified : .identity }
    guard asker.isPlain, includesCredentials || !asker.hasCertificate, allows(request, head) else { return .identity }
    return .gzip
  }

  /// 205 has no content.
  private func isContent(_ status: Int) -> Bool {
    (200..<300).contains(status) && status != 204 && status != 205 && status != 206
  }

  /// What the client has is what was compressed: it knows it by the weak tag. Of this tag alone is that asked, for a server's own weak one
  /// stays what it is. Who shows the tag as it is has the content as it is, and finds it again by that tag alone: strong and weak differ
  /// (section 8.8.3.2).
  private func hasCompressed(
    _ request: Span<UInt8>, _ head: RequestHead, _ response: Span<UInt8>, _ tag: ByteRange
  ) -> Bool {
    guard !tag.isEmpty else { return false }
    for i in 0..<head.fieldCount {
      let line = head.field(i)
      guard request.extracting(line.name.range).equalsIgnoringCase("if-none-match") else { continue }
      if EntityTags(of: response.extracting(tag.range), in: request.extracting(line.value.range)).hasWeak {
        return true
      }
    }
    return false
  }

  /// The request's fields: the client takes gzip and content that is not what the server has, did not ask for a part, and shows nothing
  /// that is its own.
  private func allows(_ bytes: Span<UInt8>, _ head: RequestHead) -> Bool {
    var preference = CodingPreference()
    for i in 0..<head.fieldCount {
      let line = head.field(i)
      let name = bytes.extracting(line.name.range)
      switch name.count {
      case 15 where name.equalsIgnoringCase("accept-encoding"):
        preference.note(bytes.extracting(line.value.range))
      case 5 where name.equalsIgnoringCase("range"): return false
      case 13 where name.equalsIgnoringCase("cache-control"):
        if Self.forbidsChange(bytes.extracting(line.value.range)) { return false }
      case 6 where name.equalsIgnoringCase("cookie"): guard includesCredentials else { return false }
      case 13 where name.equalsIgnoringCase("authorization"): guard includesCredentials else { return false }
      default: break
      }
    }
    return preference.takesGzip
  }

  /// Whether Cache-Control has `no-transform` (RFC 9111 sections 5.2.1.6 and 5.2.2.6). What stands in quotes may look like it: then content
  /// goes as it is.
  fileprivate static func forbidsChange(_ value: Span<UInt8>) -> Bool {
    FieldList.mayHaveDirective(value, lowercase: "no-transform".utf8.span)
  }
}

/// What a response's fields say about its content.
private struct ResponseFields {
  /// Nothing forbids to send the content otherwise than it came.
  var mayChange = true
  /// It is a part of what the server has.
  var hasRange = false
  var setsCookie = false
  /// Content-Type; empty where there is none, or several.
  var type = ByteRange.empty
  /// ETag.
  var tag = ByteRange.empty

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
      case 13 where name.equalsIgnoringCase("content-range"): hasRange = true
      case 13 where name.equalsIgnoringCase("cache-control"):
        if CompressionRule.forbidsChange(bytes.extracting(line.value.range)) { mayChange = false }
      case 10 where name.equalsIgnoringCase("set-cookie"): setsCookie = true
      case 4 where name.equalsIgnoringCase("etag"):
        tag = line.value
        tags += 1
      case 7 where line.kind == .trailer:
        if FieldList.holds(bytes.extracting(line.value.range), where: ContentDigest.isName) { mayChange = false }
      default: if ContentDigest.isName(name) { mayChange = false }
      }
    }
    if types > 1 { type = .empty }
    if tags > 1 { mayChange = false }
  }
}
