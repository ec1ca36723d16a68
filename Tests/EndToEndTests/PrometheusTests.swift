// A real Prometheus scrapes a real edge: the page is as its own tool wants it, every query of the dashboard finds something, and every
// alert can be evaluated; and one whose reason is there is on its way.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct PrometheusMonitoring {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent()
      .deletingLastPathComponent()
    private static let rules = repository.appendingPathComponent("packaging/monitoring/countersign.rules.yml").path
    private static let ruleTests = repository.appendingPathComponent("packaging/monitoring/countersign.rules.test.yml")
      .path

    /// The queries of the dashboard with the titles of their panels, as Grafana would send them.
    private static func queries() throws -> [(panel: String, query: String)] {
      let file = repository.appendingPathComponent("packaging/monitoring/countersign-dashboard.json")
      let dashboard = try #require(
        try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
      let panels = try #require(dashboard["panels"] as? [[String: Any]])
      return panels.flatMap { panel in
        (panel["targets"] as? [[String: Any]] ?? []).map { target in
          let query = (target["expr"] as? String ?? "").replacing("$__rate_interval", with: "10s")
            .replacing("$instance", with: ".*")
          return ("\(panel["title"] ?? "")", query)
        }
      }
    }

    /// Prometheus with a port of its own, which its log tells.
    private final class Server {
      let process: ChildProcess
      let address: Address

      init(scraping target: Address, in workspace: Workspace) throws {
        let file = try workspace.write(
          "prometheus.yml",
          """
          global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s }
          rule_files: ["\(PrometheusMonitoring.rules)"]
          scrape_configs:
            - { job_name: countersign, static_configs: [{ targets: ["\(target)"] }] }

          """)
        process = try ChildProcess([
          try Programs.prometheus, "--config.file=\(file)", "--storage.tsdb.path=\(workspace.file("data"))",
          "--web.listen-address=127.0.0.1:0", "--log.format=json",
        ])
        let port = process.standardError.wait { line -> UInt16? in
          guard line.contains("Listening on"), let at = line.range(of: "\"address\":\"127.0.0.1:") else { return nil }
          return UInt16(line[at.upperBound...].prefix { $0.isNumber })
        }
        // It listens before it answers.
        let isReady = process.standardError.wait { $0.contains("Server is ready to receive web requests") ? true : nil }
        guard let port, isReady == true, let address = Address("127.0.0.1:\(port)") else {
          throw Trouble("prometheus does not get ready\n\(process.tail)")
        }
        self.address = address
      }

      /// What the API answers, an object.
      func ask(_ path: String, _ query: String? = nil) throws -> [String: Any] {
        var characters = CharacterSet.alphanumerics
        characters.insert(charactersIn: "-._~")
        let text = query.map { "?query=\($0.addingPercentEncoding(withAllowedCharacters: characters) ?? "")" } ?? ""
        let response = try Connection(to: address, from: nil).get("/api/v1/\(path)\(text)")
        let answer = try #require(
          try JSONSerialization.jsonObject(with: Data(response.body)) as? [String: Any], "\(query ?? path)")
        guard answer["status"] as? String == "success" else {
          throw Trouble("prometheus: \(query ?? path): \(answer["error"] ?? "")")
        }
        return try #require(answer["data"] as? [String: Any])
      }
    }

    @Test func thePageIsAsPrometheusWantsIt() throws {
      let site = try Site(.shared, edge: { $0.hasAdmin = true })
      #expect(try site.connect().get("/").status == 200)
      let page = try Connection(to: site.edge["admin"], from: nil).get("/metrics")
      #expect(page["content-type"] == "text/plain; version=0.0.4")
      let file = try site.workspace.write("metrics", String(decoding: page.body, as: UTF8.self))
      let input = open(file, O_RDONLY)
      defer { close(input) }
      let checked = try ChildProcess.run([try Programs.promtool, "check", "metrics"], standardInput: input)
      #expect(checked.succeeded && checked.output.isEmpty && checked.error.isEmpty, "\(checked.output)\(checked.error)")
    }

    @Test func theAlertRulesAreTestedEachByName() throws {
      let tested = try ChildProcess.run([try Programs.promtool, "test", "rules", Self.ruleTests])
      #expect(tested.succeeded, "\(tested.output)\(tested.error)")
      let rules = try String(contentsOfFile: Self.rules, encoding: .utf8)
      let tests = try String(contentsOfFile: Self.ruleTests, encoding: .utf8)
      let names = rules.matches(of: /- alert: (\w+)/).map { String($0.1) }
      #expect(names.count >= 20)
      for name in names {
        #expect(tests.contains("alertname: \(name), exp_alerts: []"), "\(name) is not tested with usual traffic")
        #expect(tests.contains("alertname=\"\(name)\""), "\(name) is never raised in a test")
      }
    }

    @Test func everyQueryFindsWhatARealRunShows() throws {
      let workspace = try Workspace()
      let site = try Site(
        .bound, tls: true, hopTLS: true,
        edge: { configuration in
          configuration.hasAdmin = true
          configuration.routes = ["to: monitor, name: site"]
        })
      let prometheus = try Server(scraping: site.edge["admin"], in: workspace)
      let traffic = Guarded(true)
      let sender = Background("traffic") {
        while traffic.now {
          let connection = try site.connectTLS()
          for _ in 0..<5 { _ = try connection.get("/metrics-test") }
          connection.close()
          // A refusal, too.
          _ = try site.connectTLS().get("/metrics-test", fields: ["Expect: nonsense"])
        }
      }
      defer { traffic.with { $0 = false } }
      let queries = try Self.queries()
      #expect(queries.count > 30)
      for (panel, query) in queries {
        try eventually("the panel \(panel) shows something: \(query)", everyMilliseconds: 100) {
          (try prometheus.ask("query", query)["result"] as? [Any])?.isEmpty == false
        }
      }
      traffic.with { $0 = false }
      try sender.result()

      // A refused reload is on its way to be an alert, and no rule fails.
      try site.edge.reload("nonsense")
      try site.edge.said("reload refused")
      try eventually("the alert for a refused reload is pending", everyMilliseconds: 100) {
        let groups = try prometheus.ask("rules")["groups"] as? [[String: Any]] ?? []
        let rules = groups.flatMap { $0["rules"] as? [[String: Any]] ?? [] }
        for rule in rules { #expect((rule["lastError"] as? String ?? "") == "", "\(rule)") }
        return rules.contains {
          $0["name"] as? String == "CountersignReloadRefused" && $0["state"] as? String == "pending"
        }
          && rules.allSatisfy { $0["health"] as? String == "ok" }
      }
    }

    /// What the labelled counts say is what was asked for.
    @Test func countsAreByRouteServerAndClass() throws {
      let site = try Site(
        .shared,
        script: { exchange in
          try exchange.reply("x", status: exchange.target == "/bad" ? "500 Internal Server Error" : "200 OK")
        },
        edge: { configuration in
          configuration.hasAdmin = true
          configuration.routes = ["path_prefix: /named/, to: monitor, name: named", "to: monitor"]
        })
      for path in ["/named/1", "/named/2", "/other", "/bad"] { _ = try site.connect().get(path) }
      let line =
        site.edgeConfiguration.text.split(separator: "\n", omittingEmptySubsequences: false)
        .firstIndex { $0.hasSuffix("- { to: monitor }") }.map { $0 + 1 } ?? 0
      let server = try site.validator["from-edge"]
      try eventually("all requests are counted") {
        try site.edge.metric("countersign_route_responses_total{route=\"line \(line)\",class=\"5xx\"}") == 1
      }
      #expect(try site.edge.metric("countersign_route_responses_total{route=\"named\",class=\"2xx\"}") == 2)
      #expect(try site.edge.metric("countersign_route_responses_total{route=\"line \(line)\",class=\"2xx\"}") == 1)
      #expect(try site.edge.metric("countersign_route_duration_seconds_count{route=\"named\"}") == 2)
      let labels = "upstream=\"monitor\",server=\"\(server)\""
      #expect(try site.edge.metric("countersign_server_responses_total{\(labels),class=\"2xx\"}") == 3)
      #expect(try site.edge.metric("countersign_server_responses_total{\(labels),class=\"5xx\"}") == 1)
      #expect(try site.edge.metric("countersign_server_response_duration_seconds_count{\(labels)}") == 4)
      #expect(try site.edge.metric("countersign_server_state{\(labels),state=\"up\"}") == 1)
      #expect(try site.edge.metric("countersign_build_info{version=\"0.1.0\"}") == 1)
      // A reload that takes the name away takes the rows along once no worker has them.
      var next = site.edgeConfiguration
      next.routes = ["to: monitor"]
      try site.edge.reload(next)
      try site.edge.said("reloaded generation=2")
      try eventually("the row is gone") {
        try site.edge.metric("countersign_route_responses_total{route=\"named\",class=\"2xx\"}") == nil
      }
      #expect(try site.edge.metric("countersign_config_reloads_total{result=\"taken\"}") == 1)
      try site.edge.reload("nonsense")
      try site.edge.said("reload refused")
      #expect(try site.edge.metric("countersign_config_reloads_total{result=\"refused\"}") == 1)
    }
  }
}
