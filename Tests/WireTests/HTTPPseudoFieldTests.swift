// Heads that a codec makes of fields: what pseudo-fields say (RFC 9113 section 8.3), what cannot be smuggled into a text by a name or
// a value, and what a refusal or a message before leaves behind.

import Testing
import Wire

@Suite struct HTTPPseudoFieldTests {
  private static let limits = HeadLimits(headBytes: 4096, fields: 100)

  /// A head of a request, and its text. Each line is `name: value`; pseudo-fields come first.
  private struct Built {
    let head = RequestHead(fieldsMax: 100)
    var text: [UInt8] = []
    var outcome = HeadOutcome.incomplete

    init(_ lines: [(String, [UInt8])]) {
      var fields = RequestPseudoFields()
      let ranges: [String: WritableKeyPath<RequestPseudoFields, ByteRange?>] = [
        ":method": \.method, ":scheme": \.scheme, ":authority": \.authority, ":path": \.path,
      ]
      let count = lines.prefix { ranges[$0.0] != nil }.count
      for (name, value) in lines.prefix(count) {
        text += Array("\(name): ".utf8)
        if let range = ranges[name] { fields[keyPath: range] = ByteRange(text.count, value.count) }
        text += value + [0x0d, 0x0a]
      }
      let linesStart = text.count
      for (name, value) in lines.dropFirst(count).map({ (Array($0.0.utf8), $0.1) }) {
        // As its codec does, which refuses whitespace around a value.
        let judged = FieldBytes.refusal(ofName: name.span)
        if let refusal = judged ?? FieldBytes.refusal(ofValue: value.span) {
          outcome = .refused(refusal)
          return
        }
        text += name + Array(": ".utf8) + value + [0x0d, 0x0a]
      }
      text += [0x0d, 0x0a]
      outcome = head.parse(text.span, fields, linesStart: linesStart, limits: limits)
    }

    init(_ lines: [(String, String)]) { self.init(lines.map { ($0.0, Array($0.1.utf8)) }) }

    /// `GET /`, with some pseudo-fields changed, or left out where nil, and fields behind them.
    init(_ changes: [String: String?], _ fields: [(String, String)] = []) {
      let usual: [String: String?] = [":method": "GET", ":scheme": "https", ":authority": "a", ":path": "/"]
      let lines = usual.merging(changes) { $1 }.compactMap { name, value in value.map { (name, $0) } }
      self.init(lines + fields)
    }

    var isComplete: Bool { outcome == .complete(length: text.count) }
    func text(_ range: ByteRange) -> String { WireTests.text(range, text) }
  }

  // MARK: Pseudo-fields of requests

  @Test func whatTheySay() {
    let built = Built([
      (":path", "/x/../y?z"), (":authority", "Example.com:8443"), (":method", "POST"), (":scheme", "https"),
      ("accept", "*/*"), ("content-length", "5"),
    ])
    #expect(built.isComplete)
    let head = built.head
    #expect(head.method == .post && built.text(head.methodRange) == "POST")
    #expect(built.text(head.target) == "/x/../y?z" && built.text(head.path) == "/x/../y")
    #expect(built.text(head.query) == "?z" && built.text(head.authority) == "Example.com:8443")
    #expect(head.minorVersion == 1 && head.keepAlive && !head.has(.host))
    #expect(head.framing == .length(5) && head.fieldCount == 2 && head.length == built.text.count)
    #expect(head.identityRefusal == .identityMissing)
  }

  @Test func whatMayNotBeMissing() {
    for name in [":method", ":scheme", ":path"] {
      #expect(Built([name: nil]).outcome == .refused(.requestLine), "\(name)")
    }
    #expect(Built([":authority": nil]).outcome == .refused(.hostMissing))
    #expect(Built([":authority": nil], [("host", "a")]).isComplete)
  }

  @Test func schemes() {
    for scheme in ["http", "https", "HTTPS"] { #expect(Built([":scheme": scheme]).isComplete, "\(scheme)") }
    for scheme in ["", "ftp", "httpx", "http:", "https ", " http", "http\r\nx: y"] {
      let built = Built([":scheme": scheme])
      #expect(built.outcome == .refused(.targetForm) && built.head.targetFault == .form, "\(scheme)")
    }
  }

  @Test(arguments: [
    ("x", TargetFault.form), ("*", .form), ("http://a/", .form), ("a:443", .form), ("?x", .form), ("/a b", .space),
    ("/ HTTP/1.1\r\nhost: b", .space), ("/\r\nhost: b", .control), ("/\n", .control), ("/\r", .control),
    ("/\0", .control), ("/\u{7f}", .control), ("/#x", .fragment), ("/?#x", .fragment), ("/a\\b", .backslash),
    ("/ü", .notASCII),
  ]) func badPaths(_ path: String, _ fault: TargetFault) {
    let built = Built([":path": path])
    #expect(built.outcome == .refused(.targetForm) && built.head.targetFault == fault)
  }

  @Test func otherPaths() {
    #expect(Built([":path": ""]).outcome == .refused(.requestLine))
    let asterisk = Built([":path": "*", ":method": "OPTIONS"])
    #expect(asterisk.isComplete && asterisk.text(asterisk.head.path) == "*" && asterisk.head.query.isEmpty)
    #expect(Built([":path": "*?", ":method": "OPTIONS"]).outcome == .refused(.targetForm))
    #expect(Built([":path": "/?\\%"]).isComplete)
  }

  @Test func methods() {
    for method in ["", "GE T", "GET /x HTTP/1.1\r\nhost: b\r\n", "G\0", "G:", "é", String(repeating: "a", count: 33)] {
      #expect(Built([":method": method]).outcome == .refused(.requestLine), "\(method)")
    }
    #expect(Built([":method": String(repeating: "a", count: 32)]).isComplete)
    let trace = Built([":method": "TRACE"], [("content-length", "3")])
    #expect(trace.outcome == .refused(.methodRefused) && trace.head.length == trace.text.count)
    #expect(trace.head.framing == .length(3) && trace.head.keepAlive)
  }

  /// RFC 9113 section 8.5: CONNECT has an authority, and neither scheme nor path.
  @Test func connect() {
    let bare: [String: String?] = [":method": "CONNECT", ":authority": "a:443", ":scheme": nil, ":path": nil]
    for fields in [[], [("host", "a:443")], [("host", "b")]] {
      let built = Built(bare, fields)
      #expect(built.outcome == .refused(.methodRefused) && built.head.length == built.text.count)
      #expect(!built.head.keepAlive && built.text(built.head.target) == "a:443")
    }
    for (name, value) in [(":path", "/"), (":scheme", "https"), (":authority", nil)] {
      #expect(Built(bare.merging([name: value]) { $1 }).outcome == .refused(.requestLine), "\(name)")
    }
    let bad = Built(bare.merging([":authority": "a:x"]) { $1 })
    #expect(bad.outcome == .refused(.targetForm) && bad.head.targetFault == .connect)
  }

  @Test func authorities() {
    for host in HTTPRequestHeadTests.goodHosts {
      let built = Built([":authority": host])
      #expect(built.isComplete && built.text(built.head.authority) == host)
    }
    for host in HTTPRequestHeadTests.badHosts {
      #expect(Built([":authority": host]).outcome == .refused(.hostInvalid), "\(host)")
    }
  }

  /// RFC 9113 section 8.3.1: beside `:authority`, Host has to say the same.
  @Test func authorityAndHost() {
    let same = Built([":authority": "Example.com"], [("host", "exAmple.com")])
    #expect(same.isComplete && same.text(same.head.authority) == "exAmple.com")
    for host in ["b", "a:443", "a.", "aa"] {
      #expect(Built([:], [("host", host)]).outcome == .refused(.hostMultiple), "\(host)")
    }
    #expect(Built([":authority": ""], [("host", "a")]).outcome == .refused(.hostMultiple))
    #expect(Built([:], [("host", "")]).outcome == .refused(.hostInvalid))
    #expect(Built([:], [("host", "a"), ("host", "a")]).outcome == .refused(.hostMultiple))
  }

  // MARK: Names and values

  /// Whatever stands in a name or a value, it ends no line and begins no other.
  @Test func everyByteOfNamesAndValues() {
    for byte in UInt8.min...UInt8.max {
      for offset in 0..<20 {
        var run = [UInt8](repeating: 0x70, count: 20)
        run[offset] = byte
        let isToken = Model.tokenBytes.contains(byte)
        let isUpper = byte >= 0x41 && byte <= 0x5a
        let isBlankAround = (byte == 0x20 || byte == 0x09) && (offset == 0 || offset == 19)
        let isText = byte == 0x09 || byte >= 0x20 && byte != 0x7f
        for (field, refusal) in [
          (Model.Field(name: run, value: [0x78]), isUpper ? .nameCase : isToken ? nil : Refusal.nameToken),
          (Model.Field(name: [0x78], value: run), isText && !isBlankAround ? nil : .valueInvalid),
        ] {
          let front = Array(":method: GET\r\n:scheme: http\r\n:authority: a\r\n:path: /\r\n".utf8)
          let pseudoFields = RequestPseudoFields(
            method: ByteRange(9, 3), scheme: ByteRange(23, 4), authority: ByteRange(41, 1), path: ByteRange(51, 1))
          let head = RequestHead(fieldsMax: 10)
          let judged = FieldBytes.refusal(ofName: field.name.span) ?? FieldBytes.refusal(ofValue: field.value.span)
          if judged != nil {
            #expect(judged == refusal, "byte \(byte) at \(offset)")
            continue
          }
          let text = front + field.name + Array(": ".utf8) + field.value + Array("\r\n\r\n".utf8)
          let outcome = head.parse(text.span, pseudoFields, linesStart: front.count, limits: Self.limits)
          let expected = refusal.map { HeadOutcome.refused($0) } ?? .complete(length: text.count)
          #expect(outcome == expected, "byte \(byte) at \(offset)")
          if refusal == nil { #expect(head.fieldCount == 1, "byte \(byte) at \(offset)") }
        }
      }
    }
  }

  @Test func everyByteOfPseudoFields() {
    for byte in UInt8.min...UInt8.max {
      let letter = Array("p".utf8)
      for offset in 0..<10 {
        let run = (0..<10).flatMap { $0 == offset ? [byte] : letter }
        func outcome(method: [UInt8] = Array("GET".utf8), path: [UInt8] = [0x2f], authority: [UInt8]) -> HeadOutcome {
          Built([
            (":method", method), (":scheme", Array("http".utf8)), (":path", path), (":authority", authority),
          ]).outcome
        }
        let isToken = Model.tokenBytes.contains(byte)
        let isTarget = byte > 0x20 && byte < 0x7f && byte != 0x23 && byte != 0x5c
        let isHost = Model.isHost(Model.string(run))
        #expect(outcome(method: run, authority: letter).isComplete == isToken, "byte \(byte) at \(offset)")
        #expect(outcome(path: [0x2f] + run, authority: letter).isComplete == isTarget, "byte \(byte) at \(offset)")
        #expect(outcome(authority: run).isComplete == isHost, "byte \(byte) at \(offset)")
      }
    }
  }

  @Test(arguments: ["", ":", ":path", ":status", "a:b", "a b", " a", "a\r\nb", "a: b\r\nc"])
  func namesThatAreNone(_ name: String) {
    #expect(Built([:], [("x", "y"), (name, "z")]).outcome == .refused(.nameToken))
  }

  // MARK: What is left of a message before

  @Test func theFirstThingThatIsWrongIsTold() {
    let head = RequestHead(fieldsMax: 10)
    let front = Array("GET / HTTP/1.1\r\n".utf8)
    let pseudoFields = RequestPseudoFields(method: ByteRange(0, 3), scheme: ByteRange(6, 4), path: ByteRange(4, 1))
    func parse(_ fields: RequestPseudoFields, _ lines: String) -> HeadOutcome {
      head.parse((front + Array(lines.utf8)).span, fields, linesStart: front.count, limits: Self.limits)
    }
    #expect(parse(pseudoFields, "host: a\r\nx: \0\r\ncontent-length: +1\r\n\r\n") == .refused(.valueInvalid))
    #expect(head.length == 0)
    // Of pseudo-fields first, whatever follows.
    #expect(parse(RequestPseudoFields(), "host: a\r\n\r\n") == .refused(.requestLine))
    #expect(parse(RequestPseudoFields(), "x: \0\r\n\r\n") == .refused(.requestLine))
  }

  /// A codec that lets a value end the head is at fault; nothing behind that is taken for a part of it, and nothing is left over.
  @Test func aHeadEndsWithItsText() {
    let head = RequestHead(fieldsMax: 10)
    let front = Array("GET / HTTP/1.1\r\n".utf8)
    let pseudoFields = RequestPseudoFields(method: ByteRange(0, 3), scheme: ByteRange(6, 4), path: ByteRange(4, 1))
    let text = front + Array("host: a\r\n\r\nx: y\r\n\r\n".utf8)
    let outcome = head.parse(text.span, pseudoFields, linesStart: front.count, limits: Self.limits)
    #expect(outcome == .refused(.lineEnding))
  }

  @Test func eitherWayBeginsAnew() {
    let head = RequestHead(fieldsMax: 10)
    let good = Array("POST /x?y HTTP/1.1\r\nHost: a\r\nClient-Attest: z\r\nContent-Length: 3\r\n\r\n".utf8)
    let text = Array("GET / HTTP/1.1\r\n".utf8)
    let pseudoFields = RequestPseudoFields(
      method: ByteRange(0, 3), scheme: ByteRange(6, 4), authority: ByteRange(6, 4), path: ByteRange(4, 1))

    // A message that was refused leaves nothing to one that is parsed.
    let cut = text + Array("host: HTTP\r\nx: y\r\n".utf8)
    let outcome = head.parse(cut.span, pseudoFields, linesStart: text.count, limits: Self.limits)
    #expect(outcome == .refused(.headTooLarge))
    #expect(head.parse(good.span, limits: Self.limits) == .complete(length: good.count))
    #expect(head.fieldCount == 3 && WireTests.text(head.authority, good) == "a" && head.framing == .length(3))

    // Nor a parsed one to one that is made of fields.
    let whole = text + [0x0d, 0x0a]
    #expect(
      head.parse(whole.span, pseudoFields, linesStart: text.count, limits: Self.limits)
        == .complete(length: whole.count))
    #expect(head.attest.isEmpty && head.length == whole.count)
    #expect(head.method == .get && head.query.isEmpty && head.fieldCount == 0 && head.framing == .none)
  }
}
