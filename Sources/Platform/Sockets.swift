// Opening sockets: listening, accepting, connecting. Transport reads and writes them.

import CLinux
import Glibc
import Wire

package enum Sockets {
  /// A listening socket for one worker. TCP sockets share a port (SO_REUSEPORT), so each worker has its own accept queue.
  package static func listen(on address: SocketAddress, backlog: Int32 = 4_096) throws(SystemError) -> Int32 {
    let family: Int32
    switch address {
    case .ip(let ip, _): family = ip.family == .v4 ? AF_INET : AF_INET6
    case .unix: family = AF_UNIX
    case .unnamed: throw SystemError("bind", code: EINVAL)
    }
    let fd = cs_socket(family, cs_stream())
    guard fd >= 0 else { throw SystemError("socket") }
    if family == AF_UNIX {
      if case .unix(let path) = address { try removeStaleSocket(path, closing: fd) }
    } else {
      _ = cs_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1)
      guard cs_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0 else { throw failed("SO_REUSEPORT", fd) }
      if family == AF_INET6 { _ = cs_set_int(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
    }
    // SAFETY: the address and its length come from withKernelForm, whose local lives for the call.
    let bound = unsafe address.withKernelForm { unsafe cs_bind(fd, $0, $1) } ?? -1
    guard bound == 0 else { throw failed("bind", fd) }
    guard Glibc.listen(fd, backlog) == 0 else { throw failed("listen", fd) }
    return fd
  }

  /// Whether another process listens on a TCP address. With SO_REUSEPORT, bind would not say so if that is the same user's.
  package static func isInUse(_ address: SocketAddress) -> Bool {
    guard case .ip(let ip, let port) = address, port != 0 else { return false }
    let fd = cs_socket(ip.family == .v4 ? AF_INET : AF_INET6, cs_stream())
    guard fd >= 0 else { return false }
    defer { close(fd) }
    _ = cs_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    if ip.family == .v6 { _ = cs_set_int(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
    // SAFETY: the address and its length come from withKernelForm, whose local lives for the call.
    let bound = unsafe address.withKernelForm { unsafe cs_bind(fd, $0, $1) } ?? -1
    return bound != 0 && cs_errno() == EADDRINUSE
  }

  /// Whether `address` is one of this host's: a socket can be bound to it. Also true if no socket can be made to try it.
  package static func hasAddress(_ address: IPAddress) -> Bool {
    let fd = cs_socket(address.family == .v4 ? AF_INET : AF_INET6, cs_stream())
    guard fd >= 0 else { return true }
    defer { close(fd) }
    // SAFETY: the address and its length come from withKernelForm, whose local lives for the call.
    let bound = unsafe SocketAddress.ip(address, port: 0).withKernelForm { unsafe cs_bind(fd, $0, $1) } ?? -1
    return bound == 0 || cs_errno() != EADDRNOTAVAIL
  }

  /// Removes a unix socket that no process listens on any more. A socket in use, or another kind of file, is left alone, and
  /// bind fails then.
  private static func removeStaleSocket(_ path: String, closing fd: Int32) throws(SystemError) {
    var information = stat()
    // SAFETY: each path is a NUL-terminated copy that lives for its call; `information` is a whole struct stat. The address
    // to connect to comes from withKernelForm, whose local lives for the call.
    guard unsafe lstat(path, &information) == 0 else { return }
    guard information.st_mode & S_IFMT == S_IFSOCK else { return }
    let probe = cs_socket(AF_UNIX, cs_stream())
    guard probe >= 0 else { throw failed("socket", fd) }
    defer { close(probe) }
    let result = unsafe SocketAddress.unix(path: path).withKernelForm { unsafe cs_connect(probe, $0, $1) } ?? -1
    if result != 0, cs_errno() == ECONNREFUSED { unsafe unlink(path) }
  }

  private static func failed(_ call: String, _ fd: Int32) -> SystemError {
    let error = SystemError(call)
    close(fd)
    return error
  }

  package static func duplicate(_ fd: Int32) throws(SystemError) -> Int32 {
    let copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw SystemError("fcntl") }
    return copy
  }

  package static func closeDescriptor(_ fd: Int32) { close(fd) }

  /// The address that a socket is bound to.
  package static func local(_ fd: Int32) -> SocketAddress {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    // SAFETY: the call writes at most `length` bytes, the size of `storage`; both are locals.
    guard unsafe cs_getsockname(fd, &storage, &length) == 0 else { return .unnamed }
    return SocketAddress(&storage)
  }

  /// What a listening socket that somebody else opened is.
  package struct Listening: Equatable, Sendable {
    /// Of a unix socket without its path.
    package let address: SocketAddress
    package let isUnix: Bool
    /// Further sockets can be bound to the same port.
    package let sharesPort: Bool
  }

  /// Nil if `fd` is no stream socket that listens.
  package static func listening(_ fd: Int32) -> Listening? {
    guard cs_socket_type(fd) == cs_stream(), cs_is_listening(fd) == 1 else { return nil }
    let family = cs_socket_family(fd)
    guard [AF_INET, AF_INET6, AF_UNIX].contains(family) else { return nil }
    return Listening(address: local(fd), isUnix: family == AF_UNIX, sharesPort: cs_shares_port(fd) == 1)
  }

  /// A descriptor that came with the start of this process: not blocking, and closed on exec.
  package static func adopt(_ fd: Int32) -> Bool {
    let flags = fcntl(fd, F_GETFL)
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0
  }

  package enum Accepted {
    case connection(fd: Int32, peer: SocketAddress)
    /// No connection is waiting.
    case none
    /// This attempt failed, the next one may succeed: ECONNABORTED, for example.
    case again
    /// No descriptors or memory are left. Accepting again at once would be a busy loop.
    case exhausted(SystemError)
  }

  package static func accept(_ fd: Int32) -> Accepted {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    // SAFETY: the call writes at most `length` bytes, the size of `storage`; both are locals.
    let new = unsafe cs_accept(fd, &storage, &length)
    if new >= 0 { return .connection(fd: new, peer: SocketAddress(&storage)) }
    switch cs_errno() {
    case EAGAIN: return .none
    case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted(SystemError("accept4"))
    default: return .again
    }
  }

  /// Starts a connection, from `source` if there is one. `connected` is false if it is still being established.
  package static func connect(
    to address: SocketAddress, from source: IPAddress? = nil
  ) throws(SystemError) -> (fd: Int32, connected: Bool) {
    let family: Int32
    switch address {
    case .ip(let ip, _): family = ip.family == .v4 ? AF_INET : AF_INET6
    case .unix: family = AF_UNIX
    case .unnamed: throw SystemError("connect", code: EINVAL)
    }
    let fd = cs_socket(family, cs_stream())
    guard fd >= 0 else { throw SystemError("socket") }
    if family != AF_UNIX { setNoDelay(fd) }
    if let source {
      // SAFETY: the address and its length come from withKernelForm, whose local lives for the call.
      let bound = unsafe SocketAddress.ip(source, port: 0).withKernelForm { unsafe cs_bind(fd, $0, $1) } ?? -1
      guard bound == 0 else { throw failed("bind", fd) }
    }
    // SAFETY: as above.
    let result = unsafe address.withKernelForm { unsafe cs_connect(fd, $0, $1) }
    guard let result else {
      close(fd)
      throw SystemError("connect", code: ENAMETOOLONG)
    }
    if result == 0 { return (fd, true) }
    if cs_errno() == EINPROGRESS { return (fd, false) }
    throw failed("connect", fd)
  }

  /// The result of a connection attempt: 0, or an errno.
  package static func connectResult(_ fd: Int32) -> Int32 { cs_get_error(fd) }

  /// The user whose process connected to a unix socket; nil for any other socket.
  package static func peerUser(_ fd: Int32) -> UInt32? {
    guard local(fd) == .unnamed else { return nil }
    var user: UInt32 = 0
    // SAFETY: the call writes one word, a local.
    guard unsafe cs_peer_user(fd, &user) == 0 else { return nil }
    return user
  }

  /// Waits until `fd` is readable, and returns true. False if `other` is readable first, or after the timeout. Either may
  /// be -1.
  package static func waitReadable(_ fd: Int32, or other: Int32, timeoutMilliseconds: Int32) -> Bool {
    var wanted: [pollfd] = [
      pollfd(fd: fd, events: Int16(POLLIN), revents: 0), pollfd(fd: other, events: Int16(POLLIN), revents: 0),
    ]
    // SAFETY: the array has the two entries that the call reads and writes.
    guard unsafe poll(&wanted, 2, timeoutMilliseconds) > 0 else { return false }
    return wanted[0].revents != 0
  }

  /// Waits until `fd` is writable, and returns true. False if `other` is readable first, or after the timeout.
  package static func waitWritable(_ fd: Int32, or other: Int32 = -1, timeoutMilliseconds: Int32) -> Bool {
    var wanted: [pollfd] = [
      pollfd(fd: fd, events: Int16(POLLOUT), revents: 0), pollfd(fd: other, events: Int16(POLLIN), revents: 0),
    ]
    // SAFETY: the array has the two entries that the call reads and writes.
    guard unsafe poll(&wanted, 2, timeoutMilliseconds) > 0 else { return false }
    return wanted[0].revents != 0
  }

  package static func setNoDelay(_ fd: Int32) { _ = cs_set_int(fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
}
