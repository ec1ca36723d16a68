// The sample backend behind everything: an application that believes X-Forwarded-For, made safe by what stands in front of it.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct PrinterMonitor {
    /// printer-monitor behind a validator behind an edge.
    private final class Stand: Sendable {
      let workspace: Workspace
      let monitor: ChildProcess
      let validator: Countersign
      let edge: Countersign

      init(_ mode: Site.Mode) throws {
        workspace = try Workspace()
        monitor = try ChildProcess([
          try Programs.printerMonitor, "--listen", "127.0.0.1:0", "--database", workspace.file("monitor.sqlite"),
        ])
        let monitor = self.monitor
        let ready = monitor.standardError.wait { line in line.range(of: #"127\.0\.0\.1:\d+"#, options: .regularExpression).map { String(line[$0]) } }
        guard let ready else { throw Trouble("printer-monitor did not get ready\n\(monitor.tail)\n\(monitor.standardOutput.text)") }
        let keys = try Keys.standard
        validator = try Countersign(Configuration.validator(keys: keys, to: [ready], bound: mode == .bound), name: "validator", in: workspace)
        edge = try Countersign(Configuration.edge(keys: keys, to: ["\(try validator["from-edge"])"], bound: mode == .bound), in: workspace)
      }

      func connect(_ source: String) throws -> Connection { try Connection(to: edge["public"], from: source) }
    }

    @Test(arguments: Site.Mode.allCases)
    func theApplicationSeesTheTrueAddress(_ mode: Site.Mode) throws {
      let stand = try Stand(mode)
      let response = try stand.connect(Peer.client(31)).get("/whoami", fields: ["X-Forwarded-For: \(Peer.claimed)", "X-Real-IP: \(Peer.claimed)"])
      #expect(response.status == 200)
      #expect(response.text.contains(Peer.client(31)))
      #expect(!response.text.contains(Peer.claimed))
      #expect(try stand.connect(Peer.client(31)).get("/healthz").status == 200)
    }
  }
}
