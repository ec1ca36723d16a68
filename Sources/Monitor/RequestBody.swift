// Reading a request body within bounds, and never leaving a part of one on a connection that goes on. FlyingFox reads
// the next request from where the handler stopped reading, so a body that was refused half way would be taken for a
// request. Here every body is either read to its end or its connection is closed.

import FlyingFox
import FlyingSocks
import Foundation
import Synchronization

/// The body of one request; read at most once.
final class RequestBody: Sendable {
  private enum State { case untouched, readToEnd, abandoned }

  private enum Outcome: Sendable { case whole(Data), tooLarge(readToEnd: Bool), late, broken }

  /// How much of a refused body is read away to keep the connection.
  private static let discardBytesMax = 256 * 1024
  /// How long a connection about to be closed is read on, so that the client gets to see the answer (RFC 9112, 9.6).
  private static let lingerSeconds = 2.0

  private let sequence: HTTPBodySequence
  private let timeoutSeconds: Double
  private let state: Mutex<State>

  init(_ sequence: HTTPBodySequence, timeoutSeconds: Double) {
    self.sequence = sequence
    self.timeoutSeconds = timeoutSeconds
    state = Mutex(sequence.count == 0 ? .readToEnd : .untouched)
  }

  func read(bytesMax: Int) async throws -> Data {
    if sequence.count == 0 { return Data() }
    switch await collect(bytesMax: bytesMax) {
    case .whole(let data):
      state.withLock { $0 = .readToEnd }
      return data
    case .tooLarge(let readToEnd):
      state.withLock { $0 = readToEnd ? .readToEnd : .abandoned }
      throw Problem.bodyTooLarge
    case .late:
      state.withLock { $0 = .abandoned }
      throw Problem.bodyTimeout
    case .broken:
      state.withLock { $0 = .abandoned }
      throw Problem.malformed("the body's framing is broken")
    }
  }

  /// Called once there is a response: reads away what nobody asked for, or makes the response the last one.
  func settle(_ response: HTTPResponse) async -> HTTPResponse {
    if state.withLock({ $0 == .untouched }) { _ = try? await read(bytesMax: 0) }
    guard state.withLock({ $0 == .abandoned }), case .httpBody = response.payload,
      let bytes = try? await response.bodyData
    else { return response }
    var last = response
    last.headers[.connection] = "close"
    let ending = LastWords(bytes: bytes) { [self] in
      _ = await within(seconds: Self.lingerSeconds) { [sequence] in
        for try await _ in sequence {}
        return .broken
      }
    }
    last.payload = .httpBody(HTTPBodySequence(from: ending, count: bytes.count))
    return last
  }

  private func collect(bytesMax: Int) async -> Outcome {
    if let count = sequence.count, count > bytesMax + Self.discardBytesMax { return .tooLarge(readToEnd: false) }
    return await within(seconds: timeoutSeconds) { [sequence] in
      var (data, total) = (Data(), 0)
      for try await chunk in sequence {
        total += chunk.count
        if total > bytesMax + Self.discardBytesMax { return .tooLarge(readToEnd: false) }
        if total > bytesMax { data = Data() } else { data.append(chunk) }
      }
      return total > bytesMax ? .tooLarge(readToEnd: true) : .whole(data)
    }
  }

  private func within(
    seconds: Double, _ read: @escaping @Sendable () async throws -> Outcome
  ) async -> Outcome {
    await withTaskGroup(of: Outcome.self) { group in
      group.addTask { (try? await read()) ?? .broken }
      group.addTask {
        try? await Task.sleep(for: .seconds(seconds))
        return .late
      }
      let first = await group.next() ?? .broken
      group.cancelAll()
      return first
    }
  }
}

/// The last response body of a connection: its bytes, then an error. The error is what makes FlyingFox close; nothing a
/// handler returns can tell it to.
private struct LastWords: AsyncBufferedSequence {
  struct ConnectionEnds: Error {}

  let bytes: Data
  let beforeEnd: @Sendable () async -> Void

  func makeAsyncIterator() -> Iterator { Iterator(rest: bytes, beforeEnd: beforeEnd) }

  struct Iterator: AsyncBufferedIteratorProtocol {
    var rest: Data
    let beforeEnd: @Sendable () async -> Void

    mutating func next() async throws -> UInt8? {
      guard let byte = rest.popFirst() else { return try await end() }
      return byte
    }

    mutating func nextBuffer(suggested count: Int) async throws -> Data? {
      guard !rest.isEmpty else { return try await end() }
      defer { rest = Data(rest.dropFirst(count)) }
      return rest.prefix(count)
    }

    private func end<Nothing>() async throws -> Nothing? {
      await beforeEnd()
      throw ConnectionEnds()
    }
  }
}
