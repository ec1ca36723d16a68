// Listening sockets that systemd opened before this process started (sd_listen_fds(3)): descriptors from 3 on, as many as LISTEN_FDS
// says, called what LISTEN_FDNAMES says, if LISTEN_PID is this process.

import CLinux
import Glibc

package struct ActivatedSocket: Equatable, Sendable {
  package let name: String
  package let descriptor: Int32
}

package enum ActivatedSockets {
  private static let first: Int32 = 3
  private static let most = 1_024

  /// Empty where there are none, or they are for another process.
  package static func inherited() throws(SystemError) -> [ActivatedSocket] {
    guard Environment.value("LISTEN_PID") == "\(getpid())", let text = Environment.value("LISTEN_FDS") else {
      return []
    }
    guard let count = Int(text), (0...most).contains(count) else {
      throw SystemError("LISTEN_FDS is \(text)", code: EINVAL)
    }
    let names = Environment.value("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false).map(
      String.init)
    guard names == nil || names?.count == count else {
      throw SystemError("LISTEN_FDNAMES has not as many names as LISTEN_FDS says", code: EINVAL)
    }
    var sockets: [ActivatedSocket] = []
    for i in 0..<count {
      let fd = first + Int32(i)
      guard Sockets.adopt(fd) else { throw SystemError("LISTEN_FDS: descriptor \(fd)", code: EBADF) }
      sockets.append(ActivatedSocket(name: names?[i] ?? "unknown", descriptor: fd))
    }
    return sockets
  }
}
