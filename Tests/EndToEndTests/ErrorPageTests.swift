// What clients see of an answer that is the proxy's own.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct ErrorPages {
    private func door() throws -> RouteLimits.Door {
      let nobody = try Socket.reserve()
      return try RouteLimits.Door(
        [],
        change: { configuration, workspace in
          let html = try workspace.write("5xx.html", "<h1>{{status}} {{reason}}</h1>\n")
          let json = try workspace.write("5xx.json", "{\"status\":{{status}},\"title\":\"{{reason}}\"}\n")
          let own = try workspace.write("own.json", "{\"shop\":\"closed\"}\n")
          configuration.routes = [
            "path: /shop, to: gone, error_pages: [{ status: 502, json: \"\(own)\" }]", "path: /gone, to: gone",
            "path: /off, to: backend, enabled: false", "path: /fine, to: backend",
          ]
          configuration.upstreams.append(
            Configuration.Upstream(name: "gone", members: ["identity: plain"], servers: ["\(nobody)"]))
          configuration.more = [
            "error_pages:", "  - { status: [500-599], html: \"\(html)\", json: \"\(json)\" }", "proxy_status: true",
          ]
        })
    }

    private static let browser =
      "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

    @Test func aPageIsChosenByStatusAndByWhatTheClientReads() throws {
      let door = try door()
      let connection = try door.connect()
      let page = try connection.get("/gone", fields: [Self.browser])
      #expect(page.status == 502 && page.text == "<h1>502 Bad Gateway</h1>\n")
      #expect(page["content-type"] == "text/html; charset=utf-8" && page["vary"] == "Accept")
      let closed = try connection.get("/off", fields: ["Accept: application/json"])
      #expect(closed.status == 503 && closed.text == "{\"status\":503,\"title\":\"Service Unavailable\"}\n")
      #expect(closed["content-type"] == "application/json" && closed["retry-after"] != nil)
      #expect(try connection.get("/gone").text.hasPrefix("<h1>"), "nothing is said: for a person")
      let head = try connection.get("/gone", method: "HEAD")
      #expect(head.status == 502 && head["content-length"] == "\(page.body.count)")
      // A status without a page has the line that it always has.
      let none = try connection.get("/nowhere", fields: [Self.browser])
      #expect(none.status == 404 && none.text == "404 Not Found\n" && none["content-type"] == "text/plain")
      #expect(try door.edge.access.wait(path: "/nowhere").refusal == "route-none")
    }

    @Test func aRoutesOwnPageComesFirst() throws {
      let door = try door()
      let page = try door.connect().get("/shop", fields: [Self.browser])
      #expect(page.status == 502 && page.text == "{\"shop\":\"closed\"}\n")
      #expect(page["content-type"] == "application/json" && page["vary"] == nil)
      #expect(try door.edge.access.wait(path: "/shop").refusal == "upstream-connect")
    }

    /// What the upstream answers is the upstream's.
    @Test func theUpstreamsAnswersAreLeftAlone() throws {
      let door = try RouteLimits.Door(
        ["to: backend"], script: { try $0.reply("theirs", status: "503 Sorry") },
        change: { configuration, workspace in
          let html = try workspace.write("5xx.html", "ours")
          configuration.more = ["error_pages: [{ status: 503, html: \"\(html)\" }]", "proxy_status: true"]
        })
      let answer = try door.connect().get("/")
      #expect(answer.status == 503 && answer.text == "theirs" && answer["proxy-status"] == nil)
      #expect(try door.edge.access.wait(path: "/").refusal == nil)
    }

    @Test func theAnswerNamesItsReasonWhereThatIsAskedFor() throws {
      let door = try door()
      let connection = try door.connect()
      for (path, field) in [
        ("/gone", "\"countersign\"; error=destination_unavailable; details=\"upstream-connect\""),
        ("/off", "\"countersign\"; error=proxy_internal_response; details=\"route-closed\""),
        ("/nowhere", "\"countersign\"; error=destination_not_found; details=\"route-none\""),
      ] {
        #expect(try connection.get(path)["proxy-status"] == field)
      }
      #expect(try connection.get("/fine")["proxy-status"] == nil)
      try connection.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n")
      #expect(
        try connection.readResponse()["proxy-status"]
          == "\"countersign\"; error=http_request_error; details=\"name-space\"")
      #expect(try door.edge.access.wait(refusal: "name-space").status == 400)
      let quiet = try RouteLimits.Door(["path: /x, to: backend"])
      #expect(try quiet.connect().get("/y")["proxy-status"] == nil)
      #expect(try quiet.edge.access.wait(path: "/y").refusal == "route-none")
    }

    @Test func aPageThatCannotBeReadIsAnErrorWithItsPlace() throws {
      let workspace = try Workspace()
      let large = try workspace.write("large.html", String(repeating: "a", count: 33 * 1024))
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:1"])
      configuration.routes = ["to: backend, error_pages: [{ status: 502, html: \"\(large)\", json: \"/nonexistent\" }]"]
      let outcome = try Countersign.refusedStart(configuration.text, in: workspace)
      #expect(!outcome.succeeded)
      #expect(outcome.error.contains("large.html: a page has at most 32 KiB"), "\(outcome.error)")
      #expect(outcome.error.contains("refused.yaml:5:"), "\(outcome.error)")
      #expect(outcome.error.contains("/nonexistent: no such file"), "\(outcome.error)")
    }
  }
}
