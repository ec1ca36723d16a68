// One byte stream, either side of it, with a deadline on every wait. Sends exactly the bytes it is told to, and ends
// as it is told to: half close, close, or reset. Used by one thread at a time.

import Foundation

final class Connection: @unchecked Sendable {
  let descriptor: Int32
  /// How long one wait for bytes, or for room, may take.
  var patienceSeconds = Deadline.usualSeconds
  /// Before each read it waits so long, and reads at most so many bytes: the rest stays in the kernel.
  var pace: (seconds: Double, bytes: Int)?
  /// Everything received is also handed here, before anything else is done with it.
  var witness: ((UnsafeRawBufferPointer) -> Void)?

  private let storage = UnsafeMutableRawPointer.allocate(byteCount: Connection.capacity, alignment: 16)
  private var first = 0
  private var last = 0
  private var isOpen = true
  /// The process behind the stream, where there is one (`openssl s_client`).
  private let process: ChildProcess?

  private static let capacity = 256 * 1024

  init(_ descriptor: Int32, process: ChildProcess? = nil) {
    self.descriptor = descriptor
    self.process = process
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
  }

  deinit {
    close()
    storage.deallocate()
  }

  /// A TCP connection whose far end sees `source` as its peer.
  convenience init(to address: Address, from source: String? = Peer.client(), receiveBufferBytes: Int32? = nil) throws {
    self.init(try Socket.connect(to: address, from: source, receiveBufferBytes: receiveBufferBytes))
  }

  convenience init(unix path: String) throws { self.init(try Socket.connect(unix: path)) }

  var localAddress: Address { get throws { try Socket.localAddress(descriptor) } }

  // MARK: Sending

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try send($0) } }

  func send(_ bytes: UnsafeRawBufferPointer) throws {
    var sent = 0
    while sent < bytes.count {
      guard let count = try sendSome(UnsafeRawBufferPointer(rebasing: bytes[sent...])) else {
        guard wait(POLLOUT, seconds: patienceSeconds) else { throw Trouble("the peer takes no more bytes") }
        continue
      }
      sent += count
    }
  }

  /// Sends what fits now; nil when nothing does.
  func sendSome(_ bytes: UnsafeRawBufferPointer) throws -> Int? {
    while true {
      let count = Foundation.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
      if count >= 0 { return count }
      switch errno {
      case EINTR: continue
      case EAGAIN: return nil
      default: throw Trouble("send: \(String(cString: strerror(errno)))")
      }
    }
  }

  /// Waits for room to send; false when there is none within the time.
  func hasRoom(withinSeconds seconds: Double) -> Bool { wait(POLLOUT, seconds: seconds) }

  func shutdownWrite() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Ends the connection so that the peer sees a reset, not an end.
  func reset() {
    guard isOpen else { return }
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
    close()
  }

  func close() {
    guard isOpen else { return }
    isOpen = false
    // A child that is being made has a copy of every descriptor until its program runs: with the last one the connection ends.
    Inheritance.lock.withLock { _ = Foundation.close(descriptor) }
    process?.kill()
  }

  // MARK: Receiving

  var heldCount: Int { last - first }

  var held: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: storage + first, count: last - first) }

  func consume(_ count: Int) {
    precondition(count <= heldCount)
    first += count
    if first == last { (first, last) = (0, 0) }
  }

  /// Reads at least one byte more; false at the end of the stream.
  func fill() throws -> Bool {
    guard let more = try fill(withinSeconds: patienceSeconds) else {
      throw Trouble("no bytes came in \(patienceSeconds) s; held: \(preview)")
    }
    return more
  }

  /// The same, but nil when nothing came within the time.
  func fill(withinSeconds seconds: Double) throws -> Bool? {
    if first > 0 && last == Self.capacity {
      storage.copyMemory(from: storage + first, byteCount: last - first)
      (first, last) = (0, last - first)
    }
    guard last < Self.capacity else { throw Trouble("more than \(Self.capacity) bytes and no end: \(preview)") }
    if let pace { Thread.sleep(forTimeInterval: pace.seconds) }
    while true {
      let count = recv(descriptor, storage + last, min(Self.capacity - last, pace?.bytes ?? .max), 0)
      if count > 0 {
        witness?(UnsafeRawBufferPointer(start: storage + last, count: count))
        last += count
        return true
      }
      if count == 0 { return false }
      switch errno {
      case EINTR: continue
      case EAGAIN: if !wait(POLLIN, seconds: seconds) { return nil }
      case ECONNRESET: throw ConnectionReset()
      default: throw Trouble("recv: \(String(cString: strerror(errno)))")
      }
    }
  }

  private func wait(_ event: Int32, seconds: Double) -> Bool {
    let deadline = Deadline.after(seconds)
    while true {
      var entry = pollfd(fd: descriptor, events: Int16(event), revents: 0)
      let count = poll(&entry, 1, deadline.millisecondsLeft)
      if count > 0 { return true }
      if count == 0 || deadline.hasPassed { return false }
    }
  }

  /// The length of the head that is held, with its last empty line; nil when it is not whole.
  var heldHeadCount: Int? {
    held.firstIndex(of: "\r\n\r\n").map { $0 + 4 }
  }

  /// A message head with its empty line; nil when the stream ends before its first byte.
  func readHead() throws -> HTTPHead? {
    while true {
      if let count = heldHeadCount { return HTTPHead(take(count)) }
      if try !fill() {
        if heldCount == 0 { return nil }
        throw Trouble("the stream ended inside a head: \(preview)")
      }
    }
  }

  /// Exactly this many bytes.
  func read(_ count: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
      if heldCount == 0, try !fill() { throw Trouble("the stream ended after \(bytes.count) of \(count) bytes") }
      bytes += take(min(count - bytes.count, heldCount))
    }
    return bytes
  }

  func readText(_ count: Int) throws -> String { String(decoding: try read(count), as: UTF8.self) }

  /// Up to and with the next CRLF, without it.
  func readLine() throws -> String {
    while true {
      if let count = held.firstIndex(of: "\r\n") {
        let line = take(count)
        consume(2)
        return String(decoding: line, as: UTF8.self)
      }
      if try !fill() { throw Trouble("the stream ended inside a line: \(preview)") }
    }
  }

  /// Everything up to the peer's end of the stream; a reset counts as one.
  func readToEnd() throws -> [UInt8] {
    var bytes: [UInt8] = []
    do {
      repeat { bytes += take(heldCount) } while try fill()
    } catch is ConnectionReset {}
    return bytes + take(heldCount)
  }

  func take(_ count: Int) -> [UInt8] {
    let bytes = [UInt8](UnsafeRawBufferPointer(start: storage + first, count: count))
    consume(count)
    return bytes
  }

  private var preview: String { String(decoding: held.prefix(200), as: UTF8.self).debugDescription }
}

extension UnsafeRawBufferPointer {
  /// Where these bytes first stand.
  func firstIndex(of needle: StaticString) -> Int? { firstIndex(of: needle.utf8Start, needle.utf8CodeUnitCount) }

  func firstIndex(of needle: UnsafeRawPointer, _ count: Int) -> Int? {
    guard let baseAddress, count > 0 else { return nil }
    let mark = Int32(needle.load(as: UInt8.self))
    var next = 0
    while next + count <= self.count {
      guard let hit = memchr(baseAddress + next, mark, self.count - next - count + 1) else { return nil }
      let index = UnsafeRawPointer(hit) - baseAddress
      if memcmp(hit, needle, count) == 0 { return index }
      next = index + 1
    }
    return nil
  }
}

/// The peer ended the connection with a reset.
struct ConnectionReset: Error {}
