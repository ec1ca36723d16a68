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
  var priorities: [String] = []
  private var isTrailer = false
  /// What is still to be sent of each stream, and whether it ends behind that.
  var toSend: [Int32: (bytes: [UInt8], ends: Bool)] = [:]
  var trailersToSend: [Int32: String] = [:]
  /// Windows are given back at once.
  var gives = true

  init(_ role: HTTP2Session.Role, streamWindow: Int = 65_535) {
    let settings = HTTP2Session.Settings(
      streamsMax: 10, streamWindow: streamWindow, connectionWindow: 1 << 20, headBytesMax: 1 << 20)
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
  func prioritized(stream: Int32, _ value: Span<UInt8>) -> Bool {
    priorities.append("\(stream): \(text(value))")
    return true
  }

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

  /// RFC 9218 section 7.1. libnghttp2 1.52 kept a stream that was prioritized before it began in a list behind its end: it took no more
  /// of them after as many as may be open, and before that wrote to memory that had been given back.
  @Test(arguments: [1, 5, Int.max]) func anyNumberOfStreamsMayBePrioritizedBeforeTheyBegin(piece: Int) throws {
    let (client, server) = (End(.client), End(.server))
    talk(client, server)
    for number in 0..<200 as Range<UInt32> {
      let id = number * 2 + 1
      let update = HTTP2Frame.priorityUpdate(id, "u=\(number % 8)").bytes + HTTP2Frame.priorityUpdate(id + 2, "i").bytes
      for at in stride(from: 0, to: update.count, by: min(piece, update.count)) {
        #expect(server.receive(Array(update[at..<min(update.count, at + min(piece, update.count))])) == .all)
      }
      #expect(!server.session.hasBegun(stream: Int32(id)))
      let stream = try #require(client.request(Self.request, hasBody: false))
      talk(client, server, piece: piece)
      #expect(server.session.hasBegun(stream: stream))
      #expect(server.respond(stream, ":status: 204\r\n", hasBody: false))
      talk(client, server, piece: piece)
      #expect(server.closedCodes[stream] == 0 && client.closedCodes[stream] == 0)
      #expect(server.priorities.suffix(2) == ["\(id): u=\(number % 8)", "\(id + 2): i"])
    }
  }

  @Test func aPriorityOfNoStreamEndsTheConnection() {
    func received(_ frame: HTTP2Frame) -> HTTP2Session.Received {
      let (client, server) = (End(.client), End(.server))
      talk(client, server)
      return server.receive(frame.bytes)
    }
    #expect(received(.priorityUpdate(1, "u=1")) == .all)
    #expect(received(.priorityUpdate(0x8000_0001, "u=1")) == .all, "the bit in front is ignored")
    #expect(received(.priorityUpdate(1, "")) == .all)
    #expect(received(.priorityUpdate(1, String(repeating: "u=1,", count: 1_000))) == .all, "too long to be one")
    #expect(received(.priorityUpdate(1, "u=1", on: 1)) == .failed)
    #expect(received(.priorityUpdate(0, "u=1")) == .failed)
    #expect(received(.priorityUpdate(2, "u=1")) == .failed)
    for length in 0..<4 { #expect(received(HTTP2Frame(type: 0x10, [UInt8](repeating: 0, count: length))) == .failed) }
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

  @Test func nothingIsBegunThatIsNotFinishedInTheSameBuffer() throws {
    let (client, server) = (End(.client), End(.server))
    talk(client, server)
    let body = [UInt8](repeating: 7, count: 30_000)
    var streams: [Int32] = []
    for _ in 0..<6 {
      let stream = try #require(client.request(Self.request, hasBody: true))
      client.toSend[stream] = (body, true)
      streams.append(stream)
    }
    // More than the buffer holds. Whichever streams are ended then, the others' bodies are what they were.
    #expect(client.session.send(into: client.out) == .full)
    let sent = streams.filter { client.toSend[$0]!.bytes.count < body.count }
    let gone = streams.filter { !sent.contains($0) }
    #expect(!sent.isEmpty && !gone.isEmpty)
    for stream in gone {
      client.toSend[stream] = nil
      client.session.reset(stream: stream, code: HTTP2Session.Code.cancel)
    }
    talk(client, server)
    for stream in sent { #expect(server.received[stream] == body && server.ended.contains(stream)) }
    for stream in gone { #expect(server.closedCodes[stream] == HTTP2Session.Code.cancel) }
    #expect(client.closedCodes.count == gone.count && server.closedCodes.count == gone.count)
  }

  @Test(arguments: [0, 1, 100, 200, 250, 300, 1_000, 9_000])
  func trailersBehindAFullFrameFindRoom(extra: Int) throws {
    let (client, server) = (End(.client), End(.server))
    talk(client, server)
    let stream = try #require(client.request(Self.request, hasBody: true))
    client.toSend[stream] = ([UInt8](repeating: 7, count: 16_384), true)
    let value = String(repeating: "v", count: 4_000)
    client.trailersToSend[stream] = "x-long: \(value)\r\n"
    // As little room as `send` begins with, and somewhat more.
    let out = Buffer(capacity: HTTP2Session.sendRoomBytes + extra)
    while client.session.send(into: out) == .full {
      #expect(!out.overflowed)
      #expect(server.receive(out.copyBytes()) == .all)
      out.removeAll()
    }
    #expect(!out.overflowed)
    #expect(server.receive(out.copyBytes()) == .all)
    #expect(server.trailers[stream] == ["x-long: \(value)"])
    #expect(server.received[stream]?.count == 16_384 && server.ended == [stream])
  }

  /// The library's own limit is 64 KiB, beyond which it drops a head and says nothing.
  @Test(arguments: [60_000, 70_000, 110_000]) func aLargeHeadArrivesWhole(count: Int) throws {
    let (client, server) = (End(.client), End(.server))
    talk(client, server)
    let value = String(repeating: "v", count: count / 20)
    let fields = (0..<20).map { "x-\($0): \(value)" }
    let lines = fields.map { $0 + "\r\n" }.joined()
    let stream = try #require(client.request(Self.request + lines, hasBody: true))
    client.toSend[stream] = ([], true)
    client.trailersToSend[stream] = lines
    talk(client, server)
    #expect(server.fields[stream]?.suffix(20) == fields[...] && server.trailers[stream] == fields)
    #expect(server.respond(stream, ":status: 200\r\n" + lines, hasBody: false))
    talk(client, server)
    #expect(client.fields[stream] == [":status: 200"] + fields && client.ended == [stream])
  }

  /// A longer field, and a list that needs more frames than a peer reads, would end the connection and with it the requests of others.
  @Test(arguments: [[65_536], [65_537], [30_000, 30_000, 30_000, 30_000], [30_000, 30_000, 30_000, 30_000, 30_000]])
  func whatNoPeerTakesIsNotSent(_ sizes: [Int]) throws {
    let (client, server) = (End(.client), End(.server))
    talk(client, server)
    let lines = sizes.enumerated().map { "x-\($0): \(String(repeating: "~", count: $1))\r\n" }.joined()
    let isCarried = sizes.allSatisfy { $0 <= 65_536 } && sizes.reduce(0, +) < 131_072
    let stream = client.request(Self.request + lines, hasBody: false)
    #expect((stream != nil) == isCarried)
    let next = try #require(client.request(Self.request, hasBody: false))
    talk(client, server)
    #expect(server.fields[next] != nil)
    if let stream { #expect(server.fields[stream]?.count == server.fields[next]!.count + sizes.count) }
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
    #expect(server.session.takeNoMore() == other)
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
