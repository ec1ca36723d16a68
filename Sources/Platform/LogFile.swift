// The destination of a log: a file, standard output or standard error, or a syslog daemon. Used by one log thread at a time.
//
// Pipes, terminals and sockets are written without blocking. Standard output and standard error are shared with other
// processes, so O_NONBLOCK must not be set on them; a pipe or terminal is opened a second time through /proc instead, which
// gives a descriptor with flags of its own. A regular file on a disk that hangs can still block, and blocks only its log's
// thread.

import CLinux
import Glibc

// SAFETY: its variables are not synchronized. The thread that loads a configuration makes it and hands it over to one log
// thread, in its command queue or when that thread is made; from then on that thread alone calls it.
package final class LogFile: @unchecked Sendable {
  package enum Standard: Sendable { case output, error }

  package enum Outcome {
    case wrote(Int)
    /// Nothing can be written now. `waitWritable` waits until something can.
    case full
    case failed(SystemError)
  }

  private enum Kind {
    /// A regular file. Writing may wait for the disk.
    case regularFile
    /// Opened by this object, with O_NONBLOCK.
    case nonBlocking
    /// Written with MSG_DONTWAIT.
    case socket
    /// A pipe or device of other processes that cannot be opened again. Polled before each write.
    case shared
    /// One datagram a line.
    case syslog
  }

  private var descriptor: Int32
  private var kind: Kind
  private let path: String?
  private var syslog: SyslogSocket?

  package init(_ standard: Standard) {
    path = nil
    descriptor = standard == .output ? STDOUT_FILENO : STDERR_FILENO
    switch LogFile.fileType(descriptor) {
    case S_IFREG: kind = .regularFile
    case S_IFSOCK: kind = .socket
    default:
      // SAFETY: the path is a NUL-terminated copy that lives for the call.
      let own = unsafe Glibc.open(
        "/proc/self/fd/\(descriptor)", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
      kind = own >= 0 ? .nonBlocking : .shared
      if own >= 0 { descriptor = own }
    }
  }

  /// Appends to a file, which is created with mode 0640 if it does not exist. A FIFO that has no reader is not an error:
  /// `isOpen` is false then, until `reopen` finds a reader.
  package init(path: String) throws(SystemError) {
    self.path = path
    descriptor = LogFile.open(path)
    kind = .regularFile
    guard descriptor >= 0 || LogFile.isUnreadFIFO(path) else { throw SystemError(path) }
    updateKind()
  }

  /// Sends to a daemon that listens at a datagram socket. That nobody does is not an error: `isOpen` is false then, until
  /// `reopen` finds somebody.
  package init(syslog path: String) throws(SystemError) {
    self.path = path
    syslog = SyslogSocket()
    kind = .syslog
    descriptor = SyslogSocket.connect(path)
    guard descriptor >= 0 || LogFile.isNobodyThere(cs_errno()) else { throw SystemError(path) }
  }

  deinit { if descriptor > STDERR_FILENO { close(descriptor) } }

  /// False for a FIFO that has no reader, and for a socket that nobody listens at.
  package var isOpen: Bool { descriptor >= 0 }

  private static func open(_ path: String) -> Int32 {
    // O_NONBLOCK: opening a FIFO must not wait for a reader.
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    unsafe Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0o640)
  }

  /// To be called right after `open` failed: reads errno, and leaves it unchanged.
  private static func isUnreadFIFO(_ path: String) -> Bool {
    let code = cs_errno()
    defer { cs_set_errno(code) }
    var status = stat()
    // SAFETY: the path is a NUL-terminated copy that lives for the call; `status` is a whole struct stat for it to fill.
    return unsafe code == ENXIO && stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
  }

  /// A daemon that is not running, or not yet; also one that has ended while we were connected to it.
  private static func isNobodyThere(_ code: Int32) -> Bool {
    [ENOENT, ECONNREFUSED, ECONNRESET, ENOTCONN, EPIPE].contains(code)
  }

  private static func fileType(_ descriptor: Int32) -> mode_t {
    var status = stat()
    // SAFETY: `status` is a whole struct stat for the call to fill.
    return unsafe fstat(descriptor, &status) == 0 ? status.st_mode & S_IFMT : 0
  }

  private func updateKind() {
    guard isOpen else { return }
    kind = LogFile.fileType(descriptor) == S_IFREG ? .regularFile : .nonBlocking
  }

  /// Opens the path again, after log rotation has moved the old file away. If that fails, the old file stays open.
  package func reopen() throws(SystemError) {
    guard let path else { return }
    if kind == .syslog { return try reconnect(path) }
    let new = LogFile.open(path)
    guard new >= 0 || LogFile.isUnreadFIFO(path) else { throw SystemError(path) }
    if descriptor >= 0 { close(descriptor) }
    descriptor = new
    updateKind()
  }

  /// Another daemon may listen at the path now.
  private func reconnect(_ path: String) throws(SystemError) {
    let new = SyslogSocket.connect(path)
    guard new >= 0 || LogFile.isNobodyThere(cs_errno()) else { throw SystemError(path) }
    if descriptor >= 0 { close(descriptor) }
    descriptor = new
  }

  /// Writes from index `start` on, as much as one call of the system takes; to a syslog daemon one line.
  package func write(_ bytes: [UInt8], from start: Int = 0) -> Outcome {
    guard isOpen else { return .failed(SystemError(path ?? "", code: ENXIO)) }
    precondition(bytes.indices.contains(start))
    if kind == .syslog { return sendLine(bytes, start) }
    var most = bytes.count - start
    if kind == .shared {
      guard Sockets.waitWritable(descriptor, timeoutMilliseconds: 0) else { return .full }
      // A pipe that polls as writable takes this much without blocking (PIPE_BUF, pipe(7)).
      most = min(most, 4_096)
    }
    while true {
      // SAFETY: start is an index of the array and at most count - start bytes are written from there; the array does not
      // change during the call.
      let n = unsafe bytes.withUnsafeBufferPointer { all in
        kind == .socket
          ? unsafe cs_send(descriptor, all.baseAddress! + start, most, Int32(MSG_DONTWAIT))
          : unsafe Glibc.write(descriptor, all.baseAddress! + start, most)
      }
      if n > 0 { return .wrote(n) }
      let code = n < 0 ? cs_errno() : EIO
      switch code {
      case EINTR: continue
      case EAGAIN where kind != .regularFile: return .full
      case EPIPE where path != nil:
        // The reader of the FIFO has closed it. `reopen` finds the next one.
        close(descriptor)
        descriptor = -1
      default: break
      }
      return .failed(SystemError(path ?? "write", code: code))
    }
  }

  private func sendLine(_ bytes: [UInt8], _ start: Int) -> Outcome {
    while true {
      let n = syslog?.send(bytes, from: start, to: descriptor) ?? -1
      if n > 0 { return .wrote(n) }
      let code = cs_errno()
      switch code {
      case EINTR: continue
      // ENOBUFS: the system has no memory for it just now.
      case EAGAIN, ENOBUFS: return .full
      case _ where LogFile.isNobodyThere(code):
        close(descriptor)
        descriptor = -1
      default: break
      }
      return .failed(SystemError(path ?? "send", code: code))
    }
  }

  /// Waits until more can be written, or `other` is readable.
  package func waitWritable(or other: Int32, timeoutMilliseconds: Int32) {
    _ = Sockets.waitWritable(descriptor, or: other, timeoutMilliseconds: timeoutMilliseconds)
  }
}
