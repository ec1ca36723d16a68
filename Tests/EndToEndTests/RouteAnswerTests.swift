// Requests that a route answers by itself: redirects, fixed responses, and files of a directory. None reaches a backend, the connection
// goes on as behind any response, and each is a line of the log with the route's name.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct RouteAnswers {
    private final class Bench {
      let workspace: Workspace
      let edge: Countersign
      let backend: RecordingBackend

      init(
        _ routes: [String], tls: Bool = false, prepare: (Workspace) throws -> Void = { _ in },
        change: (inout Configuration) -> Void = { _ in }
      ) throws {
        workspace = try Workspace()
        try prepare(workspace)
        backend = try RecordingBackend { try $0.reply("backend") }
        var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        if tls { configuration.listeners[0].certificates = [try Certificates.standard.app] }
        configuration.routes = routes + ["to: backend, name: rest"]
        change(&configuration)
        edge = try Countersign(configuration, in: workspace)
      }

      func connect() throws -> Connection { try Connection(to: edge["public"]) }
    }

    // MARK: redirect

    @Test(arguments: [
      ("redirect: { scheme: https }", "/a/b?c=d", "308", "https://app.example.com/a/b?c=d"),
      (
        "redirect: { scheme: https, host: 'www.example.com:8443', status: 301 }", "/a", "301",
        "https://www.example.com:8443/a"
      ),
      ("path: /a, redirect: { path: /b, status: 302 }", "/a?c", "302", "http://app.example.com:81/b?c"),
      ("path: /a, redirect: { path: '/b?x=1' }", "/a?c", "308", "http://app.example.com:81/b?x=1"),
      (
        "path_regex: '/old/(.*)/(.*)', redirect: { path: '/$2/$1' }", "/old/x/y?q", "308",
        "http://app.example.com:81/y/x?q"
      ),
      // No path of a request becomes a host.
      (
        "path_regex: '/old/(.*)', redirect: { path: '/$1' }", "/old//evil.example", "308",
        "http://app.example.com:81/evil.example"
      ),
      (
        "path_regex: '/find/(.*)', redirect: { path: '/search?q=$1' }", "/find/a&admin=1", "308",
        "http://app.example.com:81/search?q=a%26admin%3D1"
      ),
    ]) func aRedirectSaysWhereTo(_ route: String, _ target: String, _ status: String, _ location: String) throws {
      let bench = try Bench([route + ", name: there"])
      let connection = try bench.connect()
      let answer = try connection.get(target, host: "app.example.com:81")
      #expect("\(answer.status)" == status)
      #expect(answer["location"] == location)
      #expect(answer["content-length"] == "0" && answer["date"] != nil)
      let entry = try bench.edge.access.wait(path: target)
      #expect(entry.route == "there" && entry.status == Int(status) && entry.upstream == nil && entry.refusal == nil)
      #expect(entry.client == Peer.client())
      // With a body that nobody wants, the connection stays in step.
      try connection.send(
        Text.request(target, method: "POST", host: "app.example.com:81", body: "GET /smuggled HTTP/1.1\r\n\r\n"))
      #expect("\(try connection.readResponse().status)" == status)
      #expect("\(try connection.get(target, host: "app.example.com:81").status)" == status)
      #expect(bench.backend.requests.isEmpty)
    }

    @Test func aRedirectToTLSLetsPassWhatHasIt() throws {
      let bench = try Bench(["redirect: { scheme: https }"], tls: true)
      #expect(try Connection.tls(to: bench.edge["public"]).get("/").text == "backend")
    }

    // MARK: respond

    @Test func aFixedResponseIsAnswered() throws {
      let bench = try Bench(
        [
          "path: /robots.txt, name: robots, respond: { body: \"User-agent: *\\n\" }",
          "path: /down, respond: { status: 503, file: ./down.html, headers: { Retry-After: '120', Cache-Control: no-store } }",
          "path: /gone, respond: { status: 410 }", "path: /none, respond: { status: 204 }",
          "path: /who, respond: { body: x, headers: { X-Client: \"$client $scheme $host $$\" } }",
        ], prepare: { try $0.write("down.html", "<h1>soon</h1>\n") })
      let connection = try bench.connect()
      let robots = try connection.get("/robots.txt")
      #expect(robots.status == 200 && robots.text == "User-agent: *\n")
      #expect(robots["content-type"] == "text/plain; charset=utf-8")
      let head = try connection.get("/robots.txt", method: "HEAD")
      #expect(head.status == 200 && head["content-length"] == "14" && head.body.isEmpty)
      let down = try connection.get("/down")
      #expect(down.status == 503 && down.text == "<h1>soon</h1>\n" && down["retry-after"] == "120")
      #expect(down["content-type"] == "text/html; charset=utf-8" && down["cache-control"] == "no-store")
      let gone = try connection.get("/gone")
      #expect(
        gone.head.startLine == "HTTP/1.1 410 Gone" && gone["content-length"] == "0" && gone["content-type"] == nil)
      let none = try connection.get("/none")
      #expect(none.status == 204 && none["content-length"] == nil)
      #expect(try connection.get("/who")["x-client"] == "\(Peer.client()) http app.example.com $")
      #expect(bench.backend.requests.isEmpty)
      let entry = try bench.edge.access.wait(path: "/robots.txt")
      #expect(entry.route == "robots" && entry.refusal == nil && (entry.bytes_out ?? 0) > 14)
    }

    /// Larger than any buffer, to a client that reads late, with requests behind it.
    @Test func aLargeBodyComesWhole() throws {
      let text = String(repeating: "0123456789abcdef", count: 60_000)
      let bench = try Bench(
        ["path: /large, respond: { file: ./large.txt }"], prepare: { try $0.write("large.txt", text) })
      defer { withExtendedLifetime(bench) {} }
      let connection = try Connection(to: bench.edge["public"], receiveBufferBytes: 4_096)
      let request = Text.request("/large")
      try connection.send(
        request + Text.request("/large", method: "POST", body: String(repeating: "x", count: 100_000))
          + Text.request("/after"))
      for _ in 0..<2 { #expect(try connection.readResponse().text == text) }
      #expect(try connection.readResponse().text == "backend")
    }

    @Test func whatAClientAsksOfTheConnectionHolds() throws {
      let bench = try Bench(["path: /page, respond: { body: page }"])
      defer { withExtendedLifetime(bench) {} }
      let closing = try bench.connect()
      try closing.send(Text.request("/page", fields: ["Connection: close"]))
      let last = try closing.readResponse()
      #expect(last["connection"] == "close" && last.text == "page")
      #expect(try closing.readToEnd().isEmpty)
      let old = try bench.connect()
      try old.send("GET /page HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
      #expect(try old.readResponse()["connection"] == "keep-alive")
      // Whether a body follows that its sender holds back is open.
      let waiting = try bench.connect()
      try waiting.send(Text.request("/page", method: "POST", fields: ["Expect: 100-continue", "Content-Length: 5"]))
      #expect(try waiting.readResponse()["connection"] == "close")
      // A limit of bodies holds here as well.
      let limited = try Bench(["path: /page, respond: { body: page }"], change: { $0.limits = ["body: 10B"] })
      defer { withExtendedLifetime(limited) {} }
      let refused = try limited.connect()
      try refused.send(Text.request("/page", method: "POST", body: "more than ten bytes"))
      #expect(try refused.readResponse().status == 413)
    }

    /// What the route says of a field holds for the lines that such an answer has by itself, too.
    @Test func theChangesHoldForAnswersOfOurOwn() throws {
      let bench = try Bench(
        [
          "path: /page, respond: { body: page, headers: { X-A: '1', Server: page } }, "
            + "response_headers: { set: { x_a: '2', Content-Type: text/x-own } }",
          "path: /there, redirect: { path: /x }, response_headers: { set: { Location: /y } }",
          "path_prefix: /site/, files: www, response_headers: { set: { Content-Type: text/x-own }, remove: [ETag, Last_Modified] }",
        ],
        prepare: {
          try $0.makeDirectory("www")
          try $0.write("www/a.html", "<p>")
        }, change: { $0.more.append("headers: { server: edge }") })
      let connection = try bench.connect()
      let page = try connection.get("/page")
      #expect(page.head.all("content-type") == ["text/x-own"])
      #expect(page.head.all("x-a") == [] && page.head.all("x_a") == ["2"] && page.head.all("server") == ["page"])
      #expect(try connection.get("/there").head.all("location") == ["/y"])
      let file = try connection.get("/site/a.html")
      #expect(file.text == "<p>" && file.head.all("content-type") == ["text/x-own"])
      #expect(file.head.all("etag") == [] && file.head.all("last-modified") == [])
      #expect(file.head.all("x-content-type-options") == ["nosniff"] && file.head.all("server") == ["edge"])
    }

    @Test func anAnswerOfOurOwnSaysWhatIsLeftOfARate() throws {
      let bench = try Bench(["path: /page, respond: { body: page }, limits: { rate: { requests: 2/h } }"])
      let connection = try bench.connect()
      #expect(try connection.get("/page")["ratelimit"]?.hasPrefix("\"client\";r=1;") == true)
      #expect(try connection.get("/page")["ratelimit-policy"]?.hasPrefix("\"client\";q=2;") == true)
      #expect(try connection.get("/page").status == 429)
    }

    @Test func aRouteThatAnswersIsClosedAndOpened() throws {
      let bench = try Bench(["path: /page, name: page, respond: { body: page }, enabled: false"])
      #expect(try bench.connect().get("/page").status == 503)
      #expect(try bench.edge.access.wait(path: "/page").refusal == "route-closed")
    }

    /// Behind an edge: the answer says that the signature was verified, or the edge would warn.
    @Test func aValidatorMayAnswerByItself() throws {
      let site = try Site(.shared, validator: { $0.routes.insert("path: /page, respond: { body: page }", at: 0) })
      #expect(try site.connect().get("/page").text == "page")
      #expect(try site.edge.access.wait(path: "/page").verified == "enforce")
      #expect(site.backend.requests.isEmpty)
    }

    @Test(arguments: [
      ("respond: { file: ./missing.html }", "missing.html: no such file"), ("respond: { file: . }", "is a directory"),
      ("path_prefix: /x, files: ./missing", "missing: no such file"),
      ("path_prefix: /x, files: ./file", "file: not a directory"),
      ("respond: { file: ./huge }", "huge: is larger than 1 MiB; `files` serves what is large"),
      ("path_regex: '/(a)', rewrite: '/$2', to: backend", "`$2` is no group of `path_regex`, which has 1"),
    ]) func whatCannotBeLoadedKeepsItFromStarting(_ route: String, _ message: String) throws {
      let workspace = try Workspace()
      try workspace.write("file", "x")
      try workspace.write("huge", String(repeating: "x", count: 1 << 20 + 1))
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:1"])
      configuration.routes.insert(route, at: 0)
      let outcome = try Countersign.refusedStart(configuration.text, in: workspace)
      #expect(outcome.exit != .code(0))
      #expect(outcome.error.contains(message), "\(outcome.error)")
    }
  }
}
