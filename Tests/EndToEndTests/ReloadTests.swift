// SIGHUP: a new configuration comes into force whole or not at all, and nobody who is being served notices.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Reload {
    /// A configuration in which `/generation/N` is the one generation that has a route.
    private func generation(_ number: Int, of base: Configuration) -> Configuration {
      var configuration = base
      configuration.routes = [
        #"path: "/generation/\#(number)", to: \#(base.upstreams[0].name)"#,
        #"path_regex: "/(load|ws|steady).*", to: \#(base.upstreams[0].name)"#,
      ]
      configuration.limits = ["head: \(number % 2 == 0 ? 32 : 48)KiB", "fields: \(100 + number % 3)"]
      configuration.timeouts = ["idle: \(30 + number % 7)s"]
      return configuration
    }

    @Test(arguments: Site.Mode.allCases)
    func aHundredReloadsUnderLoadDisturbNobody(_ mode: Site.Mode) throws {
      let site = try Site(
        mode, keepsBytes: false, script: WebSocket.echo, validator: { $0.access = "off" }, edge: { $0.access = "off" })
      let address = try site.publicAddress
      #expect(try site.connect().get("/load").status == 200)
      let tunnel = try site.connect(from: Peer.client(50))
      try site.edge.reload(generation(0, of: site.edgeConfiguration))
      #expect(try tunnel.get("/ws", fields: WebSocket.upgrade).status == 101)

      let stop = Guarded(false)
      let served = Guarded(0)
      let load = (0..<3).map { index in
        Background("load \(index)") {
          let source = Peer.client(60 + index)
          var connection = try Connection(to: address, from: source)
          var count = 0
          while !stop.now {
            // Now and then a new connection, so that accepting is under test as well.
            count += 1
            if count % 20 == 0 { connection = try Connection(to: address, from: source) }
            let body = count % 5 == 0 ? String(repeating: "b", count: 3000) : nil
            try connection.send(Text.request("/load/\(count)", method: body == nil ? "GET" : "POST", body: body))
            let response = try connection.readResponse()
            guard response.status == 200, response.text == source else {
              throw Trouble("request \(count) got \(response.status) \(response.text)")
            }
            served.with { $0 += 1 }
          }
        }
      }
      let probe = try site.connect(from: Peer.client(55))
      for number in 1...100 {
        try site.validator.reload(generation(number, of: site.validatorConfiguration))
        try site.edge.reload(generation(number, of: site.edgeConfiguration))
        // Only with both in force is there a way to the backend.
        try eventually("generation \(number) is in force", everyMilliseconds: 1) {
          try probe.get("/generation/\(number)").status == 200
        }
        let frame = WebSocket.frame("\(number)")
        try tunnel.send(frame)
        #expect(try tunnel.read(frame.count) == frame)
      }
      stop.with { $0 = true }
      for one in load { try one.result() }
      #expect(served.now > 100, "\(served.now)")
      #expect(site.edge.process.exit == nil && site.validator.process.exit == nil)
      tunnel.shutdownWrite()
      #expect(try tunnel.readToEnd() == [])
    }

    @Test func oldGenerationsDoNotPileUp() throws {
      let site = try Site(.shared, edge: { $0.access = "off" })
      let probe = try site.connect()
      func reload(_ number: Int) throws {
        try site.edge.reload(generation(number, of: site.edgeConfiguration))
        try eventually("generation \(number)", everyMilliseconds: 1) {
          try probe.get("/generation/\(number)").status == 200
        }
      }
      for number in 1...20 { try reload(number) }
      let files = try site.edge.process.openFileCount
      let memory = try site.edge.process.residentBytes
      for number in 21...120 { try reload(number) }
      #expect(try site.edge.process.openFileCount <= files + 2)
      #expect(try site.edge.process.residentBytes - memory < 4 << 20)
    }

    @Test func anExchangeInFlightEndsAsItBegan() throws {
      let gate = Guarded(false)
      let site = try Site(.bound) { exchange in
        if exchange.target == "/slow" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
        try exchange.reply(exchange.clientAddress)
      }
      let slow = try site.connect(from: Peer.client(33))
      try slow.send(Text.request("/slow"))
      _ = try site.backend.waitForRequest(to: "/slow")
      // The new configuration has no route for it, and another upstream that nobody listens at.
      var next = site.edgeConfiguration
      next.routes = ["path: \"/new\", to: monitor"]
      try site.edge.reload(next)
      try eventually("the reload is in force") { try site.connect().get("/slow-not").status == 404 }
      gate.with { $0 = true }
      #expect(try slow.readResponse().text == Peer.client(33))
      #expect(try slow.get("/new").text == Peer.client(33))
      #expect(try slow.get("/other").status == 404)
    }

    @Test func aBadConfigurationKeepsTheOldOneAndSaysWhy() throws {
      let site = try Site(.bound)
      let good = site.edgeConfiguration.text
      let connection = try site.connect()
      #expect(try connection.get("/before").status == 200)
      let keys = try Keys.standard.edge
      let cases: [(String, String, [String])] = [
        ("unknown key", good.replacing("routes:", with: "rotues:"), ["edge.yaml:", "rotues", "routes"]),
        ("dangling name", good.replacing("to: monitor", with: "to: monitro"), ["edge.yaml:", "monitro", "monitor"]),
        ("not YAML", good + "\n]: [", ["edge.yaml:"]),
        ("wrong unit", good + "timeouts: { idle: 5parsecs }\n", ["edge.yaml:", "5parsecs"]),
        ("missing key file", good.replacing(keys, with: keys + ".gone"), ["edge.yaml:", ".gone"]),
        ("empty", "", ["edge.yaml"]),
      ]
      for (what, text, words) in cases {
        let start = site.edge.process.standardError.count
        try site.edge.reload(text)
        // The complaint may take several lines; the word that matters most is in one with the place.
        let line = site.edge.process.standardError.wait(from: start) { line in
          words.allSatisfy { line.contains($0) } ? line : nil
        }
        #expect(line != nil, "\(what): \(site.edge.process.standardError.lines[start...])")
        if what != "empty", what != "not YAML", let line {
          #expect(try Regex(#"edge\.yaml:\d+:\d+"#).firstMatch(in: line) != nil, "\(line)")
        }
        #expect(try connection.get("/during").status == 200)
        #expect(try site.connect().get("/during").status == 200)
      }
      // And the next good one is taken.
      var next = site.edgeConfiguration
      next.routes = ["path: \"/next\", to: monitor"]
      try site.edge.reload(next)
      try eventually("the good one is in force") { try connection.get("/during").status == 404 }
      #expect(try connection.get("/next").status == 200)
    }

    @Test func listenersComeAndGo() throws {
      let (old, new) = (try Socket.reserve(), try Socket.reserve())
      let site = try Site(.bound, edge: { $0.listeners[0].listen = "\(old)" })
      let kept = try site.connect()
      #expect(try kept.get("/kept").status == 200)
      var both = site.edgeConfiguration
      both.listeners.append(Configuration.Listener(name: "second", listen: "\(new)"))
      try site.edge.reload(both)
      let second = try eventually("the second listener is there") {
        try? Connection(to: new, from: Peer.client(2))
      }
      #expect(try second.get("/second").text == Peer.client(2))
      #expect(try site.edge.access.wait(path: "/second").listener == "second")
      #expect(try Connection(to: old).get("/first").status == 200, "the first one, unchanged, keeps its port")

      var only = both
      only.listeners.removeFirst()
      try site.edge.reload(only)
      try eventually("the first listener is gone") { (try? Connection(to: old)) == nil }
      // Who was connected there is served on, or ended in order between two requests.
      if let response = try? kept.get("/kept-on") { #expect(response.status == 200) }
      #expect(try second.get("/second-on").status == 200)
      try site.edge.reload(site.edgeConfiguration)
      try eventually("the second listener is gone") { (try? Connection(to: new)) == nil }
    }

    @Test func aChangedCertificateIsShownToNewConnections() throws {
      let certificates = try Certificates.standard
      let site = try Site(.bound, tls: true)
      let kept = try site.connectTLS()
      #expect(try kept.get("/kept").status == 200)
      var next = site.edgeConfiguration
      next.listeners[0].certificates = [certificates.renewed]
      try site.edge.reload(next)
      try eventually("the renewed certificate is shown", everyMilliseconds: 30) {
        try ChildProcess.run([
          try Programs.openssl, "s_client", "-connect", "\(try site.publicAddress)", "-bind", "\(Peer.client()):0",
          "-servername", Site.host,
        ]).output.contains("subject=CN = renewed\n")
      }
      #expect(try kept.get("/kept-on").status == 200)
    }

    /// The same file names, new contents: what a certificate robot does.
    @Test func aRenewedFileIsReadAnew() throws {
      let certificates = try Certificates.standard
      let workspace = try Workspace()
      func put(_ pair: Certificate) throws -> Certificate {
        try Certificate(
          certificate: workspace.write("live.pem", String(contentsOfFile: pair.certificate, encoding: .utf8)),
          key: workspace.write("live.key", String(contentsOfFile: pair.key, encoding: .utf8), mode: 0o600))
      }
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].certificates = [try put(certificates.app)]
      let edge = try Countersign(configuration, in: workspace)
      func subject() throws -> String {
        try ChildProcess.run([
          try Programs.openssl, "s_client", "-connect", "\(try edge["public"])", "-bind", "\(Peer.client()):0",
          "-servername", Site.host,
        ]).output
      }
      #expect(try subject().contains("subject=CN = app\n"))
      // First a pair that does not fit together: refused, and the old one stays.
      _ = try workspace.write("live.pem", String(contentsOfFile: certificates.renewed.certificate, encoding: .utf8))
      let start = edge.process.standardError.count
      edge.process.signal(SIGHUP)
      #expect(
        edge.process.standardError.wait(from: start) { $0.contains("live.") ? $0 : nil } != nil,
        "the mismatch is not named")
      #expect(try subject().contains("subject=CN = app\n"))
      _ = try put(certificates.renewed)
      edge.process.signal(SIGHUP)
      try eventually("the renewed certificate is shown", everyMilliseconds: 30) {
        try subject().contains("subject=CN = renewed\n")
      }
    }

    /// An edge that cannot sign forwards nothing.
    @Test(arguments: Site.Mode.allCases)
    func anEdgeWhoseKeyHasExpiredForwardsNothing(_ mode: Site.Mode) throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "")
      let set = workspace.file("expiring.jwks.json")
      let hour = 3_600
      let expires = Int(Date().timeIntervalSince1970) + hour
      try KeySetFile.join([keys.edge], into: set) { $0["exp"] = expires }
      let clock = try SettableClock(aheadSeconds: 0, in: workspace)
      let site = try Site(
        mode, clock: clock, validator: { $0.identity[0] = "keys: \"\(keys.validator)\"" },
        edge: { $0.identity[1] = "keys: \"\(set)\"" })
      let connection = try site.connect()
      #expect(try connection.get("/before").status == 200)
      try clock.set(aheadSeconds: Double(hour + 1))
      let start = site.edge.access.end
      let response = try site.connect().get("/after")
      #expect(response.status == 500)
      #expect(try site.edge.access.wait(path: "/after", from: start).refusal == "sign-failed")
      #expect(!site.backend.saw("/after"))
      #expect(site.validator.access.entries.allSatisfy { $0.path != "/after" })
    }

    /// Each load has a thread of its own, whose stack goes with it.
    @Test func reloadsLeaveNoThreadBehind() throws {
      let site = try Site(.bound)
      func reload(_ numbers: Range<Int>) throws {
        for number in numbers { try site.edge.reloadAccepting(generation(number, of: site.edgeConfiguration)) }
      }
      // What the first loads set aside stays.
      try reload(0..<10)
      let before = try site.edge.process.addressBytes
      try reload(10..<50)
      let growth = try site.edge.process.addressBytes - before
      #expect(growth < 160 << 20, "\(growth >> 20) MiB, of which a stack has 8")
    }

    /// A key that is taken out is out: what it signs is refused from then on.
    @Test func keysAreRolledByReloads() throws {
      let workspace = try Workspace()
      let old = try Keys(in: workspace, prefix: "old-", kid: "k-old")
      let new = try Keys(in: workspace, prefix: "new-", kid: "k-new")
      let set = workspace.file("validator.jwks.json")
      try KeySetFile.join([old.validator], into: set)
      let bench = try ValidatorBench(.shared, keys: old, change: { $0.identity[0] = "keys: \"\(set)\"" }, kid: "k-old")
      let newForger = try Forger(validatorKeys: new.validator, kid: "k-new")
      func status(_ forger: Forger) throws -> Int { try bench.send(SignedRequest("/rolled", by: forger)).status }
      #expect(try status(newForger) == 403)
      try KeySetFile.join([old.validator, new.validator], into: set)
      bench.validator.process.signal(SIGHUP)
      try eventually("the new key is known") { try status(newForger) == 200 }
      #expect(try status(bench.forger) == 200)
      try KeySetFile.join([new.validator], into: set)
      bench.validator.process.signal(SIGHUP)
      try eventually("the old key is gone") { try status(bench.forger) == 403 }
      #expect(try status(newForger) == 200)
      // A bad set keeps the old one.
      chmod(set, 0o644)
      let start = bench.validator.process.standardError.count
      bench.validator.process.signal(SIGHUP)
      #expect(
        bench.validator.process.standardError.wait(from: start) { $0.contains("validator.jwks.json") ? $0 : nil } != nil
      )
      #expect(try status(newForger) == 200)
    }
  }
}
