// The access log in its formats, as the real program writes it: what each says, that nothing which a client sends makes a second line or
// another column, that secrets of a query stay out where that is asked for, and that a syslog daemon gets each line.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct LogFormats {
    private static func site(
      _ log: String, tls: Bool = false, script: @escaping RecordingBackend.Script = { try $0.reply("fine") }
    ) throws -> Site {
      try Site(.shared, tls: tls, script: script, edge: { $0.access = log })
    }

    private static func line(_ process: ChildProcess, _ part: String) throws -> String {
      let found = process.standardOutput.wait { $0.contains(part) ? $0 : nil }
      guard let found else { throw Trouble("no line with \(part):\n\(process.standardOutput.text)") }
      return found
    }

    /// Quotes, backslashes, blanks, tabs, bytes that are no ASCII: what a field value may hold.
    private static let hostile = "a\"b\\c \"x\" 200 - \\x22\té\u{2028} end"
    private static let hostileEscaped = #"a\x22b\x5cc \x22x\x22 200 - \x5cx22\x09\xc3\xa9\xe2\x80\xa8 end"#

    // MARK: combined

    @Test func combinedIsApaches() throws {
      let site = try Self.site("stdout, format: combined")
      let client = Peer.client(7)
      let fields = ["User-Agent: \(Self.hostile)", "Referer: https://example.com/from?x=1"]
      #expect(try site.connect(from: client).get("/a?b=c", fields: fields).status == 200)
      let line = try Self.line(site.edge.process, "/a?b=c")
      let pattern =
        /(\S+) - - \[(\d\d\/[A-Z][a-z][a-z]\/\d{4}:\d\d:\d\d:\d\d \+0000)\] "([^"]*)" (\d+) (\d+) "([^"]*)" "([^"]*)"/
      let match = try #require(try pattern.wholeMatch(in: line), "\(line)")
      #expect(match.1 == client && match.3 == "GET /a?b=c HTTP/1.1" && match.4 == "200")
      #expect(match.6 == "https://example.com/from?x=1" && match.7 == Self.hostileEscaped)
      #expect(try #require(Int(match.5)) > 0)
      let time = DateFormatter()
      time.locale = Locale(identifier: "en_US_POSIX")
      time.dateFormat = "dd/MMM/yyyy:HH:mm:ss Z"
      let written = try #require(time.date(from: String(match.2)))
      #expect(abs(written.timeIntervalSinceNow) < 120)
    }

    @Test func aConnectionWithoutARequestHasALineOfDashes() throws {
      let site = try Self.site("stdout, format: combined")
      let connection = try site.connect()
      try connection.send("not http\r\n\r\n")
      _ = try connection.readToEnd()
      let line = try Self.line(site.edge.process, "400")
      #expect(line.hasSuffix("\"-\" \"-\"") && line.contains("] \"-\" 400 "), "\(line)")
    }

    // MARK: Templates

    @Test func columnsOfATemplateCannotBeForged() throws {
      let template = "$client|$user_agent|$referer|$status|$refusal"
      let site = try Self.site("stdout, format: template, template: '\(template)'")
      let client = Peer.client(8)
      for (agent, marker) in [("x|192.0.2.1|-|500|replay", "one"), (Self.hostile, "two")] {
        let fields = ["User-Agent: \(agent)", "Referer: \(marker)"]
        #expect(try site.connect(from: client).get("/", fields: fields).status == 200)
        let line = try Self.line(site.edge.process, "|\(marker)|")
        let columns = line.split(separator: "|", omittingEmptySubsequences: false)
        #expect(columns.count == 5 && columns[0] == client && columns[3] == "200" && columns[4] == "-", "\(line)")
        #expect(line.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }, "\(line)")
      }
    }

    @Test func everyVariableSaysWhatTheJSONDoes() throws {
      // Each in a line of its own form: `name=value`.
      let names = [
        "time", "listener", "client", "client_port", "via", "scheme", "scheme_source", "rule", "evidence", "config",
        "generation", "peer", "connection", "route", "method", "host", "path", "status", "bytes_in", "bytes_out",
        "upstream", "server", "verified", "tls", "protocol", "retries",
      ]
      let template = names.map { "\($0)=\"$\($0)\"" }.joined(separator: " ")
      let extra = "extra: [protocol, retries, sni, user_agent, request_id, queue_ms, connect_ms, response_ms]"
      let site = try Self.site("stdout, \(extra)", tls: true)
      let text = try Countersign(
        {
          var other = site.edgeConfiguration
          other.access = "stdout, format: template, template: '\(template)'"
          return other
        }(), name: "other", in: site.workspace)
      for edge in [site.edge, text] {
        let connection = try Connection.tls(to: edge["public"], from: Peer.client(9), options: [])
        #expect(try connection.get("/same?x=1", fields: ["User-Agent: test"]).status == 200)
      }
      let json = try #require(
        try JSONSerialization.jsonObject(with: Data(Self.line(site.edge.process, "/same").utf8)) as? [String: Any])
      let line = try Self.line(text.process, "/same")
      var values: [String: String] = [:]
      for match in line.matches(of: /([a-z_]+)="([^"]*)"/) { values[String(match.1)] = String(match.2) }
      #expect(values.count == names.count)
      for name in names
      where !["time", "client_port", "peer", "connection", "config", "bytes_in", "bytes_out"].contains(name) {
        #expect(values[name] == json[name].map { "\($0)" }, "\(name): \(line)")
      }
      #expect(values["connection"]?.count == 32 && values["time"]?.count == 24 && values["config"]?.count == 16)
      #expect(json["sni"] as? String == Site.host && json["user_agent"] as? String == "test")
      #expect(json["request_id"] as? String == "\(json["connection"] as? String ?? "")-1")
      for time in ["queue_ms", "connect_ms", "response_ms"] { #expect(json[time] is Double, "\(time)") }
    }

    /// A request that is tried again says so, and each step of its way how long it took.
    @Test func phasesAndRetriesAreTold() throws {
      let tries = Guarded(0)
      let backend = try RecordingBackend { exchange in
        // The first connection ends without an answer.
        if tries.with({
          $0 += 1; return $0
        }) == 1 {
          return exchange.end()
        }
        try exchange.reply("fine")
      }
      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.access = "stdout, extra: [retries, queue_ms, connect_ms, response_ms]"
      let edge = try Countersign(configuration, in: workspace)
      #expect(try Connection(to: edge["public"]).get("/again").status == 200)
      let json = try #require(
        try JSONSerialization.jsonObject(with: Data(Self.line(edge.process, "/again").utf8)) as? [String: Any])
      let whole = try #require(json["duration_ms"] as? Double)
      let parts = try ["queue_ms", "connect_ms", "response_ms"].map { try #require(json[$0] as? Double) }
      #expect(json["retries"] as? Int == 1 && parts.allSatisfy { $0 >= 0 && $0 <= whole })
      #expect(try #require(json["upstream_ms"] as? Double) >= parts[1])
    }

    // MARK: Queries

    @Test(arguments: [("names", "/q?token=*&a=*", "https://h/?t=*"), ("none", "/q", "https://h/")])
    func secretsOfAQueryStayOut(_ query: String, _ path: String, _ referer: String) throws {
      for format in ["json, extra: [referer]", "combined"] {
        let site = try Self.site("stdout, format: \(format), query: \(query)")
        let fields = ["Referer: https://h/?t=s3cret"]
        #expect(try site.connect().get("/q?token=s3cret&a=s3cret", fields: fields).status == 200)
        let line = try Self.line(site.edge.process, "/q")
        #expect(line.contains(path) && line.contains(referer) && !line.contains("s3cret"), "\(line)")
        // The backend gets it whole.
        #expect(try site.backend.waitForRequest(to: "/q?token=s3cret&a=s3cret").target.hasSuffix("a=s3cret"))
      }
    }

    // MARK: Tunnels

    @Test func aTunnelHasALineAtItsBeginning() throws {
      let site = try Self.site("stdout, tunnels: both", script: WebSocket.echo)
      let connection = try site.connect()
      #expect(try connection.get("/ws", fields: WebSocket.upgrade).status == 101)
      let begun = try Self.line(site.edge.process, "/ws")
      #expect(begun.contains("\"event\":\"tunnel-begin\"") && begun.contains("\"status\":101"), "\(begun)")
      #expect(!begun.contains("duration_ms") && !begun.contains("bytes_out"))
      connection.shutdownWrite()
      #expect(try connection.readToEnd() == [])
      let ended = site.edge.process.standardOutput.wait { $0.contains("/ws") && !$0.contains("event") ? $0 : nil }
      #expect(ended?.contains("duration_ms") == true)
      // An audit counts it once.
      let file = try site.workspace.write("tunnel.log", "\(begun)\n\(ended ?? "")\n")
      let audit = try Countersign.command(
        "audit", file, "--from", "2020-01-01T00:00", "--until", "2100-01-01T00:00", "--json")
      #expect(audit.succeeded, "\(audit.error)")
      #expect(audit.error == "")
      #expect(audit.output.contains("\"requests\":1,"), "\(audit.output)")
    }

    // MARK: Audits

    @Test func anAuditOfAnotherFormatSaysWhatItNeeds() throws {
      let workspace = try Workspace()
      let file = try workspace.write(
        "access.log", "192.0.2.1 - - [28/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"\n")
      let audit = try Countersign.command(
        "audit", file, "--from", "2020-01-01T00:00", "--until", "2100-01-01T00:00")
      #expect(audit.exit == .code(1))
      #expect(
        audit.error.contains("no line is one of `log.format: json`, which an audit needs (the first is \(file):1)"))
    }

    // MARK: syslog

    @Test func aSyslogDaemonGetsEachLine() throws {
      let workspace = try Workspace()
      let socket = workspace.file("log.sock")
      let daemon = try Datagrams(at: socket)
      let site = try Self.site("\"syslog:\(socket)\"")
      for index in 0..<20 { #expect(try site.connect().get("/\(index)").status == 200) }
      var seen: Set<String> = []
      while seen.count < 20 {
        let datagram = try daemon.next()
        let prefix = "<134>countersign[\(site.edge.process.pid)]: "
        #expect(datagram.hasPrefix(prefix) && !datagram.contains("\n"), "\(datagram)")
        let json = try #require(
          try JSONSerialization.jsonObject(with: Data(datagram.dropFirst(prefix.count).utf8)) as? [String: Any])
        seen.insert(try #require(json["path"] as? String))
      }
      #expect(seen == Set((0..<20).map { "/\($0)" }))
    }

    /// Requests are served while nobody takes the log; lines that were lost are counted, and the next daemon gets what comes then.
    @Test func aSyslogDaemonMayBeGoneAndComeBack() throws {
      let workspace = try Workspace()
      let socket = workspace.file("log.sock")
      let site = try Site(
        .shared,
        edge: {
          $0.access = "\"syslog:\(socket)\""
          $0.hasAdmin = true
        })
      try site.edge.said("nobody takes the access log there")
      #expect(try site.connect().get("/lost").status == 200)
      try eventually("the lost line is counted") {
        try site.edge.metric("countersign_log_lines_dropped_total{log=\"access\"}") ?? 0 > 0
      }
      let daemon = try Datagrams(at: socket)
      var index = 0
      try eventually("a daemon that begins gets lines") {
        index += 1
        #expect(try site.connect().get("/found-\(index)").status == 200)
        return try daemon.next(withinMilliseconds: 100)?.contains("/found-") == true
      }
    }
  }

  /// A datagram socket, as a syslog daemon has one.
  private final class Datagrams: @unchecked Sendable {
    private let descriptor: Int32

    init(at path: String) throws {
      descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
      let bound = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      guard bound == 0 else { throw Trouble("no socket at \(path)") }
    }

    deinit { close(descriptor) }

    func next(withinMilliseconds milliseconds: Int32) throws -> String? {
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&entry, 1, milliseconds) == 1 else { return nil }
      var bytes = [UInt8](repeating: 0, count: 64 * 1024)
      let count = recv(descriptor, &bytes, bytes.count, 0)
      return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    func next() throws -> String {
      guard let datagram = try next(withinMilliseconds: 60_000) else { throw Trouble("no datagram came") }
      return datagram
    }
  }
}
