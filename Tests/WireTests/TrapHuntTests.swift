// No bytes of a peer, a name server or another process end this one: each reader is given a great many inputs, and what it says of them
// is not looked at here but for what it says where they lie. A reader that traps takes the whole run with it, and the suite's name tells.

import TestSupport
import Testing
import Wire

@Suite struct TrapHuntTests {
  /// How many inputs each reader has. More by far were tried when this was written.
  static let rounds = 4_000

  // MARK: HTTP/2 and WebSocket

  @Test func framesOfHTTP2() {
    var dice = Mutator(1, samples: [])
    for _ in 0..<Self.rounds {
      var bytes = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
      let streams = (0..<4).map { _ in dice.below(3) == 0 ? UInt32(truncatingIfNeeded: dice.dice.next()) : 0 }
      for _ in 0..<dice.below(40) {
        var stream = UInt32(dice.below(12))
        if dice.below(6) == 0 { stream = dice.pick(streams) }
        if dice.below(8) == 0 { stream = .max >> UInt32(dice.below(3)) &- UInt32(dice.below(3)) }
        let count = dice.below(4) == 0 ? dice.below(9) : dice.pick([0, 1, 4, 5, 8])
        let length = dice.below(60) == 0 ? dice.pick([0x7f_ffff, 0xff_ffff]) : count
        let type = dice.below(10) == 0 ? dice.below(256) : dice.below(11)
        let flags = dice.below(4) == 0 ? dice.below(256) : dice.pick([0, 1, 4, 5, 8, 9])
        bytes += [UInt8(length >> 16), UInt8(length >> 8 & 255), UInt8(length & 255), UInt8(type), UInt8(flags)]
        bytes += (0..<4).map { UInt8(truncatingIfNeeded: stream >> UInt32(24 - 8 * $0)) } + dice.dice.bytes(count)
      }
      if dice.below(10) == 0 { bytes.removeSubrange(..<dice.below(bytes.count)) }
      var scan = HTTP2FrameScan()
      let whole = scan.scan(bytes.span)
      #expect(scan.waitingBytes >= 0 && scan.waitingBytes <= bytes.count)
      let split = dice.below(bytes.count + 1)
      var pieces = HTTP2FrameScan()
      let first = pieces.scan(bytes.span.extracting(0..<split))
      // What waits was among what came.
      #expect(first != nil || pieces.waitingBytes <= split)
      let found = first ?? pieces.scan(bytes.span.extracting(split..<bytes.count))
      #expect(found == whole)
    }
  }

  @Test func framesOfWebSocket() {
    for sender in [WebSocketFrames.Sender.client, .server] {
      let samples: [[UInt8]] = [
        [0x81, 0x03, 1, 2, 3, 0x88, 0x02, 3, 0xe9], [0x82, 0x7e, 0, 200] + [UInt8](repeating: 0, count: 200),
        [0x81, 0x83, 1, 2, 3, 4, 5, 6, 7, 0x89, 0x80, 0, 0, 0, 0, 0x88, 0x82, 0, 0, 0, 0, 3, 0xe9],
        [0x02, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9], [0x82, 0x7f, 0x7f, 255, 255, 255, 255, 255, 255, 255],
        [0x01, 0x00, 0x8a, 0x7d] + [UInt8](repeating: 7, count: 125) + [0x80, 0x00],
      ]
      var inputs = Mutator(2, samples: samples)
      for _ in 0..<Self.rounds {
        let bytes = inputs.next()
        var whole = WebSocketFrames(from: sender)
        whole.follow(bytes.span)
        var pieces = WebSocketFrames(from: sender)
        let split = inputs.below(bytes.count + 1)
        pieces.follow(bytes.span.extracting(0..<split))
        var at = split
        while at < bytes.count {
          let n = pieces.followFrame(bytes.span, from: at)
          #expect(n >= 0 && at + n <= bytes.count)
          guard n > 0 else { break }
          at += n
        }
        #expect(pieces == whole)
      }
    }
  }

  // MARK: HTTP/1, as it comes and as fields

  private static let words = [
    "\r\n", "\n", "\r\n\r\n", ": ", ",", ";", "=", "\"", "\\", "%", "?", "#", "http://", "https://a/", "HTTP/1.1",
    "HTTP/1.0", "Host: [::1]:1\r\n", "Connection: close, x\r\n", "Content-Length: 5, 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Trailer: x\r\n", "Expect: 100-continue\r\n", "Upgrade: websocket\r\n", "\u{0}", "\u{ff}", "[", "]", "CONNECT ",
  ]

  @Test func headsAndTrailers() {
    let requests = HTTPCorpus.requests.map(\.bytes)
    let responses = HTTPCorpus.responses.map(\.bytes)
    var inputs = Mutator(3, samples: requests + responses + HTTPCorpus.sections.map(\.bytes), fragments: Self.words)
    let request = RequestHead(fieldsMax: 8, names: FieldNames(claims: ["x-acme-client"]))
    let response = ResponseHead(fieldsMax: 8)
    let sections = [TrailerSection(fieldsMax: 8), TrailerSection(fieldsMax: 8, isLenient: true)]
    for _ in 0..<Self.rounds {
      let bytes = inputs.next()
      let limits = HeadLimits(headBytes: inputs.pick([1, 16, 300, 4_096]), fields: inputs.pick([0, 1, 8, 100]))
      let seen = inputs.below(bytes.count + 2)
      for seen in [0, seen] {
        if case .complete(let length) = request.parse(bytes.span, limits: limits, seen: seen) {
          #expect(length <= bytes.count)
          for i in 0..<request.fieldCount { #expect(request.value(i).upper <= length && !request.name(i).isEmpty) }
        }
        _ = response.parse(
          bytes.span, limits: limits, requestWasHead: seen % 2 == 0, isFirst: seen % 3 == 0, seen: seen)
      }
      for section in sections { _ = section.parse(bytes.span, limits: limits) }
    }
  }

  @Test func headsOfFields() {
    let samples = [
      "GEThttpsexample.com/a?bhost: a\r\ncookie: a=b\r\n\r\n", "OPTIONShttpa*\r\n", "CONNECTa:443x: y\r\n\r\n",
      "POSThttps[::1]:8443/x%2f?content-length: 5\r\nte: trailers\r\n\r\n",
    ]
    var inputs = Mutator(4, texts: samples, fragments: Self.words)
    let head = RequestHead(fieldsMax: 8)
    for _ in 0..<Self.rounds {
      let bytes = inputs.next()
      let linesStart = inputs.below(bytes.count + 1)
      var cuts = (0..<3).map { _ in inputs.below(linesStart + 1) }
      cuts.sort()
      var ranges = zip([0] + cuts, cuts + [linesStart]).map { ByteRange($0, $1 - $0) }.map(Optional.some)
      for i in ranges.indices where inputs.below(12) == 0 { ranges[i] = nil }
      if inputs.below(8) == 0 { ranges.shuffle(using: &inputs.dice) }
      let fields = RequestPseudoFields(method: ranges[0], scheme: ranges[1], authority: ranges[2], path: ranges[3])
      let limits = HeadLimits(headBytes: inputs.pick([0, 1, 20, 300]), fields: inputs.pick([1, 8]))
      _ = head.parse(bytes.span, fields, linesStart: linesStart, limits: limits)
      _ = FieldBytes.refusal(ofName: bytes.span)
      _ = FieldBytes.refusal(ofValue: bytes.span)
    }
  }

  @Test func bodies() {
    let samples = HTTPCorpus.chunked.map(\.bytes)
    for isLenient in [false, true] {
      var inputs = Mutator(5, samples: samples, fragments: Self.words)
      for _ in 0..<Self.rounds {
        let bytes = inputs.next()
        let framing = inputs.pick([
          BodyFraming.chunked, .chunked, .none, .untilClose, .length(0), .length(7), .length(UInt64(Int64.max)),
        ])
        var decoder = BodyDecoder(framing, trailerBytesMax: inputs.pick([0, 1, 40, 8_192]), isLenient: isLenient)
        var (at, end) = (0, 0)
        reading: while end < bytes.count || at < end {
          end = min(bytes.count, max(end, at) + inputs.below(9))
          switch decoder.step(bytes.span.extracting(at..<end)) {
          case .data(let skip, let count):
            #expect(skip + count <= end - at)
            at += skip
            let taken = inputs.below(count + 1)
            decoder.consumed(taken)
            at += taken
          case .trailers(let skip, let count):
            #expect(skip + count <= end - at)
            decoder.consumed(count)
            at += skip + count
          case .end, .refused: break reading
          case .incomplete(let skip):
            #expect(skip <= end - at)
            at += skip
            if end == bytes.count { break reading }
          }
        }
      }
    }
  }

  // MARK: Values of fields

  @Test func valuesOfFields() {
    let samples = [
      "gzip;q=0.5, *;q=0, identity", "text/html, application/*+json;q=0.8, */*", "W/\"a,b\", \"c\" , *",
      "no-cache, no-transform=\"x\", max-age=60", "for=\"[2001:db8::7]:51324\";proto=https, for=192.0.2.7",
      "192.0.2.7, [2001:db8::7]:80 , 203.0.113.9:1", "https, http,ws", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
      "/a/../b//./%2e%2F", "::ffff:192.0.2.7", "2001:db8::/32", "10.0.0.0/8", "application/vnd.a+json; charset=x",
    ]
    var inputs = Mutator(6, texts: samples, fragments: Self.words)
    let patterns = MediaTypes(["text/*", "application/*+json", "image/svg+xml"].compactMap { MediaTypePattern($0) })
    let names = FieldNames(claims: ["x-acme-client", String(repeating: "a-long-name", count: 5)])
    var room = InlineArray<768, UInt8>(repeating: 0)
    for _ in 0..<Self.rounds {
      let bytes = inputs.next()
      let text = String(decoding: bytes, as: UTF8.self)
      var coding = CodingPreference()
      coding.note(bytes.span)
      var media = MediaPreference()
      media.note(bytes.span)
      _ = EntityTags(of: "\"c\"".utf8.span, in: bytes.span)
      _ = FieldList.mayHaveDirective(bytes.span, lowercase: "no-transform".utf8.span)
      _ = FieldList.holds(bytes.span) { ContentDigest.isName($0) }
      _ = patterns.holds(bytes.span)
      _ = MediaTypePattern(text)
      _ = PathText.isPlain(bytes.span)
      var space = room.mutableSpan
      _ = BasicCredentials(parsing: bytes.span, into: &space)
      _ = names.kind(of: text)
      _ = FieldNames.fold(text)
      if let address = IPAddress.parse(bytes.span) { #expect(IPAddress("\(address)") == address) }
      if let prefix = IPPrefix(parsing: bytes.span) {
        #expect(IPPrefix("\(prefix)") == prefix)
        _ = PrefixTable([prefix]).contains(prefix.address)
        _ = prefix.unmapped.contains(prefix.address)
      }
      let lower = inputs.below(bytes.count + 1)
      let range = ByteRange(lower, inputs.below(bytes.count - lower + 1))
      for syntax in [ForwardedElements.Syntax.xForwardedFor, .forwarded] {
        var elements = ForwardedElements(range, syntax: syntax)
        while case .node = elements.previous(bytes.span) {}
        let last = elements.previous(bytes.span)
        #expect(last == .end)
      }
      for behind in 0...ForwardedScheme.count(bytes.span, range) {
        _ = ForwardedScheme.element(bytes.span, range, behind: behind)
      }
    }
  }

  @Test func numbersAndDays() {
    var dice = Seeded(7)
    let edges = [
      0, 1, -1, 1969, 1970, 9999, 10_000, 12, 31, .max, .min, .max / 365, .max / 366, 25_252_734_927_761_554,
    ]
    for _ in 0..<Self.rounds {
      var number: Int {
        switch dice.next() % 3 {
        case 0: edges[Int(dice.next() % UInt64(edges.count))]
        case 1: Int(dice.next() % 60)
        default: Int(truncatingIfNeeded: dice.next())
        }
      }
      let (year, month, day) = (number, number, number)
      if let days = CivilDate.daysSinceEpoch(year: year, month: month, day: day) {
        let date = CivilDate(daysSinceEpoch: days)
        #expect((date.year, date.month, date.day) == (year, month, day))
      }
    }
  }
}
