// Heads as HTTP/2 brings them, field by field, beside the same heads as HTTP/1 has them: what one refuses the other does not take, and what
// both take says the same.

import Platform
import Proxy
import TestSupport
import Testing
import Wire

@Suite struct HTTP2HeadTests {
  private typealias Field = (name: [UInt8], value: [UInt8])
  private static let limits = HeadLimits(headBytes: 16 * 1024, fields: 100)
  private let pool = BufferPool(chunkBytes: 64 * 1024, keptMax: 4)
  private let small = BufferPool(chunkBytes: 4 * 1024, keptMax: 4)

  /// The fields of a document, the pseudo-fields first; nil where fields cannot say it.
  private static func fields(_ document: Document) -> [Field]? {
    let bytes = document.bytes.prefix(document.length)
    var lines: [ArraySlice<UInt8>] = []
    var start = 0
    var isWhole = false
    for index in bytes.indices.dropLast() where bytes[index] == 0x0d && bytes[index + 1] == 0x0a {
      isWhole = index == start
      if isWhole { break }
      lines.append(bytes[start..<index])
      start = index + 2
    }
    let words = lines.first?.split(separator: 0x20, omittingEmptySubsequences: false) ?? []
    guard isWhole, words.count == 3, words[1].first == 0x2f, words[2].elementsEqual("HTTP/1.1".utf8) else { return nil }
    var regular: [Field] = []
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: 0x3a), line.first != 0x20, line.first != 0x09 else { return nil }
      let name = line[..<colon].map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }
      let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
      var value = line[(colon + 1)...].drop(while: isBlank)
      while let last = value.last, isBlank(last) { value.removeLast() }
      regular.append((name, Array(value)))
    }
    let hosts = regular.indices.filter { regular[$0].name.elementsEqual("host".utf8) }
    guard hosts.count == 1 else { return nil }
    let host = regular.remove(at: hosts[0])
    func pseudo(_ name: String, _ value: [UInt8]) -> Field { (Array(name.utf8), value) }
    return [
      pseudo(":method", Array(words[0])), pseudo(":scheme", Array("https".utf8)), pseudo(":authority", host.value),
      pseudo(":path", Array(words[1])),
    ] + regular
  }

  private func read(_ fields: [Field], _ head: RequestHead, into out: Buffer) -> HeadOutcome {
    let reader = HTTP2Head(pool: pool, small: small)
    reader.begin(isTrailer: false, limits: Self.limits, pool: pool, small: small)
    for field in fields {
      let goesOn = reader.add(name: field.name.span, value: field.value.span)
      #expect(goesOn)
    }
    return reader.write(head, into: out)
  }

  /// Those that HTTP/2 has no place for, whatever they say.
  private static let ofConnection = [
    "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te",
  ]

  /// What is wrong with a line of HTTP/1 is, where fields can say it at all, wrong with a name or a value.
  private static let ofLines = ["line-ending", "name-space"]

  @Test func whatHTTP1RefusesIsNotTaken() {
    var compared = 0
    for document in Document.smuggling {
      guard let fields = Self.fields(document) else { continue }
      compared += 1
      let outcome = read(fields, RequestHead(fieldsMax: 100), into: Buffer(capacity: 64 * 1024))
      let names = fields.map { String(decoding: $0.name, as: UTF8.self) }
      switch document.expected {
      case .refused(let name):
        guard case .refused(let refusal) = outcome else {
          Issue.record("\(document.name) is taken: HTTP/1 says \(name)")
          continue
        }
        if !names.contains(where: { Self.ofConnection.contains($0) }), !Self.ofLines.contains(name) {
          #expect("\(refusal.name)" == name, "\(document.name)")
        }
      case .complete:
        if names.contains(where: { Self.ofConnection.contains($0) }) {
          #expect(outcome == .refused(.http2ConnectionField), "\(document.name)")
        } else {
          #expect(outcome.isWhole, "\(document.name): \(outcome)")
        }
      case .incomplete: break
      }
    }
    #expect(compared > 40)
  }

  /// Random heads of honest and of strange fields, in both ways.
  @Test(arguments: 1...4) func whatBothTakeSaysTheSame(_ seed: Int) {
    var random = Seeded(UInt64(seed))
    let names = [
      "accept", "cookie", "x-forwarded-for", "x_forwarded_for", "forwarded", "content-length", "user-agent",
      "x-real-ip",
      "client-attest", "signature", "priority", "content-type", "bad name", "Upper", "a", "expect", "x-b",
    ]
    let values = [
      "", "1", "text/plain", "a, b", "192.0.2.1", "for=192.0.2.1", "0", "12", "a\u{1}b", " lead", "tail ",
      "100-continue",
      "sig1=:YWJj:", "\u{e9}", "a\rb", "u=1",
    ]
    var taken = 0
    for _ in 0..<3_000 {
      let path = ["/", "/a/b", "/a?b=c", "/%2e", "/a b", "/\u{1}", "/a#b", "*"].randomElement(using: &random)!
      let method = ["GET", "POST", "PUT", "OPTIONS"].randomElement(using: &random)!
      let host = ["a.example", "a.example:443", "[::1]", "a b", "a.example,b"].randomElement(using: &random)!
      let regular = (0..<Int.random(in: 0..<6, using: &random)).map { _ in
        (name: names.randomElement(using: &random)!, value: values.randomElement(using: &random)!)
      }
      let fields =
        ([(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
        + regular.map { ($0.name, $0.value) })
        .map { (name: Array($0.0.utf8), value: Array($0.1.utf8)) }
      let head = RequestHead(fieldsMax: 100)
      let out = Buffer(capacity: 64 * 1024)
      let outcome = read(fields, head, into: out)

      // Crumbs are one line in the place of the first (RFC 9113 section 8.2.3), behind the others.
      let cookies = regular.filter { $0.name == "cookie" }.map(\.value)
      var lines = regular.filter { $0.name != "cookie" }.map { "\($0.name): \($0.value)" }
      if !cookies.isEmpty { lines.append("cookie: \(cookies.joined(separator: "; "))") }
      let text = "\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"
      let bytes = Array(text.utf8)
      let other = RequestHead(fieldsMax: 100)
      let expected = other.parse(bytes.span, limits: Self.limits)
      guard case .complete = expected else {
        #expect(!outcome.isWhole, "taken by HTTP/2 alone: \(text.debugDescription)")
        continue
      }
      guard outcome.isWhole else {
        // HTTP/2 is stricter about the case of names and blanks around values.
        let isStrict = regular.contains { $0.name == "Upper" || $0.value.hasPrefix(" ") || $0.value.hasSuffix(" ") }
        #expect(isStrict, "refused by HTTP/2 alone: \(text.debugDescription), \(outcome)")
        continue
      }
      taken += 1
      func said(_ head: RequestHead, _ range: ByteRange, _ bytes: [UInt8]) -> [UInt8] { Array(bytes[range.range]) }
      let written = out.copyBytes()
      for part in [\RequestHead.methodRange, \.path, \.query, \.authority] {
        #expect(
          said(head, head[keyPath: part], written) == said(other, other[keyPath: part], bytes),
          "\(text.debugDescription)")
      }
      #expect(head.identityRefusal == other.identityRefusal && head.expectsContinue == other.expectsContinue)
      #expect(head.has(.clientAttest) == other.has(.clientAttest) && head.has(.alias) == other.has(.alias))
      // The other has Host, too.
      let kinds = (0..<head.fieldCount).map { head.kind($0) }.filter { $0 != .host }
      #expect(kinds == (0..<other.fieldCount).map { other.kind($0) }.filter { $0 != .host }, "\(text.debugDescription)")
    }
    #expect(taken > 100)
  }
}

extension HeadOutcome {
  fileprivate var isWhole: Bool { if case .complete = self { true } else { false } }
}
