// Whoever opens connections that come to nothing cannot fill the disk with lines about them.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct LogFlood {
    @Test func refusedConnectionsGetAFewLinesAndThenACount() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.hasAdmin = true
      configuration.listeners[0].trust = ["from: 127.10.0.0/16, evidence: refuse", "from: any, evidence: socket"]
      let edge = try Countersign(configuration, in: workspace)
      let (loud, quiet) = (Peer.client(1), Peer.client(2))
      for index in 0..<200 {
        #expect(try Connection(to: edge["public"], from: loud).readToEnd() == [])
        if index < 3 { #expect(try Connection(to: edge["public"], from: quiet).readToEnd() == []) }
      }
      // The counter is exact at any time.
      try eventually("all are counted") {
        try edge.metric("countersign_refusals_total{name=\"peer-refused\"}") == 203
      }
      edge.process.signal(SIGTERM)
      #expect(try edge.process.waitForExit() == .code(0))
      edge.process.standardOutput.waitForEnd(by: .usual)
      let entries = edge.access.entries.filter { $0.refusal == "peer-refused" }
      let whole = entries.filter { $0.suppressed == nil }
      #expect(whole.count { $0.peer?.hasPrefix("\(quiet):") == true } == 3)
      let loudWhole = whole.count { $0.peer?.hasPrefix("\(loud):") == true }
      // Five for each of two workers.
      #expect(loudWhole >= 5 && loudWhole <= 10, "\(loudWhole)")
      let counts = entries.filter { $0.suppressed != nil }
      #expect(counts.allSatisfy { $0.peer == loud && $0.status == 0 && $0.time != nil })
      #expect(loudWhole + counts.reduce(0) { $0 + ($1.suppressed ?? 0) } == 200)
    }
  }
}
