// Response heads and where their content ends.

import Testing
import Wire

struct ResponseReader {
  let head = ResponseHead(fieldsMax: 100)
  var limits = HeadLimits(headBytes: 4096, fields: 100)
  var requestWasHead = false

  func parse(_ bytes: [UInt8], _ seen: Int) -> HeadOutcome {
    head.parse(bytes.span, limits: limits, requestWasHead: requestWasHead, seen: seen)
  }

  func summary(_ bytes: [UInt8]) -> [String] {
    let fields = 0..<head.fieldCount
    return [
      "status=\(head.status)", "reason=\(text(head.reason, bytes))", "framing=\(head.framing.text)",
      "keepAlive=\(head.keepAlive)", "minor=\(head.minorVersion)", "websocket=\(head.wantsWebSocket)",
      "fields=\(head.fieldCount)",
      "nominated=" + fields.filter { head.isNominated($0) }.map { text(head.name($0), bytes) }.joined(separator: ","),
      "kinds=" + fields.map { "\(head.kind($0))" }.joined(separator: ","),
    ]
  }
}

@Suite struct HTTPResponseHeadTests {
  static let documents = Document.parse(
    #"""
    # a length
    HTTP/1.1 200 OK\r\n
    Date: x\r\n
    Server: y\r\n
    Content-Length: 5\r\n
    \r\n\|
    12345HTTP/1.1 404
    --> complete status=200 reason=OK framing=5 keepAlive=true minor=1 kinds=date,server,contentLength

    # chunked
    HTTP/1.1 404 Nope\r\n
    transfer-encoding: chunked\r\n
    \r\n
    --> complete status=404 framing=chunked keepAlive=true

    # neither: until the connection closes
    HTTP/1.1 200 OK\r\n
    Connection: keep-alive\r\n
    \r\n
    --> complete framing=until-close keepAlive=false

    # no reason
    HTTP/1.1 599 \r\n
    Content-Length: 0\r\n
    \r\n
    --> complete status=599 reason= framing=0

    # no reason and no space
    HTTP/1.1 100\r\n
    \r\n
    --> complete status=100 reason= framing=none keepAlive=true

    # any text for a reason
    HTTP/1.1 500 \xe9\t"so"\r\n
    Content-Length: 0\r\n
    \r\n
    --> complete status=500

    # 204 has no content
    HTTP/1.1 204 No\r\n
    \r\n
    --> complete framing=none keepAlive=true

    # 204 that says so
    HTTP/1.1 204 No\r\n
    Content-Length: 0\r\n
    \r\n
    --> complete framing=none

    # 204 with a length
    HTTP/1.1 204 No\r\n
    Content-Length: 3\r\n
    \r\n
    --> refused upstream-response

    # 204 that is chunked
    HTTP/1.1 204 No\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    --> refused upstream-response

    # 103 with a length
    HTTP/1.1 103 Early\r\n
    Content-Length: 3\r\n
    \r\n
    --> refused upstream-response

    # 304 with the length that 200 would have
    HTTP/1.1 304 Not\r\n
    Content-Length: 300\r\n
    \r\n
    --> complete framing=none keepAlive=true

    # HTTP/1.0 with a length closes
    HTTP/1.0 200 OK\r\n
    Content-Length: 300\r\n
    \r\n
    --> complete framing=300 keepAlive=false minor=0

    # HTTP/1.0 that stays
    HTTP/1.0 200 OK\r\n
    Content-Length: 300\r\n
    Connection: keep-alive, x-y\r\n
    X-Y: z\r\n
    \r\n
    --> complete framing=300 keepAlive=true nominated=X-Y

    # HTTP/1.1 that closes
    HTTP/1.1 200 OK\r\n
    Content-Length: 300\r\n
    Connection: close\r\n
    \r\n
    --> complete keepAlive=false

    # a WebSocket
    HTTP/1.1 101 Switching\r\n
    Connection: upgrade\r\n
    Upgrade: websocket\r\n
    \r\n\|
    \x81\x01a
    --> complete status=101 framing=none websocket=true

    # 101 to something else
    HTTP/1.1 101 Switching\r\n
    Connection: upgrade\r\n
    Upgrade: h2c\r\n
    \r\n
    --> complete websocket=false

    # an upgrade that is only offered
    HTTP/1.1 200 OK\r\n
    Connection: upgrade\r\n
    Upgrade: websocket\r\n
    Content-Length: 0\r\n
    \r\n
    --> complete websocket=false

    # both framings
    HTTP/1.1 200 OK\r\n
    Transfer-Encoding: chunked\r\n
    Content-Length: 5\r\n
    \r\n
    --> refused upstream-response

    # a coding that is not chunked alone
    HTTP/1.1 200 OK\r\n
    Transfer-Encoding: gzip, chunked\r\n
    \r\n
    --> refused upstream-response

    # chunked in HTTP/1.0
    HTTP/1.0 200 OK\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    --> refused upstream-response

    # two lengths
    HTTP/1.1 200 OK\r\n
    Content-Length: 5\r\n
    Content-Length: 5\r\n
    \r\n
    --> refused upstream-response

    # a nominated length
    HTTP/1.1 200 OK\r\n
    Connection: content-length\r\n
    Content-Length: 5\r\n
    \r\n
    --> refused upstream-response

    # a folded line
    HTTP/1.1 200 OK\r\n
    A: b\r\n
    \sc\r\n
    \r\n
    --> refused upstream-response

    # a bare LF
    HTTP/1.1 200 OK\n
    A: b\r\n
    \r\n
    --> refused upstream-response

    # a bare CR in the reason
    HTTP/1.1 200 O\rK\r\n
    A: b\r\n
    \r\n
    --> refused upstream-response

    # a NUL in the reason
    HTTP/1.1 200 \0\r\n
    \r\n
    --> refused upstream-response

    # status 99
    HTTP/1.1 099 x\r\n
    \r\n
    --> refused upstream-response

    # status 600
    HTTP/1.1 600 x\r\n
    \r\n
    --> refused upstream-response

    # two digits
    HTTP/1.1 20 x\r\n
    \r\n
    --> refused upstream-response

    # four digits
    HTTP/1.1 2000 x\r\n
    \r\n
    --> refused upstream-response

    # two spaces
    HTTP/1.1  200 x\r\n
    \r\n
    --> refused upstream-response

    # HTTP/2
    HTTP/2 200 x\r\n
    \r\n
    --> refused upstream-response

    # an empty line first
    \r\n
    HTTP/1.1 200 x\r\n
    \r\n
    --> refused upstream-response

    # not HTTP
    SSH-2.0-OpenSSH_9.2\r\n
    --> refused upstream-response
    """#)

  @Test(arguments: documents) func reads(_ document: Document) {
    let reader = ResponseReader()
    check(document, parse: reader.parse, summary: reader.summary)
  }

  @Test(arguments: [
    #"Content-Length: 500\r\n"#, #"Transfer-Encoding: chunked\r\n"#, "",
  ]) func anAnswerToHeadHasNoContent(_ framing: String) {
    let reader = ResponseReader(requestWasHead: true)
    let bytes = Document.bytes(#"HTTP/1.1 200 OK\r\n"# + framing + #"\r\n"#)
    #expect(reader.parse(bytes, 0) == .complete(length: bytes.count))
    #expect(reader.head.framing == .none)
    #expect(reader.head.keepAlive)
  }

  @Test func aHeadMayFillTheLimitAndNotPassIt() {
    let bytes = Document.bytes(#"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"#)
    let exact = ResponseReader(limits: HeadLimits(headBytes: bytes.count, fields: 1))
    #expect(exact.parse(bytes, 0) == .complete(length: bytes.count))
    let short = ResponseReader(limits: HeadLimits(headBytes: bytes.count - 1, fields: 1))
    #expect(short.parse(Array(bytes.dropLast(2)), 0) == .incomplete)
    #expect(short.parse(Array(bytes.dropLast()), 0) == .refused(.upstreamResponse))
    let none = ResponseReader(limits: HeadLimits(headBytes: bytes.count, fields: 0))
    #expect(none.parse(bytes, 0) == .refused(.upstreamResponse))
  }
}
