// Request heads: what is read out of good ones, and the name of what is wrong with bad ones.

import TestSupport
import Testing
import Wire

struct RequestReader {
  let head = RequestHead(fieldsMax: 100)
  var limits = HeadLimits(headBytes: 4096, fields: 100)

  func parse(_ bytes: [UInt8], _ seen: Int) -> HeadOutcome { head.parse(bytes.span, limits: limits, seen: seen) }

  func summary(_ bytes: [UInt8]) -> [String] {
    let fields = 0..<head.fieldCount
    return [
      "method=\(head.method)", "method=\(text(head.methodRange, bytes))", "target=\(text(head.target, bytes))",
      "path=\(text(head.path, bytes))", "query=\(text(head.query, bytes))",
      "authority=\(text(head.authority, bytes))", "framing=\(head.framing.text)", "keepAlive=\(head.keepAlive)",
      "minor=\(head.minorVersion)", "continue=\(head.expectsContinue)",
      "websocket=\(head.wantsWebSocket)", "fields=\(head.fieldCount)",
      "identity=\(head.identityRefusal?.text ?? "clean")", "length=\(head.length)",
      "nominated=" + fields.filter { head.isNominated($0) }.map { text(head.name($0), bytes) }.joined(separator: ","),
      "kinds=" + fields.map { "\(head.kind($0))" }.joined(separator: ","),
      "values=" + fields.map { "[" + text(head.value($0), bytes).replacing(" ", with: "_") + "]" }.joined(),
      "attest=\(text(head.attest, bytes))", "input=\(text(head.signatureInput, bytes))",
      "signature=\(text(head.signature, bytes))",
    ]
  }
}

@Suite struct HTTPRequestHeadTests {
  static let documents = Document.parse(
    #"""
    # the smallest request
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete method=get method=GET target=/ path=/ query= authority=a framing=none keepAlive=true minor=1 fields=1 identity=identity-missing continue=false websocket=false

    # a second request behind it is not touched
    GET /1 HTTP/1.1\r\n
    Host: a\r\n
    \r\n\|
    GET /2 HTTP/1.1\r\n
    Host: b\r\n
    \r\n
    --> complete target=/1 authority=a

    # a body behind it is not touched
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 3\r\n
    \r\n\|
    \n\0\xff
    --> complete method=post framing=3

    # whitespace around a value is not part of it
    GET / HTTP/1.1\r\n
    Host: \t a \t\r\n
    A:\r\n
    B: \t\s\r\n
    C:x\r\n
    D: x \ty\s\r\n
    \r\n
    --> complete authority=a fields=5 values=[a][][][x][x_	y]

    # obs-text in a value is passed on
    GET / HTTP/1.1\r\n
    Host: a\r\n
    X: \xff\x80\r\n
    \r\n
    --> complete fields=2

    # HTTP/1.0 closes
    GET / HTTP/1.0\r\n
    Host: a\r\n
    \r\n
    --> complete keepAlive=false minor=0

    # HTTP/1.0 that asks to be kept alive
    GET / HTTP/1.0\r\n
    Host: a\r\n
    Connection: Keep-Alive\r\n
    \r\n
    --> complete keepAlive=true

    # HTTP/1.1 that asks to be closed, among other options and empty elements
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Connection: , keep-alive,,\tCLOSE ,\r\n
    \r\n
    --> complete keepAlive=false

    # close wins over keep-alive on another line
    GET / HTTP/1.0\r\n
    Host: a\r\n
    Connection: close\r\n
    Connection: keep-alive\r\n
    \r\n
    --> complete keepAlive=false

    # fields named by Connection are for this hop only
    GET / HTTP/1.1\r\n
    Host: a\r\n
    X-One: 1\r\n
    Connection: x-one, TE, keep-alive\r\n
    TE: trailers\r\n
    Keep-Alive: timeout=5\r\n
    Connection: cookie\r\n
    Cookie: c\r\n
    X-Two: 2\r\n
    X-One: 3\r\n
    \r\n
    --> complete nominated=X-One,TE,Keep-Alive,Cookie,X-One identity=identity-missing

    # Connection that is no list of tokens
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Connection: keep-alive foo\r\n
    \r\n
    --> refused value-invalid

    # a quoted nomination
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Connection: "close"\r\n
    \r\n
    --> refused value-invalid

    # Host may not be nominated away
    GET / HTTP/1.1\r\n
    Connection: close, host\r\n
    Host: a\r\n
    \r\n
    --> refused hop-nominated

    # nor Content-Length
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Connection: CONTENT-LENGTH\r\n
    Content-Length: 0\r\n
    \r\n
    --> refused hop-nominated

    # nor Transfer-Encoding, on a second line
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Connection: close\r\n
    Connection: transfer-encoding\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    --> refused hop-nominated

    # a client expects 100
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Expect: 100-Continue\r\n
    Content-Length: 5\r\n
    \r\n
    --> complete continue=true

    # another expectation
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Expect: 200-ok\r\n
    \r\n
    --> refused expectation

    # two expectations
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Expect: 100-continue\r\n
    Expect: 100-continue\r\n
    \r\n
    --> refused expectation

    # HTTP/1.0 has no expectations
    POST / HTTP/1.0\r\n
    Host: a\r\n
    Expect: 200-ok\r\n
    Content-Length: 1\r\n
    \r\n
    --> complete continue=false

    # a WebSocket
    GET /ws HTTP/1.1\r\n
    Host: a\r\n
    Connection: keep-alive, Upgrade\r\n
    Upgrade: WebSocket\r\n
    \r\n
    --> complete websocket=true nominated=Upgrade

    # no WebSocket without the option
    GET /ws HTTP/1.1\r\n
    Host: a\r\n
    Upgrade: websocket\r\n
    \r\n
    --> complete websocket=false

    # nor with POST
    POST /ws HTTP/1.1\r\n
    Host: a\r\n
    Connection: Upgrade\r\n
    Upgrade: websocket\r\n
    \r\n
    --> complete websocket=false

    # nor with HTTP/1.0
    GET /ws HTTP/1.0\r\n
    Host: a\r\n
    Connection: Upgrade\r\n
    Upgrade: websocket\r\n
    \r\n
    --> complete websocket=false

    # nor with content
    GET /ws HTTP/1.1\r\n
    Host: a\r\n
    Connection: Upgrade\r\n
    Upgrade: websocket\r\n
    Content-Length: 1\r\n
    \r\n
    --> complete websocket=false

    # nor as one protocol of two
    GET /ws HTTP/1.1\r\n
    Host: a\r\n
    Connection: Upgrade\r\n
    Upgrade: websocket, h2c\r\n
    \r\n
    --> complete websocket=false

    # no Host
    GET / HTTP/1.1\r\n
    A: b\r\n
    \r\n
    --> refused host-missing

    # no Host in HTTP/1.0 either
    GET / HTTP/1.0\r\n
    \r\n
    --> refused host-missing

    # two Hosts
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Host: b\r\n
    \r\n
    --> refused host-multiple

    # two equal Hosts
    GET / HTTP/1.1\r\n
    Host: a\r\n
    HOST: a\r\n
    \r\n
    --> refused host-multiple

    # a head cut short
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \r
    --> incomplete
    """#)

  @Test(arguments: documents) func reads(_ document: Document) {
    let reader = RequestReader()
    check(document, parse: reader.parse, summary: reader.summary)
  }

  static let goodHosts = [
    "a", "A.b-c_d.", "127.0.0.1", "127.0.0.1:1", "a:65535", "[::]", "[::1]", "[2001:db8::1]:8443", "[1:2:3:4:5:6:7:8]",
    "[1:2:3:4:5:6:1.2.3.4]", "[::ffff:192.0.2.1]", "[1::8]", "[1:2:3:4:5:6:7::]", "[::2:3:4:5:6:7:8]",
    String(repeating: "a", count: 255),
  ]

  static let badHosts = [
    "", "a,b", "a b", "a/", "a?", "a#", "a@b", "u:p@a", "a\\", "a%20", "a:", "a:0", "a:080", "a:65536", "a:99999",
    "a:123456", "a:+1", ":80", "::1", "[", "[]", "[::1", "[::1]x", "[::1]:", "[:::]", "[1::2::3]", "[:1]",
    "[1:]",
    "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7:8::]", "[1:2:3:4::5:6:7:8]", "[12345::]", "[g::]",
    "[::1%eth0]", "[::1.2.3]", "[::1.2.3.256]", "[::1.2.3.04]", "[::1.2.3.4:5]", "[1.2.3.4]", "[v1.x]", "a;b", "(a)",
    "a=b",
    "a|b", "é", String(repeating: "a", count: 256),
  ]

  @Test(arguments: goodHosts) func acceptsHost(_ host: String) {
    let reader = RequestReader()
    let bytes = Array("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n".utf8)
    #expect(reader.parse(bytes, 0) == .complete(length: bytes.count))
    #expect(text(reader.head.authority, bytes) == host)
  }

  @Test(arguments: badHosts) func refusesHost(_ host: String) {
    let reader = RequestReader()
    let bytes = Array("GET / HTTP/1.1\r\nHost:\(host)\r\n\r\n".utf8)
    #expect(reader.parse(bytes, 0) == .refused(.hostInvalid))
  }

  @Test func aRefusedMethodLeavesTheConnectionInStep() {
    let reader = RequestReader()
    let trace = Document.bytes(#"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n"#)
    #expect(reader.parse(trace, 0) == .refused(.methodRefused))
    #expect(reader.head.length == trace.count - 19)
    #expect(reader.head.framing == .length(3))
    #expect(reader.head.keepAlive)
    // What a client sends right after CONNECT may be meant for the tunnel that it did not get.
    let connect = Document.bytes(#"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"#)
    #expect(reader.parse(connect, 0) == .refused(.methodRefused))
    #expect(reader.head.length == connect.count)
    #expect(!reader.head.keepAlive)
  }

  @Test func aRefusalLeavesNothingOfTheRequestBefore() {
    let reader = RequestReader()
    let good = Document.bytes(#"POST /x?y HTTP/1.1\r\nHost: a\r\nClient-Attest: z\r\nContent-Length: 3\r\n\r\n"#)
    #expect(reader.parse(good, 0) == .complete(length: good.count))
    for bad in [#"\0"#, #"GET"#, #""#] {
      _ = reader.parse(Document.bytes(bad), 0)
      #expect(reader.head.fieldCount == 0)
      #expect(reader.head.attest.isEmpty)
      #expect(reader.head.authority.isEmpty && reader.head.methodRange.isEmpty && reader.head.path.isEmpty)
      #expect(reader.head.framing == .none && !reader.head.keepAlive && reader.head.length == 0)
    }
  }

  // MARK: Limits

  @Test func aHeadMayFillTheLimitAndNotPassIt() {
    let bytes = Document.bytes(#"GET / HTTP/1.1\r\nHost: a\r\nX: 1234567890\r\n\r\n"#)
    for headBytes in 1...bytes.count + 1 {
      let reader = RequestReader(limits: HeadLimits(headBytes: headBytes, fields: 100))
      for count in 0...bytes.count {
        let outcome = reader.parse(Array(bytes.prefix(count)), 0)
        if count >= headBytes, headBytes < bytes.count {
          #expect(outcome == .refused(.headTooLarge), "\(count) bytes with a limit of \(headBytes)")
        } else {
          #expect(outcome == (count == bytes.count ? .complete(length: count) : .incomplete))
        }
      }
      // Also when it is told that nothing new ended a line.
      if headBytes < bytes.count {
        #expect(reader.parse(Array(bytes.prefix(headBytes)), headBytes) == .refused(.headTooLarge))
      }
    }
  }

  @Test func whatIsPastTheLimitIsNotLookedAt() {
    let reader = RequestReader(limits: HeadLimits(headBytes: 20, fields: 100))
    #expect(reader.parse(Document.bytes(#"GET / HTTP/1.1\r\nHo\0t: a\r\n\r\n"#), 0) == .refused(.nameToken))
    #expect(reader.parse(Document.bytes(#"GET / HTTP/1.1\r\nHost\0 a\r\n\r\n"#), 0) == .refused(.headTooLarge))
  }

  @Test(arguments: [1, 2, 7]) func thereMayBeAsManyFieldsAsTheLimit(_ limit: Int) {
    let limits = HeadLimits(headBytes: 4096, fields: limit)
    for count in 1...limit + 2 {
      let fields = String(repeating: "X: y\r\n", count: count - 1)
      let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n".utf8)
      let expected = count <= limit ? HeadOutcome.complete(length: bytes.count) : .refused(.tooManyFields)
      #expect(RequestReader(limits: limits).parse(bytes, 0) == expected)
      // The object's own size is a limit too.
      let small = RequestHead(fieldsMax: limit)
      #expect(small.parse(bytes.span, limits: HeadLimits(headBytes: 4096, fields: 1000)) == expected)
    }
  }

  @Test func thereMayBeSixteenNominations() {
    for count in 15...17 {
      let names = (0..<count).map { "x\($0)" }.joined(separator: ",")
      let more = "Connection: te, upgrade\r\nConnection: trailer,keep-alive, close\r\n"
      let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nConnection: close,\(names)\r\n\(more)\r\n".utf8)
      #expect(
        RequestReader().parse(bytes, 0)
          == (count <= 16 ? .complete(length: bytes.count) : .refused(.tooManyFields)))
    }
  }
}
