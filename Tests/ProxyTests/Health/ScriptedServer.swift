// A server for the checker, inside the test: each connection is served by a script on a thread of its own, with blocking calls.

import Glibc
import Platform
import Synchronization
import Testing
import Wire

final class ScriptedServer: Sendable {
  typealias Script = @Sendable (ScriptedConnection) -> Void

  let address: SocketAddress
  private let descriptor: Int32
  private let accepted = Mutex<Int>(0)

  /// How many connections came.
  var connectionCount: Int { accepted.withLock { $0 } }

  init(tls: TLSServerContext? = nil, _ script: @escaping Script) throws {
    let listening = try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0))
    descriptor = listening
    address = Sockets.local(listening)
    // Its own descriptor, which nobody closes under it.
    let copy = try Sockets.duplicate(listening)
    let thread = try WorkerThread.start(name: "scripted", processor: nil) { [weak self] in
      defer { Sockets.closeDescriptor(copy) }
      while true {
        guard Sockets.waitReadable(copy, or: -1, timeoutMilliseconds: -1) else { continue }
        guard case .connection(let fd, _) = Sockets.accept(copy) else {
          if self == nil { return }
          continue
        }
        guard let self else {
          Sockets.closeDescriptor(fd)
          return
        }
        self.accepted.withLock { $0 += 1 }
        let served = try? WorkerThread.start(name: "script", processor: nil) {
          script(ScriptedConnection(fd, tls: tls))
        }
        served?.detach()
      }
    }
    thread.detach()
  }

  deinit {
    // Wakes the thread, which finds nobody.
    shutdown(descriptor, Int32(SHUT_RDWR))
    Sockets.closeDescriptor(descriptor)
  }
}

/// One connection, of which the script does what it likes; it is closed when the script returns.
final class ScriptedConnection {
  private let transport = Transport()
  private let tls: TLSServerContext?
  private let input = Buffer(capacity: 64 * 1024)

  init(_ fd: Int32, tls: TLSServerContext?) {
    transport.open(fd)
    self.tls = tls
  }

  deinit { transport.close() }

  /// False where the handshake failed, or the peer went.
  func shakeHands() -> Bool {
    guard let tls else { return true }
    guard transport.startTLS(accepting: tls) else { return false }
    while true {
      switch transport.handshake() {
      case .done: return true
      case .failed: return false
      case .blocked:
        guard waitReadable() else { return false }
      }
    }
  }

  /// The next request's head; nil where the peer went.
  func readHead() -> String? {
    while true {
      let text = String(decoding: input.copyBytes(), as: UTF8.self)
      if let end = text.range(of: "\r\n\r\n") {
        input.removeAll()
        return String(text[..<end.upperBound])
      }
      switch transport.read(into: input) {
      case .bytes: break
      case .blocked: guard waitReadable() else { return nil }
      case .ended, .failed: return nil
      }
    }
  }

  /// Until the peer closes.
  func waitForEnd() {
    while true {
      input.removeAll()
      switch transport.read(into: input) {
      case .bytes: break
      case .blocked: guard waitReadable() else { return }
      case .ended, .failed: return
      }
    }
  }

  /// False where the peer has gone.
  @discardableResult
  func send(_ text: String) -> Bool {
    let out = Buffer(capacity: 256 * 1024)
    out.append(text: text)
    while !out.isEmpty || transport.hasUnsent {
      transport.noteWritable()
      switch transport.flush(out) {
      case .bytes: break
      case .blocked: guard Sockets.waitWritable(transport.descriptor, timeoutMilliseconds: 60_000) else { return false }
      case .ended, .failed: return false
      }
    }
    return true
  }

  /// Sends byte by byte, with time between them, until the peer goes or everything is sent.
  func trickle(_ text: String, milliseconds: Int32) {
    for byte in text.utf8 {
      guard send(String(UnicodeScalar(byte))) else { return }
      if Sockets.waitReadable(transport.descriptor, or: -1, timeoutMilliseconds: milliseconds) {
        transport.noteReadable()
        input.removeAll()
        switch transport.read(into: input) {
        case .ended, .failed: return
        case .bytes, .blocked: break
        }
      }
    }
  }

  private func waitReadable() -> Bool {
    defer { transport.noteReadable() }
    return Sockets.waitReadable(transport.descriptor, or: -1, timeoutMilliseconds: 120_000)
  }
}

extension String {
  fileprivate func range(of text: String) -> Range<Index>? { self.firstRange(of: text) }
}
