// A real socket for a worker that a test turns by hand.

import Glibc
import Platform
import TestSupport
import Testing
import Wire

/// One end of a connection, or a socket that listens.
final class TestSocket {
  let descriptor: Int32
  init(_ descriptor: Int32) { self.descriptor = descriptor }
  deinit { Sockets.closeDescriptor(descriptor) }

  static func listening() throws -> TestSocket {
    TestSocket(try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0)))
  }

  var port: UInt16 {
    guard case .ip(_, let port) = Sockets.local(descriptor) else { return 0 }
    return port
  }

  /// As many as the kernel takes.
  func send(_ bytes: ArraySlice<UInt8>) -> Int {
    max(0, bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) })
  }

  /// All of it.
  func send(text: String) throws {
    let bytes = Array(text.utf8)
    try #require(send(bytes[...]) == bytes.count)
  }

  /// All that waits.
  func receive() -> [UInt8] { waitingBytes(descriptor) }
}
