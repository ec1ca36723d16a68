// A socket's bytes, without TLS: what is there, what comes later, and how it ends.

import Glibc
import Platform
import TestSupport
import Testing
import Wire

@Suite final class TransportTests {
  let near = Transport()
  let far: Int32
  var farIsOpen = true

  init() throws {
    let (mine, theirs) = try SocketPair.unix()
    far = theirs
    near.open(mine)
  }

  deinit { if farIsOpen { close(far) } }

  private func closeFar() {
    SocketPair.end(far)
    farIsOpen = false
  }

  @Test func piecesComeAsTheyWereSent() throws {
    let message = Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8)
    let buffer = Buffer(capacity: 256)
    for split in 0...message.count {
      for piece in [message[..<split], message[split...]] where !piece.isEmpty {
        try SocketPair.send(far, piece)
        near.noteReadable()
        #expect(near.read(into: buffer) == .bytes(piece.count))
        #expect(near.read(into: buffer) == .blocked)
      }
      #expect(buffer.copyBytes() == message)
      buffer.removeAll()
    }
  }

  @Test func aShortReadIsTheLastUntilAnEvent() throws {
    try SocketPair.send(far, [1])
    #expect(near.mayRead && near.readBytes() == [1])
    // More came, but no event has been taken in: no call is spent on it.
    try SocketPair.send(far, [2])
    #expect(!near.mayRead && near.readBytes() == nil)
    near.noteReadable()
    #expect(near.mayRead && near.readBytes() == [2])
  }

  @Test func aFullReadLeavesMoreToRead() throws {
    try SocketPair.send(far, [1, 2, 3, 4, 5])
    #expect(near.readBytes(most: 2) == [1, 2])
    #expect(near.mayRead && near.readBytes(most: 2) == [3, 4])
    #expect(near.mayRead && near.readBytes(most: 2) == [5])
    #expect(!near.mayRead)
  }

  /// Else a connection whose client is gone is waited for until its time is over.
  @Test func whatAResetHasThrownAwayIsNotOnItsWay() throws {
    let (mine, theirs) = try SocketPair.tcp()
    let transport = Transport()
    transport.open(mine)
    // It comes behind the peer's end, and so does not show in what is read.
    SocketPair.end(theirs)
    try #require(Sockets.waitReadable(mine, or: -1, timeoutMilliseconds: 10_000))
    transport.noteAll()
    #expect(transport.read(into: Buffer(capacity: 16)) == .ended)
    #expect(transport.say([1, 2, 3]) == .bytes(3))
    var reset = pollfd(fd: mine, events: 0, revents: 0)
    try #require(poll(&reset, 1, 10_000) == 1 && Int32(reset.revents) & POLLERR != 0)
    #expect(transport.read(into: Buffer(capacity: 16)) == .ended)
    #expect(transport.unacknowledgedBytes == 0 && !transport.hasUndeliveredBytes)
    transport.close()
  }

  @Test func aFullBufferBlocksAndLosesNothing() throws {
    try SocketPair.send(far, [1, 2, 3])
    let buffer = Buffer(capacity: 2)
    #expect(near.read(into: buffer) == .bytes(2))
    #expect(near.read(into: buffer) == .blocked)
    buffer.consume(2)
    #expect(near.read(into: buffer) == .bytes(1))
    #expect(buffer.copyBytes() == [3])
  }

  // MARK: Ends

  @Test func theEndOfOneSideIsNotTheEndOfTheOther() throws {
    shutdown(far, Int32(SHUT_WR))
    let buffer = Buffer(capacity: 16)
    #expect(near.read(into: buffer) == .ended)
    #expect(near.write("answer") == .bytes(6))
    #expect(waitingBytes(far) == Array("answer".utf8))
    near.finish()
    var byte: UInt8 = 0
    #expect(recv(far, &byte, 1, 0) == 0)
  }

  @Test func aPeerThatIsGoneTakesNothing() {
    closeFar()
    #expect(near.write("x") == .failed)
  }

  /// Both stand in one event, and no other will come: the end must be found behind the bytes.
  @Test(arguments: [false, true])
  func anEndBehindBytesIsFoundWithoutAnotherEvent(wholeSocket: Bool) throws {
    let poller = try Poller()
    #expect(poller.add(connection: near.descriptor, Token(.upstream, slot: 0, generation: 0)))
    _ = poller.wait(timeoutMilliseconds: 0)
    try SocketPair.send(far, [1, 2, 3])
    if wholeSocket { closeFar() } else { shutdown(far, Int32(SHUT_WR)) }
    #expect(poller.wait(timeoutMilliseconds: 0) == 1)
    near.note(poller.event(0).readiness)
    let buffer = Buffer(capacity: 16)
    #expect(near.read(into: buffer) == .bytes(3))
    #expect(poller.wait(timeoutMilliseconds: 0) == 0)
    #expect(near.mayRead)
    #expect(near.read(into: buffer) == .ended)
  }

  @Test func aResetIsNoEnd() throws {
    let (caller, answerer) = try SocketPair.tcp()
    let one = Transport()
    let two = Transport()
    one.open(caller)
    two.open(answerer)
    one.close(reset: true)
    #expect(!one.isOpen)
    try #require(Sockets.waitReadable(two.descriptor, or: -1, timeoutMilliseconds: 10_000))
    #expect(two.read(into: Buffer(capacity: 16)) == .failed)
  }

  @Test func anOrderlyCloseIsAnEnd() throws {
    let (caller, answerer) = try SocketPair.tcp()
    let one = Transport()
    let two = Transport()
    one.open(caller)
    two.open(answerer)
    #expect(one.write("bye") == .bytes(3))
    one.close()
    try #require(Sockets.waitReadable(two.descriptor, or: -1, timeoutMilliseconds: 10_000))
    #expect(two.readBytes() == Array("bye".utf8))
    try #require(Sockets.waitReadable(two.descriptor, or: -1, timeoutMilliseconds: 10_000))
    two.noteReadable()
    #expect(two.read(into: Buffer(capacity: 16)) == .ended)
  }

  @Test func aTransportIsUsedAgain() throws {
    shutdown(far, Int32(SHUT_WR))
    #expect(near.read(into: Buffer(capacity: 16)) == .ended)
    near.close()
    #expect(!near.isOpen && near.descriptor == -1)
    near.close()
    let (mine, theirs) = try SocketPair.unix()
    defer { close(theirs) }
    near.open(mine)
    try SocketPair.send(theirs, [7])
    #expect(near.readBytes() == [7])
    // Nothing of the life before: no end is expected behind a short read.
    #expect(near.readBytes() == nil)
  }

  // MARK: Peek and discard

  @Test func aPeekTakesNothing() throws {
    let buffer = Buffer(capacity: 64)
    #expect(near.peek(into: buffer) == .blocked)
    try SocketPair.send(far, Array("PROXY ".utf8))
    #expect(near.peek(into: buffer) == .bytes(6))
    try SocketPair.send(far, Array("UNKNOWN\r\nGET".utf8))
    #expect(near.peek(into: buffer) == .bytes(18))
    #expect(buffer.copyBytes() == Array("PROXY UNKNOWN\r\nGET".utf8))
    #expect(near.discard(15, using: buffer) && buffer.isEmpty)
    #expect(near.readBytes() == Array("GET".utf8))
    shutdown(far, Int32(SHUT_WR))
    #expect(near.peek(into: buffer) == .ended)
    #expect(!near.discard(1, using: buffer))
  }

  @Test func moreIsDiscardedThanABufferHolds() throws {
    let buffer = Buffer(capacity: 4)
    try SocketPair.send(far, Array("0123456789ab".utf8))
    #expect(near.peek(into: buffer) == .bytes(4))
    #expect(near.discard(10, using: buffer))
    #expect(near.readBytes() == Array("ab".utf8))
  }

  // MARK: Writing against a peer that does not read

  @Test func aBlockedWriteGoesOnWithMoreBehind() throws {
    let buffer = Buffer(capacity: 64 * 1024)
    var random = Seeded(7)
    var sent: [UInt8] = []
    var got: [UInt8] = []
    var blocked = 0
    while blocked < 20 {
      let more = random.bytes(min(buffer.room, Int.random(in: 1...50_000, using: &random)))
      buffer.append(more.span)
      sent += more
      let before = buffer.count
      switch near.flush(buffer) {
      case .bytes(let n): #expect(n == before - buffer.count)
      case .blocked: #expect(buffer.count == before)
      case .ended, .failed: Issue.record("the peer is there")
      }
      guard !buffer.isEmpty else { continue }
      blocked += 1
      // Nothing is tried before an event says that there is room.
      #expect(near.isWriteBlocked && near.flush(buffer) == .blocked)
      got += waitingBytes(far)
      near.noteWritable()
    }
    while !buffer.isEmpty {
      _ = near.flush(buffer)
      got += waitingBytes(far)
      near.noteWritable()
    }
    got += waitingBytes(far)
    #expect(got == sent)
  }

  @Test func nothingToWriteIsNoFault() {
    #expect(near.flush(Buffer(capacity: 16)) == .bytes(0))
    #expect(near.write(Span<UInt8>()) == .blocked)
    #expect(!near.isWriteBlocked)
  }

  /// The kernel tells of a reset once, and a write may be what it tells.
  @Test func aResetThatAWriteMetIsNoOrderlyEndForReads() throws {
    let (mine, theirs) = try SocketPair.tcp()
    let transport = Transport()
    transport.open(mine)
    try SocketPair.send(theirs, [1, 2])
    #expect(transport.write("unread") == .bytes(6))
    #expect(Sockets.waitReadable(theirs, or: -1, timeoutMilliseconds: 10_000))
    // With bytes that it did not read, a close is a reset.
    close(theirs)
    try Self.writeUntilItFails(transport)
    transport.noteHangup()
    #expect(transport.readBytes() == [1, 2])
    #expect(transport.read(into: Buffer(capacity: 16)) == .failed)
  }

  @Test func anOrderlyEndStaysOneWhenALaterWriteFails() throws {
    let (mine, theirs) = try SocketPair.tcp()
    let transport = Transport()
    transport.open(mine)
    try SocketPair.send(theirs, [1, 2])
    close(theirs)
    #expect(Sockets.waitReadable(mine, or: -1, timeoutMilliseconds: 10_000))
    try Self.writeUntilItFails(transport)
    transport.noteHangup()
    #expect(transport.readBytes() == [1, 2])
    #expect(transport.read(into: Buffer(capacity: 16)) == .ended)
  }

  private static func writeUntilItFails(_ transport: Transport) throws {
    let deadline = Clock.monotonicMilliseconds() + 10_000
    while Clock.monotonicMilliseconds() < deadline {
      transport.noteAll()
      if transport.write("x") == .failed { return }
    }
    Issue.record("a write to a connection that is gone never failed")
  }
}
