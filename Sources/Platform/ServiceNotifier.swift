// Reports the state of the service to systemd (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names. Nothing is
// sent if the variable is not set.

import CLinux
import Glibc

package enum ServiceNotifier {
  package static func notify(_ state: String) {
    guard let name = Environment.value("NOTIFY_SOCKET").map({ Array($0.utf8) }) else { return }
    guard name.count > 1, name.count <= SocketAddress.unixPathBytesMax, name[0] == 0x2f || name[0] == 0x40 else {
      return
    }
    let fd = cs_socket(AF_UNIX, cs_dgram())
    guard fd >= 0 else { return }
    defer { close(fd) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let message = Array(state.utf8)
    // SAFETY: the name is at most unixPathBytesMax bytes long, which sun_path holds; a leading @ stands for the zero byte of
    // the abstract namespace.
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
      unsafe path.copyBytes(from: name)
      if name[0] == 0x40 { unsafe path[0] = 0 }
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
    // SAFETY: sendto reads `length` bytes of the address, which is a sockaddr_un and begins as every sockaddr does, and
    // message.count bytes of the message; both live for the call.
    _ = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { to in
        unsafe sendto(fd, message, message.count, Int32(MSG_NOSIGNAL), to, length)
      }
    }
  }

  /// RELOADING=1, with the time that systemd requires: microseconds of CLOCK_MONOTONIC.
  package static func reloading() {
    notify("RELOADING=1\nMONOTONIC_USEC=\(Clock.monotonicMicroseconds())")
  }
}
