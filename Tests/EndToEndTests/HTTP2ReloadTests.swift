// Reloads and connections of HTTP/2: what is under way goes on, and a connection that may not go on under the new rules tells its client
// so, instead of refusing each of its requests.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Reload {
    /// What a reload makes of a connection's listener.
    struct Change: Sendable, CustomTestStringConvertible {
      var title: String
      var isTLS = false
      var change: @Sendable (inout Configuration) throws -> Void
      var testDescription: String { title }
    }

    static let changes: [Change] = [
      Change(title: "HTTP/2 is spoken no more") { $0.listeners[0].more = ["protocols: [http/1.1]"] },
      Change(title: "HTTP/2 is spoken no more by TLS", isTLS: true) {
        $0.listeners[1].more = ["protocols: [http/1.1]"]
      },
      Change(title: "a certificate is asked for", isTLS: true) {
        $0.listeners[1].clientCertificates = "ca: \"\(try Certificates.standard.ca)\", require: true"
      },
      Change(title: "the peer is refused") { $0.listeners[0].trust = ["from: any, evidence: refuse"] },
      Change(title: "the listener is gone") { $0.listeners.removeFirst() },
    ]

    @Test(arguments: changes) func aConnectionThatMayNotGoOnDrains(_ item: Change) throws {
      let gate = Guarded(false)
      let site = try HTTP2Site { exchange in
        if exchange.target == "/held" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
        try exchange.reply(exchange.target)
      }
      defer { gate.with { $0 = true } }
      let client = try item.isTLS ? site.connectTLS() : site.connect()
      try client.begin()
      #expect(try client.get("/before").status == 200)
      let held = try client.begin("/held")
      _ = try site.backend.waitForRequest(to: "/held")

      var configuration = site.configuration
      try item.change(&configuration)
      try site.edge.reloadAccepting(configuration)
      try client.wait(for: "the first GOAWAY") { $0.goAwayCount == 1 }
      #expect(client.goAway?.code == 0 && client.goAway?.lastStream == .max >> 1)
      // What was on its way when that came is told that it was not served.
      let crossing = try client.get("/crossing")
      #expect(crossing.status == 503)
      try client.wait(for: "the second GOAWAY") { $0.goAwayCount == 2 }
      #expect(client.goAway?.code == 0)
      #expect(client.streams[held]?.isOver == false)
      gate.with { $0 = true }
      #expect(try client.response(on: held).text == "/held")
      try client.waitForEnd()
      #expect(!site.backend.saw("/crossing"))
      let line = try site.edge.access.wait(path: "/held")
      #expect(line.status == 200 && line.refusal == nil)
    }

    /// The other way round: HTTP/1.1 is spoken no more.
    @Test func aConnectionOfHTTP1EndsWhereItIsSpokenNoMore() throws {
      let site = try HTTP2Site(change: { $0.listeners[0].more = ["protocols: [h2c, http/1.1]"] })
      let connection = try Connection(to: site.edge["cleartext"], from: Peer.client())
      #expect(try connection.get("/before").status == 200)
      var configuration = site.configuration
      configuration.listeners[0].more = ["protocols: [h2c]"]
      try site.edge.reloadAccepting(configuration)
      #expect(try connection.get("/after").status == 503)
      #expect(try connection.readToEnd() == [])
      #expect(!site.backend.saw("/after"))
    }

    /// Also on a connection from before, whose buffers were smaller: its next head has new ones.
    @Test func aLargerHeadIsTakenOnAConnectionFromBefore() throws {
      let site = try HTTP2Site(change: { $0.limits = ["head: 4KiB"] })
      let client = try site.begun()
      #expect(try client.get("/before").status == 200)
      #expect(try client.get("/large", fields: [("x-a", String(repeating: "a", count: 5_000))]).status == 431)
      var configuration = site.configuration
      configuration.limits = ["head: 128KiB"]
      try site.edge.reloadAccepting(configuration)
      for count in [5_000, 60_000] {
        let field = ("x-a", String(repeating: "a", count: count))
        #expect(try client.get("/\(count)", fields: [field, ("x-b", field.1)]).status == 200)
      }
      // The values of pseudo-fields lie in a buffer of their own, beyond whose end these were read.
      let (host, path) = (String(repeating: "a", count: 50_000), "/" + String(repeating: "p", count: 50_000))
      #expect(try client.response(on: client.begin(path, host: host)).status == 400)
      #expect(try client.get("/after").status == 200)
    }

    /// What stays as it was for a connection: other protocols beside its own, certificates, limits.
    @Test func aConnectionThatMayGoOnDoes() throws {
      let site = try HTTP2Site()
      let (clear, tls) = (try site.begun(), try site.connectTLS())
      try tls.begin()
      var configuration = site.configuration
      for step in 0..<6 {
        configuration.listeners[0].more = [step % 2 == 0 ? "protocols: [h2c, http/1.1]" : "protocols: [h2c]"]
        configuration.listeners[1].more = [step % 2 == 0 ? "protocols: [h2]" : "protocols: [http/1.1, h2]"]
        configuration.limits = ["streams: \(100 + step)", "head: \(16 + step)KiB"]
        try site.edge.reloadAccepting(configuration)
        for client in [clear, tls] { #expect(try client.get("/\(step)").text == Peer.client()) }
      }
      #expect(clear.goAway == nil && tls.goAway == nil)
    }

    /// bench/reload/run, of which a thousand reloads are in docs/RELIABILITY.md.
    @Test(.threads(1)) func twentyReloadsCostNoStreamAndNoCall() throws {
      let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "../../bench/reload/run")
      let outcome = try ChildProcess.run(
        [try Programs.python, file.standardized.path, "--reloads", "20", "--streams", "10", "--calls", "5"],
        environment: ["COUNTERSIGN_BIN": try Programs.countersign], by: .after(240))
      #expect(outcome.succeeded, "\(outcome.output)\(outcome.error)")
      #expect(outcome.output.contains("20 reloads of each process"), "\(outcome.output)")
    }
  }
}
