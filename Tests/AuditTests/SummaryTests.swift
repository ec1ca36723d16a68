// The summary: windows, groups, clients, and the join of both sides.

import Audit
import Foundation
import Testing
import Wire

@Suite struct SummaryTests {
  private let files: LogFiles

  init() throws { files = try LogFiles() }

  // MARK: The window

  /// From 14:00 on and before 16:00, by when an exchange ended and when it began.
  @Test(arguments: [
    ("2026-11-28T13:59:59.999Z", 5, false), ("2026-11-28T14:00:00.000Z", 5, true),
    ("2026-11-28T15:59:59.999Z", 5, true), ("2026-11-28T16:00:00.000Z", 5, true),
    ("2026-11-28T16:00:00.006Z", 5, false), ("2026-11-28T16:00:00.005Z", 5, true),
    // A WebSocket that began in the window and one that was open all the time.
    ("2026-11-28T18:00:00.000Z", 2 * 3_600_000, true), ("2026-11-29T18:00:00.000Z", 36 * 3_600_000, true),
    ("2026-11-28T18:00:00.000Z", 3_600_000, false),
  ])
  func anExchangeIsInItWhenAPartOfItIs(_ time: String, _ duration: Int, _ isIn: Bool) throws {
    let file = try files.write("log", [TestLine(time: time, durationMilliseconds: duration)])
    #expect(try Read.summary([file]).linesInWindow == (isIn ? 1 : 0))
  }

  // MARK: Groups

  @Test func requestsAreGroupedByWhatDecided() throws {
    let base = TestLine()
    let lines = [
      base, base.with { $0.connection = 2 }, base.with { $0.client = "2001:db8::1" }, base.with { $0.rule = "line 13" },
      base.with { $0.evidence = "socket" }, base.with { $0.generation = 2 }, base.with { $0.config = "00" },
      base.with { $0.route = "line 21" }, base.with { $0.listener = "other" }, base.with { $0.status = 404 },
      base.with { ($0.status, $0.refusal, $0.route, $0.upstream) = (403, "client-infrastructure", nil, nil) },
    ]
    let summary = try Read.summary([try files.write("log", lines)])
    #expect(summary.groups.map(\.requests).sorted() == [1, 1, 1, 1, 1, 1, 1, 4])
    let first = try #require(summary.groups.first)
    #expect(first.requests == 4 && first.clients == 2 && first.statuses == [0, 0, 3, 0, 1, 0])
    #expect(summary.groups.last?.refusals.map(\.name) == ["client-infrastructure"])
    #expect(summary.addressCount == 2 && summary.connectionCount == 3)
    #expect(summary.requestsAtEdges == 11 && summary.requestsAtValidators == 0)
  }

  @Test func refusedConnectionsAreNoRequests() throws {
    let refused = TestLine(client: nil, route: nil, method: nil, status: 0, refusal: "proxy-missing", upstream: nil)
    let count = "{\"time\":\"2026-11-28T14:01:00.000Z\",\"peer\":\"192.0.2.7\",\"status\":0,"
    let text = refused.text + "\n" + refused.text + "\n" + count + "\"refusal\":\"proxy-missing\",\"suppressed\":40}\n"
    let summary = try Read.summary([try files.write("log", Array(text.utf8))])
    #expect(summary.groups.map(\.requests) == [0, 0])
    #expect(summary.groups.map { $0.refusals.map(\.count) } == [[2], [40]])
    #expect(summary.requestsAtEdges == 0 && summary.addressCount == 0)
  }

  @Test func clientsWithTheMostConnectionsComeFirst() throws {
    var lines: [TestLine] = []
    for client in 1...30 {
      for connection in 0..<client {
        let line = TestLine(client: "192.0.2.\(client)", connection: client * 100 + connection)
        lines += [line, line.with { $0.time = "2026-11-28T15:00:00.000Z" }]
      }
    }
    let top = try Read.summary([try files.write("log", lines)]).topClients
    #expect(top.count == Summary.clientsShown)
    #expect(top.first?.address == IPAddress("192.0.2.30"))
    #expect(top.map(\.connections) == (11...30).reversed().map { UInt64($0) })
    #expect(top.first?.requests == 60 && top.first?.first == Read.window.from)
    #expect(top.first?.last == LogTime.milliseconds("2026-11-28T15:00"))
  }

  // MARK: Both sides

  private func time(_ milliseconds: UInt64) -> String { LogTime.text(Read.window.from + milliseconds) }

  @Test func whatBothSidesSawIsOneExchange() throws {
    var edge: [TestLine] = []
    var validator: [TestLine] = []
    for i in 0..<5_000 {
      let line = TestLine(
        time: time(UInt64(i) * 10), client: "192.0.\(i % 7).\(i % 50)", connection: i % 400, path: "/\(i % 5)")
      edge.append(line)
      validator.append(line.atValidator.with { $0.time = self.time(UInt64(i) * 10 - UInt64(i % 2)) })
    }
    validator[0].time = time(0)
    let names = [try files.write("edge", edge), try files.write("validator", validator)]
    for order in [names, names.reversed()] {
      let summary = try Read.summary(order)
      #expect(summary.requestsAtEdges == 5_000 && summary.requestsAtValidators == 5_000)
      #expect(summary.joined == 5_000 && summary.aloneAtEdge == 0 && summary.aloneAtValidator == 0)
      #expect(
        summary.disagreeing == 0
          && summary.connectionCount == Set((0..<5_000).map { [$0 % 400, $0 % 7, $0 % 50] }).count)
      #expect(summary.topClients.reduce(0) { $0 + $1.requests } < 5_000)
    }
  }

  @Test func rotatedFilesInAnyOrderAreTheSame() throws {
    let edge = (0..<900).map { TestLine(time: time(UInt64($0) * 1_000), connection: $0, path: "/\($0)") }
    let parts = try (0..<3).map { try files.write("edge.\($0)", Array(edge[($0 * 300)..<($0 * 300 + 300)])) }
    let validator = try files.write("validator", edge.map(\.atValidator))
    let packed = try files.packed(parts[1])
    for order in [[parts[2], validator, packed, parts[0]], [parts[0], parts[1], parts[2], validator]] {
      let summary = try Read.summary(order)
      #expect(summary.joined == 900 && summary.aloneAtEdge == 0 && summary.disagreeing == 0)
    }
  }

  @Test func sidesThatDisagreeAboutTheClientAreFound() throws {
    let line = TestLine(client: "192.0.2.1", connection: 77)
    let edge = try files.write("edge", [line, line.with { $0.path = "/fine" }])
    let validator = try files.write(
      "validator", [line.with { $0.client = "192.0.2.2" }.atValidator, line.with { $0.path = "/fine" }.atValidator])
    for order in [[edge, validator], [validator, edge]] {
      let summary = try Read.summary(order)
      #expect(summary.joined == 1 && summary.disagreeing == 1)
      let found = try #require(summary.disagreements.first)
      #expect(found.atEdge == IPAddress("192.0.2.1") && found.atValidator == IPAddress("192.0.2.2"))
      #expect("\(found.connection)" == TestLine.hex(77))
    }
  }

  /// A balancer's connection carries several clients, who ask for the same at nearly the same time.
  @Test func clientsOnOneConnectionAreNotMixedUp() throws {
    let lines = (0..<200).map {
      TestLine(time: time(UInt64($0)), client: "192.0.2.\($0 % 3)", connection: 1, durationMilliseconds: 50)
    }
    let validator = lines.map(\.atValidator).shuffled().map { line in line.with { $0.time = self.time(100) } }
    let summary = try Read.summary([try files.write("edge", lines), try files.write("validator", validator)])
    #expect(summary.joined == 200 && summary.disagreeing == 0)
  }

  @Test func whatHasNoOtherSideIsAlone() throws {
    let line = TestLine()
    let refused = line.with { ($0.connection, $0.upstream, $0.status, $0.refusal) = (2, nil, 404, "route-none") }
    let edge = [line, refused, line.with { $0.connection = 3 }]
    // A try that the validator saw twice, and the same connection and path, but an hour later.
    let validator = [
      line.atValidator, line.atValidator,
      line.atValidator.with { ($0.connection, $0.time) = (3, self.time(3_600_000)) },
    ]
    let summary = try Read.summary([try files.write("edge", edge), try files.write("validator", validator)])
    #expect(summary.joined == 1 && summary.aloneAtEdge == 1 && summary.aloneAtValidator == 2)
    #expect(summary.disagreeing == 0)
  }

  /// What an edge asks for by itself stands in no line of its own; what was sent on under that path does.
  @Test(arguments: ["self-test/17", "health"])
  func whatAnEdgeAsksAValidatorByItselfIsNotAlone(_ asked: String) throws {
    let probe = TestLine(path: "/.well-known/countersign-probe/\(asked)").atValidator.with { $0.upstream = nil }
    let others = [
      probe.with { $0.path = "/.well-known/countersign-probe/17" }, probe.with { $0.upstream = "backend" },
    ]
    let validator = try files.write("validator", [probe] + others)
    let summary = try Read.summary([try files.write("edge", [TestLine(connection: 2)]), validator])
    #expect(summary.requestsAtValidators == 3 && summary.aloneAtValidator == 2 && summary.aloneAtEdge == 1)
  }

  @Test func whatWaitsIsBounded() throws {
    var limits = AuditLimits()
    limits.waiting = 8
    let lines = (0..<100).map { TestLine(time: time(UInt64($0)), connection: $0) }
    let edge = try files.write("edge", lines)
    let late = try files.write(
      "validator", lines.reversed().map { line in line.atValidator.with { $0.time = self.time(200) } })
    let summary = try Read.summary([edge, late], Read.window, limits)
    #expect(summary.joined == 8 && summary.aloneAtEdge == 92 && summary.aloneAtValidator == 92)
  }

  // MARK: Bounds

  @Test func beyondABoundThereIsNoReport() throws {
    let lines = (0..<100).map { TestLine(client: "192.0.2.\($0)", rule: "line \($0)", connection: $0) }
    let file = try files.write("log", lines)
    let bounds: [(WritableKeyPath<AuditLimits, Int>, String)] = [
      (\.addresses, "more than 99 addresses of clients"), (\.pairs, "more than 99 connections"),
      (\.groupAddresses, "more than 99 pairs of a group and a client"), (\.groups, "more than 99 combinations"),
    ]
    for (bound, message) in bounds {
      var limits = AuditLimits()
      limits[keyPath: bound] = 99
      let error = #expect(throws: AuditError.self) { _ = try Read.summary([file], Read.window, limits) }
      #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "no error")")
      limits[keyPath: bound] = 100
      #expect(try Read.summary([file], Read.window, limits).addressCount == 100)
    }
  }

  @Test func tablesGrow() throws {
    let lines = (0..<20_000).map {
      TestLine(client: "10.\($0 / 65_536).\($0 / 256 % 256).\($0 % 256)", connection: $0 / 2)
    }
    let summary = try Read.summary([try files.write("log", lines)])
    #expect(summary.addressCount == 20_000 && summary.connectionCount == 20_000 && summary.groups[0].clients == 20_000)
  }

  // MARK: What is no line

  @Test func malformedLinesAreCountedAndThePlaceOfTheFirstIsTold() throws {
    let good = TestLine().text
    let file = try files.write("log", Array("\(good)\nnonsense\n\(good)\n\n\(good)\n\(good.dropLast(9))".utf8))
    let log = try Read.log([file])
    let summary = Summary()
    try summary.read(log)
    #expect(summary.linesInWindow == 3 && log.counts.malformed == 2 && log.counts.cutOff == 1 && log.counts.lines == 6)
    #expect(log.counts.firstMalformed == "\(file):2")
  }

  /// More than a log can hold does not overflow: such a number is none that we write.
  @Test func aCountThatNobodyCanHaveIsMalformed() throws {
    func line(_ count: String) -> String {
      "{\"time\":\"2026-11-28T14:00:00.000Z\",\"peer\":\"192.0.2.7\",\"status\":0,\"refusal\":\"proxy-missing\",\"suppressed\":\(count)}\n"
    }
    let lines = [line("4294967295"), line("4294967295")] + (0..<300).map { _ in line("90071992547409919") }
    let file = try files.write("log", Array(lines.joined().utf8))
    let log = try Read.log([file])
    let summary = Summary()
    try summary.read(log)
    #expect(log.counts.malformed == 300)
    #expect(summary.groups.flatMap(\.refusals).map(\.count) == [2 * 4_294_967_295])
  }

  // MARK: Reports

  @Test func reportsSayTheSameInEveryForm() throws {
    let line = TestLine(client: "192.0.2.1", connection: 77)
    let lines = [
      line, line.with { ($0.path, $0.status, $0.refusal) = ("/x", 404, "route-none") },
      line.with { ($0.listener, $0.client) = ("a,b\\u0022=c", "2001:db8::1") },
    ]
    let edge = try files.write("edge", lines)
    let validator = try files.write("validator", [line.with { $0.client = "192.0.2.2" }.atValidator])
    let log = try Read.log([edge, validator])
    let summary = Summary()
    try summary.read(log)
    func report(_ format: ReportFormat) throws -> String {
      try Read.text { out in
        try SummaryReport(summary, log.counts, Read.window, files: ["a \"b\"", validator]).write(format, to: out)
      }
    }
    let object = try JSONSerialization.jsonObject(with: Data(try report(.json).utf8)) as? [String: Any]
    #expect(object?["files"] as? [String] == ["a \"b\"", validator])
    #expect(object?["disagreeing"] as? Int == 1 && object?["requests_at_edges"] as? Int == 3)
    let groups = try #require(object?["groups"] as? [[String: Any]])
    #expect(groups.count == 3 && groups.contains { $0["listener"] as? String == "a,b\"=c" })
    #expect(groups.contains { ($0["refusals"] as? [String: Int]) == ["route-none": 1] })
    #expect((object?["disagrees"] as? [[String: Any]])?.first?["client_at_validator"] as? String == "192.0.2.2")

    let rows = try report(.csv).split(separator: "\n").map(String.init)
    #expect(
      rows.map { $0.prefix { $0 != "," } } == [
        "kind", "group", "refusal", "group", "group", "client", "client", "client", "disagrees",
      ])
    // No cell but that listener's holds a comma.
    let commas = rows[0].filter { $0 == "," }.count
    #expect(rows.allSatisfy { $0.contains("\"a,b") || $0.filter { $0 == "," }.count == commas })
    #expect(rows.contains { $0.contains("\"a,b\\u0022=c\"") })

    let table = try report(.table)
    for text in ["1 DISAGREE about the client", "DISAGREES", "route-none", "2001:db8::1", TestLine.hex(77)] {
      #expect(table.contains(text))
    }
  }
}
