// Addresses that stood for several values, and their exchanges.

import Audit
import Foundation
import Testing
import Wire

@Suite struct AffectedTests {
  private let files: LogFiles

  init() throws { files = try LogFiles() }

  private func line(_ client: String, _ account: String?, _ connection: Int, at milliseconds: UInt64 = 0) -> TestLine {
    TestLine(
      time: LogTime.text(Read.window.from + milliseconds), client: client, connection: connection,
      path: "/\(connection)", fields: account.map { [("account", $0)] } ?? [])
  }

  private func search(_ names: [String], _ limits: AuditLimits = AuditLimits()) throws -> (Affected, MergedLog) {
    let log = try Read.log(names, field: "account")
    let affected = Affected(field: "account", limits)
    try affected.find(in: log)
    return (affected, log)
  }

  private func report(_ names: [String], _ format: ReportFormat) throws -> String {
    let (affected, log) = try search(names)
    try log.rewind()
    return try Read.text { try AffectedReport(affected, Read.window, to: $0).write(format, log) }
  }

  private struct Report: Decodable {
    struct Address: Decodable { var client: String, values: Int, requests: Int, first: String, last: String }
    struct Exchange: Decodable {
      var time: String, client: String, value: String, connection: String, path: String, status: Int
      var generation: Int, rule: String, edge: String?
    }
    var addresses: [Address]
    var exchanges: [Exchange]
    var values_differ: Int
  }

  private func decoded(_ names: [String]) throws -> Report {
    try JSONDecoder().decode(Report.self, from: Data(try report(names, .json).utf8))
  }

  private var mixed: [TestLine] {
    [
      line("192.0.2.1", "aa", 1), line("192.0.2.1", "aa", 2), line("192.0.2.2", "aa", 3), line("192.0.2.2", "bb", 4),
      line("192.0.2.1", nil, 5), line("192.0.2.3", "cc", 6), line("192.0.2.2", "aa", 7, at: 60_000),
      line("192.0.2.3", nil, 8), line("192.0.2.4", nil, 9), line("192.0.2.2", nil, 10),
    ]
  }

  @Test func onlyAddressesWithSeveralValuesAreListed() throws {
    let found = try decoded([try files.write("log", mixed)])
    #expect(found.addresses.map(\.client) == ["192.0.2.2"])
    #expect(found.addresses[0].values == 2 && found.addresses[0].requests == 3)
    #expect(
      found.addresses[0].first == "2026-11-28T14:00:00.000Z" && found.addresses[0].last == "2026-11-28T14:01:00.000Z")
    #expect(found.exchanges.map(\.path) == ["/3", "/4", "/7"])
    #expect(found.exchanges.map(\.value) == ["aa", "bb", "aa"])
    #expect(found.exchanges[0].rule == "line 12" && found.exchanges[0].generation == 1)
  }

  @Test func whatIsOutsideOfTheWindowDoesNotCount() throws {
    let file = try files.write("log", [line("192.0.2.1", "aa", 1), line("192.0.2.1", "bb", 2, at: 3 * 3_600_000)])
    #expect(try decoded([file]).addresses.isEmpty)
    #expect(try report([file], .table).contains("0 addresses stood for more than one value"))
    #expect(try report([file], .csv).split(separator: "\n").count == 1)
  }

  @Test func csvHasALineForEachExchange() throws {
    let rows = try report([try files.write("log", mixed)], .csv).split(separator: "\n").map(String.init)
    #expect(
      rows[0]
        == "time,client,value,connection,evidence,listener,rule,config,generation,route,edge,method,host,path,refusal,status"
    )
    #expect(rows.count == 4)
    #expect(
      rows[1]
        == "2026-11-28T14:00:00.000Z,192.0.2.2,aa,\(TestLine.hex(3)),proxy-protocol,public,\"line 12\",6b86b273ff34fce1,1,"
        + "\"line 20\",,GET,app.example.com,/3,,200")
  }

  /// What a client sent is never a formula of whoever opens the table.
  @Test func cellsAreNoFormulas() throws {
    let lines = ["aa", "bb"].map { account in
      line("192.0.2.1", account, 1).with { ($0.path, $0.host, $0.method) = ("=1+1,2", "@host", "-GET") }
    }
    let text = try report([try files.write("log", lines)], .csv)
    #expect(text.contains("'-GET,'@host,\"'=1+1,2\","))
  }

  @Test func theTableHasAPartForEachAddress() throws {
    let many = (0..<30).map { line("192.0.2.9", "v\($0)", 100 + $0) }
    let table = try report([try files.write("log", mixed + many)], .table)
    let rows = table.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    let first = try #require(rows.firstIndex { $0.first == "192.0.2.9" })
    #expect(rows[first][1...2] == ["30", "values"])
    #expect(rows[first + 1][0] == "v0" && rows[first + 21] == ["and", "10", "more"])
    #expect(rows[first + 22][0] == "192.0.2.2" && rows[first + 23].prefix(2) == ["aa", "2"])
  }

  // MARK: Both sides

  /// Each exchange once, as the edge has it, whichever line comes first.
  @Test func whatBothSidesHaveIsListedOnce() throws {
    let edge = mixed
    let validator = mixed.filter { !$0.fields.isEmpty }.map { line in
      line.atValidator.with { $0.status = 201 }
    }
    let names = [try files.write("edge", edge), try files.write("validator", validator)]
    for order in [names, names.reversed()] {
      let found = try decoded(order)
      #expect(found.addresses.map(\.requests) == [3])
      #expect(found.exchanges.map(\.path) == ["/3", "/4", "/7"])
      #expect(found.exchanges.allSatisfy { $0.status == 200 && $0.edge == nil })
    }
  }

  @Test func whatOnlyOneSideHasIsListedAsItHasIt() throws {
    // The edge's log is cut off before the last one, and has no field in the second.
    var edge = Array(mixed.dropLast(4))
    edge[3].fields = []
    let names = [try files.write("edge", edge), try files.write("validator", mixed.map(\.atValidator))]
    let found = try decoded(names)
    #expect(found.exchanges.map(\.path).sorted() == ["/3", "/4", "/7"])
    #expect(found.exchanges.map(\.edge) == [nil, "edge-a", "edge-a"])
    #expect(found.addresses[0].requests == 3)
  }

  @Test func digestsOfDifferentKeysAreTold() throws {
    let edge = [line("192.0.2.1", "aa", 1)]
    let validator = edge.map { line in line.atValidator.with { $0.fields = [("account", "zz")] } }
    let found = try decoded([try files.write("edge", edge), try files.write("validator", validator)])
    #expect(found.values_differ == 1)
  }

  // MARK: Bounds

  @Test func beyondABoundThereIsNoReport() throws {
    let file = try files.write("log", (0..<100).map { line("192.0.2.\($0)", "a", $0) })
    for (bound, message) in [
      (\AuditLimits.addresses, "more than 99 addresses of clients"),
      (\AuditLimits.pairs, "more than 99 pairs of an address and a value"),
    ] {
      var limits = AuditLimits()
      limits[keyPath: bound] = 99
      let error = #expect(throws: AuditError.self) { _ = try search([file], limits) }
      #expect(error?.description.hasPrefix(message) == true)
    }
  }

  /// More lines of a validator than one word of marks holds.
  @Test func manyLinesOfAValidatorAreMarked() throws {
    let edge = (0..<1_000).map { line("192.0.2.1", "a\($0 % 3)", $0, at: UInt64($0)) }
    let found = try decoded([
      try files.write("edge", edge), try files.write("validator", edge.map(\.atValidator)),
    ])
    #expect(found.exchanges.count == 1_000 && found.addresses[0].requests == 1_000)
  }
}
