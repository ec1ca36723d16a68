// One request, two ways into a head: parsed from HTTP/1, and as a codec makes it of fields. Every document and mutation of the corpus
// is read both ways, and no difference is found: the same refusal, or the same from every accessor.

import TestSupport
import Testing
import Wire

@Suite struct HTTPFieldwiseTests {
  private static let wide = HeadLimits(headBytes: 4096, fields: 100)
  private static let narrow = HeadLimits(headBytes: 300, fields: 8)

  /// How much of a document fields can say.
  private enum Sayable { case all, front, nothing }

  /// That mutation leaves enough to compare.
  private func checkCounts(_ said: [Sayable], all: Int, front: Int) {
    #expect(said.count { $0 == .all } > all)
    #expect(said.count { $0 == .front } > front)
  }

  // MARK: Requests

  @Test(arguments: HTTPCorpus.requests) func requests(_ document: Document) { compareRequest(document.bytes) }

  @Test func generatedRequests() {
    let all = HTTPCorpus.generatedRequests
    #expect(all.count > 1000)
    for bytes in all { #expect(compareRequest(bytes) == .all) }
  }

  @Test(arguments: 1...4) func mutatedRequests(_ seed: Int) {
    let said = HTTPCorpus.mutatedRequests(seed).map { compareRequest($0) }
    checkCounts(said, all: 1000, front: 500)
  }

  /// What is not all sayable is refused for the syntax that keeps it from being so, or not over.
  @Test func whatCannotBeSaid() {
    let unsaid = HTTPCorpus.requests.filter { compareRequest($0.bytes) != .all }
    for document in unsaid {
      switch document.expected {
      case .complete: Issue.record("a good request that cannot be said: \(document.name)")
      case .incomplete: break
      case .refused(let name):
        let names = ["line-ending", "obs-fold", "name-space", "name-token", "request-line", "version"]
        #expect(names.contains(name), "\(document.name)")
      }
    }
    #expect(HTTPCorpus.requests.count > 150)
    #expect(unsaid.count < HTTPCorpus.requests.count / 3)
  }

  @discardableResult private func compareRequest(_ bytes: [UInt8]) -> Sayable {
    guard let message = RequestMessage(bytes) else {
      #expect(!RequestReader(limits: Self.wide).parse(bytes, 0).isComplete, "\(Model.string(bytes))")
      return .nothing
    }
    if let absolute = message.absolute {
      compareAbsolute(message, absolute)
      // What `:path` says of it is a document too.
      var other = message
      other.target = absolute.path
      return compareRequest(other.text) == .all ? .all : .front
    }
    if message.isConnect, !message.hasHost {
      // Its `:authority` stands for Host as well.
      var other = message
      other.fields.insert(Model.Field(name: Array("Host".utf8), value: message.target), at: 0)
      let head = RequestHead(fieldsMax: 100)
      #expect(message.build(head, limits: Self.wide) == other.build(head, limits: Self.wide))
      return compareRequest(other.text)
    }
    for limits in [Self.wide, Self.narrow] { compareText(message, limits: limits) }

    // The document itself: how its lines were written makes no difference.
    let (built, read) = (RequestHead(fieldsMax: 100), RequestHead(fieldsMax: 100))
    let outcome = message.build(built, limits: Self.wide)
    let original = read.parse(message.document.span, limits: Self.wide)
    guard message.fault == nil else {
      #expect(!original.isComplete, "\(Model.string(bytes))")
      return .front
    }
    switch outcome {
    case .incomplete: Issue.record("a head that is ended is never incomplete: \(Model.string(bytes))")
    case .refused(let refusal):
      #expect(original == .refused(refusal), "\(Model.string(bytes))")
      #expect(built.targetFault == read.targetFault)
    case .complete:
      #expect(original.isComplete, "\(Model.string(bytes))")
      #expect(built.facts(message.text) == read.facts(message.document))
      compareAuthority(message, read)
    }
    return .all
  }

  /// The very same text both ways: every range is the same, and every limit is met by the same byte.
  private func compareText(_ message: RequestMessage, limits: HeadLimits) {
    let (built, read) = (RequestHead(fieldsMax: 100), RequestHead(fieldsMax: 100))
    let outcome = message.build(built, limits: limits)
    let text = message.text
    let expected = read.parse(text.span, limits: limits)
    #expect(outcome == expected, "\(limits): \(Model.string(text))")
    switch expected {
    case .complete, .refused(.methodRefused): #expect(built.accessors == read.accessors, "\(Model.string(text))")
    case .refused(.targetForm): #expect(built.targetFault == read.targetFault, "\(Model.string(text))")
    default: break
    }
  }

  /// A target that is absolute says what `:scheme`, `:authority` and `:path` say.
  private func compareAbsolute(
    _ message: RequestMessage, _ absolute: (scheme: [UInt8], authority: [UInt8], path: [UInt8])
  ) {
    let (built, read) = (RequestHead(fieldsMax: 100), RequestHead(fieldsMax: 100))
    let original = read.parse(message.document.span, limits: Self.wide)
    var other = message
    other.target = absolute.path
    var dice = Seeded(UInt64(message.document.count))
    let (outcome, text) = other.buildByLines(
      built, scheme: absolute.scheme, authority: absolute.authority, limits: Self.wide, &dice)
    let what = Comment(rawValue: Model.string(message.document))
    switch original {
    case .complete:
      #expect(outcome.isComplete, what)
      // It is the form that a validator refuses, not what it says.
      let form = ["target"] + (read.identityRefusal == .absoluteForm ? ["identityRefusal"] : [])
      #expect(built.facts(text, without: form) == read.facts(message.document, without: form), what)
    case .incomplete: #expect(message.fault != nil, what)
    case .refused(.absoluteForm): #expect(outcome == .refused(.hostMultiple), what)
    // Of an absolute form without a path OPTIONS means `*`, which HTTP/1 refuses to guess; `:path` would say so.
    case .refused(.targetForm): #expect(!outcome.isComplete || message.method == Array("OPTIONS".utf8), what)
    // There `:authority` stands for Host.
    case .refused(.hostMissing): #expect(outcome != original, what)
    case .refused: #expect(outcome == original || message.fault != nil, what)
    }
  }

  /// The same request with `:authority`: beside Host, in its place, and another one.
  private func compareAuthority(_ message: RequestMessage, _ read: RequestHead) {
    let what = Comment(rawValue: Model.string(message.document))
    let head = RequestHead(fieldsMax: 100)
    var dice = Seeded(UInt64(message.document.count))
    let host = Array(message.document[read.authority.range])
    let target = ["target"]

    let beside = message.buildByLines(
      head, authority: Array(Model.string(host).uppercased().utf8), limits: Self.wide, &dice)
    #expect(beside.outcome == .complete(length: beside.text.count), what)
    #expect(head.facts(beside.text) == read.facts(message.document), what)

    var without = message
    without.fields.removeAll { Model.string($0.name).lowercased() == "host" }
    let inPlace = without.buildByLines(head, authority: host, limits: Self.wide, &dice)
    #expect(inPlace.outcome == .complete(length: inPlace.text.count), what)
    let counted = target + ["fieldCount", "host"]
    #expect(head.facts(inPlace.text, without: counted) == read.facts(message.document, without: counted), what)
    #expect(!head.has(.host) && text(head.authority, inPlace.text) == Model.string(host), what)

    let other = message.buildByLines(head, authority: Array("x".utf8) + host, limits: Self.wide, &dice)
    #expect(other.outcome == .refused(.hostMultiple), what)
  }

  /// At every limit: the same byte is the first that is too many, and the same field.
  @Test(arguments: HTTPCorpus.requests) func requestLimits(_ document: Document) {
    guard let message = RequestMessage(document.bytes), message.absolute == nil else { return }
    for headBytes in 1...message.text.count + 1 {
      compareText(message, limits: HeadLimits(headBytes: headBytes, fields: 100))
    }
    for fields in 0...message.fields.count {
      compareText(message, limits: HeadLimits(headBytes: 4096, fields: fields))
    }
  }
}

extension HeadOutcome {
  var isComplete: Bool { if case .complete = self { true } else { false } }
}

// MARK: Everything that a head says

/// One accessor's answer; the ranges as they are, and as the text that they hold.
private struct Answer {
  let accessor: String
  let value: String
  let text: (([UInt8]) -> String)?

  init(_ accessor: String, _ value: Any) {
    self.accessor = accessor
    self.value = "\(value)"
    text = nil
  }

  init(_ accessor: String, _ range: ByteRange) {
    self.accessor = accessor
    value = "\(range)"
    text = { WireTests.text(range, $0) }
  }
}

extension [Answer] {
  fileprivate var values: [String] { map { "\($0.accessor) \($0.value)" } }

  /// But for the length, which the way of writing decides.
  fileprivate func facts(_ bytes: [UInt8], without: [String]) -> [String] {
    filter { $0.accessor != "length" && !without.contains($0.accessor) }
      .map { "\($0.accessor) \($0.text?(bytes) ?? $0.value)" }
  }

  fileprivate static func field(_ line: FieldLine) -> [Answer] {
    let accessor = line.kind == .host ? "host" : "field"
    return [
      Answer(accessor, line.name), Answer(accessor, line.value), Answer(accessor, line.kind),
      Answer(accessor, line.isNominated),
    ]
  }
}

extension RequestHead {
  private var answers: [Answer] {
    var all = [
      Answer("method", method), Answer("method", methodRange), Answer("target", target), Answer("path", path),
      Answer("query", query), Answer("minorVersion", minorVersion),
      Answer("targetFault", targetFault), Answer("authority", authority), Answer("framing", framing),
      Answer("keepAlive", keepAlive), Answer("expectsContinue", expectsContinue),
      Answer("wantsWebSocket", wantsWebSocket), Answer("length", length), Answer("fieldCount", fieldCount),
      Answer("attest", attest),
      Answer("signatureInput", signatureInput), Answer("signature", signature),
      Answer("identityRefusal", identityRefusal as Any),
    ]
    for kind in FieldKind.allCases where has(kind) {
      all.append(Answer(kind == .host ? "host" : "has", kind))
    }
    for index in 0..<fieldCount { all += [Answer].field(field(index)) }
    return all
  }

  fileprivate var accessors: [String] { answers.values }
  fileprivate func facts(_ bytes: [UInt8], without: [String] = []) -> [String] {
    answers.facts(bytes, without: without)
  }
}
