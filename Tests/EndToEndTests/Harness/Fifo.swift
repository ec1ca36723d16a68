// A FIFO: a file that hangs whoever opens it, until the test takes the other end.

import Foundation

struct Fifo {
  let path: String

  init(_ name: String, in workspace: Workspace) throws {
    path = workspace.file(name)
    guard mkfifo(path, 0o600) == 0 else { throw Trouble("no FIFO at \(path): \(String(cString: strerror(errno)))") }
  }

  /// The writing end, once somebody has opened the other one for reading and so is waiting for what is written. The
  /// caller closes it.
  func openWhenRead() throws -> Int32 {
    try eventually("somebody reads \(path)") {
      let descriptor = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
      return descriptor >= 0 ? descriptor : nil
    }
  }

  /// Both ends, in one descriptor that the caller closes: whoever writes has a reader, which reads nothing.
  func hold() throws -> Int32 {
    let descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw Trouble("cannot open \(path): \(String(cString: strerror(errno)))") }
    return descriptor
  }

  /// Writes to a pipe until it takes no more; returns how many bytes it took.
  @discardableResult
  static func fill(_ descriptor: Int32) -> Int {
    let flags = fcntl(descriptor, F_GETFL)
    _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
    var total = 0
    // Large pieces first, then single bytes for what is left.
    for size in [65536, 4096, 1] {
      let piece = [UInt8](repeating: 0x2e, count: size)
      while true {
        let count = write(descriptor, piece, size)
        guard count > 0 else { break }
        total += count
      }
    }
    _ = fcntl(descriptor, F_SETFL, flags)
    return total
  }
}
