// The reload guard: a reload that weakens trust is refused until the file says that exactly this is meant, and `check --against`
// says it beforehand.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct ReloadGuard {
    /// An edge behind balancers, and with clients of its own.
    private static let trust = [
      "from: [\(Peer.balancers)], evidence: proxy-protocol", "from: any, evidence: socket",
    ]

    private static func site(trust: [String] = Self.trust) throws -> Site {
      try Site(
        .shared,
        edge: {
          $0.listeners[0].trust = trust
          $0.hasAdmin = true
        })
    }

    /// A request through the balancer, whose PROXY header names a client; the answer is who the backend takes it for.
    private static func throughBalancer(_ site: Site, fields: [String] = []) throws -> String {
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      try connection.send("PROXY TCP4 \(Peer.client(9)) 127.0.0.1 1025 443\r\n")
      let response = try connection.get("/", fields: fields)
      return response.status == 200 ? response.text : "\(response.status)"
    }

    private static func check(_ site: Site, _ new: String, _ more: [String] = []) throws -> ChildProcess.Outcome {
      let old = try site.workspace.write("running.yaml", site.edgeConfiguration.text)
      let file = try site.workspace.write("new.yaml", new)
      return try ChildProcess.run([try Programs.countersign, "check", "-c", file, "--against", old] + more)
    }

    @Test func aReloadThatWeakensTrustIsRefusedUntilItIsAccepted() throws {
      let site = try Self.site()
      #expect(try Self.throughBalancer(site) == Peer.client(9))
      var next = site.edgeConfiguration
      next.listeners[0].trust[0] = "from: [\(Peer.balancers)], evidence: forwarded"
      let line = try #require(next.text.split(separator: "\n").firstIndex { $0.contains("evidence: forwarded") }) + 1
      let start = site.edge.process.standardError.count
      try site.edge.reload(next)
      let errors = site.edge.process.standardError
      let said = try #require(errors.wait(from: start) { $0.contains("weakens trust") ? $0 : nil })
      #expect(said.contains("edge.yaml:\(line): weakens trust (forwarded-before-proxy): "), "\(said)")
      #expect(
        said.contains("before: proxy-protocol (in use, ") && said.contains("edge.yaml:\(line)), after: forwarded"))
      let asked = try #require(errors.wait(from: start) { $0.contains("needs `accept_weaker: \"") ? $0 : nil })
      _ = try #require(errors.wait(from: start) { $0.contains("reload refused") ? $0 : nil })

      // The old one is in force, whole, and everybody can see why.
      #expect(try Self.throughBalancer(site, fields: ["X-Forwarded-For: \(Peer.claimed)"]) == Peer.client(9))
      let admin = try site.edge["admin"]
      try eventually("the failure is shown") {
        try site.edge.metric("countersign_config_last_reload_successful") == 0
      }
      #expect(
        try Connection(to: admin, from: nil).get("/status").text.contains("weakens trust (forwarded-before-proxy)"))

      // A hash for another change is none for this one.
      let hash = String(asked.components(separatedBy: "accept_weaker: \"")[1].prefix(16))
      let other = String(hash.reversed())
      try site.edge.reload(next.text + "accept_weaker: \"\(other)\"\n")
      let again = errors.wait(from: start) { $0.contains("not \(other), which is for another change") ? $0 : nil }
      #expect(again != nil, "\(site.edge.process.tail)")
      #expect(try Self.throughBalancer(site) == Peer.client(9))

      // With it the reload is taken, which is told.
      let before = errors.count
      try site.edge.reload(next.text + "accept_weaker: \"\(hash)\"\n")
      _ = try #require(errors.wait(from: before) { $0.contains("reloaded generation=") ? $0 : nil })
      #expect(errors.lines[before...].contains { $0.contains("warning: weakens trust (forwarded-before-proxy)") })
      #expect(errors.lines[before...].contains { $0.contains("accepted by `accept_weaker: \(hash)`") })
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      #expect(try connection.get("/", fields: ["X-Forwarded-For: \(Peer.client(3))"]).text == Peer.client(3))

      // It stays in the file and does no harm; the way back is no weakening, and the word is not good for another.
      let third = errors.count
      try site.edge.reload(next.text + "accept_weaker: \"\(hash)\"\n# again\n")
      _ = try #require(errors.wait(from: third) { $0.contains("reloaded generation=") ? $0 : nil })
      let fourth = errors.count
      var last = next
      last.listeners[0].trust = ["from: any, evidence: socket"]
      try site.edge.reload(last.text + "accept_weaker: \"\(hash)\"\n")
      let unlisted = errors.wait(from: fourth) { $0.contains("weakens trust (balancer-unlisted)") ? $0 : nil }
      #expect(unlisted != nil, "\(site.edge.process.tail)")
    }

    /// The running configuration counts as it was read, with the keys that were in its files: nothing else is left of it.
    @Test func whatAFileHeldWhenItWasReadCounts() throws {
      let workspace = try Workspace()
      let old = try Keys(in: workspace, prefix: "old-")
      let new = try Keys(in: workspace, prefix: "new-")
      let set = workspace.file("validator.jwks.json")
      try KeySetFile.join([old.validator], into: set)
      let bench = try ValidatorBench(.shared, keys: old, change: { $0.identity[0] = "keys: \"\(set)\"" })
      func status(_ forger: Forger) throws -> Int { try bench.send(SignedRequest("/", by: forger)).status }
      #expect(try status(bench.forger) == 200)
      try KeySetFile.join([new.validator], into: set)
      let errors = bench.validator.process.standardError
      let start = errors.count
      bench.validator.process.signal(SIGHUP)
      let said = errors.wait(from: start) { $0.contains("weakens trust (keys)") ? $0 : nil }
      #expect(said?.contains("the key k1 (http) is another one under the same name") == true, "\(said ?? "")")
      #expect(errors.wait(from: start) { $0.contains("reload refused") ? $0 : nil } != nil)
      #expect(try status(bench.forger) == 200)
      let forger = try Forger(validatorKeys: new.validator, kid: Keys.kid)
      #expect(try status(forger) == 403)
      try bench.validator.reloadAccepting(bench.workspace.read("validator.yaml"))
      try eventually("the new key is known") { try status(forger) == 200 }
      #expect(try status(bench.forger) == 403)
    }

    @Test func whatStrengthensIsTakenAndTold() throws {
      let site = try Self.site()
      var next = site.edgeConfiguration
      next.listeners[0].trust[1] = "from: any, evidence: refuse"
      let start = site.edge.process.standardError.count
      try site.edge.reload(next)
      let errors = site.edge.process.standardError
      #expect(errors.wait(from: start) { $0.contains("reloaded generation=") ? $0 : nil } != nil)
      #expect(errors.lines[start...].contains { $0.contains("strengthens trust (evidence)") })
      #expect(try Self.throughBalancer(site) == Peer.client(9))
    }

    /// What `check` prints is what the process asks for.
    @Test func checkSaysBeforehandWhatAReloadWouldSay() throws {
      let site = try Self.site()
      var next = site.edgeConfiguration
      next.upstreams[0].members = ["identity: plain"]
      let outcome = try Self.check(site, next.text)
      #expect(outcome.exit == .code(1))
      let lines = outcome.output.split(separator: "\n").map(String.init)
      #expect(
        lines.first?.contains("new.yaml:") == true && lines.first?.contains("weakens trust (attest-to-plain)") == true)
      #expect(lines[1].contains("before: attest (") && lines[1].contains("running.yaml:"))
      #expect(lines[2].contains("after:  plain (") && lines[2].contains("new.yaml:"))
      let word = try #require(lines.last)
      #expect(try Regex(#"^accept_weaker: "[0-9a-f]{16}"$"#).firstMatch(in: word) != nil, "\(word)")
      let accepted = try Self.check(site, next.text + word + "\n")
      #expect(accepted.exit == .code(0) && accepted.output.contains("accepted by `accept_weaker`"))
      let start = site.edge.process.standardError.count
      try site.edge.reload(next.text + word + "\n")
      #expect(
        site.edge.process.standardError.wait(from: start) { $0.contains("reloaded generation=") ? $0 : nil } != nil,
        "\(site.edge.process.tail)")
    }

    @Test func checkEndsWellWhereNothingWeakens() throws {
      let site = try Self.site()
      let same = try Self.check(site, site.edgeConfiguration.text)
      #expect(same.exit == .code(0) && same.output.contains("trust is the same as in "), "\(same.output)")
      var next = site.edgeConfiguration
      next.listeners[0].trust[1] = "from: any, evidence: refuse"
      let stronger = try Self.check(site, next.text + "accept_weaker: \"0123456789abcdef\"\n")
      #expect(
        stronger.exit == .code(0) && stronger.output.contains("strengthens trust (evidence)"), "\(stronger.output)")
      #expect(
        stronger.error.contains("warning: `accept_weaker: 0123456789abcdef` is for no change"), "\(stronger.error)")
      // And `run` starts with it.
      let fresh = try Countersign(
        {
          var configuration = next
          configuration.more = ["accept_weaker: 0123456789abcdef"]
          return configuration
        }(), name: "fresh", in: site.workspace)
      #expect(fresh.process.exit == nil)
      let faulty = try Self.check(site, "nonsense: 1\n")
      #expect(faulty.exit == .code(1) && faulty.error.contains("unknown key `nonsense`"))
      let unread = try Countersign.command("check", "-c", site.edge.configurationFile, "--log", "x")
      #expect(unread.exit == .code(2) && unread.error.contains("--log is part of --against"))
    }

    /// Rules hold at a socket: a file in which two names have changed their places puts its clients under other rules.
    @Test func listenersThatSwapTheirNamesAreComparedWhereTheyListen() throws {
      let (first, second) = (try Socket.reserve(), try Socket.reserve())
      let site = try Site(
        .shared,
        edge: {
          $0.listeners[0].listen = "\(first)"
          $0.listeners[0].trust = Self.trust
          $0.listeners.append(.init(name: "inside", listen: "\(second)", trust: ["from: any, evidence: socket"]))
        })
      #expect(try Self.throughBalancer(site) == Peer.client(9))
      var next = site.edgeConfiguration
      (next.listeners[0].listen, next.listeners[1].listen) = ("\(second)", "\(first)")
      let start = site.edge.process.standardError.count
      try site.edge.reload(next)
      let errors = site.edge.process.standardError
      let said = try #require(errors.wait(from: start) { $0.contains("weakens trust") ? $0 : nil })
      #expect(said.contains("before: socket (in use, ") && said.contains("after: proxy-protocol"), "\(said)")
      _ = try #require(errors.wait(from: start) { $0.contains("reload refused") ? $0 : nil })
      #expect(try Self.throughBalancer(site) == Peer.client(9))
    }

    /// What a route asks for is asked of whoever comes to its paths by another one.
    @Test func aRewriteToWhatARouteKeepsIsRefused() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.routes = ["path_prefix: /admin/, access: { allow: [192.0.2.0/24] }, to: backend", "to: backend"]
      let edge = try Countersign(configuration, in: workspace)
      #expect(try Connection(to: edge["public"]).get("/admin/all").status == 403)
      var next = configuration
      next.routes.insert("path: /open, rewrite: /admin/all, to: backend", at: 0)
      let start = edge.process.standardError.count
      try edge.reload(next)
      let said = edge.process.standardError.wait(from: start) {
        $0.contains("weakens trust (route-rewrite)") ? $0 : nil
      }
      #expect(said != nil, "\(edge.process.tail)")
      #expect(try Connection(to: edge["public"]).get("/open").status == 200)
      #expect(backend.requests.map(\.target) == ["/open"])
    }

    /// How many clients of the last day a change touches, by the log that the program wrote itself.
    @Test func theLogSaysHowManyClientsAreTouched() throws {
      let site = try Self.site()
      for index in 1...3 {
        let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
        try connection.send("PROXY TCP4 \(Peer.client(20 + index)) 127.0.0.1 1025 443\r\n")
        #expect(try connection.get("/a").status == 200)
        #expect(try connection.get("/b").status == 200)
      }
      #expect(try site.connect(from: Peer.client(40)).get("/direct").status == 200)
      // Each of the workers hands over its lines by itself.
      try eventually("all are in the log") { site.edge.access.entries.count == 7 }
      let lines = site.edge.process.standardOutput.lines
      let log = try site.workspace.write("access.log", lines.joined(separator: "\n") + "\n")
      var next = site.edgeConfiguration
      next.listeners[0].trust[0] = "from: [\(Peer.balancers)], evidence: forwarded"
      next.upstreams[0].members[2] = "proxy_protocol: v2"
      let outcome = try Self.check(site, next.text, ["--log", log])
      #expect(outcome.output.contains("  touches 3 clients with 6 requests of the last day in "), "\(outcome.output)")
      #expect(outcome.output.contains("  touches 4 clients with 7 requests of the last day in "), "\(outcome.output)")
      let none = try Self.check(site, next.text, ["--log", site.workspace.write("empty.log", "")])
      #expect(none.exit == .code(1) && none.error.contains("has no line of an access log"), "\(none.error)")
      let missing = try Self.check(site, next.text, ["--log", site.workspace.file("none.log")])
      #expect(missing.exit == .code(1) && missing.error.contains("none.log: no such file"), "\(missing.error)")
    }
  }
}
