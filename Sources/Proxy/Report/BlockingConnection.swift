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
  /// Of a connection that speaks HTTP/2.
  private var conversation: HTTP2Conversation?
  private let deadlineMilliseconds: UInt64
  /// How the other side is called in a failure.
  private let place: String

  /// - Parameters:
  ///   - source: the address of this host to connect from; nil: the system's choice.
  ///   - preamble: goes first, before TLS: a PROXY header.
  ///   - isHTTP2: what is sent is then the lines of a request's head, `:method` first, and what is read the text that HTTP/1 would have.
  init(
    to address: SocketAddress, from source: IPAddress? = nil, preamble: [UInt8] = [], tls: TLSClientContext?,
    isHTTP2: Bool = false, deadlineMilliseconds: UInt64, place: String
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
    if !preamble.isEmpty { try write(preamble) }
    if let tls { try shakeHands(tls) }
    guard isHTTP2 else { return }
    if tls != nil, !transport.withApplicationProtocol({ $0.equals("h2") }) {
      throw ConnectionFailure(description: "\(place) does not speak HTTP/2 (ALPN)")
    }
    conversation = HTTP2Conversation(HTTP2Shared())
    if conversation == nil { throw ConnectionFailure(description: "\(place): there is no memory for HTTP/2") }
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
    guard let conversation else {
      try write(bytes)
      return
    }
    guard conversation.ask(bytes.span, body: []) else {
      throw ConnectionFailure(description: "\(place) takes no request")
    }
    try flush(conversation)
  }

  private func flush(_ conversation: HTTP2Conversation) throws(ConnectionFailure) {
    let frames = Buffer(capacity: 2 * HTTP2Session.sendRoomBytes)
    _ = conversation.send(into: frames)
    if !frames.isEmpty { try write(frames.copyBytes()) }
  }

  private func write(_ bytes: [UInt8]) throws(ConnectionFailure) {
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
      switch try receive() {
      case .bytes:
        defer { input.removeAll() }
        return input.copyBytes()
      case .blocked: try waitForBytes()
      case .ended, .failed: return nil
      }
    }
  }

  private func receive() throws(ConnectionFailure) -> IOResult {
    guard let conversation else { return transport.read(into: input) }
    let acknowledgements = Buffer(capacity: 2 * HTTP2Session.sendRoomBytes)
    let moved = conversation.read(from: transport, into: input, acknowledgements)
    // The other side may have ended by now; what it said before is still an answer.
    if !acknowledgements.isEmpty { try? write(acknowledgements.copyBytes()) }
    return moved
  }

  private func waitForBytes() throws(ConnectionFailure) {
    guard Sockets.waitReadable(transport.descriptor, or: -1, timeoutMilliseconds: millisecondsLeft) else {
      throw ConnectionFailure(description: "\(place) does not answer")
    }
  }
}
