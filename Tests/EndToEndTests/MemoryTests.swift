// A burst of connections leaves no memory behind.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Memory {
    /// Each holds a buffer that is nearly full of its unfinished head.
    @Test func afterABurstMemoryIsWhatItWasBefore() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.limits = ["head: 64KiB"]
      configuration.timeouts = ["head: 5m"]
      configuration.access = "off"
      let edge = try Countersign(configuration, in: workspace)
      let address = try edge["public"]
      #expect(try Connection(to: address).get("/before").status == 200)
      let before = try edge.process.residentBytes
      let most = before + before / 5
      let piece = [UInt8]("GET /\(String(repeating: "x", count: 60 * 1_024))".utf8)
      for burst in 0..<3 {
        var clients: [Connection] = []
        for i in 0..<1_000 {
          let client = try Connection(to: address, from: Peer.client(i % 200))
          try client.send(piece)
          clients.append(client)
        }
        try eventually("the burst is held", by: .after(60), everyMilliseconds: 50) {
          try edge.process.residentBytes > before + 40 << 20
        }
        for client in clients { client.close() }
        clients = []
        try eventually("burst \(burst) is given back: at most \(most)", by: .after(60), everyMilliseconds: 50) {
          try edge.process.residentBytes <= most
        }
      }
      #expect(try Connection(to: address).get("/after").status == 200)
    }

    /// What was held of a request's body for another try is given back once its response has begun, for that may take hours.
    @Test func aResponseThatGoesOnHoldsNothingOfItsRequest() throws {
      let backend = try RecordingBackend { exchange in
        try exchange.finishBody()
        try exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
      }
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.workers = "1"
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: Workspace())
      let connection = try Connection(to: edge["public"])
      try connection.send(Text.request("/", method: "POST", body: "0123456789"))
      #expect(try #require(try connection.readHead()).text.hasPrefix("HTTP/1.1 200 "))
      // The one that the server's connection reads into, as for a request without a body.
      try eventually("one buffer is in use") { try edge.metric("countersign_buffers_in_use") == 1 }
    }
  }
}
