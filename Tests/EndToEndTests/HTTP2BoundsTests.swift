// What a connection of HTTP/2 may hold, whatever its other end does and leaves undone.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Bounds {
    /// A server that is connected to and takes nothing. Clients begin requests and take them back: what was never sent of them must not
    /// be kept.
    @Test func requestsThatAreTakenBackDoNotPileUpForAServerThatTakesNothing() throws {
      let (listening, address) = try Socket.listen()
      defer { close(listening) }
      let site = try HTTP2Site(change: {
        $0.upstreams[0].servers = ["\(address)"]
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.workers = "1"
      })
      let field = ("x-a", String(repeating: "b", count: 15_000))
      /// Fewer than a connection may take back, some at a time: each is on its way to the server before it is taken back.
      func takeBack(_ groups: Int, from source: String) throws {
        let client = try site.begun(from: source)
        for _ in 0..<groups {
          let streams = try (0..<30).map { _ in try client.begin("/taken-back", fields: [field]) }
          try client.settle(by: .after(30))
          for stream in streams { try client.send(.reset(stream)) }
          try client.settle(by: .after(30))
        }
        #expect(client.goAway == nil && client.streams.values.allSatisfy { $0.reset == nil })
      }
      try takeBack(5, from: Peer.client(1))
      let before = try site.edge.process.residentBytes
      try site.edge.process.forgetPeak()
      for index in 0..<20 { try takeBack(5, from: Peer.client(2 + index)) }
      try eventually("no request is left") { try site.edge.metric("countersign_open_requests") == 0 }
      let growth = try site.edge.process.peakResidentBytes - before
      // All of them had 45 MB.
      #expect(growth < 20 << 20, "\(growth >> 10) KiB")
    }
  }
}
