// Deterministic mutation of good and bad messages: nothing traps, and what is accepted keeps the invariants that the rest of
// the program relies on. A model written the slow way says which heads may be accepted at all.

import TestSupport
import Testing
import Wire

@Suite struct HTTPMutationTests {
  @Test(arguments: 1...4) func requestHeads(_ seed: Int) {
    var dice = Seeded(UInt64(seed))
    let reader = RequestReader(limits: HeadLimits(headBytes: 300, fields: 8))
    var accepted = 0
    for bytes in HTTPCorpus.mutatedRequests(seed) {
      let outcome = reader.parse(bytes, 0)
      let model = Model.readRequest(bytes, headBytes: 300, fields: 8)
      guard case .complete(let length) = outcome else {
        // What the model takes for a good head, the parser has to take too.
        if let model, outcome != .refused(.methodRefused) {
          Issue.record("refused as \(outcome), good to the model (\(model.length)): \(bytes)")
        }
        continue
      }
      accepted += 1
      guard let model else {
        Issue.record("accepted, bad to the model: \(bytes)")
        continue
      }
      let head = reader.head
      #expect(length == model.length && length <= 300)
      #expect(head.fieldCount == model.fields.count)
      #expect(head.framing == model.framing)
      #expect(head.keepAlive == model.keepAlive)
      for index in 0..<head.fieldCount {
        #expect(head.name(index).upper <= length && head.value(index).upper <= length)
        #expect(Array(bytes[head.name(index).range]) == model.fields[index].name)
        #expect(Array(bytes[head.value(index).range]) == model.fields[index].value)
        let name = Model.string(model.fields[index].name).lowercased()
        #expect(head.isNominated(index) == (model.options.contains(name) && name != "close"), "\(bytes)")
        #expect(head.kind(index).isIdentity == Model.isIdentity(name), "\(name)")
        #expect((head.kind(index) == .alias) == (Model.isIdentity(name) && Model.fold(name) != name), "\(name)")
      }
      for range in [head.methodRange, head.target, head.path, head.query, head.authority] {
        #expect(range.upper <= length)
      }
      #expect(!head.path.isEmpty && !head.methodRange.isEmpty && !head.authority.isEmpty)
      // Of the absolute form these are parts.
      if [0x2f, 0x2a].contains(bytes[head.target.range.lowerBound]) {
        #expect(head.path.lower == head.target.lower && head.path.upper == head.query.lower)
        #expect(head.query.upper == head.target.upper)
      }
      // Cut anywhere, it is not a whole head.
      let cut = Int.random(in: 0..<length, using: &dice)
      #expect(reader.parse(Array(bytes.prefix(cut)), 0) == .incomplete)
    }
    #expect(accepted > 400, "the mutations leave too little to check")
  }

  @Test(arguments: 1...4) func responseHeads(_ seed: Int) {
    var dice = Seeded(UInt64(seed) << 32)
    let reader = ResponseReader(limits: HeadLimits(headBytes: 300, fields: 8))
    var accepted = 0
    for bytes in HTTPCorpus.mutatedResponses(seed) {
      guard case .complete(let length) = reader.parse(bytes, 0) else { continue }
      accepted += 1
      let head = reader.head
      #expect(length <= 300 && (100...999).contains(head.status) && head.reason.upper <= length)
      for index in 0..<head.fieldCount {
        #expect(head.name(index).upper <= length && head.value(index).upper <= length)
      }
      if head.status < 200 || head.status == 204 || head.status == 304 { #expect(head.framing == .none) }
      if head.framing == .untilClose { #expect(!head.keepAlive) }
      let names = (0..<head.fieldCount).map { head.kind($0) }
      #expect(!(names.contains(.contentLength) && names.contains(.transferEncoding)))
      let cut = Int.random(in: 0..<length, using: &dice)
      #expect(reader.parse(Array(bytes.prefix(cut)), 0) == .incomplete)
    }
    #expect(accepted > 300, "the mutations leave too little to check")
  }

  @Test(arguments: 1...4) func trailerSections(_ seed: Int) {
    var dice = Seeded(UInt64(seed) << 16)
    let section = TrailerSection(fieldsMax: 100)
    let limits = HeadLimits(headBytes: 300, fields: 8)
    var accepted = 0
    for bytes in HTTPCorpus.mutatedSections(seed) {
      guard case .complete(let length) = section.parse(bytes.span, limits: limits) else { continue }
      accepted += 1
      #expect(length <= 300 && section.fieldCount <= 8)
      for index in 0..<section.fieldCount {
        let (name, value) = (section.name(index), section.value(index))
        #expect(name.upper < value.lower + 1 && value.upper <= length - 2, "\(bytes)")
        #expect(bytes[name.range].allSatisfy { Model.tokenBytes.contains($0) }, "\(bytes)")
        #expect(!bytes[value.range].contains { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f }, "\(bytes)")
      }
      let cut = Int.random(in: 0..<length, using: &dice)
      #expect(section.parse(Array(bytes.prefix(cut)).span, limits: limits) == .incomplete)
    }
    #expect(accepted > 100, "the mutations leave too little to check")
  }

  @Test(arguments: 1...4) func bodies(_ seed: Int) {
    var dice = Seeded(UInt64(seed) << 48)
    var complete = 0
    for bytes in HTTPCorpus.mutatedBodies(seed) {
      let whole = DecodedBody(bytes, .chunked, piece: bytes.count + 1, takes: .max)
      let piece = Int.random(in: 1...max(1, bytes.count), using: &dice)
      let takes = Int.random(in: 1...5, using: &dice)
      let pieces = DecodedBody(bytes, .chunked, piece: piece, takes: takes)
      #expect(pieces == whole, "\(bytes)")
      let model = Model.readChunks(bytes)
      if case .complete(let length) = whole.end {
        complete += 1
        #expect(model?.payload == whole.payload && model?.length == length, "\(bytes)")
      } else {
        #expect(model == nil, "good to the model: \(bytes)")
      }
    }
    #expect(complete > 200, "the mutations leave too little to check")
  }
}

/// The same rules, written for the eye: it splits at CRLF, then judges each line.
enum Model {
  struct Field {
    var name: [UInt8]
    var value: [UInt8]
  }

  struct Head {
    var length: Int
    var fields: [Field]
    var framing: BodyFraming
    var options: [String]
    var keepAlive: Bool
  }

  static func fold(_ name: String) -> String {
    String(name.map { $0.isLetter || $0.isNumber ? $0 : "-" })
  }

  /// Whether a name in lower case stands for identity, or for framing in a spelling that is not its own.
  static func isIdentity(_ name: String) -> Bool {
    let folded = fold(name)
    if ["content-length", "transfer-encoding"].contains(folded) { return folded != name }
    let names = [
      "client-attest", "signature-input", "signature", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip",
      "client-ip", "x-client-ip", "x-cluster-client-ip", "fastly-client-ip",
    ]
    return names.contains(folded) || folded.hasPrefix("x-forwarded-") || folded.hasPrefix("client-cert")
  }

  static let tokenBytes = Set("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

  static func isToken(_ bytes: some Collection<UInt8>) -> Bool {
    !bytes.isEmpty && bytes.allSatisfy(tokenBytes.contains)
  }

  static func string(_ bytes: some Collection<UInt8>) -> String {
    String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
  }

  /// The lines up to the first empty one, and where that ends.
  static func lines(_ bytes: [UInt8], from start: Int) -> (lines: [[UInt8]], end: Int)? {
    var lines: [[UInt8]] = []
    var line: [UInt8] = []
    var at = start
    while at < bytes.count {
      if bytes[at] == 0x0d {
        guard at + 1 < bytes.count, bytes[at + 1] == 0x0a else { return nil }
        at += 2
        if line.isEmpty { return (lines, at) }
        lines.append(line)
        line = []
      } else if bytes[at] == 0x0a {
        return nil
      } else {
        line.append(bytes[at])
        at += 1
      }
    }
    return nil
  }

  static func field(_ line: [UInt8]) -> Field? {
    guard let colon = line.firstIndex(of: 0x3a), isToken(line[..<colon]) else { return nil }
    var value = line[(colon + 1)...]
    while let first = value.first, first == 0x20 || first == 0x09 { value.removeFirst() }
    while let last = value.last, last == 0x20 || last == 0x09 { value.removeLast() }
    guard value.allSatisfy({ $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7f) }) else { return nil }
    return Field(name: Array(line[..<colon]), value: Array(value))
  }

  /// A list of tokens in lower case, or nil.
  static func tokens(_ fields: [Field]) -> [String]? {
    var all: [String] = []
    for field in fields {
      for element in string(field.value).split(separator: ",") {
        let token = element.trimming { $0 == " " || $0 == "\t" }
        if token.isEmpty { continue }
        guard isToken(Array(token.utf8)) else { return nil }
        all.append(token.lowercased())
      }
    }
    return all
  }

  static func readRequest(_ bytes: [UInt8], headBytes: Int, fields fieldsMax: Int) -> Head? {
    let start = bytes.starts(with: [0x0d, 0x0a]) ? 2 : 0
    guard let (lines, end) = lines(bytes, from: start), end <= headBytes, let first = lines.first else { return nil }
    let words = first.split(separator: 0x20, omittingEmptySubsequences: false)
    guard words.count == 3, isToken(words[0]), words[0].count <= 32 else { return nil }
    let version = string(words[2])
    guard version == "HTTP/1.1" || version == "HTTP/1.0" else { return nil }
    let method = string(words[0])
    let target = string(words[1])
    guard isTarget(target, method: method) else { return nil }

    guard lines.count - 1 <= fieldsMax else { return nil }
    var fields: [Field] = []
    for line in lines.dropFirst() {
      guard let field = field(line) else { return nil }
      fields.append(field)
    }
    func all(_ name: String) -> [Field] { fields.filter { string($0.name).lowercased() == name } }

    let hosts = all("host")
    guard hosts.count == 1 else { return nil }
    let host = string(hosts[0].value)
    guard isHost(host) else { return nil }
    if let scheme = target.firstRange(of: "://"), target.first != "/" {
      let authority = target[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
      guard authority.lowercased() == host.lowercased() else { return nil }
    }

    var framing = BodyFraming.none
    let lengths = all("content-length")
    let codings = all("transfer-encoding")
    guard lengths.count + codings.count <= 1 else { return nil }
    if let length = lengths.first {
      guard !length.value.isEmpty, length.value.count <= 19, length.value.allSatisfy({ (0x30...0x39).contains($0) }),
        let number = Int64(string(length.value))
      else { return nil }
      framing = .length(UInt64(number))
    }
    if let coding = codings.first {
      guard version == "HTTP/1.1", string(coding.value).lowercased() == "chunked" else { return nil }
      framing = .chunked
    }

    guard let options = tokens(all("connection")), tokens(all("trailer")) != nil else { return nil }
    for option in options where ["host", "content-length", "transfer-encoding"].contains(option) { return nil }
    let expectations = all("expect")
    if version == "HTTP/1.1", !expectations.isEmpty {
      guard expectations.count == 1, string(expectations[0].value).lowercased() == "100-continue" else { return nil }
    }
    let keepAlive = !options.contains("close") && (version == "HTTP/1.1" || options.contains("keep-alive"))
    return Head(length: end, fields: fields, framing: framing, options: options, keepAlive: keepAlive)
  }

  static func isTarget(_ target: String, method: String) -> Bool {
    var inQuery = false
    for scalar in target.unicodeScalars {
      guard scalar.value > 0x20, scalar.value < 0x7f, scalar != "#", inQuery || scalar != "\\" else { return false }
      if scalar == "?" { inQuery = true }
    }
    if method == "CONNECT" { return isHost(target) }
    if target.hasPrefix("/") { return true }
    if target == "*" { return method == "OPTIONS" }
    let lower = target.lowercased()
    for scheme in ["http://", "https://"] where lower.hasPrefix(scheme) && lower.count > scheme.count {
      let rest = lower.dropFirst(scheme.count)
      return method != "OPTIONS" || rest.prefix { $0 != "?" }.contains("/")
    }
    return false
  }

  /// Names only: the mutations seldom make an address, and those have a test of their own.
  static func isHost(_ host: String) -> Bool {
    guard host.utf8.count <= 255, !host.hasPrefix("[") else { return false }
    let parts = host.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count <= 2, let name = parts.first, !name.isEmpty else { return false }
    guard
      name.unicodeScalars.allSatisfy({
        $0.isASCII && ($0.properties.isAlphabetic || "0123456789.-_".unicodeScalars.contains($0))
      })
    else { return false }
    guard parts.count == 2 else { return true }
    let port = parts[1]
    guard (1...5).contains(port.count), port.first != "0", port.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
      return false
    }
    return (Int(port) ?? 0) <= 65535
  }

  static func readChunks(_ bytes: [UInt8]) -> (payload: [UInt8], length: Int)? {
    var payload: [UInt8] = []
    var rest = bytes[...]
    func line() -> [UInt8]? {
      guard let end = rest.firstIndex(of: 0x0a), end > rest.startIndex, rest[end - 1] == 0x0d else { return nil }
      let line = Array(rest[rest.startIndex..<end - 1])
      guard !line.contains(0x0d) else { return nil }
      rest = rest[(end + 1)...]
      return line
    }
    while true {
      guard let head = line() else { return nil }
      let digits = head.prefix { $0 != 0x3b }
      let ext = head.dropFirst(digits.count)
      guard (1...16).contains(digits.count), ext.count <= 256,
        digits.allSatisfy({ Unicode.Scalar($0).properties.isASCIIHexDigit && $0 < 0x80 }),
        let size = Int64(string(digits), radix: 16),
        ext.allSatisfy({ $0 == 0x09 || (0x20..<0x7f).contains($0) })
      else { return nil }
      if size == 0 { break }
      guard rest.count >= size else { return nil }
      payload += rest.prefix(Int(size))
      rest = rest.dropFirst(Int(size))
      guard rest.starts(with: [0x0d, 0x0a]) else { return nil }
      rest = rest.dropFirst(2)
    }
    while let trailer = line() {
      if trailer.isEmpty { return (payload, rest.startIndex) }
    }
    return nil
  }
}

extension StringProtocol {
  func trimming(_ drop: (Character) -> Bool) -> String {
    var text = Substring(self)
    while let first = text.first, drop(first) { text.removeFirst() }
    while let last = text.last, drop(last) { text.removeLast() }
    return String(text)
  }
}
