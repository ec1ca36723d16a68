// The socket of a syslog daemon on this host: a datagram for each line, in the form that libc's syslog(3) writes there and every daemon
// reads: `<priority>tag[pid]: text`. The time is left to the daemon, which knows when the datagram came; the line has its own.
// Used by LogFile, on its log's thread.

import CLinux
import Glibc

struct SyslogSocket {
  /// Facility local0, severity info (RFC 5424 section 6.2.1).
  private static let priority = 16 * 8 + 6

  private let prefix = Array("<\(SyslogSocket.priority)>countersign[\(getpid())]: ".utf8)
  private var datagram: [UInt8] = []

  /// A socket that sends to the daemon; -1, with errno set, where nobody is there.
  static func connect(_ path: String) -> Int32 {
    let fd = cs_socket(AF_UNIX, cs_dgram())
    guard fd >= 0 else { return -1 }
    // SAFETY: connect reads the address, which lives for the call, with its length.
    let code = unsafe SocketAddress.unix(path: path).withKernelForm {
      unsafe cs_connect(fd, $0, $1) == 0 ? 0 : cs_errno()
    }
    guard code == 0 else {
      close(fd)
      cs_set_errno(code ?? ENAMETOOLONG)
      return -1
    }
    return fd
  }

  /// Sends the line that begins at `start`; its bytes and its line feed are what was written.
  mutating func send(_ bytes: [UInt8], from start: Int, to fd: Int32) -> Int {
    let end = bytes[start...].firstIndex(of: 0x0a) ?? bytes.count
    datagram.removeAll(keepingCapacity: true)
    datagram += prefix
    datagram += bytes[start..<end]
    // SAFETY: the array lives for the call, which reads its count bytes.
    let sent = unsafe datagram.withUnsafeBufferPointer {
      unsafe cs_send(fd, $0.baseAddress!, $0.count, Int32(MSG_DONTWAIT))
    }
    return sent < 0 ? -1 : min(end + 1, bytes.count) - start
  }
}
