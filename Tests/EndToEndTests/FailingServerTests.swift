// Servers that take connections and fail: what becomes of their requests, how long they get any, and what operators can do. Servers
// that cannot be reached are in ServerFaultTests.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct FailingServers {
    /// Takes requests and never answers.
    private static let hang: RecordingBackend.Script = { exchange in
      _ = try? exchange.connection.readToEnd()
      exchange.end()
    }

    /// A lone edge of one worker before these servers, of which requests show what they are by their answers.
    private func site(
      _ servers: [String], _ members: [String] = [], timeouts: [String] = [],
      workers: String = "1", admin: String? = nil, in workspace: Workspace
    ) throws -> Countersign {
      var configuration = Configuration.plainEdge(to: servers)
      configuration.upstreams[0].members += members
      configuration.timeouts = timeouts
      configuration.workers = workers
      configuration.hasAdmin = admin == nil
      if let admin { configuration.more = ["admin: { listen: \"\(admin)\" }"] }
      return try Countersign(configuration, in: workspace)
    }

    // MARK: Ejection and further tries

    @Test func aServerThatHangsIsEjectedAndItsRequestsAreServedElsewhere() throws {
      let workspace = try Workspace()
      let (hung, well) = (try RecordingBackend(Self.hang), try RecordingBackend { try $0.reply("well") })
      let edge = try site(
        ["\(hung.address)", "\(well.address)"], ["passive: { failures: 3, window: 1m, eject: 1h }"],
        timeouts: ["upstream_response: 1s"], in: workspace)
      let client = try Connection(to: edge["public"])
      for i in 0..<20 { #expect(try client.get("/\(i)").text == "well") }
      #expect(hung.requests.count == 3, "after three failures it has none")
      let line = try edge.said("gets no requests for")
      #expect(line.contains("server \(hung.address) gets no requests for 1 hour"), "\(line)")
      #expect(line.contains("no response in time; 1 of 2 serve"), "\(line)")
      #expect(try edge.metric("countersign_server_ejections_total") == 1)
      #expect(
        try edge.metric("countersign_server_up{upstream=\"backend\",server=\"\(hung.address)\"}") == 0)
    }

    /// What may have been acted on is sent once, whatever the server does.
    @Test func aPostThatGotNoAnswerIsNotSentAgain() throws {
      let workspace = try Workspace()
      let (hung, well) = (try RecordingBackend(Self.hang), try RecordingBackend { try $0.reply("well") })
      let edge = try site(
        ["\(hung.address)", "\(well.address)"], ["passive: { failures: 2, window: 1m, eject: 1h }"],
        timeouts: ["upstream_response: 1s"], in: workspace)
      let client = try Connection(to: edge["public"])
      var statuses: [Int] = []
      for i in 0..<8 {
        try client.send(Text.request("/\(i)", method: "POST", body: "order \(i)"))
        statuses.append(try client.readResponse().status)
      }
      #expect(statuses.sorted() == [200, 200, 200, 200, 200, 200, 504, 504])
      #expect(Set(hung.requests.map(\.target)).isDisjoint(with: well.requests.map(\.target)))
      #expect(hung.requests.count + well.requests.count == 8)
    }

    @Test func aWebSocketThatWasSentIsNotTriedAgain() throws {
      let workspace = try Workspace()
      let (hung, other) = (try RecordingBackend(Self.hang), try RecordingBackend(Self.hang))
      let edge = try site(
        ["\(hung.address)", "\(other.address)"], ["retries: { count: 3 }"], timeouts: ["upstream_response: 1s"],
        in: workspace)
      let client = try Connection(to: edge["public"])
      #expect(try client.get("/socket", fields: WebSocket.upgrade).status == 504)
      #expect(hung.requests.count + other.requests.count == 1)
    }

    @Test func aStatusThatTheConfigurationNamesIsTriedElsewhereAndAnyOtherPassesOn() throws {
      let workspace = try Workspace()
      let ill = try RecordingBackend { try $0.reply("ill", status: $0.target == "/500" ? "500 No" : "503 Not Now") }
      let well = try RecordingBackend { try $0.reply("well") }
      let edge = try site(
        ["\(ill.address)", "\(well.address)"], ["retries: { count: 1, on: [connect, 503] }", "passive: off"],
        in: workspace)
      let client = try Connection(to: edge["public"])
      for _ in 0..<4 { #expect(try client.get("/503").text == "well") }
      #expect(ill.requests(to: "/503").count == 2)
      let answers = try (0..<2).map { _ in try client.get("/500").text }
      #expect(answers.sorted() == ["ill", "well"])
      // Not one that may have been acted on.
      var statuses: [Int] = []
      for _ in 0..<2 {
        try client.send(Text.request("/post", method: "POST", body: "x"))
        statuses.append(try client.readResponse().status)
      }
      #expect(statuses.sorted() == [200, 503])
    }

    @Test func statusesThatAreNamedCountAsFailures() throws {
      let workspace = try Workspace()
      let ill = try RecordingBackend { try $0.reply("ill", status: "500 No") }
      let well = try RecordingBackend { try $0.reply("well") }
      let edge = try site(
        ["\(ill.address)", "\(well.address)"], ["passive: { failures: 3, window: 1m, eject: 1h, status: [500-599] }"],
        in: workspace)
      let client = try Connection(to: edge["public"])
      for i in 0..<20 { _ = try client.get("/\(i)") }
      #expect(ill.requests.count == 3)
    }

    /// Else one client could have servers ejected that are well.
    @Test func whatAClientCanBringAboutEjectsNoServer() throws {
      let workspace = try Workspace()
      let servers = try (0..<2).map { _ in
        try RecordingBackend { exchange in
          switch exchange.target {
          case "/large": try exchange.reply("", fields: ["Location: /\(String(repeating: "x", count: 200 * 1_024))"])
          // It asks for no body, and waits for it.
          case "/expect": try Self.hang(exchange)
          default: try exchange.reply("well")
          }
        }
      }
      let edge = try site(
        servers.map { "\($0.address)" }, ["passive: { failures: 1, window: 1m, eject: 1h }", "retries: { count: 0 }"],
        timeouts: ["upstream_response: 500ms"], in: workspace)
      let address = try edge["public"]
      for _ in 0..<4 {
        #expect(try Connection(to: address).get("/large").status == 502)
        let client = try Connection(to: address)
        try client.send(
          "POST /expect HTTP/1.1\r\nHost: \(Site.host)\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        #expect(try client.readResponse().status == 504)
      }
      #expect(try edge.metric("countersign_server_ejections_total") == 0)
      for target in ["/large", "/expect"] {
        #expect(servers.reduce(0) { $0 + $1.requests(to: target).count } == 4, "\(target)")
      }
    }

    /// With one server left there is nobody to turn to: it goes on having requests, whatever it does.
    @Test func theLastServerIsKeptAndTheOperatorIsTold() throws {
      let workspace = try Workspace()
      let ill = try RecordingBackend { try $0.reply("ill", status: "500 No") }
      let edge = try site(["\(ill.address)"], ["passive: { failures: 2, window: 1m, status: 500 }"], in: workspace)
      let client = try Connection(to: edge["public"])
      for i in 0..<6 { #expect(try client.get("/\(i)").status == 500) }
      #expect(ill.requests.count == 6)
      try edge.said("`passive.max_ejected`")
    }

    @Test func anEjectedServerIsTriedByOneRequestAndComesBack() throws {
      let workspace = try Workspace()
      let isIll = Guarded(true)
      let ill = try RecordingBackend { exchange in
        if isIll.now { exchange.reset() } else { try exchange.reply("back") }
      }
      let well = try RecordingBackend { try $0.reply("well") }
      let edge = try site(
        ["\(ill.address)", "\(well.address)"], ["passive: { failures: 2, window: 1m, eject: 200ms }"], in: workspace)
      let client = try Connection(to: edge["public"])
      for i in 0..<10 { #expect(try client.get("/\(i)").text == "well") }
      isIll.with { $0 = false }
      try eventually("it is back", everyMilliseconds: 20) { try client.get("/again").text == "back" }
      try edge.said("serves again: a request has succeeded")
    }

    /// Retries of everything would make two loads of one, at the worst time.
    @Test func aStormOfFailuresGetsNoMoreTriesThanTheBudgetHas() throws {
      let workspace = try Workspace()
      let ill = try RecordingBackend { $0.reset() }
      let edge = try site(
        ["\(ill.address)"], ["retries: { count: 5, budget: 10% }", "passive: off"], in: workspace)
      let client = try Connection(to: edge["public"])
      for i in 0..<200 { #expect(try client.get("/\(i)").status == 502) }
      // Ten in ten seconds that may always be, or a tenth: here at most what two such spans have.
      #expect(ill.requests.count <= 200 + 2 * 20)
      #expect(ill.requests.count > 200)
      #expect(try #require(try edge.metric("countersign_retries_denied_total")) >= 160)
      let entry = try edge.access.wait(for: "a try that was denied") {
        $0.detail == "the upstream's retry budget is used up"
      }
      #expect(entry.refusal == "upstream-reset")
    }

    /// A status that asks for another try, and gets none: the server's own response is the answer, and the log says why.
    @Test func aStatusThatTheBudgetGivesNoTryIsCountedAndNamed() throws {
      let workspace = try Workspace()
      let ill = try RecordingBackend { try $0.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy") }
      let edge = try site(
        ["\(ill.address)"], ["retries: { count: 1, budget: 0%, on: [503] }", "passive: off"], in: workspace)
      let client = try Connection(to: edge["public"])
      for i in 0..<30 {
        let response = try client.get("/\(i)")
        #expect(response.status == 503 && response.text == "busy")
      }
      let (retries, denied) = (
        try edge.metric("countersign_retries_total") ?? 0, try edge.metric("countersign_retries_denied_total") ?? 0
      )
      #expect(retries >= 10 && retries + denied == 30, "\(retries) and \(denied)")
      let entry = try edge.access.wait(for: "a try that was denied") {
        $0.detail == "the upstream's retry budget is used up"
      }
      #expect(entry.status == 503 && entry.refusal == nil)
    }

    // MARK: Places

    @Test(arguments: ["1", "2"]) func noServerHasMoreRequestsThanItMayAndTheOthersWaitTheirTurn(_ workers: String)
      throws
    {
      let workspace = try Workspace()
      let (under, most, isOpen) = (Guarded(0), Guarded(0), Guarded(false))
      let backend = try RecordingBackend { exchange in
        let now = under.with { count -> Int in
          count += 1
          return count
        }
        most.with { $0 = max($0, now) }
        _ = isOpen.wait(until: .usual) { $0 ? true : nil }
        under.with { $0 -= 1 }
        try exchange.reply("done")
      }
      var configuration = Configuration.plainEdge(to: [])
      configuration.upstreams[0].members += [
        "servers: [{ address: \"\(backend.address)\", max_connections: 2 }]", "queue: { timeout: 1m }",
      ]
      configuration.workers = workers
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      let clients = try (0..<12).map { try Connection(to: edge["public"], from: Peer.client($0)) }
      for (i, client) in clients.enumerated() { try client.send(Text.request("/\(i)")) }
      try eventually("ten wait") {
        try edge.metric("countersign_waiting_requests{upstream=\"backend\"}") == 10
      }
      try eventually("two are under way") { backend.requests.count == 2 }
      isOpen.with { $0 = true }
      for client in clients { #expect(try client.readResponse().text == "done") }
      #expect(most.now == 2)
      #expect(try edge.metric("countersign_queued_total") == 10)
      #expect(try edge.metric("countersign_waiting_requests{upstream=\"backend\"}") == 0)
    }

    @Test func whoWaitsForAPlaceIsRefusedWhereItsRouteIsClosedMeanwhile() throws {
      let workspace = try Workspace()
      let isOpen = Guarded(false)
      let backend = try RecordingBackend { exchange in
        _ = isOpen.wait(until: .usual) { $0 ? true : nil }
        try exchange.reply("done")
      }
      let admin = workspace.file("admin.sock")
      var configuration = Configuration.plainEdge(to: [])
      configuration.upstreams[0].members += [
        "servers: [{ address: \"\(backend.address)\", max_connections: 1 }]", "queue: { timeout: 1m }",
      ]
      configuration.routes = ["path_prefix: /closed, to: backend, name: closed", "to: backend"]
      configuration.more.append("admin: { listen: \"unix:\(admin)\" }")
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      let (first, second) = (try Connection(to: edge["public"]), try Connection(to: edge["public"]))
      try first.send(Text.request("/first"))
      _ = try backend.waitForRequest(to: "/first")
      try second.send(Text.request("/closed/x"))
      try eventually("it waits") {
        try Connection(unix: admin).get("/metrics").metric("countersign_waiting_requests{upstream=\"backend\"}") == 1
      }
      try ChildProcess.succeed([
        try Programs.countersign, "route", "close", "closed", "--admin", "unix:\(admin)",
      ])
      isOpen.with { $0 = true }
      #expect(try first.readResponse().status == 200)
      #expect(try second.readResponse().status == 503)
      #expect(try edge.access.wait(path: "/closed/x").refusal == "route-closed")
      #expect(!backend.saw("/closed/x"))
    }

    /// A worker ends with its last connection, which gives a place back that others' requests wait for.
    @Test func whoWaitsForAPlaceHasItAlsoInADrain() throws {
      let workspace = try Workspace()
      let isOpen = Guarded(false)
      let backend = try RecordingBackend { exchange in
        _ = isOpen.wait(until: .usual) { $0 ? true : nil }
        try exchange.reply("done")
      }
      var configuration = Configuration.plainEdge(to: [])
      configuration.upstreams[0].members += [
        "servers: [{ address: \"\(backend.address)\", max_connections: 1 }]", "queue: { timeout: 1m }",
      ]
      configuration.workers = "4"
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      let clients = try (0..<12).map { try Connection(to: edge["public"], from: Peer.client($0)) }
      for (i, client) in clients.enumerated() { try client.send(Text.request("/\(i)")) }
      try eventually("eleven wait") {
        try edge.metric("countersign_waiting_requests{upstream=\"backend\"}") == 11
      }
      edge.process.signal(SIGTERM)
      let drains = edge.process.standardError.wait { $0.contains("draining: 12 requests under way") ? true : nil }
      #expect(drains == true)
      isOpen.with { $0 = true }
      for client in clients { #expect(try client.readResponse().text == "done") }
    }

    @Test func whoWaitsTooLongOrFindsTooManyWaitingIsTold() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(Self.hang)
      var configuration = Configuration.plainEdge(to: [])
      configuration.upstreams[0].members += [
        "servers: [{ address: \"\(backend.address)\", max_connections: 1 }]", "queue: { requests: 1, timeout: 3s }",
      ]
      configuration.workers = "1"
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      let clients = try (0..<3).map { try Connection(to: edge["public"], from: Peer.client($0)) }
      try clients[0].send(Text.request("/under-way"))
      _ = try backend.waitForRequest(to: "/under-way")
      try clients[1].send(Text.request("/waits"))
      try eventually("it waits") { try edge.metric("countersign_waiting_requests{upstream=\"backend\"}") == 1 }
      let full = try clients[2].get("/too-many")
      #expect(full.status == 503 && full["retry-after"] == "1")
      _ = try edge.access.wait(refusal: "queue-full")
      let late = try clients[1].readResponse()
      #expect(late.status == 503 && late["retry-after"] == "1")
      _ = try edge.access.wait(refusal: "queue-timeout")
      // A client that goes leaves the queue, and its place.
      try clients[1].send(Text.request("/waits-too"))
      try eventually("it waits") { try edge.metric("countersign_waiting_requests{upstream=\"backend\"}") == 1 }
      clients[1].reset()
      try eventually("it waits no more") {
        try edge.metric("countersign_waiting_requests{upstream=\"backend\"}") == 0
      }
      // And not because its time in the queue was over.
      #expect(try edge.access.wait(path: "/waits-too").refusal == "client-reset")
      #expect(backend.requests.map(\.target) == ["/under-way"])
    }

    // MARK: Backups and operators

    @Test func aBackupServesWhileTheOthersFail() throws {
      let workspace = try Workspace()
      let backup = try RecordingBackend { try $0.reply("backup") }
      let address = try Socket.reserve()
      var configuration = Configuration.plainEdge(to: [])
      configuration.upstreams[0].members.append(
        "servers: [\"\(address)\", { address: \"\(backup.address)\", backup: true }]")
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      let client = try Connection(to: edge["public"])
      for _ in 0..<4 { #expect(try client.get("/").text == "backup") }
      let first = try RecordingBackend(listen: address) { try $0.reply("first") }
      try eventually("the first is taken back", everyMilliseconds: 50) { try client.get("/").text == "first" }
      #expect(try client.get("/").text == "first")
      #expect(first.requests.count >= 2)
    }

    @Test func operatorsTakeAServerOutAndBack() throws {
      let workspace = try Workspace()
      let admin = "unix:\(workspace.file("admin.sock"))"
      let backends = try ["a", "b"].map { name in try RecordingBackend { try $0.reply(name) } }
      let edge = try site(backends.map { "\($0.address)" }, admin: admin, in: workspace)
      func servers(_ arguments: String...) throws -> ChildProcess.Outcome {
        try ChildProcess.run([try Programs.countersign, "servers"] + arguments + ["--admin", admin])
      }
      func answers() throws -> Set<String> {
        let client = try Connection(to: edge["public"])
        return Set(try (0..<6).map { _ in try client.get("/").text })
      }
      #expect(try answers() == ["a", "b"])
      #expect(try servers().output.contains("backend/\(backends[0].address)  up"))
      let drained = try servers("drain", "backend/\(backends[0].address)", "--why", "new kernel")
      #expect(drained.succeeded, "\(drained.error)")
      #expect(drained.output.contains("drained") && drained.output.contains(": new kernel"), "\(drained.output)")
      try eventually("it gets none") { try answers() == ["b"] }
      let again = try servers("drain", "\(backends[0].address)")
      #expect(!again.succeeded && again.error.contains("is so already"), "\(again.error)")
      let unknown = try servers("down", "backend/nobody")
      #expect(!unknown.succeeded && unknown.error.contains("there is no server backend/nobody; there is backend/"))
      // A reload changes nothing about it.
      edge.process.signal(SIGHUP)
      try edge.said("reloaded generation=2 ")
      #expect(try answers() == ["b"])
      #expect(try servers("up", "\(backends[0].address)").succeeded)
      try eventually("it is back") { try answers() == ["a", "b"] }
      // An array is freed after its last use, and these serve to the end.
      withExtendedLifetime(backends) { #expect(backends.allSatisfy { !$0.requests.isEmpty }) }
    }

    /// Nobody waits for a server that an operator has taken down.
    @Test func whatWaitsForAServerThatIsTakenDownGoesElsewhereOrIsTold() throws {
      let workspace = try Workspace()
      let admin = "unix:\(workspace.file("admin.sock"))"
      let (hung, well) = (try RecordingBackend(Self.hang), try RecordingBackend { try $0.reply("well") })
      let edge = try site(
        ["\(hung.address)", "\(well.address)"], timeouts: ["upstream_response: 5m"], admin: admin, in: workspace)
      let (get, post) = (try Connection(to: edge["public"]), try Connection(to: edge["public"]))
      try get.send(Text.request("/get"))
      _ = try hung.waitForRequest(to: "/get")
      #expect(try Connection(to: edge["public"]).get("/other").text == "well")
      try post.send(Text.request("/post", method: "POST", body: "x"))
      _ = try hung.waitForRequest(to: "/post")
      let down = try ChildProcess.run([
        try Programs.countersign, "servers", "down", "\(hung.address)", "--admin", admin,
      ])
      #expect(down.succeeded, "\(down.error)")
      #expect(try get.readResponse().text == "well")
      #expect(try post.readResponse().status == 502)
      #expect(well.requests(to: "/post").isEmpty)
      let none = try ChildProcess.run([
        try Programs.countersign, "servers", "down", "\(well.address)", "--admin", admin,
      ])
      #expect(none.succeeded)
      try eventually("there is none") { try Connection(to: edge["public"]).get("/").status == 503 }
      _ = try edge.access.wait(refusal: "upstream-none")
    }

    // MARK: Sticky

    /// A client stays at the server that its cookie names; one that has no cookie of ours, or one of a server that fails, gets one.
    @Test func aCookieKeepsAClientAtItsServer() throws {
      let workspace = try Workspace()
      let isIll = Guarded("")
      let backends = try ["a", "b", "c"].map { name in
        try RecordingBackend { exchange in
          if isIll.now == name { exchange.reset() } else { try exchange.reply(name, fields: ["Set-Cookie: app=1"]) }
        }
      }
      let key = workspace.file("sticky.jwks.json")
      #expect(try Countersign.command("keys", "new", "--kid", "s1", "--out", key).succeeded)
      let members = ["sticky: { cookie: srv, key: \"\(key)\" }", "retries: { count: 2 }"]
      let edges = try (0..<2).map { _ in try site(backends.map { "\($0.address)" }, members, in: workspace) }
      func get(_ cookie: String?, _ edge: Int = 0) throws -> (server: String, set: String?) {
        let fields = cookie.map { ["Cookie: theme=dark; srv=\($0); app=1"] } ?? []
        let response = try Connection(to: edges[edge]["public"]).get("/", fields: fields)
        #expect(response.status == 200)
        let set = response.head.all("set-cookie").first { $0.hasPrefix("srv=") }
        return (response.text, set)
      }
      var tokens: [String: String] = [:]
      for _ in 0..<6 {
        let (server, set) = try get(nil)
        let cookie = try #require(set)
        #expect(cookie.hasSuffix("; Path=/; HttpOnly; SameSite=Lax"), "\(cookie)")
        let token = String(cookie.dropFirst(4).prefix { $0 != ";" })
        #expect(token.utf8.count == 32 && !backends.contains { token.contains("\($0.address.port)") })
        #expect(tokens.updateValue(token, forKey: server) ?? token == token)
      }
      #expect(Set(tokens.values).count == 3)
      for (server, token) in tokens {
        for edge in 0..<2 {
          for _ in 0..<3 {
            let (found, set) = try get(token, edge)
            #expect(found == server && set == nil, "every edge with that key knows the token")
          }
        }
      }
      // What we did not make is nothing to us.
      #expect(try get(String(repeating: "0", count: 32)).set != nil)
      #expect(try get(try #require(tokens["a"]?.uppercased())).set != nil)
      // A server that fails gives its clients up, each to one that it then stays with.
      isIll.with { $0 = "b" }
      let (moved, set) = try get(tokens["b"])
      #expect(moved != "b")
      #expect(try #require(set).hasPrefix("srv=\(try #require(tokens[moved]))"))
      withExtendedLifetime(backends) { #expect(backends.allSatisfy { !$0.requests.isEmpty }) }
    }
  }
}
