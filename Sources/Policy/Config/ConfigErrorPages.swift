// What clients see of an answer that is the proxy's own: pages by status, for everybody or for one route, and whether the answer names
// its reason (`proxy_status`). docs/CONFIG.md ("Error pages") is the manual.

import Wire

extension Config {
  package struct ErrorPage: Sendable, Equatable {
    package var statuses: [ClosedRange<Int>]
    /// Paths, made absolute; one of the two at least.
    package var html: String?
    package var json: String?

    package init(statuses: [ClosedRange<Int>]) { self.statuses = statuses }
  }
}

extension Reading {
  mutating func errorPages(_ node: YAMLNode, _ path: String) -> [Config.ErrorPage] {
    guard let nodes = elements(node, path, of: "mappings of `status`, `html` and `json`") else { return [] }
    var pages: [Config.ErrorPage] = []
    for (index, node) in nodes.enumerated() {
      let path = "\(path)[\(index)]"
      let required = [(key: "status", what: "the statuses that it is for, such as `[502, 503]` or `500-599`")]
      guard let fields = fields(node, path, keys: ["status", "html", "json"], required: required) else { continue }
      var page = Config.ErrorPage(
        statuses: fields["status"].flatMap { statuses($0, "\(path).status", whenEmpty: "") } ?? [])
      page.html = fields["html"].flatMap { file($0, "\(path).html", what: "the path of an HTML file") }
      page.json = fields["json"].flatMap { file($0, "\(path).json", what: "the path of a JSON file") }
      if fields["html"] == nil, fields["json"] == nil {
        error(node.place, "`\(path)` needs `html`, `json` or both: the path of the page")
      }
      let isSent = page.statuses.contains { range in Refusal.statuses.contains { range.contains($0) } }
      if !page.statuses.isEmpty, !isSent {
        let sent = Refusal.statuses.map(String.init).joined(separator: ", ")
        error(config.place(of: "\(path).status"), "no refusal has such a status; they have \(sent)")
      }
      pages.append(page)
    }
    return pages
  }
}

extension Refusal {
  /// What a client is answered with, each status once.
  package static let statuses: [Int] = Set(allCases.map { Int($0.status) }).subtracting([0]).sorted()
}

extension Config.ErrorPage {
  /// As `check --resolved` writes it.
  var resolved: String {
    let ranges = statuses.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
    var parts = ["status: [\(ranges.joined(separator: ", "))]"]
    if let html { parts.append("html: \(Resolved.quote(html))") }
    if let json { parts.append("json: \(Resolved.quote(json))") }
    return "{ \(parts.joined(separator: ", ")) }"
  }

  static func resolved(_ pages: [Config.ErrorPage]) -> String { "[\(pages.map(\.resolved).joined(separator: ", "))]" }
}
