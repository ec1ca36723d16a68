// Bytes over TLS, whatever the pieces in which the records come, and how a connection ends.

import Glibc
import Platform
import TestSupport
import Testing
import Wire

@Suite struct TLSTransportTests {
  let made: Certificates
  let accepting: TLSServerContext
  let connecting: TLSClientContext

  init() throws {
    made = try Certificates()
    accepting = try made.context([made.server(["app.test"])])
    connecting = try TLSClientContext(authorities: made.ca, name: "app.test", certificate: nil)
  }

  private func link() throws -> TLSLink {
    let link = try TLSLink(accepting, connecting)
    try #require(link.shake() == (.done, .done))
    return link
  }

  /// Two transports with the test in the middle of the wire.
  private final class Middle {
    let server = Transport()
    let client = Transport()
    let toServer: Int32
    let toClient: Int32

    init(_ accepting: TLSServerContext, _ connecting: TLSClientContext) throws {
      let (one, two) = try SocketPair.unix()
      let (three, four) = try SocketPair.unix()
      server.open(one)
      toServer = two
      client.open(three)
      toClient = four
      try #require(server.startTLS(accepting: accepting) && client.startTLS(connecting: connecting))
    }

    deinit {
      close(toServer)
      close(toClient)
    }

    /// Handshake with at most `piece` bytes at a time in each direction.
    func shake(piece: Int) throws {
      var client = Handshake.blocked
      var server = Handshake.blocked
      for _ in 0..<20 where client == .blocked || server == .blocked {
        if client == .blocked { client = self.client.shakeHands() }
        try carry(from: toClient, to: toServer, piece) {
          self.server.noteAll()
          if server == .blocked { server = self.server.shakeHands() }
        }
        try carry(from: toServer, to: toClient, piece) {
          self.client.noteAll()
          if client == .blocked { client = self.client.shakeHands() }
        }
      }
      try #require(client == .done && server == .done, "pieces of \(piece)")
    }

    func carry(from: Int32, to: Int32, _ piece: Int, _ then: () -> Void) throws {
      var rest = waitingBytes(from)[...]
      while !rest.isEmpty {
        try SocketPair.send(to, rest.prefix(piece))
        rest = rest.dropFirst(piece)
        then()
      }
    }
  }

  @Test(arguments: [1, 2, 3, 5, 7, 16, 100, 1_000])
  func aHandshakeComesInAnyPieces(piece: Int) throws {
    let middle = try Middle(accepting, connecting)
    try middle.shake(piece: piece)
  }

  @Test func aRecordIsReadWholeWhereverItIsSplit() throws {
    let middle = try Middle(accepting, connecting)
    try middle.shake(piece: 65_536)
    let message = Array("GET /api HTTP/1.1\r\nhost: a\r\n\r\n".utf8)
    let buffer = Buffer(capacity: 256)
    var split = 1
    var length = 2
    while split < length {
      #expect(middle.client.say(message) == .bytes(message.count))
      let record = waitingBytes(middle.toClient)
      length = record.count
      try SocketPair.send(middle.toServer, record[..<split])
      middle.server.noteReadable()
      #expect(middle.server.read(into: buffer) == .blocked)
      #expect(!middle.server.mayRead || middle.server.read(into: buffer) == .blocked)
      try SocketPair.send(middle.toServer, record[split...])
      middle.server.noteReadable()
      #expect(middle.server.read(into: buffer) == .bytes(message.count), "split at \(split)")
      #expect(buffer.copyBytes() == message)
      buffer.removeAll()
      split += 1
    }
    #expect(split > message.count)
  }

  @Test func aChangedByteEndsTheConnection() throws {
    let middle = try Middle(accepting, connecting)
    try middle.shake(piece: 65_536)
    #expect(middle.client.write("GET / HTTP/1.1\r\n") == .bytes(16))
    var record = waitingBytes(middle.toClient)
    record[record.count / 2] ^= 1
    try SocketPair.send(middle.toServer, record)
    middle.server.noteReadable()
    #expect(middle.server.read(into: Buffer(capacity: 256)) == .failed)
  }

  @Test func recordsThatCameTogetherAreAllRead() throws {
    let link = try link()
    for i in UInt8(0)..<5 { #expect(link.client.say([i, i, i]) == .bytes(3)) }
    link.server.noteReadable()
    // One event, one recv, one read.
    #expect(link.server.mayRead)
    #expect(link.server.readBytes() == (UInt8(0)..<5).flatMap { [$0, $0, $0] })
    #expect(link.server.readBytes() == nil && !link.server.mayRead)
  }

  @Test func aRecordLargerThanTheBufferIsReadInParts() throws {
    let link = try link()
    var random = Seeded(3)
    let message = random.bytes(10_000)
    #expect(link.client.say(message) == .bytes(10_000))
    link.server.noteReadable()
    let buffer = Buffer(capacity: 900)
    var got: [UInt8] = []
    while got.count < message.count {
      guard case .bytes(let n) = link.server.read(into: buffer) else { break }
      #expect(n > 0)
      got += buffer.copyBytes()
      buffer.removeAll()
    }
    #expect(got == message)
  }

  @Test func aFullBufferBlocksAndLosesNothing() throws {
    let link = try link()
    #expect(link.client.say([1, 2, 3]) == .bytes(3))
    link.server.noteReadable()
    let buffer = Buffer(capacity: 2)
    #expect(link.server.read(into: buffer) == .bytes(2))
    #expect(link.server.read(into: buffer) == .blocked)
    #expect(link.server.read(into: buffer) == .blocked)
    buffer.consume(2)
    #expect(link.server.read(into: buffer) == .bytes(1))
    #expect(buffer.copyBytes() == [3])
  }

  /// RFC 8446 section 4.6.3 has no bound for them, and each costs more than it is long.
  @Test func keyUpdatesWithoutEndEndTheConnection() throws {
    let client = try RawClient(accepting)
    #expect(client.shake())
    try client.send(raw: client.keyUpdates(6_000))
    client.server.noteReadable()
    #expect(client.server.read(into: Buffer(capacity: 256)) == .failed)
  }

  @Test func whatComesBehindSomeKeyUpdatesIsRead() throws {
    let client = try RawClient(accepting)
    #expect(client.shake())
    for count in [1, 40, 1_500] {
      try client.send(raw: client.keyUpdates(count, then: [1, 2, 3]))
      client.server.noteReadable()
      #expect(client.server.readBytes() == [1, 2, 3], "\(count)")
      #expect(client.server.readBytes() == nil && !client.server.mayRead)
    }
  }

  // MARK: Writing against a peer that does not read

  @Test func aBlockedWriteGoesOnWithMoreBehind() throws {
    let link = try link()
    let buffer = Buffer(capacity: 64 * 1024)
    let taken = Buffer(capacity: 48 * 1024)
    var random = Seeded(11)
    var sent: [UInt8] = []
    var got: [UInt8] = []
    func drain() {
      link.server.noteReadable()
      while case .bytes = link.server.read(into: taken) {
        got += taken.copyBytes()
        taken.removeAll()
        link.server.noteReadable()
      }
    }
    var blocked = 0
    while blocked < 20 {
      let more = random.bytes(min(buffer.room, Int.random(in: 1...50_000, using: &random)))
      // Room is made by moving what waits to the front: the next try comes from another place.
      buffer.append(more.span)
      sent += more
      if case .failed = link.client.flush(buffer) {
        Issue.record("the peer is there")
        return
      }
      guard !buffer.isEmpty else { continue }
      blocked += 1
      #expect(link.client.isWriteBlocked && link.client.flush(buffer) == .blocked)
      drain()
      link.client.noteWritable()
    }
    while !buffer.isEmpty || link.client.hasUnsent {
      _ = link.client.flush(buffer)
      drain()
      link.client.noteWritable()
    }
    drain()
    #expect(got == sent)
  }

  @Test func recordsLeaveTogetherWhenTheyAreFlushed() throws {
    let link = try link()
    for text in ["one ", "two ", "three"] {
      #expect(link.client.write(Array(text.utf8).span) == .bytes(text.utf8.count))
    }
    #expect(link.client.hasUnsent)
    link.server.noteReadable()
    #expect(link.server.readBytes() == nil)
    let sent = link.client.sentBytes
    #expect(link.client.flush(Buffer(capacity: 16)) == .bytes(0))
    #expect(!link.client.hasUnsent && link.client.sentBytes &- sent > 13)
    link.server.noteReadable()
    #expect(link.server.readBytes() == Array("one two three".utf8))
  }

  /// Three full records do not fit into the chunk that these transports have: the first leave when room is needed.
  @Test func recordsLeaveByThemselvesWhenThereIsNoRoomForAnother() throws {
    let link = try link()
    var random = Seeded(5)
    let buffer = Buffer(capacity: 3 * 16_384)
    let message = random.bytes(3 * 16_384)
    buffer.append(message.span)
    #expect(link.client.write(contentsOf: buffer) == .bytes(message.count))
    #expect(buffer.isEmpty && link.client.hasUnsent && link.client.sentBytes > 0)
    link.client.sendRecords()
    #expect(!link.client.hasUnsent)
    link.server.noteReadable()
    let got = Buffer(capacity: message.count)
    while case .bytes = link.server.read(into: got) { link.server.noteReadable() }
    #expect(got.copyBytes() == message)
  }

  /// A chunk that holds sealed bytes is one of the pool's, and goes back when they have left or can not any more.
  @Test func aChunkIsHeldOnlyWhileRecordsWait() throws {
    let pool = BufferPool(chunkBytes: 32 * 1024, keptMax: 1)
    let (one, two) = try SocketPair.unix()
    let server = Transport(pool: pool)
    let client = Transport()
    server.open(one)
    client.open(two)
    try #require(server.startTLS(accepting: accepting) && client.startTLS(connecting: connecting))
    #expect(client.handshake() == .blocked)
    server.noteAll()
    #expect(server.handshake() == .blocked)
    #expect(pool.lent == 0)
    client.noteAll()
    #expect(client.handshake() == .done)
    client.sendRecords()
    server.noteAll()
    // The ticket waits for what is said first.
    #expect(server.handshake() == .done)
    #expect(server.hasUnsent && pool.lent == 1)
    let buffer = Buffer(capacity: 16)
    buffer.append("hello")
    #expect(server.flush(buffer) == .bytes(5))
    #expect(!server.hasUnsent && pool.lent == 0)
    client.noteReadable()
    #expect(client.readBytes() == Array("hello".utf8))
    #expect(server.write(Array("never sent".utf8).span) == .bytes(10))
    #expect(pool.lent == 1)
    client.cut()
    server.noteHangup()
    #expect(server.sendRecords() == .failed)
    #expect(!server.hasUnsent && pool.lent == 0)
    #expect(server.write(Array("nor this".utf8).span) == .bytes(8))
    server.close(reset: true)
    #expect(pool.lent == 0)
  }

  // MARK: Ends

  @Test(arguments: [false, true])
  func theLastBytesAndTheGoodbyeLeaveTogether(blocked: Bool) throws {
    let link = try link()
    let buffer = Buffer(capacity: 1 << 20)
    var random = Seeded(6)
    let message = random.bytes(blocked ? 1 << 20 : 100)
    buffer.append(message.span)
    var got: [UInt8] = []
    let taken = Buffer(capacity: 64 * 1024)
    var end = IOResult.blocked
    var flushes = 0
    repeat {
      #expect(link.server.flush(buffer, last: true) != .failed)
      flushes += 1
      #expect(end == .blocked)
      link.client.noteReadable()
      reading: while true {
        let moved = link.client.read(into: taken)
        switch moved {
        case .bytes: link.client.noteReadable()
        case .blocked: break reading
        case .ended, .failed:
          end = moved
          break reading
        }
        got += taken.copyBytes()
        taken.removeAll()
      }
      link.server.noteWritable()
    } while (!buffer.isEmpty || link.server.hasUnsent) && flushes < 100
    #expect(got == message && end == .ended)
    #expect((flushes > 1) == blocked)
    // Nothing is said twice.
    let sent = link.server.sentBytes
    link.server.finish()
    #expect(link.server.sentBytes == sent)
  }

  /// A goodbye that finds no room waits for it, and the end of the stream behind it.
  @Test func aGoodbyeWaitsForRoom() throws {
    let link = try link()
    let buffer = Buffer(capacity: 1 << 20)
    var random = Seeded(9)
    buffer.append(random.bytes(1 << 20).span)
    #expect(link.server.flush(buffer) != .failed)
    #expect(link.server.isWriteBlocked && !buffer.isEmpty)
    let rest = buffer.count
    buffer.removeAll()
    link.server.finish()
    #expect(link.server.hasUnsent)
    let taken = Buffer(capacity: 64 * 1024)
    var got = 0
    var end = IOResult.blocked
    for _ in 0..<100 where end == .blocked {
      link.client.noteReadable()
      while true {
        end = link.client.read(into: taken)
        guard case .bytes(let n) = end else { break }
        got += n
        taken.removeAll()
        link.client.noteReadable()
      }
      link.server.noteWritable()
      link.server.sendRecords()
    }
    #expect(end == .ended && got == (1 << 20) - rest && !link.server.hasUnsent)
    #expect(waitingBytes(link.client.descriptor) == [])
  }

  /// What a client says before it ends is handed on before its end is, although both came in one piece.
  @Test func anEndIsToldAfterTheBytesThatCameWithIt() throws {
    let link = try link()
    #expect(link.client.write(Array("a".utf8).span) == .bytes(1))
    #expect(link.client.write(Array("b".utf8).span) == .bytes(1))
    let buffer = Buffer(capacity: 16)
    #expect(link.client.flush(buffer, last: true) == .bytes(0))
    link.server.noteReadable()
    #expect(link.server.read(into: buffer) == .bytes(2))
    #expect(link.server.mayRead)
    #expect(link.server.read(into: buffer) == .ended)
    #expect(link.server.read(into: buffer) == .ended)
    #expect(buffer.copyBytes() == Array("ab".utf8))
  }

  @Test func theEndOfOneSideIsNotTheEndOfTheOther() throws {
    let link = try link()
    #expect(link.client.write("last") == .bytes(4))
    link.client.finish()
    link.server.noteReadable()
    #expect(link.server.readBytes() == Array("last".utf8))
    link.server.noteReadable()
    #expect(link.server.read(into: Buffer(capacity: 16)) == .ended)
    #expect(link.server.write("answer") == .bytes(6))
    link.client.noteReadable()
    #expect(link.client.readBytes() == Array("answer".utf8))
    link.server.close()
    link.client.noteReadable()
    #expect(link.client.read(into: Buffer(capacity: 16)) == .ended)
  }

  /// Whoever cuts the wire must not make a part look whole (RFC 8446 section 6.1).
  @Test func anEndThatNobodyAnnouncedIsAFailure() throws {
    let link = try link()
    #expect(link.client.write("part") == .bytes(4))
    link.client.cut()
    link.server.noteReadable()
    #expect(link.server.readBytes() == Array("part".utf8))
    link.server.noteReadable()
    #expect(link.server.read(into: Buffer(capacity: 16)) == .failed)
    // And nothing of it stays in the thread's queue.
    let next = try self.link()
    #expect(next.client.write("x") == .bytes(1))
    #expect(next.server.readBytes() == [0x78])
  }

  @Test(arguments: [false, true])
  func anEndBehindBytesIsFoundWithoutAnotherEvent(isAnnounced: Bool) throws {
    let link = try link()
    let poller = try Poller()
    #expect(poller.add(connection: link.server.descriptor, Token(.upstream, slot: 0, generation: 0)))
    _ = poller.wait(timeoutMilliseconds: 0)
    #expect(link.client.write("data") == .bytes(4))
    if isAnnounced { link.client.close() } else { link.client.cut() }
    #expect(poller.wait(timeoutMilliseconds: 0) == 1)
    link.server.note(poller.event(0).readiness)
    #expect(link.server.readBytes() == Array("data".utf8))
    #expect(link.server.mayRead)
    #expect(link.server.read(into: Buffer(capacity: 16)) == (isAnnounced ? .ended : .failed))
  }

  @Test func aProxyHeaderStandsBeforeTheHandshake() throws {
    let (one, two) = try SocketPair.unix()
    let server = Transport()
    let client = Transport()
    server.open(one)
    client.open(two)
    let buffer = Buffer(capacity: 256)
    #expect(client.write("PROXY UNKNOWN\r\n") == .bytes(15))
    try #require(client.startTLS(connecting: connecting))
    #expect(client.shakeHands() == .blocked)
    guard case .bytes(let n) = server.peek(into: buffer), n > 15 else {
      Issue.record("the header and the client's first record are there")
      return
    }
    #expect(server.discard(15, using: buffer))
    try #require(server.startTLS(accepting: accepting))
    var result = server.shakeHands()
    client.noteAll()
    #expect(client.shakeHands() == .done)
    server.noteAll()
    if result == .blocked { result = server.shakeHands() }
    #expect(result == .done)
  }
}
