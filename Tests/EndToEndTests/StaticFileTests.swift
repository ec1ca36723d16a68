// Files of a directory, by a path prefix: what is there, whole and with its type; nothing else, whatever a path says and whatever links
// stand in the directory.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct StaticFiles {
    private final class Bench {
      let workspace: Workspace
      let edge: Countersign
      let backend: RecordingBackend

      init(more: [String] = [], prepare: (Workspace) throws -> Void = { _ in }) throws {
        workspace = try Workspace()
        try workspace.makeDirectory("www/sub")
        try workspace.write("secret", "secret")
        for (name, text) in [
          ("index.html", "<h1>home</h1>"), ("a b.txt", "space"), ("token-1_x", "challenge"), ("sub/style.css", "p {}"),
          (".hidden", "hidden"), ("empty.js", ""),
        ] { try workspace.write("www/\(name)", text) }
        try prepare(workspace)
        backend = try RecordingBackend { try $0.reply("backend") }
        var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        configuration.routes =
          [
            "path_prefix: /.well-known/acme-challenge/, files: ./www, name: acme", "path_prefix: /site, files: ./www",
            "to: backend",
          ]
        configuration.more = more
        edge = try Countersign(configuration, in: workspace)
      }

      func connect() throws -> Connection { try Connection(to: edge["public"]) }
    }

    @Test func whatIsThereIsServed() throws {
      let bench = try Bench()
      let connection = try bench.connect()
      let challenge = try connection.get("/.well-known/acme-challenge/token-1_x?x=1")
      #expect(challenge.status == 200 && challenge.text == "challenge")
      #expect(
        challenge["content-type"] == "application/octet-stream" && challenge["x-content-type-options"] == "nosniff")
      let style = try connection.get("/site/sub/style.css")
      #expect(style.text == "p {}" && style["content-type"] == "text/css; charset=utf-8")
      #expect(try connection.get("/site/").text == "<h1>home</h1>")
      #expect(try connection.get("/site/a%20b.txt").text == "space")
      let empty = try connection.get("/site/empty.js")
      #expect(empty.status == 200 && empty["content-length"] == "0")
      let head = try connection.get("/site/token-1_x", method: "HEAD")
      #expect(head.status == 200 && head["content-length"] == "9" && head.body.isEmpty)
      // What is put there later is there.
      try bench.workspace.write("www/new", "new")
      #expect(try connection.get("/site/new").text == "new")
      let entry = try bench.edge.access.wait(path: "/.well-known/acme-challenge/token-1_x?x=1")
      #expect(entry.route == "acme" && entry.status == 200 && entry.upstream == nil)
      #expect(bench.backend.requests.isEmpty)
    }

    @Test(arguments: [
      "/site/none", "/site", "/site/sub", "/site/sub/", "/site/.hidden", "/site/%2Ehidden",
      "/site/sub/%2e%2e/index.html",
      "/site/%2fetc/passwd", "/site/sub//style.css", "/site//index.html", "/site/a%00b",
      "/site/index.html%00",
      "/site/index.html/", "/site/%", "/site/%4", "/site/out", "/site/out-directory/secret", "/site/absolute",
      "/site/loop", "/site/fifo",
      "/site/a%5Cb", "/site/" + String(repeating: "x", count: 1_100),
    ]) func whatIsNoFileOfItIsNot(_ path: String) throws {
      let bench = try Bench(prepare: { workspace in
        let files = FileManager.default
        for (name, target) in [
          ("out", "../secret"), ("out-directory", ".."), ("absolute", workspace.file("secret")), ("loop", "loop"),
          ("inside", "sub/style.css"),
        ] { try files.createSymbolicLink(atPath: workspace.file("www/\(name)"), withDestinationPath: target) }
        guard mkfifo(workspace.file("www/fifo"), 0o644) == 0 else { throw Trouble("no fifo") }
      })
      let connection = try bench.connect()
      let answer = try connection.get(path)
      #expect(answer.status == 404, "\(answer.text)")
      #expect(!answer.text.contains("secret") && !answer.text.contains("home"))
      // A link that stays inside is as good as its file, and the connection goes on.
      #expect(try connection.get("/site/inside").text == "p {}")
    }

    /// A path whose other reading leads elsewhere is refused before any file is looked for.
    @Test func aPathThatLeavesThePrefixIsRefused() throws {
      let bench = try Bench()
      for path in ["/site/../secret", "/site/..%2fsecret"] {
        #expect(try bench.connect().get(path).status == 400)
        #expect(try bench.edge.access.wait(path: path).refusal == "path-ambiguous")
      }
    }

    @Test func aMissingFileHasTheErrorPage() throws {
      let bench = try Bench(
        more: ["error_pages: [{ status: 404, html: ./missing.html, json: ./missing.json }]"],
        prepare: {
          try $0.write("missing.html", "<h1>{{status}}</h1>")
          try $0.write("missing.json", "{}")
        })
      let connection = try bench.connect()
      let page = try connection.get("/site/none")
      #expect(page.status == 404 && page.text == "<h1>404</h1>" && page["vary"] == "Accept")
      #expect(page["content-type"]?.hasPrefix("text/html") == true)
      #expect(try connection.get("/site/none", fields: ["Accept: application/json"]).text == "{}")
      let head = try connection.get("/site/none", method: "HEAD")
      #expect(head.status == 404 && head["content-length"] == "12" && head.body.isEmpty)
    }

    @Test func nothingIsWritten() throws {
      let bench = try Bench()
      let connection = try bench.connect()
      for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        try connection.send(Text.request("/site/token-1_x", method: method, body: "other"))
        let answer = try connection.readResponse()
        #expect(answer.status == 405 && answer["allow"] == "GET, HEAD")
      }
      #expect(try connection.get("/site/token-1_x").text == "challenge")
    }

    @Test func aClientThatHasTheFileIsToldSo() throws {
      let bench = try Bench()
      let connection = try bench.connect()
      let first = try connection.get("/site/token-1_x")
      let tag = try #require(first["etag"])
      let date = try #require(first["last-modified"])
      for fields in [
        ["If-None-Match: \(tag)"], ["If-None-Match: \"x\", W/\(tag)"], ["If-None-Match: *"],
        ["If-Modified-Since: \(date)"],
      ] {
        let again = try connection.get("/site/token-1_x", fields: fields)
        #expect(again.status == 304 && again["etag"] == tag && again.body.isEmpty, "\(fields)")
      }
      for fields in [
        ["If-None-Match: \"x\""], ["If-None-Match: \"x\"", "If-Modified-Since: \(date)"],
        ["If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"],
      ] {
        #expect(try connection.get("/site/token-1_x", fields: fields).text == "challenge", "\(fields)")
      }
      try bench.workspace.write("www/token-1_x", "another")
      #expect(try connection.get("/site/token-1_x", fields: ["If-None-Match: \(tag)"]).text == "another")
    }

    @Test func aFileThatCannotBeReadIsRefusedWithItsReason() throws {
      let bench = try Bench(prepare: { workspace in
        let huge = FileManager.default.createFile(atPath: workspace.file("www/huge"), contents: nil)
        guard huge, truncate(workspace.file("www/huge"), 257 << 20) == 0 else { throw Trouble("no huge file") }
      })
      let connection = try bench.connect()
      #expect(try connection.get("/site/huge").status == 500)
      let entry = try bench.edge.access.wait(refusal: "file-unreadable")
      #expect(entry.detail == "the file is larger than 256 MiB")
      #expect(try connection.get("/site/token-1_x").text == "challenge")
    }

    /// Many megabytes, through every buffer; and a client that goes away in the middle costs no descriptor.
    @Test func aLargeFileComesWholeAndIsClosed() throws {
      let text = String(repeating: "The quick brown fox. ", count: 500_000)
      let bench = try Bench(prepare: { try $0.write("www/large.txt", text) })
      #expect(try bench.connect().get("/site/large.txt").text == text)
      for _ in 0..<50 {
        let connection = try Connection(to: bench.edge["public"], receiveBufferBytes: 4_096)
        try connection.send(Text.request("/site/large.txt"))
        #expect(try connection.readHead() != nil)
        connection.reset()
      }
      let process = bench.edge.process.pid
      try eventually("every file is closed") {
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd")
        return !open.contains {
          (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\($0)"))?.hasSuffix(
            "large.txt") == true
        }
      }
    }

    /// What was promised is not there any more: the client sees that.
    @Test func aFileThatIsCutMeanwhileIsNoWholeAnswer() throws {
      let bench = try Bench(prepare: { try $0.write("www/large.txt", String(repeating: "x", count: 20 << 20)) })
      let connection = try Connection(to: bench.edge["public"], receiveBufferBytes: 4_096)
      try connection.send(Text.request("/site/large.txt"))
      #expect(try connection.readHead()?.contentLength == 20 << 20)
      #expect(truncate(bench.workspace.file("www/large.txt"), 10) == 0)
      #expect(try connection.readToEnd().count < 20 << 20)
      #expect(try bench.edge.access.wait(path: "/site/large.txt").refusal == "file-unreadable")
    }
  }
}
