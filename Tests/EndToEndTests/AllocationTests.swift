// What a request costs in allocations, counted in the real processes by a malloc that stands before the system's.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Allocations {
    /// A request over kept-alive connections, signed and verified; with TLS on both hops as without.
    @Test(arguments: Site.Mode.allCases, [false, true])
    func aKeptAliveRequestAllocatesNothing(_ mode: Site.Mode, tls: Bool) throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("fine") }
      let keys = try Keys.standard
      var behind = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: mode == .bound)
      behind.access = "off"
      let certificates = try Certificates.standard
      if tls { behind.listeners[0].certificates = [certificates.monitor] }
      let (validatorFile, edgeFile) = (workspace.file("validator.count"), workspace.file("edge.count"))
      let validator = try Countersign(
        behind, name: "validator", in: workspace, environment: try Self.counting(in: validatorFile))
      var front = Configuration.edge(keys: keys, to: ["\(try validator["from-edge"])"], bound: mode == .bound)
      front.access = "off"
      if tls {
        front.listeners[0].certificates = [certificates.app]
        front.upstreams[0].tls = "ca: \"\(certificates.ca)\", name: monitor-1.internal"
      }
      let edge = try Countersign(front, in: workspace, environment: try Self.counting(in: edgeFile))

      let connection = try tls ? Connection.tls(to: edge["public"]) : Connection(to: edge["public"])
      func ask(_ count: Int) throws {
        for _ in 0..<count {
          #expect(try connection.get("/counted", fields: ["X-Forwarded-For: 192.0.2.1"]).status == 200)
        }
      }
      try ask(200)
      let before = (edge: try Self.count(edgeFile), validator: try Self.count(validatorFile))
      #expect(before.edge > 0 && before.validator > 0, "nothing is counted at all")
      try ask(500)
      #expect(try Self.count(edgeFile) - before.edge == 0)
      #expect(try Self.count(validatorFile) - before.validator == 0)
    }

    private static func counting(in file: String) throws -> [String: String] {
      ["LD_PRELOAD": try Programs.allocationCounter, "ALLOCATION_COUNTER": file]
    }

    private static func count(_ file: String) throws -> UInt64 {
      let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
      guard bytes.count >= 8 else { throw Trouble("nothing was counted in \(file)") }
      return bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
  }
}
