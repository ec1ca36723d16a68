// A TCP connection that sends exactly the bytes it is given and reads responses strictly, so that tests see what is
// really on the wire. Its calls block, on a thread of their own; a read that takes a minute fails.

import Dispatch
import Foundation
import Glibc
import Monitor

struct RawResponse: Sendable {
  let status: Int
  /// Names in lower case, every line.
  let fields: [(name: String, value: String)]
  let body: Data

  subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

  var json: [String: Any] {
    (try? JSONSerialization.jsonObject(with: body)) as? [String: Any] ?? [:]
  }
}

struct WireError: Error, CustomStringConvertible {
  let description: String
}

actor RawConnection {
  private let descriptor: Int32
  private var pending = Data()
  private let queue = DispatchQueue(label: "raw connection")

  init(to address: ListenAddress) throws {
    switch address {
    case .ip4(let host, let port):
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var peer = sockaddr_in()
      peer.sin_family = sa_family_t(AF_INET)
      peer.sin_port = port.bigEndian
      inet_pton(AF_INET, host, &peer.sin_addr)
      try Self.connect(descriptor, &peer)
    case .unix(let path):
      descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      var peer = sockaddr_un()
      peer.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &peer.sun_path) { $0.copyBytes(from: path.utf8) }
      try Self.connect(descriptor, &peer)
    case .ip6: throw WireError(description: "not needed by any test")
    }
    var limit = timeval(tv_sec: 60, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  func send(_ text: String) async throws { try await send(Data(text.utf8)) }

  func send(_ data: Data) async throws {
    let descriptor = descriptor
    try await onQueue {
      var rest = data[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes {
          Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL))
        }
        guard count > 0 else { throw WireError(description: "send: \(String(cString: strerror(errno)))") }
        rest = rest.dropFirst(count)
      }
    }
  }

  /// One response; its body by Content-Length.
  func response(toHead: Bool = false) async throws -> RawResponse {
    let end = Data("\r\n\r\n".utf8)
    while pending.firstRange(of: end) == nil { try await more() }
    guard let range = pending.firstRange(of: end) else { throw WireError(description: "no head") }
    let head = String(decoding: pending[..<range.lowerBound], as: UTF8.self)
    pending = Data(pending[range.upperBound...])
    var lines = head.components(separatedBy: "\r\n")
    let start = lines.removeFirst().split(separator: " ", maxSplits: 2)
    guard start.count == 3, start[0] == "HTTP/1.1", let status = Int(start[1]) else {
      throw WireError(description: "status line of \(head)")
    }
    let fields = lines.map { line in
      let parts = line.split(separator: ":", maxSplits: 1)
      return (name: parts[0].lowercased(), value: parts[1].trimmingCharacters(in: .whitespaces))
    }
    let lengths = fields.filter { $0.name == "content-length" }
    guard lengths.count <= 1 else { throw WireError(description: "several lengths in \(head)") }
    let isEmpty = toHead || status == 304 || status == 101
    let length = isEmpty ? 0 : lengths.first.flatMap { Int($0.value) } ?? 0
    return RawResponse(status: status, fields: fields, body: try await read(length))
  }

  func read(_ count: Int) async throws -> Data {
    while pending.count < count { try await more() }
    defer { pending = Data(pending.dropFirst(count)) }
    return Data(pending.prefix(count))
  }

  /// Waits for the other side to close, and returns what came before that.
  func readToEnd() async throws -> Data {
    while try await more(orEnd: true) {}
    defer { pending = Data() }
    return pending
  }

  /// Says that nothing more will be sent.
  func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  @discardableResult
  private func more(orEnd: Bool = false) async throws -> Bool {
    let descriptor = descriptor
    let data = try await onQueue {
      var buffer = [UInt8](repeating: 0, count: 65536)
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count < 0, errno == ECONNRESET { return Data() }
      guard count >= 0 else { throw WireError(description: "recv: \(String(cString: strerror(errno)))") }
      return Data(buffer.prefix(count))
    }
    if data.isEmpty, !orEnd { throw WireError(description: "the connection was closed") }
    pending.append(data)
    return !data.isEmpty
  }

  private func onQueue<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { continuation.resume(with: Result { try work() }) }
    }
  }

  private static func connect<Address>(_ descriptor: Int32, _ peer: inout Address) throws {
    let done = withUnsafePointer(to: &peer) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
      }
    }
    guard done == 0 else { throw WireError(description: "connect: \(String(cString: strerror(errno)))") }
  }
}
