// The summary as a table, CSV or JSON.

import Wire

package struct SummaryReport {
  private let summary: Summary
  private let counts: MergedLog.Counts
  private let window: AuditWindow
  private let files: [String]
  /// Lines of a table; the other forms have all.
  private static let disagreementsShown = 20

  package init(_ summary: Summary, _ counts: MergedLog.Counts, _ window: AuditWindow, files: [String]) {
    self.summary = summary
    self.counts = counts
    self.window = window
    self.files = files
  }

  package func write(_ format: ReportFormat, to out: ReportText) throws(AuditError) {
    switch format {
    case .table: try out.append(table)
    case .csv: try out.append(csv)
    case .json: try out.append(json)
    }
    try out.flush()
  }

  /// Groups, those with the most requests first.
  private var groups: [Summary.Group] {
    summary.groups.enumerated().sorted {
      ($0.element.requests, $1.offset) > ($1.element.requests, $0.offset)
    }.map(\.element)
  }

  private var hasBothSides: Bool { summary.requestsAtEdges > 0 && summary.requestsAtValidators > 0 }

  // MARK: Table

  private var table: String {
    var text = """
      window    \(LogTime.text(window.from)) until \(LogTime.text(window.until))
      lines     \(counts.lines) in \(files.count) file\(files.count == 1 ? "" : "s"), \(summary.linesInWindow) of the window\
      \(counts.malformed > 0 ? ", \(counts.malformed) MALFORMED" : "")\(counts.cutOff > 0 ? ", \(counts.cutOff) cut off" : "")
      requests  \(summary.requestsAtEdges) at edges, \(summary.requestsAtValidators) at validators
      clients   \(summary.addressCount) addresses, \(summary.connectionCount) connections

      """
    if hasBothSides {
      text += """
        joined    \(summary.joined) requests stand in the logs of both sides; \(summary.aloneAtEdge) only in an edge's, \
        \(summary.aloneAtValidator) only in a validator's, \(summary.disagreeing) DISAGREE about the client

        """
    }
    let header = [
      "EVIDENCE", "LISTENER", "RULE", "CONFIG", "GEN", "ROUTE", "EDGE", "REQUESTS", "CLIENTS", "1XX", "2XX", "3XX",
      "4XX", "5XX", "NONE", "FIRST", "LAST",
    ]
    var groupTable = TextTable(header, numbers: [4, 7, 8, 9, 10, 11, 12, 13, 14])
    var refused = TextTable(["REFUSAL", "COUNT", "LISTENER", "RULE", "EVIDENCE", "GEN"], numbers: [1, 5])
    for group in groups {
      let place = [group.evidence, group.listener, group.rule, group.config, group.generation, group.route, group.edge]
      groupTable.add(
        place.map { $0.isEmpty ? "-" : $0 } + ["\(group.requests)", "\(group.clients)"]
          + group.statuses[1...].map(String.init) + ["\(group.statuses[0])"]
          + [LogTime.text(group.first), LogTime.text(group.last)])
      for refusal in group.refusals {
        let place = [group.listener, group.rule, group.evidence, group.generation].map { $0.isEmpty ? "-" : $0 }
        refused.add([refusal.name, "\(refusal.count)"] + place)
      }
    }
    text += "\n" + groupTable.text
    if !refused.isEmpty { text += "\n" + refused.text }
    var clients = TextTable(["CLIENT", "CONNECTIONS", "REQUESTS", "FIRST", "LAST"], numbers: [1, 2])
    for client in summary.topClients {
      clients.add([
        "\(client.address)", "\(client.connections)", "\(client.requests)", LogTime.text(client.first),
        LogTime.text(client.last),
      ])
    }
    if !clients.isEmpty { text += "\n" + clients.text }
    var disagreements = TextTable(["DISAGREES", "CONNECTION", "AT THE EDGE", "AT THE VALIDATOR"])
    for found in summary.disagreements.prefix(SummaryReport.disagreementsShown) {
      disagreements.add([
        LogTime.text(found.milliseconds), "\(found.connection)", "\(found.atEdge)", "\(found.atValidator)",
      ])
    }
    if !disagreements.isEmpty { text += "\n" + disagreements.text }
    return text
  }

  // MARK: CSV

  /// One table for all that is found; `kind` says what a row is about, and cells that do not concern it are empty.
  private var csv: String {
    var text =
      "kind,evidence,listener,rule,config,generation,route,edge,client,refusal,requests,connections,clients,"
      + "status_1xx,status_2xx,status_3xx,status_4xx,status_5xx,status_none,first,last,connection,client_at_validator\n"
    func row(_ cells: [String]) { text += cells.joined(separator: ",") + "\n" }
    func place(_ group: Summary.Group) -> [String] {
      [group.evidence, group.listener, group.rule, group.config, group.generation, group.route, group.edge].map(
        Quoted.csv)
    }
    func none(_ count: Int) -> [String] { [String](repeating: "", count: count) }
    for group in groups {
      row(
        ["group"] + place(group) + none(2) + ["\(group.requests)", "", "\(group.clients)"]
          + group.statuses[1...].map(String.init) + ["\(group.statuses[0])"]
          + [LogTime.text(group.first), LogTime.text(group.last)] + none(2))
      for refusal in group.refusals {
        row(["refusal"] + place(group) + ["", Quoted.csv(refusal.name), "\(refusal.count)"] + none(12))
      }
    }
    for client in summary.topClients {
      row(
        ["client"] + none(7) + ["\(client.address)", "", "\(client.requests)", "\(client.connections)"] + none(7)
          + [LogTime.text(client.first), LogTime.text(client.last)] + none(2))
    }
    for found in summary.disagreements {
      let time = LogTime.text(found.milliseconds)
      row(
        ["disagrees"] + none(7) + ["\(found.atEdge)"] + none(10)
          + [time, time, "\(found.connection)", "\(found.atValidator)"])
    }
    return text
  }

  // MARK: JSON

  private var json: String {
    func list<Element>(_ elements: [Element], _ text: (Element) -> String) -> String {
      elements.isEmpty ? "[]" : "[\n    " + elements.map(text).joined(separator: ",\n    ") + "\n  ]"
    }
    let groupList = list(groups) { group in
      let refusals = group.refusals.map { "\"\($0.name)\":\($0.count)" }.joined(separator: ",")
      let statuses = group.statuses.enumerated().map { "\"\($0 == 0 ? "none" : "\($0)xx")\":\($1)" }
      // Texts of a log are printable ASCII, escaped as JSON has it.
      return "{\"evidence\":\"\(group.evidence)\",\"listener\":\"\(group.listener)\",\"rule\":\"\(group.rule)\","
        + "\"config\":\"\(group.config)\",\"generation\":\(group.generation.isEmpty ? "null" : group.generation),"
        + "\"route\":\"\(group.route)\",\"edge\":\"\(group.edge)\",\"requests\":\(group.requests),"
        + "\"clients\":\(group.clients),\"statuses\":{\(statuses.joined(separator: ","))},"
        + "\"refusals\":{\(refusals)},"
        + "\"first\":\"\(LogTime.text(group.first))\",\"last\":\"\(LogTime.text(group.last))\"}"
    }
    let clientList = list(summary.topClients) {
      "{\"client\":\"\($0.address)\",\"connections\":\($0.connections),\"requests\":\($0.requests),"
        + "\"first\":\"\(LogTime.text($0.first))\",\"last\":\"\(LogTime.text($0.last))\"}"
    }
    let disagreementList = list(summary.disagreements) {
      "{\"time\":\"\(LogTime.text($0.milliseconds))\",\"connection\":\"\($0.connection)\","
        + "\"client_at_edge\":\"\($0.atEdge)\",\"client_at_validator\":\"\($0.atValidator)\"}"
    }
    return """
      {
        "from": "\(LogTime.text(window.from))",
        "until": "\(LogTime.text(window.until))",
        "files": [\(files.map(JSONText.quote).joined(separator: ","))],
        "lines": \(counts.lines),
        "lines_in_window": \(summary.linesInWindow),
        "malformed": \(counts.malformed),
        "cut_off": \(counts.cutOff),
        "requests_at_edges": \(summary.requestsAtEdges),
        "requests_at_validators": \(summary.requestsAtValidators),
        "joined": \(summary.joined),
        "alone_at_edge": \(summary.aloneAtEdge),
        "alone_at_validator": \(summary.aloneAtValidator),
        "disagreeing": \(summary.disagreeing),
        "clients": \(summary.addressCount),
        "connections": \(summary.connectionCount),
        "groups": \(groupList),
        "top_clients": \(clientList),
        "disagrees": \(disagreementList)
      }

      """
  }
}
