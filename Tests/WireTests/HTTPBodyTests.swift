// Content and its end: the decoder is fed every document in pieces of every size, and must hand out the same payload.

import TestSupport
import Testing
import Wire

/// What became of a body.
struct DecodedBody: Equatable {
  var payload: [UInt8] = []
  var trailers: [UInt8] = []
  /// Nil while more is needed.
  var end: End?
  var isIrregular = false
  enum End: Equatable {
    case complete(length: Int)
    case refused(String)
  }

  /// Feeds `bytes` in pieces of `piece`, takes at most `takes` payload bytes at a time.
  init(
    _ bytes: [UInt8], _ framing: BodyFraming, piece: Int, takes: Int, trailerBytesMax: Int = 8192,
    isLenient: Bool = false
  ) {
    var decoder = BodyDecoder(framing, trailerBytesMax: trailerBytesMax, isLenient: isLenient)
    defer { isIrregular = decoder.isIrregular }
    var front = 0
    var available = 0
    var steps = 0
    while true {
      steps += 1
      precondition(steps < 100_000, "the decoder does not get on")
      let view = Array(bytes[front..<available])
      let step = decoder.step(view.span)
      switch step {
      case .data(let skip, let count):
        precondition(count >= 1 && skip + count <= view.count)
        front += skip
        // Asked again, it says the same of what is now in front.
        var again = decoder
        let now = Array(bytes[front..<available])
        precondition(again.step(now.span) == .data(skip: 0, count: count))
        let taken = min(count, takes)
        payload += bytes[front..<front + taken]
        decoder.consumed(taken)
        front += taken
      case .trailers(let skip, let count):
        precondition(count >= 1 && skip + count <= view.count)
        front += skip
        trailers += bytes[front..<front + count]
        decoder.consumed(count)
        front += count
      case .end(let skip):
        precondition(skip <= view.count)
        // From here on it says nothing else, whatever follows.
        let rest = Array(view[skip...])
        precondition(decoder.step(rest.span) == .end(skip: 0))
        end = .complete(length: front + skip)
        return
      case .incomplete(let skip):
        precondition(skip <= view.count)
        front += skip
        if available == bytes.count { return }
        available = min(bytes.count, available + piece)
      case .refused(let refusal):
        end = .refused(refusal.text)
        return
      }
    }
  }
}

@Suite struct HTTPBodyTests {
  static let chunked = Document.parse(
    #"""
    # nothing
    0\r\n
    \r\n
    --> complete

    # one chunk, and the next message
    5\r\nhello\r\n
    0\r\n
    \r\n\|
    GET / HTTP/1.1\r\n
    --> complete payload=hello

    # digits in either case, leading zeros, many tiny chunks
    1\r\na\r\n01\r\nb\r\n0000000000000001\r\nc\r\nA\r\n0123456789\r\na\r\n0123456789\r\n000\r\n
    \r\n
    --> complete payload=abc01234567890123456789

    # payload that looks like framing
    7\r\n\r\n0\r\n\r\n\r\n
    0\r\n\r\n
    --> complete

    # extensions are dropped
    2;a=b;c="d;e"\t; f\r\nhi\r\n
    0;last\r\n
    \r\n
    --> complete payload=hi

    # trailers
    1\r\na\r\n
    0\r\n
    X: y\r\n
    Z: w\r\n
    \r\n\|
    GET
    --> complete payload=a trailers=2

    # more is needed
    5\r\nhell
    --> incomplete

    # the last line break is needed
    0\r\n
    \r
    --> incomplete

    # the greatest size, not there yet
    7fffffffffffffff\r\n
    --> incomplete

    # one more
    8000000000000000\r\n
    --> refused framing-chunk

    # a size that overflows into a small one
    10000000000000005\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # seventeen digits of little value
    00000000000000005\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a prefix
    0x5\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a plus sign
    +5\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a minus sign
    -5\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # an underscore
    1_0\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a space before the size
    \s5\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a space after the size
    5 \r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a tab before the extension
    5\t;a\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # no size
    \r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # an extension without a size
    ;a\r\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a bare LF after the size
    5\nhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a bare CR after the size
    5\rhello\r\n0\r\n\r\n
    --> refused framing-chunk

    # a bare LF in an extension, which hides a chunk from other readers
    2;\nxx\r\n50\r\n0\r\n\r\n
    --> refused framing-chunk

    # a bare CR in an extension
    2;a\rb\r\nxx\r\n0\r\n\r\n
    --> refused framing-chunk

    # a NUL in an extension
    2;\0\r\nxx\r\n0\r\n\r\n
    --> refused framing-chunk

    # obs-text in an extension
    2;\xff\r\nxx\r\n0\r\n\r\n
    --> refused framing-chunk

    # a bare LF after the data
    2\r\nxx\n0\r\n\r\n
    --> refused framing-chunk

    # no line break after the data
    2\r\nxx0\r\n\r\n
    --> refused framing-chunk

    # more data than was said
    2\r\nxxx\r\n0\r\n\r\n
    --> refused framing-chunk

    # a bare CR after the data
    2\r\nxx\r0\r\n\r\n
    --> refused framing-chunk

    # a bare LF where the body should end
    0\r\n\n
    --> refused line-ending

    # a bare CR where the body should end
    0\r\n\rx
    --> refused framing-chunk

    # a bare LF in the trailers
    0\r\nX: y\n\n
    --> refused line-ending
    """#)

  @Test(arguments: chunked) func chunkedCoding(_ document: Document) {
    let whole = DecodedBody(document.bytes, .chunked, piece: document.bytes.count, takes: .max)
    switch document.expected {
    case .complete(let facts):
      #expect(whole.end == .complete(length: document.length))
      for fact in facts {
        if fact.hasPrefix("payload=") {
          #expect(String(decoding: whole.payload, as: UTF8.self) == fact.dropFirst(8))
        } else {
          let section = TrailerSection(fieldsMax: 10)
          let limits = HeadLimits(headBytes: 100, fields: 10)
          #expect(section.parse(whole.trailers.span, limits: limits) == .complete(length: whole.trailers.count))
          #expect("trailers=\(section.fieldCount)" == fact)
        }
      }
    case .incomplete: #expect(whole.end == nil)
    case .refused(let name): #expect(whole.end == .refused(name))
    }
    for piece in 1...max(1, document.bytes.count) {
      for takes in [1, 3, Int.max] {
        #expect(DecodedBody(document.bytes, .chunked, piece: piece, takes: takes) == whole, "in pieces of \(piece)")
      }
    }
    // A prefix never ends otherwise, nor hands out what the whole does not.
    for count in 0..<document.bytes.count {
      let prefix = DecodedBody(Array(document.bytes.prefix(count)), .chunked, piece: count + 1, takes: .max)
      #expect(prefix.end == nil || prefix.end == whole.end)
      #expect(whole.payload.starts(with: prefix.payload))
    }
  }

  @Test func aLengthIsKept() {
    let bytes = Array("hello, and the next".utf8)
    for length in 0...5 {
      for piece in 1...bytes.count {
        let body = DecodedBody(bytes, .length(UInt64(length)), piece: piece, takes: 2)
        #expect(body.payload == Array(bytes.prefix(length)))
        #expect(body.end == .complete(length: length))
      }
    }
    #expect(DecodedBody(bytes, .length(100), piece: 3, takes: .max).end == nil)
    #expect(DecodedBody(bytes, .none, piece: 3, takes: .max).end == .complete(length: 0))
    let open = DecodedBody(bytes, .untilClose, piece: 3, takes: .max)
    #expect(open.end == nil && open.payload == bytes)
  }

  @Test func anExtensionMayFillTheLimitAndNotPassIt() {
    for (count, fits) in [(256, true), (257, false)] {
      let ext = ";" + String(repeating: "x", count: count - 1)
      let body = DecodedBody(Array("1\(ext)\r\na\r\n0\r\n\r\n".utf8), .chunked, piece: 7, takes: .max)
      #expect((body.payload == [0x61]) == fits)
      #expect((body.end == .refused("framing-chunk")) == !fits)
    }
  }

  @Test func trailersMayFillTheLimitAndNotPassIt() {
    let section = Array("X: y\r\n\r\n".utf8)
    let bytes = Array("0\r\n".utf8) + section
    for piece in 1...bytes.count {
      let fits = DecodedBody(bytes, .chunked, piece: piece, takes: .max, trailerBytesMax: section.count)
      #expect(fits.trailers == section && fits.end == .complete(length: bytes.count))
      let over = DecodedBody(bytes, .chunked, piece: piece, takes: .max, trailerBytesMax: section.count - 1)
      #expect(over.trailers.isEmpty && over.end == .refused("head-too-large"))
    }
  }

  // MARK: Trailer sections

  static let sections = Document.parse(
    #"""
    # fields
    X: y\r\n
    Z:\r\n
    \r\n
    --> complete fields=2 identity=false

    # the three signed fields
    x: y\r\n
    Signature: z\r\n
    \r\n
    --> complete identity=true

    # a foreign field
    X-Forwarded-For: 192.0.2.7\r\n
    \r\n
    --> complete identity=true

    # an alias
    client_attest: 192.0.2.7\r\n
    \r\n
    --> complete identity=true

    # a length
    Content-Length: 5\r\n
    \r\n
    --> refused framing-chunk

    # a coding
    Transfer-Encoding: chunked\r\n
    \r\n
    --> refused framing-chunk

    # a host
    A: b\r\n
    Host: a\r\n
    \r\n
    --> refused framing-chunk

    # a connection option
    Connection: close\r\n
    \r\n
    --> refused framing-chunk

    # a folded line
    A: b\r\n
    \sc\r\n
    \r\n
    --> refused obs-fold

    # a space before the colon
    A : b\r\n
    \r\n
    --> refused name-space

    # a bare CR
    A: b\rc\r\n
    \r\n
    --> refused line-ending

    # a NUL
    A: \0\r\n
    \r\n
    --> refused value-invalid

    # too many
    A:\r\nA:\r\nA:\r\nA:\r\n
    --> refused too-many-fields

    # too long
    A: 12345678901234567890123456789012345678901234567890
    --> refused head-too-large
    """#)

  @Test(arguments: sections) func trailerSection(_ document: Document) {
    let section = TrailerSection(fieldsMax: 3)
    let limits = HeadLimits(headBytes: 50, fields: 10)
    check(
      document, parse: { bytes, _ in section.parse(bytes.span, limits: limits) },
      summary: { _ in ["fields=\(section.fieldCount)", "identity=\(section.hasIdentity)"] })
  }
}
