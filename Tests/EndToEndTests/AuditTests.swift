// What the access log says of each exchange for an audit, and what `countersign audit` makes of real logs.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Audits {
    /// A site whose two logs are files, with the same fields digested on both sides.
    private final class LoggedSite {
      let site: Site
      var edgeLog: String { site.workspace.file("edge.log") }
      var validatorLog: String { site.workspace.file("validator.log") }
      private let keys: Workspace

      init(_ mode: Site.Mode = .shared, script: @escaping RecordingBackend.Script = { try $0.reply("fine") }) throws {
        let keys = try Workspace()
        self.keys = keys
        let key = keys.file("log.jwks.json")
        try ChildProcess.succeed([try Programs.countersign, "keys", "new", "--kid", "log", "--out", key])
        let fields =
          "fields: [{ name: account, header: X-Account }, { name: session, cookie: sid }], fields_key: \"\(key)\""
        site = try Site(
          mode, script: script, validator: { $0.access = "./validator.log, \(fields)" },
          edge: { $0.access = "./edge.log, \(fields)" })
      }

      func lines(_ file: String) throws -> [[String: Any]] {
        guard let data = FileManager.default.contents(atPath: file) else { return [] }
        // The last line may be half written.
        return try data.split(separator: 0x0a).compactMap { line in
          line.last == 0x7d ? try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any] : nil
        }
      }

      func line(_ file: String, path: String) throws -> [String: Any] {
        try eventually("a line for \(path) in \(file)") { try lines(file).first { $0["path"] as? String == path } }
      }
    }

    private static func digest(ofConfiguration file: String) throws -> String {
      let resolved = try ChildProcess.succeed([try Programs.countersign, "check", "-c", file, "--resolved"])
      return Digest.sha256(Array(resolved.utf8)).prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static let window = ["--from", "2020-01-01T00:00", "--until", "2100-01-01T00:00"]

    private static func audit(_ arguments: [String], input: Int32? = nil) throws -> ChildProcess.Outcome {
      try ChildProcess.run([try Programs.countersign, "audit"] + arguments, standardInput: input)
    }

    // MARK: The access log

    @Test(arguments: Site.Mode.allCases)
    func linesSayWhatDecided(_ mode: Site.Mode) throws {
      let logged = try LoggedSite(mode)
      let connection = try logged.site.connect()
      #expect(try connection.get("/1", fields: ["X-Account: 4711", "Cookie: a=b; sid=x"]).status == 200)
      #expect(try connection.get("/2", fields: ["x-account:  4711 "]).status == 200)
      #expect(try connection.get("/3", fields: ["X-Account: 4712", "Cookie: sid="]).status == 200)
      let edge = try (1...3).map { try logged.line(logged.edgeLog, path: "/\($0)") }
      let validator = try (1...3).map { try logged.line(logged.validatorLog, path: "/\($0)") }
      for line in edge {
        #expect(line["evidence"] as? String == "socket" && line["rule"] as? String == "default")
        #expect(line["config"] as? String == (try Self.digest(ofConfiguration: logged.site.edge.configurationFile)))
        #expect(line["generation"] as? Int == 1 && line["edge"] == nil)
        #expect((line["route"] as? String)?.hasPrefix("line ") == true)
      }
      for line in validator {
        #expect(line["evidence"] as? String == "attested" && line["edge"] as? String == "edge-a")
        #expect(
          line["config"] as? String == (try Self.digest(ofConfiguration: logged.site.validator.configurationFile)))
      }
      let route = logged.site.edgeConfiguration.text.split(separator: "\n", omittingEmptySubsequences: false)
        .firstIndex { $0.contains("to: monitor") }
      #expect(edge[0]["route"] as? String == "line \((route ?? 0) + 1)")
      for (at, behind) in zip(edge, validator) {
        for member in ["connection", "client", "account", "session"] {
          #expect(at[member] as? String == behind[member] as? String)
        }
      }
      let accounts = edge.compactMap { $0["account"] as? String }
      #expect(accounts.count == 3 && accounts[0] == accounts[1] && accounts[0] != accounts[2])
      #expect(accounts[0].count == 16 && edge[1]["session"] == nil && edge[2]["session"] != nil)
      for file in [logged.edgeLog, logged.validatorLog] {
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(!text.contains("\"4711\"") && !text.contains("sid"))
      }
    }

    @Test func aReloadCountsAndAnotherConfigurationHasAnotherDigest() throws {
      let logged = try LoggedSite()
      #expect(try logged.site.connect().get("/before").status == 200)
      var next = logged.site.edgeConfiguration
      next.timeouts = ["idle: 59s"]
      try logged.site.edge.reload(next)
      try eventually("the reload is taken") {
        let path = "/\(UUID().uuidString)"
        #expect(try logged.site.connect().get(path).status == 200)
        return try logged.line(logged.edgeLog, path: path)["generation"] as? Int == 2
      }
      let (before, after) = try (logged.line(logged.edgeLog, path: "/before"), logged.lines(logged.edgeLog).last ?? [:])
      #expect(before["config"] as? String != after["config"] as? String)
      #expect(after["config"] as? String == (try Self.digest(ofConfiguration: logged.site.edge.configurationFile)))
    }

    @Test func refusedConnectionsAndTunnelsHaveItToo() throws {
      let logged = try LoggedSite(script: WebSocket.echo)
      let tunnel = try logged.site.connect()
      #expect(try tunnel.get("/ws", fields: WebSocket.upgrade + ["X-Account: 4711"]).status == 101)
      tunnel.shutdownWrite()
      #expect(try tunnel.readToEnd() == [])
      let line = try logged.line(logged.edgeLog, path: "/ws")
      #expect(line["account"] != nil && line["route"] != nil && line["config"] != nil && line["evidence"] != nil)

      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
      configuration.listeners[0].trust = ["from: any, evidence: refuse"]
      let edge = try Countersign(configuration, in: workspace)
      #expect(try Connection(to: edge["public"]).readToEnd() == [])
      let refused = try edge.access.wait(refusal: "peer-refused")
      #expect(refused.config == (try Self.digest(ofConfiguration: edge.configurationFile)))
      #expect(refused.generation == 1 && refused.evidence == "refuse" && refused.route == nil)
    }

    /// A member that lines have cannot be the name of a field.
    @Test func noFieldTakesANameThatLinesHave() throws {
      let logged = try LoggedSite()
      #expect(try logged.site.connect().get("/", fields: ["X-Account: 1", "Cookie: sid=1"]).status == 200)
      #expect(try logged.site.connect().get("/refused", fields: ["Host: twice"]).status == 400)
      try eventually("the refusal is logged") { try logged.lines(logged.edgeLog).contains { $0["refusal"] != nil } }
      _ = try logged.line(logged.validatorLog, path: "/")
      let all = try logged.lines(logged.edgeLog) + logged.lines(logged.validatorLog)
      let members = all.reduce(into: Set<String>()) { $0.formUnion($1.keys) }.subtracting(["account", "session"])
      #expect(members.isSuperset(of: ["time", "edge", "route", "evidence", "config", "generation", "refusal"]))
      let workspace = try Workspace()
      for member in members {
        var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
        configuration.access = "off, fields: [{ name: \(member), header: X-A }], fields_key: none"
        let file = try workspace.write("edge.yaml", configuration.text)
        let outcome = try Countersign.command("check", "-c", file)
        #expect(outcome.error.contains("a name that lines of the log do not have already"), "\(member)")
      }
    }

    @Test func aKeyThatIsNotFitIsFoundByCheck() throws {
      let workspace = try Workspace()
      let keys = try Keys.standard
      var configuration = Configuration.edge(keys: keys, to: ["127.0.0.1:9"], bound: false)
      let copy = workspace.file("copy.json")
      try FileManager.default.copyItem(atPath: keys.edge, toPath: copy)
      for (key, message) in [
        (copy, "holds the secret of the key \"k1\", which signs"),
        (keys.validator, "must hold one HMAC key and no other"),
        (workspace.file("none"), "no such file"), (keys.edge, "must be a key set of its own"),
      ] {
        configuration.access = "off, fields: [{ name: account, header: X-A }], fields_key: \"\(key)\""
        let file = try workspace.write("edge.yaml", configuration.text)
        let outcome = try Countersign.command("check", "-c", file)
        #expect(outcome.exit == .code(1) && outcome.error.contains(message), "\(outcome.error)")
      }
    }

    // MARK: The audit

    private struct Summary: Decodable {
      struct Group: Decodable {
        var evidence: String, edge: String, requests: Int, clients: Int, refusals: [String: Int], generation: Int?
      }
      struct Client: Decodable { var client: String, connections: Int, requests: Int }
      var malformed: Int, requests_at_edges: Int, requests_at_validators: Int, joined: Int, alone_at_edge: Int
      var alone_at_validator: Int, disagreeing: Int, groups: [Group], top_clients: [Client]
    }

    private struct Listed: Decodable {
      struct Exchange: Decodable { var client: String, value: String, path: String, connection: String, status: Int }
      struct Address: Decodable { var client: String, values: Int, requests: Int }
      var addresses: [Address], exchanges: [Exchange]
    }

    private static func isSelfTest(_ line: [String: Any]) -> Bool {
      (line["path"] as? String)?.hasPrefix(AccessEntry.selfTestPath) == true
    }

    /// Two accounts behind one address, one behind another, and what is refused.
    private static func served(_ logged: LoggedSite) throws {
      for (client, account, paths) in [
        (Peer.client(1), "alice", ["/a1", "/a2"]), (Peer.client(1), "bob", ["/b1"]),
        (Peer.client(2), "carol", ["/c1", "/c2"]),
      ] {
        let connection = try logged.site.connect(from: client)
        for path in paths { #expect(try connection.get(path, fields: ["X-Account: \(account)"]).status == 200) }
      }
      // A path that would forge a line, if it were not escaped.
      let forged = "/\"},{\"client\":\"\(Peer.client(3))\",\"account\":\"0\"}"
      let connection = try logged.site.connect(from: Peer.client(2))
      #expect(try connection.get(forged, fields: ["X-Account: carol"]).status == 200)
      try eventually("both sides logged all") {
        try [logged.edgeLog, logged.validatorLog].allSatisfy { file in
          try logged.lines(file).filter { $0["method"] != nil && !isSelfTest($0) }.count >= 6
        }
      }
    }

    @Test(arguments: Site.Mode.allCases)
    func accountsBehindOneAddressAreListed(_ mode: Site.Mode) throws {
      let logged = try LoggedSite(mode)
      try Self.served(logged)
      try ChildProcess.succeed([try Programs.gzip, "--keep", logged.edgeLog])
      for files in [
        [logged.edgeLog], [logged.validatorLog], [logged.validatorLog, logged.edgeLog],
        ["\(logged.edgeLog).gz", logged.validatorLog],
      ] {
        let outcome = try Self.audit(files + Self.window + ["--affected", "account", "--json"])
        #expect(outcome.exit == .code(0) && outcome.error == "", "\(outcome.error)")
        let listed = try JSONDecoder().decode(Listed.self, from: Data(outcome.output.utf8))
        #expect(listed.addresses.map(\.client) == [Peer.client(1)])
        #expect(listed.addresses.map(\.values) == [2] && listed.addresses.map(\.requests) == [3])
        // In the order of their times, which two threads of a busy machine may have noted the other way round.
        let exchanges = listed.exchanges.sorted { $0.path < $1.path }
        #expect(exchanges.map(\.path) == ["/a1", "/a2", "/b1"])
        #expect(exchanges[0].value == exchanges[1].value)
        #expect(exchanges[0].connection == exchanges[1].connection)
        let rows = try Self.audit(files + Self.window + ["--affected", "account", "--csv"]).output.split(
          separator: "\n")
        #expect(rows.count == 4 && rows.count { $0.contains(",/b1,") } == 1)
        let table = try Self.audit(files + Self.window + ["--affected", "account"]).output
        #expect(table.contains("1 address stood for more than one value") && table.contains("2 values"))
      }
    }

    @Test(arguments: Site.Mode.allCases)
    func bothSidesAreJoined(_ mode: Site.Mode) throws {
      let logged = try LoggedSite(mode)
      try Self.served(logged)
      let outcome = try Self.audit([logged.edgeLog, logged.validatorLog] + Self.window + ["--json"])
      #expect(outcome.exit == .code(0) && outcome.error == "")
      let summary = try JSONDecoder().decode(Summary.self, from: Data(outcome.output.utf8))
      #expect(summary.malformed == 0 && summary.disagreeing == 0)
      // The probes of the edge's self-test have a line at the validator alone.
      let probes = try logged.lines(logged.validatorLog).filter(Self.isSelfTest).count
      #expect(summary.joined == 6 && summary.requests_at_validators == 6 + probes)
      #expect(summary.alone_at_edge == 0 && summary.alone_at_validator == 0)
      #expect(Set(summary.groups.map(\.evidence)) == ["socket", "attested"])
      #expect(summary.groups.contains { $0.edge == "edge-a" && $0.clients == 2 })
      #expect(
        summary.top_clients.first?.client == Peer.client(1) || summary.top_clients.first?.client == Peer.client(2))
      #expect(summary.top_clients.first { $0.client == Peer.client(1) }?.connections == 2)
      #expect(summary.top_clients.first { $0.client == Peer.client(1) }?.requests == 3)
    }

    @Test func standardInputIsReadOnceOnly() throws {
      let logged = try LoggedSite()
      try Self.served(logged)
      let input = open(logged.edgeLog, O_RDONLY | O_CLOEXEC)
      defer { close(input) }
      let outcome = try Self.audit(["-"] + Self.window, input: input)
      #expect(outcome.exit == .code(0) && outcome.output.contains("at edges"), "\(outcome.error)")
      let twice = try Self.audit(["-"] + Self.window + ["--affected", "account"])
      #expect(twice.exit == .code(2) && twice.error.contains("standard input cannot"))
    }

    // MARK: What is not whole

    @Test func whatCannotBeReadIsNamedAndNothingIsReported() throws {
      let logged = try LoggedSite()
      try Self.served(logged)
      let missing = logged.site.workspace.file("missing")
      for more in [[], ["--affected", "account"]] {
        let outcome = try Self.audit([logged.edgeLog, missing, logged.site.workspace.path] + Self.window + more)
        #expect(outcome.exit == .code(1) && outcome.output == "")
        #expect(outcome.error.contains("\(missing): no such file") && outcome.error.contains("is a directory"))
      }
      try ChildProcess.succeed([try Programs.gzip, "--keep", logged.edgeLog])
      let packed = try Data(contentsOf: URL(fileURLWithPath: "\(logged.edgeLog).gz"))
      let cut = logged.site.workspace.file("cut.gz")
      try packed.dropLast(9).write(to: URL(fileURLWithPath: cut))
      let outcome = try Self.audit([logged.edgeLog, cut] + Self.window)
      #expect(
        outcome.exit == .code(1) && outcome.output == "" && outcome.error.contains("\(cut): ends within its gzip data"))
    }

    @Test func aFieldThatNoLineHasIsNoAllClear() throws {
      let logged = try LoggedSite()
      try Self.served(logged)
      let outcome = try Self.audit([logged.edgeLog] + Self.window + ["--affected", "acount"])
      #expect(outcome.exit == .code(1) && outcome.output == "")
      #expect(outcome.error.contains("no request of the window has the member \"acount\""))
    }

    @Test func malformedLinesAreToldAndPassedOver() throws {
      let logged = try LoggedSite()
      try Self.served(logged)
      let text = try String(contentsOfFile: logged.edgeLog, encoding: .utf8)
      let file = try logged.site.workspace.write("odd.log", "hello\n" + text + "{\"time\":\"2026")
      let outcome = try Self.audit([file] + Self.window)
      #expect(outcome.exit == .code(0) && outcome.output.contains("1 MALFORMED, 1 cut off"))
      #expect(outcome.error.contains("1 lines are not of an access log") && outcome.error.contains("\(file):1"))
    }

    @Test(arguments: [
      ["log", "--from", "yesterday", "--until", "2026-11-28T14:00"], ["log", "--from", "2026-11-28T14:00"],
      ["log", "--from", "2026-11-28T14:00", "--until", "2026-11-28T14:00"],
      ["--from", "2026-11-28T14:00", "--until", "2027-01-01T00:00"],
      ["log", "--from", "2026-11-28T14:00", "--until", "2027-01-01T00:00", "--csv", "--json"],
      ["-", "-", "--from", "2026-11-28T14:00", "--until", "2027-01-01T00:00"],
      ["log", "--from", "2026-11-28T14:00", "--until", "2027-01-01T00:00", "--affected", ""],
    ])
    func whatIsNotUnderstoodIsSaid(_ arguments: [String]) throws {
      let outcome = try Self.audit(arguments)
      #expect(outcome.exit == .code(2) && outcome.output == "" && outcome.error.contains("audit"), "\(outcome)")
    }

    /// A bar on a terminal, nothing anywhere else.
    @Test func progressIsShownOnATerminalAlone() throws {
      let workspace = try Workspace()
      let line = "{\"time\":\"2026-11-28T14:00:00.000Z\",\"status\":200}\n"
      let file = try workspace.write("log", String(repeating: line, count: 200_000))
      let command = "\(try Programs.countersign) audit \(file) \(Self.window.joined(separator: " ")) --json"
      let quiet = try ChildProcess.run(["/bin/sh", "-c", command])
      #expect(quiet.error == "" && quiet.exit == .code(0))
      let shown = try ChildProcess.run([
        try Programs.script, "--quiet", "--return", "--command", "\(command) > \(workspace.file("out"))", "/dev/null",
      ])
      #expect(shown.exit == .code(0) && shown.output.contains("reading ["), "\(shown)")
      #expect(try workspace.read("out") == quiet.output)
    }
  }
}
