// Response heads and where their content ends.

import TestSupport
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
      "keepAlive=\(head.keepAlive)", "minor=\(head.minorVersion)", "irregular=\(head.isIrregular)",
      "websocket=\(head.wantsWebSocket)",
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
    --> complete framing=none keepAlive=false irregular=true

    # 204 that is chunked
    HTTP/1.1 204 No\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    --> complete framing=none keepAlive=false irregular=true

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

    # 304 that is chunked
    HTTP/1.1 304 Not\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    --> complete framing=none keepAlive=false irregular=true

    # 304 with repeated lengths
    HTTP/1.1 304 Not\r\n
    Content-Length: 300, 300\r\n
    \r\n
    --> complete framing=none keepAlive=false irregular=true

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

    # two lengths that are one
    HTTP/1.1 200 OK\r\n
    Content-Length: 5\r\n
    A: b\r\n
    Content-Length: 5\r\n
    \r\n
    --> complete framing=5 keepAlive=false irregular=true fields=3

    # a list of lengths that are one
    HTTP/1.1 200 OK\r\n
    Content-Length: 5,5 , \t5\r\n
    content-length: 5\r\n
    \r\n
    --> complete framing=5 keepAlive=false irregular=true

    # two lengths that differ
    HTTP/1.1 200 OK\r\n
    Content-Length: 5\r\n
    Content-Length: 6\r\n
    \r\n
    --> refused upstream-response

    # a list of lengths that differ
    HTTP/1.1 200 OK\r\n
    Content-Length: 5, 6\r\n
    \r\n
    --> refused upstream-response

    # a list with an empty element
    HTTP/1.1 200 OK\r\n
    Content-Length: 5,,5\r\n
    \r\n
    --> refused upstream-response

    # a length and nothing
    HTTP/1.1 200 OK\r\n
    Content-Length: 5\r\n
    Content-Length:\r\n
    \r\n
    --> refused upstream-response

    # repeated lengths and chunked
    HTTP/1.1 200 OK\r\n
    Content-Length: 5\r\n
    Content-Length: 5\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    --> refused upstream-response

    # a length as a client may not write it
    HTTP/1.1 200 OK\r\n
    Content-Length: +5\r\n
    Content-Length: +5\r\n
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

    # a bare LF behind the status line
    HTTP/1.1 200 OK\n
    A: b\r\n
    Content-Length: 5\r\n
    \r\n\|
    12345
    --> complete status=200 reason=OK framing=5 keepAlive=false irregular=true fields=2

    # a bare LF behind a field
    HTTP/1.1 200 OK\r\n
    A: b \n
    Content-Length: 5\r\n
    \r\n
    --> complete framing=5 keepAlive=false irregular=true fields=2

    # a bare LF at the end
    HTTP/1.1 200 OK\r\n
    Content-Length: 5\r\n
    \n\|
    12345
    --> complete framing=5 keepAlive=false irregular=true fields=1

    # bare LFs everywhere
    HTTP/1.0 200\n
    Content-Type: text/html\n
    \n\|
    12345
    --> complete status=200 reason= framing=until-close keepAlive=false irregular=true fields=1

    # a folded line behind a bare LF
    HTTP/1.1 200 OK\n
    A: b\n
    \sc\n
    \n
    --> refused upstream-response

    # a name alone before a bare LF
    HTTP/1.1 200 OK\n
    A\n
    \n
    --> refused upstream-response

    # CR CR LF
    HTTP/1.1 200 OK\r\n
    A: b\r\r\n
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
    Content-Length: 0\r\n
    \r\n
    --> complete status=600 framing=0 keepAlive=true irregular=false

    # status 999
    HTTP/1.1 999 Request denied\r\n
    \r\n
    --> complete status=999 framing=until-close

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
    Content-Length: 0\r\n
    \r\n
    --> complete status=200 framing=0 keepAlive=false irregular=true

    # two empty lines first
    \n
    \r\n
    HTTP/1.1 200 x\r\n
    Content-Length: 0\r\n
    \r\n
    --> complete status=200 framing=0 keepAlive=false irregular=true

    # three empty lines first
    \r\n
    \r\n
    \r\n
    HTTP/1.1 200 x\r\n
    \r\n
    --> refused upstream-response

    # a CR first
    \rHTTP/1.1 200 x\r\n
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

  /// Each refusal says what it was: a line for the log.
  @Test(arguments: [
    (#"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"#, ResponseFault.framingLength),
    (#"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"#, .framingLength),
    (#"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"#, .framingTeCl),
    (#"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"#, .framingTe),
    (#"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"#, .framingTe),
    (#"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"#, .obsFold),
    (#"HTTP/1.1 200 OK\nA: b\n c\n\n"#, .obsFold),
    (#"HTTP/1.1 200 OK\r\nA : b\r\n\r\n"#, .nameSpace),
    (#"HTTP/1.1 200 OK\r\nA\r\n\r\n"#, .nameToken),
    (#"HTTP/1.1 200 OK\nA\n\n"#, .nameToken), (#"HTTP/1.1 200 OK\nA\r\n\r\n"#, .nameToken),
    (#"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"#, .valueInvalid),
    (#"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"#, .lineEnding),
    (#"HTTP/1.1 200 OK\r\nConnection: host\r\n\r\n"#, .connection),
    (#"HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\n"#, .interimContent),
    (#"HTTP/1.1 100 Go on\r\nTransfer-Encoding: chunked\r\n\r\n"#, .interimContent),
    (#"HTTP/1.1 099 x\r\n\r\n"#, .status), (#"HTTP/1.1 20 x\r\n\r\n"#, .status), (#"HTTP/1.1 200 \0\r\n\r\n"#, .status),
    (#"HTTP/2.0 200 x\r\n\r\n"#, .version), (#"SSH-2.0-x\r\n"#, .notHTTP), (#"<html>\n"#, .notHTTP),
  ]) func aRefusalSaysWhatItWas(_ text: String, _ fault: ResponseFault) {
    let reader = ResponseReader()
    #expect(reader.parse(Document.bytes(text), 0) == .refused(.upstreamResponse))
    #expect(reader.head.fault == fault)
    #expect(!"\(fault.text)".isEmpty)
  }

  @Test func aHeadThatIsTooLargeSaysSo() {
    let reader = ResponseReader(limits: HeadLimits(headBytes: 20, fields: 1))
    let bytes = Document.bytes(#"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"#)
    #expect(reader.parse(bytes, 0) == .refused(.upstreamResponse))
    #expect(reader.head.fault == .headTooLarge)
    #expect(ResponseReader(limits: HeadLimits(headBytes: 99, fields: 0)).parse(bytes, 0) == .refused(.upstreamResponse))
  }
}
