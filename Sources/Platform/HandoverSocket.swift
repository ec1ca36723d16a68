// One end of the socket between two processes in an upgrade: frames (Wire's HandoverFrame) with descriptors, each with a deadline.
// Used by one thread at a time that sends, and one that receives. What comes is bounded before it is taken, and a descriptor that came
// is closed unless the caller got it.

import CLinux
import COpenSSL
import Glibc
import Wire

package enum HandoverError: Error, Sendable, CustomStringConvertible {
  /// The other end is gone.
  case ended
  case late
  case fault(HandoverFault)
  case system(SystemError)
  /// The other process says why it does not start.
  case refused(String)

  package var description: String {
    switch self {
    case .ended: "the other process is gone"
    case .late: "the other process does not answer"
    case .fault(let fault): "\(fault)"
    case .system(let error): "\(error)"
    case .refused(let why): why
    }
  }
}

@safe package final class HandoverSocket: @unchecked Sendable {
  // SAFETY: set in init and closed in deinit; `pending`, the only other stored state, is the one thread's that receives.
  private let descriptor: Int32
  /// Came with bytes of a frame that is not whole yet.
  private var pending: [Int32] = []

  package struct Message {
    package let kind: HandoverFrame.Kind
    package var bytes: [UInt8]
    package let descriptors: [Int32]
  }

  /// The descriptor is this object's.
  package init(adopting descriptor: Int32) { self.descriptor = descriptor }

  deinit {
    for fd in pending { close(fd) }
    close(descriptor)
  }

  /// This process's end, and the other, which is for the new process.
  package static func pair() throws(SystemError) -> (own: HandoverSocket, other: Int32) {
    var ends: [Int32] = [-1, -1]
    // SAFETY: the call writes the two entries of the array.
    guard unsafe cs_socket_pair(&ends) == 0 else { throw SystemError("socketpair") }
    return (HandoverSocket(adopting: ends[0]), ends[1])
  }

  /// The environment's word that this process is started in an upgrade.
  static let variable = "COUNTERSIGN_HANDOVER"
  /// Where the new process finds its end.
  static let inheritedDescriptor: Int32 = 3

  /// The end that this process was started with; nil if it was not started in an upgrade.
  package static func inherited() throws(SystemError) -> HandoverSocket? {
    guard Environment.value(variable) == "\(inheritedDescriptor)" else { return nil }
    var user: UInt32 = 0
    // SAFETY: the call writes one word, a local.
    guard cs_socket_family(inheritedDescriptor) == AF_UNIX, cs_socket_type(inheritedDescriptor) == cs_stream(),
      unsafe cs_peer_user(inheritedDescriptor, &user) == 0, user == 0 || user == geteuid(),
      Sockets.adopt(inheritedDescriptor)
    else {
      throw SystemError(
        "\(variable) is set, but descriptor \(inheritedDescriptor) is not from a running process", code: EBADF)
    }
    return HandoverSocket(adopting: inheritedDescriptor)
  }

  // MARK: Sending

  package func send(
    _ kind: HandoverFrame.Kind, _ bytes: [UInt8] = [], descriptors: [Int32] = [], deadlineMilliseconds: UInt64
  ) throws(HandoverError) {
    guard bytes.count <= HandoverFrame.bytesMax else { throw .fault(.malformed("a frame that is too long")) }
    try send(
      HandoverFrame(kind: kind, descriptors: descriptors.count, count: bytes.count).head.span, descriptors,
      deadlineMilliseconds)
    try send(bytes.span, [], deadlineMilliseconds)
  }

  package func send(_ kind: HandoverFrame.Kind, secret: SecretBytes, deadlineMilliseconds: UInt64) throws(HandoverError)
  {
    let head = HandoverFrame(kind: kind, descriptors: 0, count: secret.count).head
    try send(head.span, [], deadlineMilliseconds)
    try secret.withBytes { bytes throws(HandoverError) in try send(bytes, [], deadlineMilliseconds) }
  }

  private func send(_ bytes: Span<UInt8>, _ descriptors: [Int32], _ deadlineMilliseconds: UInt64) throws(HandoverError)
  {
    var sent = 0
    while sent < bytes.count {
      // They go with the first byte.
      let with = sent == 0 ? descriptors : []
      // SAFETY: sent is less than count, so count - sent bytes follow the pointer; the array has the entries that the call reads.
      let count = unsafe bytes.withUnsafeBufferPointer {
        unsafe cs_send_descriptors(descriptor, $0.baseAddress! + sent, $0.count - sent, with, Int32(with.count))
      }
      if count >= 0 {
        sent += count
        continue
      }
      switch cs_errno() {
      case EINTR: continue
      case EAGAIN: try wait(deadlineMilliseconds) { Sockets.waitWritable(descriptor, timeoutMilliseconds: $0) }
      case EPIPE, ECONNRESET: throw .ended
      default: throw .system(SystemError("sendmsg"))
      }
    }
  }

  // MARK: Receiving

  /// Ends both directions: the other side sees it.
  package func end() { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// A frame has begun to come, or the other process is gone. Any thread may ask.
  package var isReadable: Bool { Sockets.waitReadable(descriptor, or: -1, timeoutMilliseconds: 0) }

  /// Waits for the beginning of a frame, or the end of the other process. False where neither comes, or `other` is signalled before.
  package func waitReadable(or other: Wakeup, timeoutMilliseconds: Int32) -> Bool {
    Sockets.waitReadable(descriptor, or: other.descriptor, timeoutMilliseconds: timeoutMilliseconds)
  }

  /// The next frame. The caller owns its descriptors.
  package func receive(deadlineMilliseconds: UInt64) throws(HandoverError) -> Message {
    let head = try receive(HandoverFrame.headBytes, deadlineMilliseconds)
    let frame: HandoverFrame
    switch HandoverFrame.parse(head.span) {
    case .frame(let parsed): frame = parsed
    case .incomplete: throw .fault(.notAHandover)
    case .fault(let fault): throw .fault(fault)
    }
    let bytes = try receive(frame.count, deadlineMilliseconds)
    // What comes with a frame comes with its first byte, and nothing else does.
    guard pending.count == frame.descriptors else { throw .fault(.malformed("the descriptors of a frame")) }
    defer { pending = [] }
    return Message(kind: frame.kind, bytes: bytes, descriptors: pending)
  }

  /// The next frame, which must be of that kind; that the other process says why it does not go on is thrown.
  package func receive(
    _ kind: HandoverFrame.Kind, deadlineMilliseconds: UInt64
  ) throws(HandoverError) -> [UInt8] {
    let message = try receive(deadlineMilliseconds: deadlineMilliseconds)
    for fd in message.descriptors { close(fd) }
    if message.kind == .failed, let text = String(validating: message.bytes, as: UTF8.self) { throw .refused(text) }
    guard message.kind == kind else { throw .fault(.malformed("a frame out of its turn")) }
    return message.bytes
  }

  private func receive(_ count: Int, _ deadlineMilliseconds: UInt64) throws(HandoverError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var taken = 0
    var came = [Int32](repeating: -1, count: cs_descriptors_max)
    while taken < count {
      var cameCount: Int32 = 0
      // SAFETY: taken is less than count, so count - taken bytes follow the pointer; `came` has room for all that the call may
      // write, and it writes one word more, a local.
      let got = unsafe bytes.withUnsafeMutableBytes {
        unsafe cs_receive_descriptors(descriptor, $0.baseAddress! + taken, $0.count - taken, &came, &cameCount)
      }
      let code = cs_errno()
      pending += came.prefix(Int(cameCount))
      if got > 0 {
        taken += got
        continue
      }
      guard got < 0 else { throw .ended }
      switch code {
      case EINTR: continue
      case EAGAIN: try wait(deadlineMilliseconds) { Sockets.waitReadable(descriptor, or: -1, timeoutMilliseconds: $0) }
      case ECONNRESET: throw .ended
      default: throw .system(SystemError("recvmsg", code: code))
      }
    }
    return bytes
  }

  private func wait(_ deadlineMilliseconds: UInt64, _ body: (Int32) -> Bool) throws(HandoverError) {
    let now = Clock.monotonicMilliseconds()
    guard now < deadlineMilliseconds, body(Int32(clamping: deadlineMilliseconds - now)) else { throw .late }
  }
}

extension SecretBytes {
  /// Takes bytes that came, and overwrites where they came to.
  package convenience init(moving bytes: inout [UInt8]) {
    self.init(bytes.span)
    // SAFETY: the array has count bytes, which the call overwrites.
    unsafe bytes.withUnsafeMutableBytes { if let start = $0.baseAddress { unsafe OPENSSL_cleanse(start, $0.count) } }
    bytes = []
  }
}
