// A connection of somebody who may wait: a command, or a load that asks a validator. All its waits together have one deadline. No
// worker has one. Confined to one thread.

import Platform
import Wire

/// Why there is no connection, or nothing came on it.
package struct ConnectionFailure: Error, CustomStringConvertible, Sendable {
  package let description: String
}

final class BlockingConnection {
  private let transport = Transport()
  private let input = Buffer(capacity: 64 * 1024)
  private let deadlineMilliseconds: UInt64
  /// How the other side is called in a failure.
  private let place: String

  /// - Parameters:
  ///   - source: the address of this host to connect from; nil: the system's choice.
  ///   - preamble: goes first, before TLS: a PROXY header.
  init(
    to address: SocketAddress, from source: IPAddress? = nil, preamble: [UInt8] = [], tls: TLSClientContext?,
    deadlineMilliseconds: UInt64, place: String
  ) throws(ConnectionFailure) {
    self.deadlineMilliseconds = deadlineMilliseconds
    self.place = place
    do {
      let (fd, connected) = try Sockets.connect(to: address, from: source)
      transport.open(fd)
      if !connected {
        guard Sockets.waitWritable(fd, timeoutMilliseconds: millisecondsLeft) else {
          throw ConnectionFailure(description: "\(place) does not answer")
        }
        let code = Sockets.connectResult(fd)
        guard code == 0 else { throw SystemError("connect", code: code) }
      }
    } catch let failure as ConnectionFailure {
      throw failure
    } catch {
      throw ConnectionFailure(description: "\(place): \(error)")
    }
    if !preamble.isEmpty { try send(preamble) }
    if let tls { try shakeHands(tls) }
  }

  deinit { transport.close() }

  private var millisecondsLeft: Int32 {
    let now = Clock.monotonicMilliseconds()
    return deadlineMilliseconds > now ? Int32(clamping: deadlineMilliseconds - now) : 0
  }

  private func shakeHands(_ tls: TLSClientContext) throws(ConnectionFailure) {
    guard transport.startTLS(connecting: tls) else {
      throw ConnectionFailure(description: "\(place): TLS cannot be begun")
    }
    while true {
      transport.noteReadable()
      transport.noteWritable()
      switch transport.handshake() {
      case .done: return
      case .blocked: try waitForBytes()
      case .failed:
        throw ConnectionFailure(description: "\(place): TLS: \(transport.failure ?? "the handshake failed")")
      }
    }
  }

  func send(_ bytes: [UInt8]) throws(ConnectionFailure) {
    let output = Buffer(capacity: bytes.count)
    output.append(bytes.span)
    switch transport.sendAll(output, deadlineMilliseconds: deadlineMilliseconds) {
    case .sent: break
    case .late: throw ConnectionFailure(description: "\(place) does not answer")
    case .broken: throw ConnectionFailure(description: "\(place) closed the connection")
    }
    transport.sendRecords()
  }

  /// The next bytes that come; nil: the other side has ended, or broken off.
  func read() throws(ConnectionFailure) -> [UInt8]? {
    while true {
      transport.noteReadable()
      switch transport.read(into: input) {
      case .bytes:
        defer { input.removeAll() }
        return input.copyBytes()
      case .blocked: try waitForBytes()
      case .ended, .failed: return nil
      }
    }
  }

  private func waitForBytes() throws(ConnectionFailure) {
    guard Sockets.waitReadable(transport.descriptor, or: -1, timeoutMilliseconds: millisecondsLeft) else {
      throw ConnectionFailure(description: "\(place) does not answer")
    }
  }
}
