// The self-test's last part: before a configuration goes live, the validators behind it are asked whether two clients arrive there as two.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct SelfTests {
    /// What the process said of it before it was ready.
    private static func said(_ edge: Countersign) -> [String] {
      edge.process.standardError.lines.prefix { !$0.contains("ready listeners=") }.filter { $0.contains("self-test") }
    }

    private static func edge(
      _ server: String, _ mode: Site.Mode = .shared, keys: Keys? = nil,
      change: (inout Configuration) throws -> Void = { _ in }
    ) throws -> Configuration {
      var configuration = Configuration.edge(keys: try keys ?? .standard, to: [server], bound: mode == .bound)
      try change(&configuration)
      return configuration
    }

    /// The probes that a validator has answered.
    private static func probes(_ validator: Countersign) -> [AccessEntry] {
      validator.access.selfTests.filter { $0.status == 200 }
    }

    /// A validator that takes HTTP/2 beside HTTP/1.1.
    private static func bench(_ mode: Site.Mode, isHTTP2: Bool) throws -> ValidatorBench {
      try ValidatorBench(mode) { if isHTTP2 { $0.listeners[0].more.append("protocols: [h2c, http/1.1]") } }
    }

    /// Whether a validator had not answered in time. Where the machine has too much else to do that says nothing about the validator.
    private static func isLate(_ lines: [String]) -> Bool {
      lines.contains { $0.contains("does not answer") || $0.contains("were not asked") }
    }

    /// An edge whose validators had the time to answer: where they had not, it starts again.
    private static func started(
      _ configuration: Configuration, name: String = "edge", in workspace: Workspace
    ) throws -> Countersign {
      for _ in 0..<10 {
        let edge = try Countersign(configuration, name: name, in: workspace)
        guard isLate(said(edge)) else { return edge }
        edge.process.kill()
      }
      throw Trouble("the validators of \(name) never had the time to answer")
    }

    /// What a reload says to its outcome, where the validators had the time to answer: where they had not, it is taken back and done
    /// again.
    private static func reloaded(
      _ edge: Countersign, _ configuration: Configuration, inUse: Configuration
    ) throws -> [String] {
      for _ in 0..<10 {
        let lines = try edge.linesOfReload(accepting: configuration.text)
        guard isLate(lines) else { return lines }
        try edge.reloadAccepting(inUse)
      }
      throw Trouble("the validators never had the time to answer")
    }

    @Test(arguments: Site.Mode.allCases, [false, true])
    func aValidatorThatTakesBothProbesIsNoNews(_ mode: Site.Mode, isHTTP2: Bool) throws {
      let bench = try Self.bench(mode, isHTTP2: isHTTP2)
      let configuration = try Self.edge("\(bench.address)", mode) {
        if isHTTP2 { $0.upstreams[0].members.append("protocol: http2") }
      }
      let edge = try Self.started(configuration, in: bench.workspace)
      #expect(Self.said(edge) == [])
      try eventually("both probes are in the log") { Self.probes(bench.validator).count >= 2 }
      let probes = Self.probes(bench.validator)
      #expect(Set(probes.map(\.client)).count == 2 && probes.allSatisfy { $0.status == 200 })
      #expect(!bench.backend.saw("countersign-probe"))
      // Before each reload again; and no number of a worker's was used.
      for _ in 0..<3 {
        let before = Self.probes(bench.validator).count
        let lines = try Self.reloaded(edge, configuration, inUse: configuration)
        #expect(lines.contains { $0.contains("reloaded generation=") } && !lines.contains { $0.contains("self-test") })
        for _ in 0..<4 { #expect(try Connection(to: edge["public"]).get("/").status == 200) }
        try eventually("two more") { Self.probes(bench.validator).count >= before + 2 }
      }
      let before = Self.probes(bench.validator).count
      let check = try eventually("a check that had the time") {
        let check = try Countersign.command("check", "-c", edge.configurationFile, "--live")
        return Self.isLate([check.error]) ? nil : check
      }
      #expect(check.succeeded && check.error == "", "\(check.error)")
      try eventually("check asked too") { Self.probes(bench.validator).count >= before + 2 }
      let asked = Self.probes(bench.validator).count
      #expect(try Countersign.command("check", "-c", edge.configurationFile).succeeded)
      #expect(Self.probes(bench.validator).count == asked, "without --live nobody is asked")
    }

    @Test(arguments: Site.Mode.allCases, [false, true])
    func overTLSTheyAreAskedToo(_ mode: Site.Mode, isHTTP2: Bool) throws {
      let site = try Site(
        mode, hopTLS: true, validator: { if isHTTP2 { $0.listeners[0].more.append("protocols: [h2]") } },
        edge: { if isHTTP2 { $0.upstreams[0].members.append("protocol: http2") } })
      let second = try Self.started(site.edgeConfiguration, name: "second", in: site.workspace)
      #expect(Self.said(second) == [])
      var wrong = site.edgeConfiguration
      wrong.upstreams[0].tls = "ca: \"\(try Certificates.standard.strangerCA)\", name: monitor-1.internal"
      let third = try Self.started(wrong, name: "third", in: site.workspace)
      #expect(Self.said(third).count == 1 && Self.said(third)[0].contains("could not be asked"), "\(Self.said(third))")
      #expect(Self.said(third).first?.contains("TLS: certificate") == true, "\(Self.said(third))")
    }

    /// It may be started after its edge.
    @Test func aValidatorThatIsNotThereIsAWarning() throws {
      let workspace = try Workspace()
      let address = try Socket.reserve()
      let edge = try Countersign(try Self.edge("\(address)"), in: workspace)
      let said = Self.said(edge)
      #expect(
        said.count == 1
          && said[0].contains(
            "warning: self-test: upstream monitor: a validator could not be asked: \(address): connect: Connection refused"
          ),
        "\(said)")
    }

    @Test func aValidatorThatHasJustStartedIsAWarning() throws {
      let workspace = try Workspace()
      let keys = try Keys.standard
      var behind = Configuration.validator(keys: keys, to: ["\(try Socket.reserve())"], bound: false)
      behind.identity = behind.identity.map { $0.hasPrefix("clock_skew") ? "clock_skew: 30s" : $0 }
      let validator = try Countersign(behind, name: "validator", in: workspace)
      let edge = try Self.started(try Self.edge("\(try validator["from-edge"])"), in: workspace)
      let said = Self.said(edge)
      #expect(said.count == 1 && said[0].contains("has just started, and does not take anything yet"), "\(said)")
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
      let name: String
      let mode: Site.Mode
      let change: @Sendable (inout Configuration) -> Void
      let says: String
      var testDescription: String { name }
    }

    private static let refusals = [
      Refusal(
        name: "another edge", mode: .shared, change: { $0.identity[0] = "edge: edge-z" },
        says: "`identity.edges` there does not have `edge-z`"),
      Refusal(
        name: "another audience", mode: .shared, change: { $0.upstreams[0].members[1] = "audience: monitor-2" },
        says: "it is not the audience `monitor-2` (audience-wrong)"),
      Refusal(
        name: "another audience, bound", mode: .bound, change: { $0.upstreams[0].members[1] = "audience: monitor-2" },
        says: "refuses the PROXY header (key `k1`, audience, clock) or expects none"),
      Refusal(
        name: "no PROXY header", mode: .bound, change: { $0.upstreams[0].members[2] = "proxy_protocol: off" },
        says: "as a validator does that expects a PROXY header"),
    ]

    /// The same mistakes at a start, where the validator may be the one that is behind, and at a reload, which would lose what works.
    @Test(arguments: refusals, [false, true])
    func whatAValidatorRefusesIsAWarningAndNoReload(_ refusal: Refusal, isHTTP2: Bool) throws {
      let bench = try Self.bench(refusal.mode, isHTTP2: isHTTP2)
      let right = try Self.edge("\(bench.address)", refusal.mode) {
        if isHTTP2 { $0.upstreams[0].members.append("protocol: http2") }
      }
      var wrong = right
      refusal.change(&wrong)
      let early = try Self.started(wrong, name: "early", in: bench.workspace)
      let said = Self.said(early)
      #expect(
        said.count == 1
          && said[0].contains("warning: self-test: upstream monitor: the validator at \(bench.address) does not take")
          && said[0].contains(refusal.says), "\(said)")
      // Nothing is lost by a reload that refuses, too.
      var next = wrong
      next.timeouts = ["idle: 59s"]
      try early.reload(next)
      #expect(early.process.standardError.wait { $0.contains("reloaded generation=2 ") ? $0 : nil } != nil)

      let edge = try Self.started(right, in: bench.workspace)
      #expect(try Connection(to: edge["public"]).get("/").status == 200)
      let lines = try Self.reloaded(edge, wrong, inUse: right)
      #expect(lines.contains { $0.contains("reload refused") }, "\(lines)")
      let why = lines.first { $0.contains("self-test") }
      #expect(
        why?.contains("takes what the configuration in use signs, and would not take this one's: ") == true
          && why?.contains(refusal.says) == true && why?.contains("change the validator first") == true, "\(why ?? "")")
      #expect(try Connection(to: edge["public"]).get("/").text == Peer.client())
    }

    /// The edge's key was replaced under its name, and the validator has the old one.
    @Test func aKeyThatTheValidatorDoesNotHaveIsNotReloaded() throws {
      let bench = try ValidatorBench(.shared)
      let right = try Self.edge("\(bench.address)") { $0.hasAdmin = true }
      let edge = try Self.started(right, in: bench.workspace)
      let other = try Keys(in: bench.workspace, prefix: "other-")
      let next = try Self.edge("\(bench.address)", keys: other) { $0.hasAdmin = true }
      let lines = try Self.reloaded(edge, next, inUse: right)
      let why = lines.first { $0.contains("self-test") }
      #expect(
        why?.contains("edge.yaml:") == true && why?.contains("the key `k1` is unknown there") == true
          && why?.contains("warning") == false, "\(why ?? "")")
      #expect(lines.contains { $0.contains("reload refused") }, "\(lines)")
      #expect(try Connection(to: edge["public"]).get("/").text == Peer.client())
      let admin = try edge["admin"]
      try eventually("it is shown") {
        try Connection(to: admin, from: nil).get("/status").text.contains("the key `k1` is unknown there")
      }
      // The validator first: then nothing that works is lost.
      try bench.validator.reloadAccepting(
        try bench.workspace.read("validator.yaml").replacing(try Keys.standard.validator, with: other.validator))
      let again = try Self.reloaded(edge, next, inUse: next)
      #expect(again.contains { $0.contains("reloaded generation=") } && !again.contains { $0.contains("self-test") })
      #expect(try Connection(to: edge["public"]).get("/").text == Peer.client())
    }

    struct Fake: Sendable, CustomTestStringConvertible {
      let name: String
      /// Of the probe's client.
      let line: @Sendable (String) -> String
      let says: String
      var testDescription: String { name }
    }

    private static let fakes = [
      Fake(
        name: "one client for both", line: { _ in "client=203.0.113.9 port=40000 proto=https via=socket" },
        says: "takes two probes that were signed for 192.0.2.77 and 198.51.100.77 for one client: 203.0.113.9"),
      Fake(
        name: "another client",
        line: { "client=\($0 == "192.0.2.77" ? "203.0.113.9" : "203.0.113.10") port=40000 proto=https via=socket" },
        says:
          "was sent a probe that was signed as `client=192.0.2.77 port=40000 proto=https via=socket`, and verified it as "
          + "`client=203.0.113.9 port=40000 proto=https via=socket`"),
      Fake(
        name: "another scheme", line: { "client=\($0) port=40000 proto=http via=socket" },
        says: "proto=http via=socket`"),
    ]

    /// What it answers is what its backend would be told.
    private static func fake(_ fake: Fake) throws -> RecordingBackend {
      try RecordingBackend {
        let address = $0.head["client-attest"]?.split(separator: "\"").dropFirst().first.map(String.init) ?? ""
        guard $0.target.hasPrefix("/.well-known/countersign-probe/") else { return try $0.reply("else") }
        try $0.reply(fake.line(address) + "\n", fields: ["countersign-verified: enforce"])
      }
    }

    @Test(arguments: fakes) func aValidatorThatMixesClientsUpIsRefused(_ fake: Fake) throws {
      let workspace = try Workspace()
      let backend = try Self.fake(fake)
      let configuration = try Self.edge("\(backend.address)")
      let file = try workspace.write("refused.yaml", configuration.text)
      // It does not end where it had no answer in time.
      let outcome = try eventually("it is refused") {
        try? Countersign.command("run", "-c", file, by: .after(20))
      }
      #expect(outcome.exit == .code(1))
      #expect(
        outcome.error.contains(": self-test: upstream monitor: the validator at \(backend.address) ")
          && outcome.error.contains(fake.says),
        "\(outcome.error)")
      let check = try eventually("a check that had the time") {
        let check = try Countersign.command("check", "-c", file, "--live")
        return Self.isLate([check.error]) ? nil : check
      }
      #expect(check.exit == .code(1) && check.error.contains(fake.says), "\(check.error)")

      let bench = try ValidatorBench(.shared)
      let inUse = try Self.edge("\(bench.address)")
      let edge = try Self.started(inUse, in: bench.workspace)
      let lines = try Self.reloaded(edge, configuration, inUse: inUse)
      #expect(lines.contains { $0.contains("reload refused") } && lines.contains { $0.contains(fake.says) }, "\(lines)")
      #expect(try Connection(to: edge["public"]).get("/").text == Peer.client())
      #expect(!backend.saw("GET / "))
    }

    @Test func aServerThatVerifiesNothingIsAWarning() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend { try $0.reply("what?", status: "404 Not Found") }
      let edge = try Self.started(try Self.edge("\(backend.address)"), in: workspace)
      let said = Self.said(edge)
      #expect(
        said.count == 1
          && said[0].contains("it answers 404 and does not say that it verified the signature: nobody may be checking"),
        "\(said)")
    }

    @Test func aValidatorThatOnlyObservesIsAWarning() throws {
      let bench = try ValidatorBench(.shared) { $0.identity.append("mode: observe") }
      // What was signed before its start passes here too, without a client.
      try eventually("it has started") { try bench.send(SignedRequest("/", by: bench.forger)).text == Peer.client() }
      let edge = try Self.started(try Self.edge("\(bench.address)"), in: bench.workspace)
      #expect(
        Self.said(edge).count == 1 && Self.said(edge)[0].contains("lets every request pass"), "\(Self.said(edge))")
      let stranger = try Self.started(
        try Self.edge("\(bench.address)") { $0.identity[0] = "edge: edge-z" }, name: "stranger", in: bench.workspace)
      #expect(
        Self.said(stranger).first?.contains("it could not verify the signature, and lets the request pass") == true,
        "\(Self.said(stranger))")
    }

    /// All of them together have two seconds, however many hang.
    @Test func validatorsThatHangDelayAStartForTwoSecondsAtMost() throws {
      let workspace = try Workspace()
      // Nobody takes connections there: the kernel accepts them, and no byte comes.
      let silent = try Socket.listen()
      defer { close(silent.descriptor) }
      var configuration = try Self.edge("\(silent.address)")
      configuration.upstreams[0].servers = (1...40).map { "127.0.0.\($0):\(silent.address.port)" }
      // The others do not exist, and are refused at once.
      let started = try Countersign(configuration, in: workspace)
      #expect(Self.said(started).count == 40, "\(Self.said(started))")
      #expect(Self.said(started).contains { $0.contains("\(silent.address) does not answer") })

      configuration.upstreams = (0..<40).map {
        var upstream = configuration.upstreams[0]
        upstream.name = "u\($0)"
        upstream.members[1] = "audience: v-\($0)"
        upstream.servers = ["\(silent.address)"]
        return upstream
      }
      configuration.routes = ["to: u0"]
      let edge = try Countersign(configuration, name: "many", in: workspace)
      let left = Self.said(edge).compactMap {
        $0.firstMatch(of: /self-test: (\d+) of 40 validators were not asked; all together have 2000 ms/)?.1
      }
      let most = try #require(left.first.flatMap { Int($0) }, "\(Self.said(edge))")
      #expect((1...39).contains(most))
    }

    /// A process may be edge and validator at once: at its start it does not listen yet, and afterwards goes by what is in use.
    @Test func listenersOfTheSameProcessAreNotAsked() throws {
      let workspace = try Workspace()
      let address = try Socket.reserve()
      let backend = try RecordingBackend()
      let keys = try Keys.standard
      var configuration = try Self.edge("\(address)")
      configuration.identity += ["audience: \(Keys.audience)", "edges: [edge-a]", "clock_skew: 100ms"]
      configuration.listeners.append(Configuration.validator(keys: keys, to: [], bound: false).listeners[0])
      configuration.listeners[1].listen = "\(address)"
      configuration.routes = ["path: '/x', to: backend", "to: monitor"]
      configuration.upstreams.append(
        Configuration.Upstream(name: "backend", members: ["identity: plain"], servers: ["\(backend.address)"]))
      let edge = try Countersign(configuration, in: workspace)
      #expect(Self.said(edge) == [])
    }
  }
}
