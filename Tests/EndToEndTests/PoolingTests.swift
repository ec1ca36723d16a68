// Connections are shared, addresses are not: many clients over few connections to the backend, and every answer names
// its own client.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Pooling {
    static let clientCount = 200
    static let requestCount = 100_000
    /// Clients of one thread that are being served at the same time.
    static let atOnce = 5

    /// Answers every request on its own with the address that it names; written for speed, nothing is kept.
    @Sendable private static func nameTheClient(_ exchange: Exchange) throws {
      let address = exchange.clientAddress
      try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: \(address.utf8.count)\r\n\r\n\(address)")
    }

    @Test(.threads(1), arguments: Site.Mode.allCases)
    func everyAddressIsRightOverSharedConnections(_ mode: Site.Mode) throws {
      let site = try Site(
        mode, keepsBytes: false, script: Self.nameTheClient, validator: { $0.access = "off" },
        edge: { $0.access = "off" })
      #expect(try site.connect().get("/warm").status == 200)
      let address = try site.publicAddress
      let threadCount = 8
      let perThread = Self.clientCount / threadCount
      let rounds = Self.requestCount / Site.Mode.allCases.count / Self.clientCount
      let wrong = Guarded<[String]>([])

      try together(threadCount, by: .after(120)) { thread in
        let clients = try (0..<perThread).map { index in
          let source = Peer.client(thread * perThread + index)
          return (connection: try Connection(to: address, from: source), source: Array("\r\n\r\n\(source)".utf8))
        }
        let request = Array(Text.request("/pooled", fields: ["X-Forwarded-For: \(Peer.claimed)"]).utf8)
        // A few of the thread's clients at a time, with two requests each in flight, so that they meet on the way and
        // take over each other's connections.
        for _ in 0..<rounds / 2 {
          for first in stride(from: 0, to: perThread, by: Self.atOnce) {
            let group = clients[first..<first + Self.atOnce]
            for client in group { try client.connection.send(request + request) }
            for client in group {
              for _ in 0..<2 {
                let answer = try Self.answer(client.connection)
                if !answer.elementsEqual(client.source) {
                  wrong.with { $0.append(String(decoding: answer, as: UTF8.self)) }
                }
              }
            }
          }
        }
      }
      #expect(wrong.now.isEmpty, "\(wrong.now.prefix(3))")
      #expect(site.backend.failures.isEmpty)
      if mode == .shared {
        // The proof that connections were shared, so that the test means something.
        #expect(site.backend.connectionCount <= 2 * threadCount * Self.atOnce)
      }
    }

    /// The end of the head and the body of one response, which is known to be short and to have a length.
    private static func answer(_ connection: Connection) throws -> [UInt8] {
      while true {
        if let head = connection.heldHeadCount {
          let length = try bodyCount(UnsafeRawBufferPointer(rebasing: connection.held[..<head]))
          while connection.heldCount < head + length {
            guard try connection.fill() else { throw Trouble("the connection ended inside a response") }
          }
          connection.consume(head - 4)
          return connection.take(4 + length)
        }
        guard try connection.fill() else { throw Trouble("the connection ended before a response") }
      }
    }

    private static func bodyCount(_ head: UnsafeRawBufferPointer) throws -> Int {
      for name in ["Content-Length: ", "content-length: "] as [StaticString] {
        guard var at = head.firstIndex(of: name) else { continue }
        at += name.utf8CodeUnitCount
        var count = 0
        while head[at] >= 0x30 && head[at] <= 0x39 {
          count = count * 10 + Int(head[at]) - 0x30
          at += 1
        }
        return count
      }
      throw Trouble("no length: \(String(decoding: head, as: UTF8.self))")
    }

    /// In `bound`, a connection to the validator is one client's and ends with it.
    @Test func aBoundConnectionDiesWithItsClient() throws {
      let site = try Site(.bound, validator: { $0.hasAdmin = true })
      let first = try site.connect(from: Peer.client(1))
      let second = try site.connect(from: Peer.client(2))
      #expect(try first.get("/a").text == Peer.client(1))
      #expect(try second.get("/b").text == Peer.client(2))
      let peers = try ["/a", "/b"].map { try site.validator.access.wait(path: $0).peer }
      #expect(peers[0] != peers[1], "two clients were on one connection")
      #expect(try first.get("/c").text == Peer.client(1))
      #expect(
        try site.validator.access.wait(path: "/c").peer == peers[0], "a client's connection is used again by itself")
      first.close()
      let again = try site.connect(from: Peer.client(1))
      #expect(try again.get("/d").text == Peer.client(1))
      #expect(try site.validator.access.wait(path: "/d").peer != peers[0], "a client's connection outlived it")
    }

    @Test func inSharedModeOneConnectionServesSeveralClients() throws {
      let site = try Site(.shared, validator: { $0.workers = "1" }, edge: { $0.workers = "1" })
      for index in 0..<20 {
        let connection = try site.connect(from: Peer.client(index))
        #expect(try connection.get("/\(index)").text == Peer.client(index))
      }
      let peers = try (0..<20).map { try site.validator.access.wait(path: "/\($0)").peer }
      #expect(Set(peers).count == 1)
      #expect(site.backend.connectionCount == 1)
    }
  }
}
