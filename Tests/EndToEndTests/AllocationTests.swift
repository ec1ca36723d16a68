// What a request costs in allocations, counted in the real processes by a malloc that replaces the system's.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct Allocations {
    /// What OpenSSL allocates for a request and its answer on one TLS connection: a buffer for the record that it reads, one for
    /// the record that it writes, and small blocks (decision 19). More in older or newer versions would still be harmless.
    private static let opensslMax: UInt64 = 8

    /// A request over kept-alive connections, signed and verified. With TLS, OpenSSL allocates for each record, and nobody else.
    @Test(arguments: Site.Mode.allCases, [false, true])
    func aKeptAliveRequestAllocatesNothing(_ mode: Site.Mode, tls: Bool) throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("fine") }
      let keys = try Keys.standard
      var behind = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: mode == .bound)
      behind.access = "off"
      let certificates = try Certificates.standard
      if tls { behind.listeners[0].certificates = [certificates.monitor] }
      let (validatorFile, edgeFile) = (workspace.file("validator.count"), workspace.file("edge.count"))
      let validator = try Countersign(
        behind, name: "validator", in: workspace, environment: try Self.counting(in: validatorFile))
      var front = Configuration.edge(keys: keys, to: ["\(try validator["from-edge"])"], bound: mode == .bound)
      front.access = "off"
      if tls {
        front.listeners[0].certificates = [certificates.app]
        front.upstreams[0].tls = "ca: \"\(certificates.ca)\", name: monitor-1.internal"
      }
      let edge = try Countersign(front, in: workspace, environment: try Self.counting(in: edgeFile))

      let connection = try tls ? Connection.tls(to: edge["public"]) : Connection(to: edge["public"])
      func ask(_ count: Int) throws {
        for _ in 0..<count {
          #expect(try connection.get("/counted", fields: ["X-Forwarded-For: 192.0.2.1"]).status == 200)
        }
      }
      try ask(200)
      let before = (edge: try Self.count(edgeFile), validator: try Self.count(validatorFile))
      #expect(before.edge.others > 0 && before.validator.others > 0, "nothing is counted at all")
      #expect(!tls || before.edge.openssl > 1_000, "OpenSSL's allocations are not told from others")
      try ask(500)
      let after = (edge: try Self.count(edgeFile), validator: try Self.count(validatorFile))
      #expect(after.edge.others - before.edge.others == 0)
      #expect(after.validator.others - before.validator.others == 0)
      // The edge has a TLS connection on each side, the validator one.
      let most = tls ? 500 * Self.opensslMax : 0
      #expect(after.edge.openssl - before.edge.openssl <= 2 * most)
      #expect(after.validator.openssl - before.validator.openssl <= most)
    }

    /// By a route of many, with everything that a route can change: names and paths, fields, the path, X-Request-Id; and answers of its own.
    @Test func aRouteWithChangesAllocatesNothing() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("fine") }
      let keys = try Keys.standard
      var behind = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: false)
      behind.access = "off"
      let edgeFile = workspace.file("edge.count")
      let validator = try Countersign(behind, name: "validator", in: workspace)
      try workspace.makeDirectory("www")
      try workspace.write("www/page.txt", "page")
      var front = Configuration.edge(keys: keys, to: ["\(try validator["from-edge"])"], bound: false)
      front.access = "off"
      front.more = ["headers: { request_id: keep, server: edge, via: edge-a }"]
      front.upstreams[0].members.append("host: rewritten")
      front.routes =
        (0..<200).map { "path_prefix: /service-\($0)/, to: monitor" } + [
          "host: '*.example.com', path_regex: '/v([0-9]+)/(.*)', method: [GET], header: { name: X-A }, client: [127.0.0.0/8], "
            + "rewrite: '/new/$2?v=$1', request_headers: { set: { X-From: \"$client $host $request_id\" }, remove: [Cookie] }, "
            + "response_headers: { set: { X-Seen: $request_id } }, hsts: 1d, to: monitor",
          "path: /page, respond: { file: ./www/page.txt, headers: { X-Client: $client } }",
          "path: /old, redirect: { path: /new }", "path_prefix: /files, files: www",
        ]
      let edge = try Countersign(front, in: workspace, environment: try Self.counting(in: edgeFile))
      let connection = try Connection(to: edge["public"])
      func ask(_ count: Int) throws {
        for _ in 0..<count {
          #expect(try connection.get("/v1/a/b?c=d", fields: ["X-A: 1", "Cookie: a=b"]).status == 200)
          #expect(try connection.get("/v1/%61//b", fields: ["X-A: 1", "X-Request-Id: 7"]).status == 200)
          #expect(try connection.get("/page").text == "page")
          #expect(try connection.get("/old").status == 308)
          #expect(try connection.get("/files/page.txt").text == "page")
        }
      }
      try ask(100)
      let before = try Self.count(edgeFile)
      #expect(before.others > 0, "nothing is counted at all")
      try ask(200)
      #expect(try Self.count(edgeFile).others - before.others == 0)
    }

    /// The same by HTTP/2 on both hops: a stream that comes and goes uses memory of those before it, libnghttp2's own as well.
    @Test(arguments: Site.Mode.allCases) func aRequestOverHTTP2AllocatesNothing(_ mode: Site.Mode) throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("fine") }
      let keys = try Keys.standard
      var behind = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: mode == .bound)
      behind.access = "off"
      behind.listeners[0].more.append("protocols: [h2c]")
      let (validatorFile, edgeFile) = (workspace.file("validator.count"), workspace.file("edge.count"))
      let validator = try Countersign(
        behind, name: "validator", in: workspace, environment: try Self.counting(in: validatorFile))
      var front = Configuration.edge(keys: keys, to: ["\(try validator["from-edge"])"], bound: mode == .bound)
      front.access = "off"
      front.listeners[0].more.append("protocols: [h2c]")
      front.upstreams[0].members.append("protocol: http2")
      let edge = try Countersign(front, in: workspace, environment: try Self.counting(in: edgeFile))

      let client = HTTP2Client(over: try Connection(to: edge["public"]), scheme: "http")
      try client.begin([])
      func ask(_ count: Int) throws {
        for _ in 0..<count { #expect(try client.get("/counted").status == 200) }
      }
      try ask(300)
      // Each new second brings another Date, and with it an entry of the tables that compress heads: a few blocks, whatever the number of
      // requests.
      var rounds: [(edge: UInt64, validator: UInt64)] = []
      for _ in 0..<10 {
        let before = (edge: try Self.count(edgeFile), validator: try Self.count(validatorFile))
        #expect(before.edge.others > 0 && before.validator.others > 0, "nothing is counted at all")
        try ask(50)
        let after = (edge: try Self.count(edgeFile), validator: try Self.count(validatorFile))
        rounds.append((after.edge.others - before.edge.others, after.validator.others - before.validator.others))
      }
      #expect(rounds.contains { $0 == (0, 0) } && rounds.allSatisfy { $0.edge < 25 && $0.validator < 25 }, "\(rounds)")
    }

    /// With access logs and digests of eight fields: nothing for a line. What is allocated is for handing lines over, many at once.
    @Test func aLineOfTheLogAllocatesNothing() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("fine") }
      let keys = try Keys.standard
      let key = workspace.file("log.jwks.json")
      try ChildProcess.succeed([try Programs.countersign, "keys", "new", "--kid", "log", "--out", key])
      let fields = (0..<8).map { $0 < 4 ? "{ name: f\($0), header: X-\($0) }" : "{ name: f\($0), cookie: c\($0) }" }
      func logged(_ name: String) -> String {
        "./\(name).log, fields: [\(fields.joined(separator: ", "))], fields_key: \"\(key)\""
      }
      var behind = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: false)
      behind.access = logged("validator")
      let (validatorFile, edgeFile) = (workspace.file("validator.count"), workspace.file("edge.count"))
      let validator = try Countersign(
        behind, name: "validator", in: workspace, environment: try Self.counting(in: validatorFile))
      var front = Configuration.edge(keys: keys, to: ["\(try validator["from-edge"])"], bound: false)
      front.access = logged("edge")
      let edge = try Countersign(front, in: workspace, environment: try Self.counting(in: edgeFile))
      let connection = try Connection(to: edge["public"])
      let request = (0..<4).map { "X-\($0): value \($0)" } + ["Cookie: c4=4; c5=5; c6=6; c7=7"]
      func ask(_ count: Int) throws {
        for _ in 0..<count { #expect(try connection.get("/counted", fields: request).status == 200) }
      }
      try ask(200)
      let before = (edge: try Self.count(edgeFile), validator: try Self.count(validatorFile))
      let count = 500
      try ask(count)
      let after = (edge: try Self.count(edgeFile), validator: try Self.count(validatorFile))
      // Eight for each line, at least, if digests did.
      #expect(after.edge.others - before.edge.others < UInt64(count * 8))
      #expect(after.validator.others - before.validator.others < UInt64(count * 8))
    }

    /// Nor does one on a route that asks for an address, a rate and a password, once the password is known.
    @Test func aRequestOnARouteThatAsksForMuchAllocatesNothing() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("fine") }
      let users = try workspace.write("users", "alice:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.access = "off"
      configuration.routes = [
        "to: backend, access: { allow: [127.0.0.0/8], deny: [127.99.0.0/16], htpasswd: \"\(users)\" }, "
          + "limits: { body: 1MiB, rate: { requests: 10000/s } }, timeouts: { idle: 30s }"
      ]
      let file = workspace.file("edge.count")
      let edge = try Countersign(configuration, in: workspace, environment: try Self.counting(in: file))
      let connection = try Connection(to: edge["public"])
      let credentials = "Authorization: Basic \(Data("alice:U*U".utf8).base64EncodedString())"
      func ask(_ count: Int) throws {
        for _ in 0..<count { #expect(try connection.get("/counted", fields: [credentials]).status == 200) }
      }
      try ask(200)
      let before = try Self.count(file)
      #expect(before.others > 0, "nothing is counted at all")
      try ask(500)
      #expect(try Self.count(file).others - before.others == 0)
    }

    /// Nor does a response that is compressed, to a connection and to a stream, once there is something to compress with.
    @Test func aCompressedResponseAllocatesNothing() throws {
      let workspace = try Workspace()
      let text = (0..<1_000).map { "line \($0 * 7_919 % 1_009)\n" }.joined()
      let backend = try RecordingBackend(keepsBytes: false) {
        try $0.reply(text, fields: ["Content-Type: text/plain", "ETag: \"a\""])
      }
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.access = "off"
      configuration.workers = "1"
      configuration.listeners.append(.init(name: "h2c", more: ["protocols: [h2c]"]))
      configuration.routes = ["to: backend, compress: true"]
      let file = workspace.file("edge.count")
      let edge = try Countersign(configuration, in: workspace, environment: try Self.counting(in: file))
      let connection = try Connection(to: edge["public"])
      let client = HTTP2Client(over: try Connection(to: edge["h2c"]), scheme: "http")
      try client.begin([])
      func ask(_ count: Int) throws {
        for _ in 0..<count {
          let answer = try connection.get("/counted", fields: ["Accept-Encoding: gzip"])
          #expect(try Gunzip.text(answer.body) == Array(text.utf8))
          let streamed = try client.get("/counted", fields: [("accept-encoding", "gzip")])
          #expect(streamed["content-encoding"] == "gzip" && streamed.body == answer.body)
        }
      }
      try ask(200)
      // A stream's new Date is an entry of the tables that compress heads, once a second: some round has none.
      var rounds: [UInt64] = []
      while rounds.count < 100, !rounds.contains(0) {
        let before = try Self.count(file)
        #expect(before.others > 0, "nothing is counted at all")
        let seconds = try secondsTaken { try ask(10) }
        rounds.append(try Self.count(file).others - before.others)
        #expect(rounds.last! < 25 * (1 + UInt64(seconds)), "in \(seconds) s")
      }
      #expect(rounds.contains(0), "\(rounds)")
    }

    private static func counting(in file: String) throws -> [String: String] {
      ["LD_PRELOAD": try Programs.allocationCounter, "ALLOCATION_COUNTER": file]
    }

    private static func count(_ file: String) throws -> (others: UInt64, openssl: UInt64) {
      let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
      guard bytes.count >= 16 else { throw Trouble("nothing was counted in \(file)") }
      func word(_ bytes: Data) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
      return (word(bytes.prefix(8)), word(bytes.dropFirst(8).prefix(8)))
    }
  }
}
