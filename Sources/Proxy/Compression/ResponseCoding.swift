// What compressing changes about a response's head: lines that are left out, and lines that HeadWriter writes beside the others.

import Platform
import Wire

package struct ResponseCoding: Sendable {
  /// The content is coded with gzip, also where only its head is sent.
  private(set) var isGzip = false
  /// Other clients may get it in another coding.
  private var varies = false
  /// The entity tag that is written as a weak one.
  private var tag = ByteRange.empty

  /// The head goes as it came.
  package static let asIs = ResponseCoding()

  /// The most that a head grows by.
  static let bytesMax = 64

  private init() {}

  var changesHead: Bool { varies || isGzip }

  /// Marks the lines of `head` that are left out.
  /// - Parameter edit: what the route changes; a tag that it removes is not written, and a Vary that it removes says nothing.
  package init(_ verdict: CompressionRule.Verdict, _ bytes: Span<UInt8>, _ head: ResponseHead, _ edit: HeadEdit?) {
    guard verdict != .untouched else { return }
    varies = edit?.varies != true
    isGzip = verdict == .gzip
    for i in 0..<head.fieldCount where head.kind(i) == .other && !head.isNominated(i) {
      let name = bytes.extracting(head.name(i).range)
      switch name.count {
      case 4 where name.equalsIgnoringCase("vary"):
        if Self.coversCoding(bytes.extracting(head.value(i).range)), edit?.drops(bytes, head.name(i)) != true {
          varies = false
        }
      case 4 where verdict != .identity && name.equalsIgnoringCase("etag"):
        takeTag(bytes, head, i, isRemoved: edit?.drops(bytes, head.name(i)) ?? false)
      case 13 where isGzip && name.equalsIgnoringCase("accept-ranges"):
        // Ranges are counted in what the server has.
        head.withhold(i)
      default: break
      }
    }
  }

  /// A strong tag promises the same bytes (RFC 9110 section 8.8.1), and whether they are depends on zlib. What is no tag, as one without
  /// quotes, is left out.
  private mutating func takeTag(_ bytes: Span<UInt8>, _ head: ResponseHead, _ i: Int, isRemoved: Bool) {
    let value = head.value(i)
    let text = bytes.extracting(value.range)
    if text.count >= 2, text[0] == 0x57, text[1] == 0x2f { return }
    head.withhold(i)
    if !isRemoved, text.count >= 2, text[0] == 0x22, text[text.count - 1] == 0x22 { tag = value }
  }

  /// Whether Vary names Accept-Encoding, or everything.
  static func coversCoding(_ value: Span<UInt8>) -> Bool {
    FieldList.holds(value) { $0.equalsIgnoringCase("accept-encoding") || $0.equalsIgnoringCase("*") }
  }

  /// Appends the lines; `bytes` are those of the head.
  @inline(never) func write(_ bytes: Span<UInt8>, into out: Buffer) {
    if isGzip { out.append("Content-Encoding: gzip\r\n") }
    if varies { out.append("Vary: Accept-Encoding\r\n") }
    guard !tag.isEmpty else { return }
    out.append("ETag: W/")
    out.append(bytes.extracting(tag.range))
    out.append("\r\n")
  }
}
