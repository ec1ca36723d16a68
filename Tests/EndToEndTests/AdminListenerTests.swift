// The admin listener is asked by monitoring systems and by whoever connects to see whether a port is open.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct AdminListener {
    private let edge: Countersign
    private let backend: RecordingBackend

    init() throws {
      backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.hasAdmin = true
      edge = try Countersign(configuration, in: try Workspace())
    }

    private func connect(receiveBufferBytes: Int32? = nil) throws -> Connection {
      try Connection(to: edge["admin"], from: nil, receiveBufferBytes: receiveBufferBytes)
    }

    @Test func whoSaysNothingHoldsUpNobody() throws {
      let silent = try (0..<10).map { _ in try connect() }
      let half = try connect()
      try half.send("GET /healthz HTTP/1.1\r\nHo")
      let greedy = try (0..<5).map { _ in try connect(receiveBufferBytes: 4_096) }
      for connection in greedy { try connection.send(Text.request("/metrics")) }
      for _ in 0..<20 { #expect(try connect().get("/healthz").text == "ok\n") }
      // Nothing of what was waiting has been ended for it.
      try half.send("st: a\r\n\r\n")
      #expect(try half.readResponse().text == "ok\n")
      for connection in silent { #expect(try connection.get("/healthz").text == "ok\n") }
      for connection in greedy {
        let page = try connection.readResponse()
        #expect(page.metric("countersign_worker_reloads_total") == 0)
      }
    }

    /// Silent connections are few, whatever comes: the one that has waited longest makes way.
    @Test func silentConnectionsAreBounded() throws {
      let before = try edge.process.openFileCount
      let silent = try (0..<200).map { _ in try connect() }
      for _ in 0..<5 { #expect(try connect().get("/healthz").text == "ok\n") }
      #expect(try edge.process.openFileCount <= before + 32)
      for connection in silent.prefix(100) { #expect(try connection.readToEnd() == []) }
      for connection in silent { connection.close() }
      try eventually("their descriptors are given back") { try edge.process.openFileCount <= before }
    }

    @Test func whatIsNoRequestIsSaid() throws {
      let connection = try connect()
      try connection.send("GET /healthz HTTP/1.1\r\nA: \(String(repeating: "a", count: 9_000))\r\n\r\n")
      #expect(try connection.readResponse().status == 400)
      #expect(try connect().get("/healthz", method: "PUT").status == 405)
      #expect(try connect().get("/elsewhere").status == 404)
      let old = try connect()
      try old.send("HEAD /healthz HTTP/1.0\r\n\r\n")
      let head = try old.readResponse(toHead: true)
      #expect(try head.status == 200 && head.head.contentLength == 3 && old.readToEnd() == [])
    }

    /// A process that ends does not wait for who says nothing.
    @Test func anEndWaitsForNoSilentConnection() throws {
      let silent = try connect()
      edge.process.signal(SIGTERM)
      #expect(try edge.process.waitForExit() == .code(0))
      #expect(try silent.readToEnd() == [])
    }
  }
}
