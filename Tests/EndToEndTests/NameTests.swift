// Servers by name: what a name server says is followed as long as it says so, and a name server that fails changes nothing.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Names {
    /// Addresses for servers, all with one port, and an edge that knows them by names alone.
    private final class Place {
      let workspace: Workspace
      let names: NameServer
      let port: UInt16
      let first: RecordingBackend
      let second: RecordingBackend

      init(
        _ first: @escaping RecordingBackend.Script = { try $0.reply("first") },
        _ second: @escaping RecordingBackend.Script = { try $0.reply("second") }
      ) throws {
        workspace = try Workspace()
        names = try NameServer(in: workspace)
        let number = NameServer.number()
        func address(_ last: Int, port: UInt16) -> Address {
          Address(host: "127.54.\(number).\(last)", port: port)
        }
        self.first = try RecordingBackend(listen: address(1, port: 0), first)
        port = self.first.address.port
        self.second = try RecordingBackend(listen: address(2, port: port), second)
      }

      func configuration(_ servers: String...) -> Configuration {
        var configuration = Configuration.plainEdge(to: servers)
        configuration.hasAdmin = true
        return configuration
      }

      func start(_ configuration: Configuration) throws -> Countersign {
        try Countersign(configuration, in: workspace, through: names.wrapper)
      }

      func start(_ servers: String...) throws -> Countersign {
        var configuration = Configuration.plainEdge(to: servers)
        configuration.hasAdmin = true
        return try start(configuration)
      }
    }

    private func answer(_ edge: Countersign, _ path: String = "/") throws -> String {
      let response = try Connection(to: edge["public"]).get(path)
      return response.status == 200 ? response.text : "\(response.status)"
    }

    private func admin(_ edge: Countersign, _ path: String) throws -> String {
      try Connection(to: edge["admin"], from: nil).get(path).text
    }

    private func lookups(_ edge: Countersign, _ result: String) throws -> Int {
      try #require(try edge.metric("countersign_dns_lookups_total{result=\"\(result)\"}"))
    }

    // MARK: Time

    @Test func aChangeIsServedWhenItsTTLIsOverAndNothingIsAskedBefore() throws {
      let place = try Place()
      place.names.set("app.test", place.first.address.host)
      place.names.set("long.test", "127.54.255.1", ttl: 3_600)
      let edge = try place.start("app.test:\(place.port)")
      #expect(try answer(edge) == "first")
      try edge.reload(
        place.configuration("app.test:\(place.port)").text.replacing(
          "servers: [", with: "balance: round-robin\n    servers: ["
        ).replacing("upstreams:", with: "upstreams:\n  other:\n    servers: [\"long.test:1\"]"))
      try edge.said("reloaded generation=2")
      try eventually("its TTL is known") { try admin(edge, "/status").contains("\"ttl\":3600") }
      let asked = place.names.questions(about: "long.test")
      try place.names.waitForQuestions(about: "app.test", more: 3)
      #expect(place.names.questions(about: "long.test") == asked)

      // A connection that waits for a request is closed with its server.
      try place.first.waitForOpenCount(1)
      place.names.set("app.test", place.second.address.host)
      try eventually("the other one serves") { try answer(edge) == "second" }
      try place.first.waitForOpenCount(0)
      try edge.said(
        "upstream backend: servers by DNS were \(place.first.address), now \(place.second.address)")
      for _ in 0..<8 { #expect(try answer(edge) == "second") }
    }

    /// An alias for a second counts, whatever the addresses behind it do.
    @Test func theShortestTTLOfAChainOfAliasesCounts() throws {
      let place = try Place()
      place.names.set("one.test", place.first.address.host, ttl: 3_600)
      place.names.set("two.test", place.second.address.host, ttl: 3_600)
      place.names.set("middle.test", [.alias("one.test")], ttl: 1)
      place.names.set("app.test", [.alias("middle.test")], ttl: 3_600)
      let edge = try place.start("app.test:\(place.port)")
      #expect(try answer(edge) == "first")
      place.names.set("middle.test", [.alias("two.test")], ttl: 1)
      try eventually("the other one serves") { try answer(edge) == "second" }
      #expect(try admin(edge, "/status").contains("\"ttl\":1"))
    }

    // MARK: Failures

    @Test(arguments: ["no such name", "failure", "silence", "no address"])
    func aNameServerThatFailsChangesNothing(_ how: String) throws {
      let place = try Place()
      place.names.set("app.test", place.first.address.host)
      let edge = try place.start("app.test:\(place.port)")
      #expect(try answer(edge) == "first")
      switch how {
      case "no such name": place.names.remove("app.test")
      case "failure": place.names.set("app.test", .failure)
      case "silence": place.names.set("app.test", .silence)
      default: place.names.set("app.test", "0.0.0.0")
      }
      try eventually("it fails") { try lookups(edge, "failed") >= 2 }
      #expect(try answer(edge) == "first")
      #expect(try edge.metric("countersign_dns_failing_names") == 1)
      let status = try admin(edge, "/status")
      #expect(
        status.contains("\"addresses\":[\"\(place.first.address.host)\"]") && status.contains("\"failing_since\":"))
      try edge.said("server name app.test cannot be resolved")
      let said = edge.process.standardError.lines.filter { $0.contains("server name app.test cannot be resolved") }
      #expect(said.count == 1 && said[0].contains("its last answer stays in use"), "\(said)")

      // A reload does not forget it either.
      try edge.reload(place.configuration("app.test:\(place.port)"))
      try edge.said("the addresses that it had before stay in use")
      try edge.said("reloaded generation=2")
      for _ in 0..<4 { #expect(try answer(edge) == "first") }

      place.names.set("app.test", place.second.address.host)
      try eventually("the next answer is taken") { try answer(edge) == "second" }
      try edge.said("server name app.test is resolved again: \(place.second.address.host)")
      try eventually("nothing fails") { try #require(try edge.metric("countersign_dns_failing_names")) == 0 }
    }

    @Test func aNameThatIsUnknownAtTheStartIsAServerThatIsDown() throws {
      let place = try Place()
      place.names.set("known.test", place.second.address.host)
      let configuration = place.configuration("app.test:\(place.port)")
      let file = try place.workspace.write("checked.yaml", configuration.text)
      let check = try ChildProcess.run(place.names.wrapper + [try Programs.countersign, "check", "-c", file])
      #expect(check.succeeded)
      #expect(check.error.contains("warning: upstream backend: server app.test cannot be resolved"), "\(check.error)")

      let edge = try place.start(configuration)
      try edge.said("server app.test cannot be resolved", "it is down until it can be")
      #expect(try answer(edge) == "503")
      #expect(try admin(edge, "/status").contains("\"name\":\"app.test\",\"addresses\":[],\"failure\":"))
      place.names.set("app.test", place.first.address.host)
      try eventually("it serves") { try answer(edge) == "first" }
      try edge.said("server name app.test is resolved again")

      // Beside another server it is missed by nobody.
      let both = try Countersign(
        place.configuration("gone.test:\(place.port)", "known.test:\(place.port)"), name: "both",
        in: place.workspace, through: place.names.wrapper)
      for _ in 0..<4 { #expect(try answer(both) == "second") }
    }

    // MARK: Several addresses

    @Test func allAddressesServeAndOneThatStaysKeepsItsConnections() throws {
      let place = try Place()
      place.names.set("app.test", place.first.address.host, place.second.address.host)
      var configuration = place.configuration("app.test:\(place.port)")
      configuration.workers = "1"
      let edge = try place.start(configuration)
      let client = try Connection(to: edge["public"])
      var seen: Set<String> = []
      for _ in 0..<6 { seen.insert(try client.get("/").text) }
      #expect(seen == ["first", "second"])
      let connections = place.first.connectionCount
      place.names.set("app.test", place.first.address.host)
      try edge.said("now \(place.first.address)")
      try place.second.waitForOpenCount(0)
      for _ in 0..<6 { #expect(try client.get("/").text == "first") }
      #expect(place.first.connectionCount == connections)
    }

    @Test func whatIsUnderWayAtAServerThatGoesComesToItsEnd() throws {
      let isReleased = Guarded(false)
      let place = try Place({ exchange in
        if exchange.target == "/slow" { _ = isReleased.wait(until: .usual) { $0 ? true : nil } }
        try exchange.reply("first")
      })
      place.names.set("app.test", place.first.address.host)
      let edge = try place.start("app.test:\(place.port)")
      let client = try Connection(to: edge["public"])
      try client.send(Text.request("/slow"))
      _ = try place.first.waitForRequest(to: "/slow")
      place.names.set("app.test", place.second.address.host)
      try eventually("the other one serves") { try answer(edge) == "second" }
      isReleased.with { $0 = true }
      #expect(try client.readResponse().text == "first")
      try place.first.waitForOpenCount(0)
    }

    // MARK: Services

    @Test func aServiceHasItsPortsAndItsBackups() throws {
      let place = try Place()
      let third = try RecordingBackend(listen: Address(host: place.second.address.host, port: 0)) {
        try $0.reply("third")
      }
      place.names.set("one.test", place.first.address.host)
      place.names.set("two.test", place.second.address.host)
      place.names.set(
        "_http._tcp.app.test",
        [
          .service(priority: 1, weight: 1, port: place.port, target: "one.test"),
          .service(priority: 1, weight: 1, port: place.port, target: "two.test"),
          .service(priority: 2, weight: 1, port: third.address.port, target: "two.test"),
        ])
      let edge = try place.start("srv:_http._tcp.app.test")
      var seen: Set<String> = []
      for _ in 0..<12 { seen.insert(try answer(edge)) }
      #expect(seen == ["first", "second"])
      // Nobody listens at those any more: the backup serves, and a retry finds it.
      place.first.close()
      place.second.close()
      try eventually("the backup serves") { try answer(edge) == "third" }
      place.names.set(
        "_http._tcp.app.test", [.service(priority: 7, weight: 1, port: third.address.port, target: "two.test")])
      try edge.said("now \(third.address)")
      for _ in 0..<6 { #expect(try answer(edge) == "third") }
      // There is no such service: what there was stays.
      place.names.set("_http._tcp.app.test", [.service(priority: 0, weight: 0, port: 0, target: ".")])
      try edge.said("server name srv:_http._tcp.app.test cannot be resolved", "there is no such service")
      #expect(try answer(edge) == "third")
    }

    /// Else the backups would have all requests because a name server failed.
    @Test func aTargetThatCannotBeResolvedKeepsItsAddresses() throws {
      let place = try Place()
      place.names.set("one.test", place.first.address.host)
      place.names.set("two.test", place.second.address.host)
      func service(_ priority: UInt16) -> [NameServer.Record] {
        [
          .service(priority: priority, weight: 1, port: place.port, target: "one.test"),
          .service(priority: 9, weight: 1, port: place.port, target: "two.test"),
        ]
      }
      place.names.set("_http._tcp.app.test", service(1))
      let edge = try place.start("srv:_http._tcp.app.test")
      #expect(try answer(edge) == "first")
      place.names.set("one.test", .failure)
      try edge.said("server name srv:_http._tcp.app.test is resolved in part", "one.test", "stay in use")
      #expect(try edge.metric("countersign_dns_failing_names") == 1)
      #expect(try lookups(edge, "failed") > 0)
      #expect(try admin(edge, "/status").contains("its server one.test cannot be resolved"))
      for _ in 0..<4 { #expect(try answer(edge) == "first") }
      // Nor does a reload forget it.
      try edge.reload(place.configuration("srv:_http._tcp.app.test"))
      try edge.said("reloaded generation=2")
      for _ in 0..<4 { #expect(try answer(edge) == "first") }
      // What else the records say is followed.
      place.names.set("_http._tcp.app.test", service(10))
      try eventually("the other one comes first") { try answer(edge) == "second" }
      place.names.set("_http._tcp.app.test", service(1))
      place.names.set("one.test", place.first.address.host)
      try edge.said("server name srv:_http._tcp.app.test is resolved again")
      try eventually("nothing fails") { try #require(try edge.metric("countersign_dns_failing_names")) == 0 }
      try eventually("the first serves") { try answer(edge) == "first" }
    }

    // MARK: One audience, one validator

    @Test func aSecondAddressForOneAudienceIsRefused() throws {
      let place = try Place()
      place.names.set("monitor.test", place.first.address.host)
      var configuration = Configuration.edge(
        keys: try .standard, to: ["monitor.test:\(place.port)"], bound: false)
      configuration.hasAdmin = true
      let edge = try place.start(configuration)
      #expect(try answer(edge) == "first")
      place.names.set("monitor.test", place.second.address.host, place.first.address.host)
      try edge.said(
        "error upstream monitor: an answer of DNS is refused, and \(place.first.address) stays in use",
        "2 addresses of monitor.test share the audience `monitor-1`")
      try eventually("it is counted") { try lookups(edge, "refused") >= 2 }
      for _ in 0..<8 { #expect(try answer(edge) == "first") }
      #expect(place.second.requests.isEmpty)
      // No start and no reload is possible with it.
      try edge.reload(configuration)
      try edge.said("reload refused")
      let check = try ChildProcess.run(
        place.names.wrapper + [try Programs.countersign, "check", "-c", edge.configurationFile])
      #expect(!check.succeeded && check.error.contains("2 addresses of monitor.test share the audience"))
      // Another single address is a validator that has moved.
      place.names.set("monitor.test", place.second.address.host)
      try eventually("the other one serves") { try answer(edge) == "second" }
    }
  }
}
