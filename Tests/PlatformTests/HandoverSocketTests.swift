// The socket between two processes in an upgrade: frames in whatever pieces they come, and descriptors with them.

import Glibc
import Platform
import Testing
import Wire

@Suite struct HandoverSocketTests {
  private static let soon = Clock.monotonicMilliseconds() + 60_000

  private func write(_ fd: Int32, _ bytes: some Sequence<UInt8>) {
    let bytes = Array(bytes)
    #expect(Glibc.write(fd, bytes, bytes.count) == bytes.count)
  }

  /// Why nothing came.
  private func failure(_ socket: HandoverSocket, soon: UInt64 = HandoverSocketTests.soon) -> String? {
    do {
      _ = try socket.receive(deadlineMilliseconds: soon)
      return nil
    } catch let error as any Error {
      return "\(error)"
    }
  }

  @Test func aFrameMayComeInAnyTwoPieces() throws {
    let payload = Array("0123456789".utf8)
    let frame = HandoverFrame(kind: .state, descriptors: 0, count: payload.count).head + payload
    let (own, other) = try HandoverSocket.pair()
    defer { close(other) }
    for split in 0...frame.count {
      write(other, frame[..<split])
      let rest = frame[split...]
      let sender = try WorkerThread.start(name: "rest", processor: nil) { [other] in
        let bytes = Array(rest)
        _ = Glibc.write(other, bytes, bytes.count)
      }
      let message = try own.receive(deadlineMilliseconds: Self.soon)
      sender.join()
      #expect(message.kind == .state && message.bytes == payload && message.descriptors == [])
    }
  }

  @Test func aFrameThatIsCutAnywhereIsTheEnd() throws {
    let frame = HandoverFrame(kind: .go, descriptors: 0, count: 3).head + [1, 2, 3]
    for count in 0..<frame.count {
      let (own, other) = try HandoverSocket.pair()
      write(other, frame[..<count])
      close(other)
      #expect(failure(own) == "the other process is gone", "\(count) bytes")
    }
  }

  @Test func whoFallsSilentIsLate() throws {
    let (own, other) = try HandoverSocket.pair()
    defer { close(other) }
    write(other, HandoverFrame(kind: .go, descriptors: 0, count: 3).head)
    #expect(failure(own, soon: Clock.monotonicMilliseconds() + 20) == "the other process does not answer")
  }

  /// More than one frame's worth, and what is at the other end is the same memory.
  @Test func descriptorsComeWithTheirFrame() throws {
    var words: [AtomicWords] = []
    for i in 0..<HandoverFrame.descriptorsMax {
      words.append(try #require(AtomicWords(count: 1)))
      words[i].store(UInt64(i), at: 0)
    }
    let (own, other) = try HandoverSocket.pair()
    let peer = HandoverSocket(adopting: other)
    try own.send(.descriptors, descriptors: words.map(\.descriptor), deadlineMilliseconds: Self.soon)
    try own.send(.accepting, deadlineMilliseconds: Self.soon)
    let message = try peer.receive(deadlineMilliseconds: Self.soon)
    #expect(message.kind == .descriptors && message.descriptors.count == words.count)
    for (i, fd) in message.descriptors.enumerated() {
      #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
      let shared = try #require(AtomicWords(sharing: fd, count: 1))
      #expect(shared.load(0) == UInt64(i))
      shared.store(1_000, at: 0)
      #expect(words[i].load(0) == 1_000)
    }
    let next = try peer.receive(.accepting, deadlineMilliseconds: Self.soon)
    #expect(next.isEmpty)
  }

  @Test func descriptorsThatAreMissingAreAFault() throws {
    let (own, other) = try HandoverSocket.pair()
    defer { close(other) }
    write(other, HandoverFrame(kind: .descriptors, descriptors: 1, count: 0).head)
    #expect(failure(own) == "the descriptors of a frame cannot be read")
  }

  @Test func anotherVersionIsSaidSo() throws {
    let (own, other) = try HandoverSocket.pair()
    defer { close(other) }
    var head = HandoverFrame(kind: .prepared, descriptors: 0, count: 0).head
    head[5] = 9
    write(other, head)
    #expect(failure(own)?.contains("version 9") == true)
  }

  // MARK: Ticket keys

  @Test func ticketKeysGoOnInAnotherProcess() throws {
    let (old, new) = (try TicketKeys(), try TicketKeys())
    let secret = try #require(old.carried)
    #expect(new.take(carried: secret))
    #expect(try #require(new.carried).isSame(as: secret))
  }

  @Test func whatIsNoTicketKeyIsNotTaken() throws {
    let keys = try TicketKeys()
    let before = try #require(keys.carried)
    // When it was made, then its name and the two keys.
    func isTaken(_ bytes: [UInt8]) -> Bool { keys.take(carried: SecretBytes(bytes.span)) }
    let one = [UInt8](repeating: 0, count: 88)
    #expect(!isTaken([]))
    #expect(!isTaken(Array(one.dropLast())))
    #expect(!isTaken((0..<9).flatMap { _ in one }))
    // Of the future, and in the wrong order.
    #expect(!isTaken([0x7f] + one.dropFirst()))
    #expect(!isTaken(one + [0, 0, 0, 0, 0, 0, 0, 1] + one.dropFirst(8)))
    #expect(try #require(keys.carried).isSame(as: before))
    #expect(isTaken(one))
  }
}
