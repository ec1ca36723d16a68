// How a process begins, goes on and ends; and what it says when it cannot begin.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Lifecycle {
    // MARK: Beginning

    @Test func theReadyLineSaysWhereItListens() throws {
      let site = try Site(
        .bound,
        edge: {
          $0.hasAdmin = true
          $0.workers = "2"
        })
      let line = try #require(site.edge.process.standardError.lines.first { $0.contains("ready listeners=") })
      #expect(
        try Regex(#"ready listeners=public=127\.0\.0\.1:\d+,admin=127\.0\.0\.1:\d+ workers=2 pid=(\d+)"#).firstMatch(
          in: line) != nil, "\(line)")
      #expect(line.hasSuffix("pid=\(site.edge.process.pid)"))
      #expect(site.edge.process.standardOutput.count == 0, "nothing but the access log is on standard output")
    }

    @Test func systemdIsTold() throws {
      let workspace = try Workspace()
      let path = workspace.file("notify.sock")
      let told = try Notifications(at: path)
      let backend = try RecordingBackend()
      let file = try workspace.write("edge.yaml", Configuration.plainEdge(to: ["\(backend.address)"]).text)
      let process = try ChildProcess(
        [try Programs.countersign, "run", "-c", file], environment: ["NOTIFY_SOCKET": path])
      #expect(try told.next(from: process).contains("READY=1"))
      process.signal(SIGTERM)
      // It waits as long as the drain goes on, and is told so again and again.
      while !(try told.next(from: process).starts(with: ["STOPPING=1", "EXTEND_TIMEOUT_USEC=20000000"])) {}
      #expect(try process.waitForExit() == .code(0))
    }

    @Test func aPortInUseIsSaidSo() throws {
      let workspace = try Workspace()
      let taken = try Socket.listen()
      defer { close(taken.descriptor) }
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
      configuration.listeners[0].listen = "\(taken.address)"
      let outcome = try Countersign.refusedStart(configuration.text, in: workspace)
      #expect(outcome.exit == .code(1))
      #expect(outcome.error.contains("\(taken.address)"))
      #expect(outcome.error.contains("public"))
      #expect(outcome.error.lowercased().contains("in use"))
      #expect(!outcome.error.contains("ready listeners="))
    }

    /// With its place, as everything else that is wrong with a configuration.
    @Test(arguments: ["public", "admin", "log"]) func whatCannotBeOpenedIsSaidWithItsPlace(what: String) throws {
      let workspace = try Workspace()
      let taken = try Socket.listen()
      defer { close(taken.descriptor) }
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
      switch what {
      case "public": configuration.listeners[0].listen = "\(taken.address)"
      case "admin": configuration.more = ["admin: { listen: \"\(taken.address)\" }"]
      default: configuration.access = "./gone/access.log"
      }
      let outcome = try Countersign.refusedStart(configuration.text, in: workspace)
      let found =
        what == "log"
        ? "the access log cannot be opened: .*gone/access.log: no such file" : "\(what): .* is already in use"
      #expect(
        try Regex("refused.yaml:[0-9]+:[0-9]+: (listener )?\(found)").firstMatch(in: outcome.error) != nil,
        "\(outcome.error)")
      #expect(!outcome.error.contains("ready listeners="))
    }

    /// A process is not another one: a reload cannot open every address while one of them is open.
    @Test func aReloadThatWantsItsOwnPortSaysSo() throws {
      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
      let edge = try Countersign(configuration, in: workspace)
      let port = try edge["public"].port
      configuration.listeners[0].listen = "0.0.0.0:\(port)"
      let lines = try edge.linesOfReload(accepting: configuration.text)
      let said = "cannot be opened while this process listens on 127.0.0.1:\(port) for the listener public"
      #expect(lines.contains { $0.contains(said) }, "\(lines)")
    }

    /// Two processes may not share a port by accident, although each listens with SO_REUSEPORT.
    @Test func aPortOfAnotherCountersignIsInUseToo() throws {
      let site = try Site(.bound)
      var configuration = site.edgeConfiguration
      configuration.listeners[0].listen = "\(try site.publicAddress)"
      let outcome = try Countersign.refusedStart(configuration.text, in: site.workspace)
      #expect(outcome.exit == .code(1))
      #expect(outcome.error.lowercased().contains("in use"))
      #expect(try site.connect().get("/still").status == 200)
    }

    struct Fault: Sendable, CustomTestStringConvertible {
      var title: String
      /// What must be in one line of the complaint, or in all of it.
      var words: [String]
      /// Whether it is about a place in the configuration.
      var hasPlace = true
      var text: @Sendable (Workspace, Configuration) throws -> String
      var testDescription: String { title }

      static func changed(
        _ title: String, _ words: String..., change: @escaping @Sendable (Workspace, inout Configuration) throws -> Void
      ) -> Fault {
        Fault(title: title, words: words) { workspace, configuration in
          var configuration = configuration
          try change(workspace, &configuration)
          return configuration.text
        }
      }

      /// A key file in place of the edge's.
      static func keyFile(_ title: String, _ words: String..., make: @escaping @Sendable (Workspace) throws -> String)
        -> Fault
      {
        Fault(title: title, words: words) { workspace, configuration in
          var configuration = configuration
          configuration.identity[1] = "keys: \"\(try make(workspace))\""
          return configuration.text
        }
      }

      static let all: [Fault] = [
        Fault(title: "an unknown key", words: ["lissteners", "listeners"]) {
          $1.text.replacing("\nlisteners:", with: "\nlissteners:")
        },
        Fault(title: "a key twice", words: ["workers"]) { $1.text + "workers: 1\n" },
        .changed("a wrong type", "workers") { $1.workers = "many" },
        .changed("a duration without a unit", "idle") { $1.timeouts = ["idle: 30"] },
        .changed("a route to nowhere", "monitro", "monitor") { $1.routes = ["to: monitro"] },
        .changed("an address that is none", "300.0.0.1") { $1.listeners[0].listen = "300.0.0.1:80" },
        .changed("a pattern that is none", "path_regex") { $1.routes = [#"path_regex: "/(", to: monitor"#] },
        .changed("an unknown evidence", "sokcet", "socket") { $1.listeners[0].trust = ["from: any, evidence: sokcet"] },
        .changed("attest without an audience", "audience") {
          $1.upstreams[0].members.removeAll { $0.hasPrefix("audience") }
        },
        .changed("a key that is not in the set", "k7", "k1") { $1.identity[2] = "sign_with: k7" },
        .keyFile("a key file that is not there", "gone.jwks.json") { $0.file("gone.jwks.json") },
        .keyFile("a key file that others may read", "open.jwks.json", "chmod") {
          try $0.write("open.jwks.json", String(contentsOfFile: Keys.standard.edge, encoding: .utf8), mode: 0o644)
        },
        .keyFile("a key file behind a link", "link.jwks.json") { workspace in
          let link = workspace.file("link.jwks.json")
          try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: Keys.standard.edge)
          return link
        },
        .keyFile("a secret that is too short", "short.jwks.json", "32") {
          try $0.write(
            "short.jwks.json", #"{"keys":[{"kty":"oct","kid":"k1","alg":"HS256","k":"c2hvcnQ"}]}"#, mode: 0o600)
        },
        .keyFile("a secret of one repeated byte", "same.jwks.json") {
          try $0.write(
            "same.jwks.json",
            "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k1\",\"alg\":\"HS256\",\"k\":\"\([UInt8](repeating: 65, count: 32).base64url)\"}]}",
            mode: 0o600)
        },
        .keyFile("a key twice in the set", "twice.jwks.json", "k1") { workspace in
          let path = workspace.file("twice.jwks.json")
          try KeySetFile.join([Keys.standard.edge, Keys.standard.edge], into: path)
          return path
        },
        .keyFile("a key set that is not JSON", "broken.jwks.json") {
          try $0.write("broken.jwks.json", "{\"keys\":[", mode: 0o600)
        },
        .changed("a certificate that is not there", "gone.pem") { workspace, configuration in
          let app = try Certificates.standard.app
          configuration.listeners[0].certificates = [Certificate(certificate: workspace.file("gone.pem"), key: app.key)]
        },
        .changed("a key that does not fit its certificate", "wild.key") { _, configuration in
          let certificates = try Certificates.standard
          configuration.listeners[0].certificates = [
            Certificate(certificate: certificates.app.certificate, key: certificates.wild.key)
          ]
        },
        .changed("a certificate that is none", "none.pem") { workspace, configuration in
          let app = try Certificates.standard.app
          configuration.listeners[0].certificates = [
            Certificate(certificate: try workspace.write("none.pem", "nothing"), key: app.key)
          ]
        },
        .changed("an authority that is none", "none.pem") { workspace, configuration in
          configuration.upstreams[0].tls =
            "ca: \"\(try workspace.write("none.pem", "nothing"))\", name: monitor-1.internal"
        },
      ]
    }

    /// Exit code 1 and a complaint that names file, line, what is wrong and what would be right; by `run` and by
    /// `check` alike.
    @Test(arguments: Fault.all)
    func aFaultIsNamedWithItsPlace(_ fault: Fault) throws {
      let workspace = try Workspace()
      let text = try fault.text(workspace, Configuration.edge(keys: Keys.standard, to: ["127.0.0.1:9"], bound: true))
      let run = try Countersign.refusedStart(text, in: workspace)
      let check = try Countersign.command("check", "-c", workspace.file("refused.yaml"))
      for outcome in [run, check] {
        #expect(outcome.exit == .code(1), "\(outcome.error)")
        let line = outcome.error.split(separator: "\n").first { line in fault.words.allSatisfy { line.contains($0) } }
        #expect(line != nil, "\(outcome.error)")
        #expect(try Regex(#"refused\.yaml:\d+:\d+"#).firstMatch(in: outcome.error) != nil, "\(outcome.error)")
        #expect(!outcome.error.contains("ready listeners="))
      }
    }

    @Test func allFaultsAreToldAtOnce() throws {
      let workspace = try Workspace()
      var configuration = Configuration.edge(keys: try Keys.standard, to: ["127.0.0.1:9"], bound: true)
      configuration.routes = ["to: nowhere"]
      configuration.workers = "many"
      configuration.timeouts = ["idle: soon"]
      let outcome = try Countersign.refusedStart(configuration.text, in: workspace)
      #expect(outcome.exit == .code(1))
      for word in ["nowhere", "many", "soon"] { #expect(outcome.error.contains(word), "\(outcome.error)") }
    }

    @Test func aGoodConfigurationChecksSilentlyAndResolves() throws {
      let workspace = try Workspace()
      let file = try workspace.write(
        "good.yaml", Configuration.edge(keys: Keys.standard, to: ["127.0.0.1:9"], bound: true).text)
      let check = try Countersign.command("check", "-c", file)
      #expect(check.exit == .code(0), "\(check.error)")
      let resolved = try Countersign.command("check", "-c", file, "--resolved")
      #expect(resolved.exit == .code(0))
      #expect(resolved.output.contains("upstream_connect: 3s"))
      // What it prints is a configuration that means the same.
      let again = try workspace.write("again.yaml", resolved.output)
      #expect(try Countersign.command("check", "-c", again, "--resolved").output == resolved.output)
    }

    // MARK: Ending

    @Test func termLetsWhatIsUnderWayFinish() throws {
      let gate = Guarded(false)
      let address = try Socket.reserve()
      let site = try Site(
        .bound,
        script: { exchange in
          if exchange.target == "/slow" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
          try exchange.reply(exchange.clientAddress)
        }, edge: { $0.listeners[0].listen = "\(address)" })
      let slow = try site.connect(from: Peer.client(12))
      let idle = try site.connect(from: Peer.client(13))
      #expect(try idle.get("/idle").status == 200)
      try slow.send(Text.request("/slow"))
      _ = try site.backend.waitForRequest(to: "/slow")
      site.edge.process.signal(SIGTERM)
      #expect(try idle.readToEnd() == [], "an idle connection is ended at once")
      try eventually("nobody listens any more") { (try? Connection(to: address)) == nil }
      #expect(site.edge.process.exit == nil, "it went before its exchange was over")
      gate.with { $0 = true }
      let response = try slow.readResponse()
      #expect(response.status == 200 && response.text == Peer.client(12))
      #expect(response["connection"]?.lowercased() == "close")
      #expect(try slow.readToEnd() == [])
      #expect(try site.edge.process.waitForExit() == .code(0))
      #expect(try site.edge.access.wait(path: "/slow").status == 200)
    }

    /// A response that began before the signal did not say that its connection ends, so the next request may be on its way:
    /// a reset in answer to that could take the response from the client.
    @Test func aRequestBehindTheLastResponseOfADrainMeetsNoReset() throws {
      let gate = Guarded(false)
      let address = try Socket.reserve()
      let site = try Site(
        .bound,
        script: { exchange in
          try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
          _ = gate.wait(until: .usual) { $0 ? true : nil }
          try exchange.send("full")
        }, edge: { $0.listeners[0].listen = "\(address)" })
      let client = try site.connect()
      try client.send(Text.request("/half"))
      let head = try #require(try client.readHead())
      #expect(head.startLine == "HTTP/1.1 200 OK" && head["connection"] == nil)
      #expect(try client.readText(4) == "half")
      site.edge.process.signal(SIGTERM)
      try eventually("nobody listens any more") { (try? Connection(to: address)) == nil }
      gate.with { $0 = true }
      #expect(try site.edge.access.wait(path: "/half").status == 200)
      try client.send(Text.request("/behind"))
      #expect(try client.readToEnd() == Array("full".utf8))
      // Behind a reset this would throw.
      try client.send(Text.request("/further"))
      client.close()
      #expect(try site.edge.process.waitForExit() == .code(0))
      #expect(!site.backend.saw("/behind"))
    }

    @Test func termEndsTunnelsAndTheSlowWhenTheDrainIsOver() throws {
      let site = try Site(
        .bound,
        script: { exchange in
          if exchange.target == "/never" { return _ = try exchange.connection.readToEnd() }
          try WebSocket.echo(exchange)
        }, edge: { $0.timeouts = ["drain: 500ms", "tunnel_close: 200ms"] })
      let tunnel = try site.connect()
      #expect(try tunnel.get("/ws", fields: WebSocket.upgrade).status == 101)
      let never = try site.connect()
      try never.send(Text.request("/never"))
      _ = try site.backend.waitForRequest(to: "/never")
      var exit: ChildProcess.Exit?
      let seconds = try secondsTaken {
        site.edge.process.signal(SIGTERM)
        exit = try site.edge.process.waitForExit()
      }
      #expect(exit == .code(0))
      #expect(seconds > 0.4 && seconds < 10, "\(seconds)")
    }

    @Test func intEndsAtOnce() throws {
      let site = try Site(.bound) { exchange in
        if exchange.target == "/never" { _ = try exchange.connection.readToEnd() }
        try exchange.reply("")
      }
      let never = try site.connect()
      try never.send(Text.request("/never"))
      _ = try site.backend.waitForRequest(to: "/never")
      site.edge.process.signal(SIGINT)
      let exit = try site.edge.process.waitForExit(by: .after(5))
      #expect(exit == .code(0) || exit == .signal(SIGINT) || exit == .code(130))
    }

    @Test func aUnixListenerLeavesNoFileBehind() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners.append(
        Configuration.Listener(
          name: "local", listen: "unix:\(workspace.file("local.sock"))", trust: ["from: any, evidence: refuse"]))
      let edge = try Countersign(configuration, in: workspace)
      #expect(workspace.has("local.sock"))
      edge.process.signal(SIGTERM)
      #expect(try edge.process.waitForExit() == .code(0))
      #expect(!workspace.has("local.sock"))
      // And one that was left behind by a crash is no obstacle.
      let crashed = try Countersign(configuration, in: workspace)
      crashed.process.kill()
      _ = try Countersign(configuration, in: workspace)
    }

    // MARK: In between

    @Test func usr1ReopensTheLog() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.access = "\"\(workspace.file("access.log"))\""
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      #expect(try connection.get("/one").status == 200)
      try eventually("the first line") {
        try workspace.has("access.log") && workspace.read("access.log").contains("/one")
      }
      rename(workspace.file("access.log"), workspace.file("access.log.1"))
      #expect(try connection.get("/two").status == 200)
      try eventually("the second line, in the old file") { try workspace.read("access.log.1").contains("/two") }
      edge.process.signal(SIGUSR1)
      try eventually("a new file") { workspace.has("access.log") }
      #expect(try connection.get("/three").status == 200)
      try eventually("the third line, in the new file") { try workspace.read("access.log").contains("/three") }
      #expect(try !workspace.read("access.log.1").contains("/three"))
      #expect(edge.process.standardOutput.count == 0)
    }

    @Test func theLogIsOneObjectALineWhateverIsInTheRequest() throws {
      let site = try Site(.bound)
      let connection = try site.connect()
      let nasty = #"/"quoted"/\/{}%0a%22/é"#.filter { $0.isASCII && $0 != "\\" }
      #expect(try connection.get(nasty).status == 200)
      let entry = try site.edge.access.wait(from: 0, for: "the nasty path") { $0.path?.contains("quoted") == true }
      #expect(entry.path == nasty)
      #expect(entry.time?.hasSuffix("Z") == true && entry.duration_ms != nil && entry.upstream_ms != nil)
      #expect(entry.upstream == "monitor" && entry.rule == "default")
      #expect(entry.server == "\(try site.validator["from-edge"])")
      #expect(site.edge.process.standardOutput.lines.allSatisfy { $0.hasPrefix("{") && $0.hasSuffix("}") })
    }

    /// A reader of the log that does not read holds nobody up.
    @Test func aStuckLogReaderHoldsNobodyUp() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false)
      let file = try workspace.write("edge.yaml", Configuration.plainEdge(to: ["\(backend.address)"]).text)
      let pipe = try EndToEndTests.Pipe()
      defer { close(pipe.readEnd) }
      let process = try ChildProcess([try Programs.countersign, "run", "-c", file], output: pipe.writeEnd)
      pipe.closeWriteEnd()
      let line = try #require(process.standardError.wait { $0.contains("ready listeners=") ? $0 : nil })
      let address = try #require(Address(line.split(separator: "public=")[1].prefix { $0 != " " && $0 != "," }))
      let connection = try Connection(to: address)
      // Far more than a pipe holds.
      for index in 0..<2000 { #expect(try connection.get("/\(index)").status == 200) }
    }

    @Test func adminMayBeAUnixSocket() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.more = ["admin: { listen: \"unix:\(workspace.file("admin.sock"))\" }"]
      let edge = try Countersign(configuration, in: workspace)
      #expect(edge.process.standardError.text.contains("admin=unix:\(workspace.file("admin.sock"))"))
      #expect(try Connection(unix: workspace.file("admin.sock")).get("/healthz").status == 200)
    }

    /// In seconds since 1970, as `openssl x509 -enddate` has it, and anew after a reload.
    @Test func untilWhenCertificatesAreValidIsAMetric() throws {
      let certificates = try Certificates.standard
      let site = try Site(.shared, tls: true, edge: { $0.hasAdmin = true })
      func expiry(_ file: String) throws -> Int? {
        try site.edge.metric("countersign_certificate_expiry_timestamp_seconds{file=\"\(file)\"}")
      }
      func stated(_ file: String) throws -> Int? {
        let date = try ChildProcess.succeed([
          "/bin/sh", "-c", "date -d \"$(openssl x509 -in \(file) -noout -enddate | cut -d= -f2)\" +%s",
        ])
        return Int(date.trimmingCharacters(in: .whitespacesAndNewlines))
      }
      #expect(try expiry(certificates.app.certificate) == stated(certificates.app.certificate))
      var next = site.edgeConfiguration
      next.listeners[0].certificates = [certificates.wild]
      try site.edge.reload(next.text)
      try eventually("the reload") {
        try expiry(certificates.wild.certificate) == stated(certificates.wild.certificate)
      }
      #expect(try expiry(certificates.app.certificate) == nil)
    }

    @Test func metricsCountWhatHappened() throws {
      let site = try Site(.bound, edge: { $0.hasAdmin = true })
      let admin = try site.edge["admin"]
      #expect(try Connection(to: admin, from: nil).get("/healthz").status == 200)
      let connection = try site.connect()
      for _ in 0..<3 { #expect(try connection.get("/counted").status == 200) }
      let refused = try site.connect()
      try refused.send("GET /x HTTP/1.1\r\n\r\n")
      #expect(try refused.readResponse().status == 400)
      _ = try site.edge.access.wait(refusal: "host-missing")
      let metrics = try eventually("the counts") {
        let page = try Connection(to: admin, from: nil).get("/metrics")
        return page.metric(#"countersign_refusals_total{name="host-missing"}"#) == 1 ? page : nil
      }
      #expect(metrics.metric("countersign_requests_total") != nil)
      #expect(metrics.text.contains("# TYPE countersign_requests_total counter"))
      #expect(try Connection(to: admin, from: nil).get("/status").status == 200)
      #expect(try Connection(to: admin, from: nil).get("/nothing").status == 404)
    }
  }
}
