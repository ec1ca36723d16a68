// Two ends of one connection inside the test, and descriptors that are closed with it.

import Glibc
import Platform
import Testing
import Wire

enum SocketPair {
  /// Two connected non-blocking unix sockets: what one end sends, the other has at once.
  static func unix() throws -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
    return (ends[0], ends[1])
  }

  /// Two ends of a TCP connection over loopback; the first one called.
  static func tcp() throws -> (Int32, Int32) {
    let listener = try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0))
    defer { Sockets.closeDescriptor(listener) }
    let (caller, connected) = try Sockets.connect(to: Sockets.local(listener))
    if !connected { try #require(Sockets.waitWritable(caller, timeoutMilliseconds: 10_000)) }
    try #require(Sockets.waitReadable(listener, or: -1, timeoutMilliseconds: 10_000))
    guard case .connection(let answerer, _) = Sockets.accept(listener) else {
      Sockets.closeDescriptor(caller)
      throw SystemError("accept")
    }
    return (caller, answerer)
  }

  /// Ends a connection, or what listens, before this returns. A bare `close` does that only for the last copy: a program that
  /// another test starts meanwhile has one of every descriptor until it is executed, and for a moment longer.
  static func end(_ fd: Int32) {
    shutdown(fd, Int32(SHUT_RDWR))
    close(fd)
  }

  static func send(_ fd: Int32, _ bytes: some Collection<UInt8>) throws {
    let all = Array(bytes)
    try #require(Glibc.send(fd, all, all.count, Int32(MSG_NOSIGNAL)) == all.count)
  }
}

extension Transport {
  /// Closes without a goodbye, as `SocketPair.end` does.
  func cut() {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(reset: true)
  }

  /// Reads one piece; nil unless bytes came.
  func readBytes(most: Int = 32_768) -> [UInt8]? {
    let buffer = Buffer(capacity: most)
    guard case .bytes(let n) = read(into: buffer) else { return nil }
    #expect(n == buffer.count)
    return buffer.copyBytes()
  }

  /// Writes and sends.
  func say(_ bytes: [UInt8]) -> IOResult {
    let moved = write(bytes.span)
    sendRecords()
    return moved
  }

  /// Does what can be done of the handshake, and sends what is to be said at its end, which would otherwise wait for
  /// the first words behind it.
  func shakeHands() -> Handshake {
    let result = handshake()
    sendRecords()
    return result
  }

  func write(_ text: String) -> IOResult { say(Array(text.utf8)) }

  /// As if an event had come for everything.
  func noteAll() {
    noteReadable()
    noteWritable()
  }
}
