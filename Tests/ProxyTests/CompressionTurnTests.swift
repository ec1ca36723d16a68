// What a worker compresses in one turn of its loop: so much for all of its responses together, and for each its share. A worker without a
// thread, with real sockets: each turn is a call of the test's.

import Glibc
import Platform
import Policy
import Proxy
import TestSupport
import Testing
import Wire

@Suite struct CompressionTurnTests {
  private static let bytesMax = 64 << 10

  /// A client that reads its response to the end, whose server has the content ready.
  private final class Download {
    let client: TestSocket
    private let gunzip = Gunzip()
    private var head: [UInt8]? = []
    private(set) var content: [UInt8] = []
    var isOver: Bool { gunzip.hasEnded }

    init(to port: UInt16) throws {
      client = TestSocket(try Sockets.connect(to: .ip(IPAddress(v4: 0x7f00_0001), port: port)).fd)
      try #require(Sockets.waitWritable(client.descriptor, timeoutMilliseconds: 10_000))
      let request = Array("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n".utf8)
      try #require(client.send(request[...]) == request.count)
    }

    private var unread: [UInt8] = []

    /// Reads the chunks that have come.
    func read() throws {
      unread += client.receive()
      if head != nil {
        guard let end = unread.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
        let text = String(decoding: unread[..<end.lowerBound], as: UTF8.self)
        try #require(text.contains("Content-Encoding: gzip"), "\(text)")
        unread.removeFirst(end.upperBound)
        head = nil
      }
      while let line = unread.firstRange(of: [0x0d, 0x0a]) {
        let count = try #require(Int(String(decoding: unread[..<line.lowerBound], as: UTF8.self), radix: 16))
        guard unread.count >= line.upperBound + count + 2, count > 0 else { return }
        content += try gunzip.feed(unread[line.upperBound..<line.upperBound + count])
        unread.removeFirst(line.upperBound + count + 2)
      }
    }
  }

  private let (listener, server): (TestSocket, TestSocket)
  private let (shared, worker): (ProcessShared, Worker)

  init() throws {
    server = try TestSocket.listening()
    let turned = try TurnedWorker(
      """
      listeners: [{ name: web, listen: "127.0.0.1:0", trust: [{ from: [127.0.0.1], evidence: socket }] }]
      routes: [{ to: app, compress: { level: 9 } }]
      upstreams: { app: { servers: ["127.0.0.1:\(server.port)"] } }
      """)
    (listener, shared, worker) = (turned.listener, turned.shared, turned.worker)
  }

  private var compressed: UInt64 { shared.counters[0].value(.compressedBytesIn) }

  /// More in a turn, and a single response would hold up everybody else for as long as it likes.
  @Test(arguments: [1, 5]) func aTurnCompressesSoMuchForAllTogether(count: Int) throws {
    defer { worker.end() }
    let total = 1 << 20
    var random = Seeded(3)
    let content = random.bytes(total).map { 0x61 + $0 % 2 }
    let response =
      Array("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: \(total)\r\n\r\n".utf8) + content
    let downloads = try (0..<count).map { _ in try Download(to: listener.port) }
    var sending: [(socket: TestSocket, sent: Int)] = []
    var (turns, most) = (0, UInt64(0))
    while !downloads.allSatisfy(\.isOver) {
      let before = compressed
      worker.turn()
      turns += 1
      most = max(most, compressed - before)
      try #require(turns < 100_000 && most <= Self.bytesMax, "\(most) bytes in turn \(turns)")
      while case .connection(let descriptor, _) = Sockets.accept(server.descriptor) {
        sending.append((TestSocket(descriptor), 0))
      }
      for i in sending.indices { sending[i].sent += sending[i].socket.send(response[sending[i].sent...]) }
      for download in downloads { try download.read() }
      // None is done while another has hardly begun.
      if downloads.contains(where: \.isOver) {
        #expect(downloads.allSatisfy { $0.content.count >= total / 2 }, "\(downloads.map(\.content.count))")
      }
    }
    #expect(downloads.allSatisfy { $0.content == content })
    #expect(most == Self.bytesMax && compressed == UInt64(count * total), "\(most) bytes at most, \(compressed) in all")
  }
}
