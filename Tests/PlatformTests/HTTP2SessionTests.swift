// Two sessions of HTTP/2 that speak with each other in memory: what one says the other hears, in whatever pieces it comes.

import Platform
import TestSupport
import Testing
import Wire

/// One end, which notes what it hears and says what it is told to.
private final class End: HTTP2Handler {
  let session: HTTP2Session!
  let memory = HTTP2Memory()
  let lines = HTTP2Lines(fieldsMax: 64)
  let out = Buffer(capacity: 64 * 1024)

  var fields: [Int32: [String]] = [:]
  var trailers: [Int32: [String]] = [:]
  var received: [Int32: [UInt8]] = [:]
  var ended: Set<Int32> = []
  var closedCodes: [Int32: UInt32] = [:]
  var frames: [HTTP2Session.Frame.Kind] = []
  var lastStream: Int32?
  private var isTrailer = false
  /// What is still to be sent of each stream, and whether it ends behind that.
  var toSend: [Int32: (bytes: [UInt8], ends: Bool)] = [:]
  var trailersToSend: [Int32: String] = [:]
  /// Windows are given back at once.
  var gives = true

  init(_ role: HTTP2Session.Role, streamWindow: Int = 65_535) {
    let settings = HTTP2Session.Settings(
      streamsMax: 10, streamWindow: streamWindow, connectionWindow: 1 << 20, headBytesMax: 16_384)
    session = HTTP2Session(role, settings, memory: memory)
    session.tell(self)
  }

  private func text(_ bytes: Span<UInt8>) -> String {
    String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
  }

  func headBegan(stream: Int32, isTrailer: Bool) { self.isTrailer = isTrailer && fields[stream] != nil }
  func field(stream: Int32, name: Span<UInt8>, value: Span<UInt8>) -> Bool {
    let line = "\(text(name)): \(text(value))"
    if isTrailer { trailers[stream, default: []].append(line) } else { fields[stream, default: []].append(line) }
    return true
  }
  func headEnded(stream: Int32, isTrailer: Bool, endsStream: Bool) {}
  func data(stream: Int32, _ bytes: Span<UInt8>) {
    received[stream, default: []] += bytes.indices.map { bytes[$0] }
    if gives { session.consumed(stream: stream, bytes.count) }
  }
  func inputEnded(stream: Int32) { ended.insert(stream) }
  func closed(stream: Int32, code: UInt32) { closedCodes[stream] = code }
  func noteFrame(_ frame: HTTP2Session.Frame) -> Bool {
    frames.append(frame.kind)
    return true
  }
  func sendable(stream: Int32, most: Int) -> HTTP2Session.BodyPart {
    guard let (bytes, ends) = toSend[stream] else { return .nothing }
    let n = min(bytes.count, most)
    guard n == bytes.count, ends else { return n > 0 ? .bytes(n) : .nothing }
    guard let trailers = trailersToSend[stream] else { return .last(n) }
    _ = session.submitTrailers(stream: stream, lines, Array(trailers.utf8).span)
    return .lastBeforeTrailers(n)
  }
  func take(stream: Int32, count: Int, into out: Buffer) {
    guard let (bytes, ends) = toSend[stream] else { return }
    out.append(Array(bytes.prefix(count)).span)
    toSend[stream] = (Array(bytes.dropFirst(count)), ends)
  }
  func goingAway(lastStream: Int32) { self.lastStream = lastStream }

  // What a test says, as text.
  func request(_ text: String, hasBody: Bool) -> Int32? {
    session.request(lines, Array(text.utf8).span, hasBody: hasBody)
  }
  func respond(_ stream: Int32, _ text: String, hasBody: Bool) -> Bool {
    session.respond(stream: stream, lines, Array(text.utf8).span, hasBody: hasBody)
  }
  func inform(_ stream: Int32, _ text: String) -> Bool { session.inform(stream: stream, lines, Array(text.utf8).span) }
  func receive(_ bytes: [UInt8]) -> HTTP2Session.Received { session.receive(bytes.span) }
}

/// Carries bytes until neither has more to say.
private func talk(_ a: End, _ b: End, piece: Int = .max) {
  for _ in 0..<10_000 {
    var isQuiet = true
    for (from, to) in [(a, b), (b, a)] {
      _ = from.session.send(into: from.out)
      let bytes = from.out.copyBytes()
      from.out.removeAll()
      guard !bytes.isEmpty else { continue }
      isQuiet = false
      var at = 0
      while at < bytes.count {
        let end = min(bytes.count, at + min(piece, bytes.count))
        #expect(to.receive(Array(bytes[at..<end])) == .all)
        at = end
      }
    }
    if isQuiet { return }
  }
  Issue.record("they never came to an end")
}

@Suite struct HTTP2SessionTests {
  private static let request =
    ":method: POST\r\n:scheme: https\r\n:authority: app.example.com\r\n:path: /up\r\nX-Mixed-Case:  value \t\r\nsignature: s=:AA==:\r\n"

  @Test(arguments: [1, 2, 3, 7, 24, 1_000, Int.max])
  func aRequestAndItsResponseArriveInWhateverPieces(piece: Int) throws {
    let (client, server) = (End(.client), End(.server))
    let body = Seeded(1).bytesOf(100_000)
    let stream = try #require(client.request(Self.request, hasBody: true))
    client.toSend[stream] = (body, true)
    client.trailersToSend[stream] = "x-sum: 17\r\n"
    talk(client, server, piece: piece)
    #expect(
      server.fields[stream] == [
        ":method: POST", ":scheme: https", ":authority: app.example.com", ":path: /up", "x-mixed-case: value",
        "signature: s=:AA==:",
      ])
    #expect(server.received[stream] == body)
    #expect(server.trailers[stream] == ["x-sum: 17"])
    #expect(server.ended == [stream])

    #expect(server.inform(stream, ":status: 103\r\n"))
    #expect(server.respond(stream, ":status: 200\r\nServer: x\r\n", hasBody: true))
    server.toSend[stream] = (Array("hello".utf8), true)
    talk(client, server, piece: piece)
    #expect(client.fields[stream]?.first == ":status: 103")
    #expect(client.received[stream] == Array("hello".utf8))
    #expect(client.ended == [stream])
    #expect(client.closedCodes == [stream: 0] && server.closedCodes == [stream: 0])
  }

  @Test func whoGivesNoWindowBackIsSentNoMoreThanThat() throws {
    let (client, server) = (End(.client), End(.server, streamWindow: 20_000))
    talk(client, server)
    server.gives = false
    let stream = try #require(client.request(Self.request, hasBody: true))
    client.toSend[stream] = ([UInt8](repeating: 7, count: 50_000), true)
    talk(client, server)
    #expect(server.received[stream]?.count == 20_000)
    server.session.consumed(stream: stream, 15_000)
    talk(client, server)
    #expect(server.received[stream]?.count == 35_000)
    server.session.consumed(stream: stream, 20_000)
    talk(client, server)
    #expect(server.received[stream]?.count == 50_000)
    #expect(server.ended == [stream])
  }

  @Test func aBodyThatIsNotThereYetIsWaitedFor() throws {
    let (client, server) = (End(.client), End(.server))
    let stream = try #require(client.request(Self.request, hasBody: true))
    talk(client, server)
    #expect(server.fields[stream] != nil && server.received[stream] == nil)
    client.toSend[stream] = (Array("late".utf8), true)
    client.session.resume(stream: stream)
    talk(client, server)
    #expect(server.received[stream] == Array("late".utf8) && server.ended == [stream])
  }

  @Test func aResetAndAGoodbyeAreHeard() throws {
    let (client, server) = (End(.client), End(.server))
    let stream = try #require(client.request(Self.request, hasBody: true))
    talk(client, server)
    server.session.reset(stream: stream, code: HTTP2Session.Code.enhanceYourCalm)
    talk(client, server)
    #expect(client.closedCodes[stream] == HTTP2Session.Code.enhanceYourCalm)
    let other = try #require(client.request(Self.request, hasBody: true))
    talk(client, server)
    server.session.announceEnd()
    talk(client, server)
    #expect(client.lastStream == Int32.max)
    server.session.takeNoMore()
    talk(client, server)
    #expect(client.lastStream == other)
    // What was under way goes on.
    #expect(server.respond(other, ":status: 200\r\n", hasBody: false))
    talk(client, server)
    #expect(client.fields[other] == [":status: 200"])
  }

  @Test func aMarkIsKeptAsLongAsItsStream() throws {
    let (client, server) = (End(.client), End(.server))
    let stream = try #require(client.request(Self.request, hasBody: false))
    talk(client, server)
    #expect(server.session.mark(stream: stream) == 0)
    server.session.setMark(4_711, stream: stream)
    #expect(server.session.mark(stream: stream) == 4_711)
    #expect(server.session.mark(stream: 99) == 0)
  }

  @Test func whatIsNoHTTP2IsRefused() throws {
    let server = End(.server)
    #expect(server.receive(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) == .failed)
  }

  @Test func moreFieldsThanThereIsRoomForAreNotSent() throws {
    let client = End(.client)
    let many = Self.request + (0..<64).map { "x-\($0): 1\r\n" }.joined()
    #expect(client.request(many, hasBody: false) == nil)
    #expect(client.request(":method: GET\r\nno end", hasBody: false) == nil)
  }

  @Test func blocksOfMemoryAreUsedAgain() throws {
    // Streams that come and go in one session, far more than its memory could hold at once.
    let (client, server) = (End(.client), End(.server))
    let head = ":method: GET\r\n:scheme: https\r\n:authority: a\r\n:path: /\r\n"
    for _ in 0..<2_000 {
      let stream = try #require(client.request(head, hasBody: false))
      talk(client, server)
      #expect(server.respond(stream, ":status: 204\r\n", hasBody: false))
      talk(client, server)
      #expect(client.closedCodes[stream] == 0)
    }
    server.memory.release()
  }
}

extension Seeded {
  fileprivate func bytesOf(_ count: Int) -> [UInt8] {
    var random = self
    return random.bytes(count)
  }
}
