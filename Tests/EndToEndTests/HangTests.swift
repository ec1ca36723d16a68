// What is outside may hang: a resolver, a disk, whoever should read a log. Signals are served all the same, and so are
// clients.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Hangs {
    /// A plain edge with its listener and its admin listener on unix sockets, so that nothing has to be read to find
    /// them.
    private struct Quiet {
      let workspace: Workspace
      let backend: RecordingBackend
      var configuration: Configuration

      init() throws {
        workspace = try Workspace()
        backend = try RecordingBackend(keepsBytes: false) { try $0.reply("") }
        configuration = .plainEdge(to: ["\(backend.address)"])
        configuration.listeners[0].listen = "unix:\(workspace.file("web.sock"))"
        // Nobody on a unix socket has an address, so a balancer says it.
        configuration.listeners[0].trust = ["from: any, evidence: forwarded"]
        configuration.more = ["admin: { listen: \"unix:\(workspace.file("admin.sock"))\" }"]
        configuration.access = "\"\(workspace.file("access.log"))\""
      }

      func start(_ options: [String] = [], error: Int32? = nil) throws -> ChildProcess {
        let file = try workspace.write("edge.yaml", configuration.text)
        return try ChildProcess([try Programs.countersign, "run", "-c", file] + options, error: error)
      }

      func get(_ path: String) throws -> Int {
        let connection = try Connection(unix: workspace.file("web.sock"))
        return try connection.get(path, fields: ["X-Forwarded-For: 192.0.2.7"]).status
      }

      func admin(_ path: String) throws -> HTTPResponse {
        try Connection(unix: workspace.file("admin.sock")).get(path)
      }

      func metric(_ name: String) throws -> Int? { try admin("/metrics").metric(name) }
    }

    private func hasThread(_ process: ChildProcess, _ name: String) throws -> Bool {
      let tasks = "/proc/\(process.pid)/task"
      return try FileManager.default.contentsOfDirectory(atPath: tasks).contains {
        (try? String(contentsOfFile: "\(tasks)/\($0)/comm", encoding: .utf8)) == name + "\n"
      }
    }

    // MARK: Loading

    @Test(arguments: [SIGTERM, SIGINT])
    func aStartThatHangsIsEndedByASignal(_ signal: Int32) throws {
      var quiet = try Quiet()
      let fifo = try Fifo("hangs.pem", in: quiet.workspace)
      quiet.configuration.listeners[0].certificates = [
        Certificate(certificate: fifo.path, key: try Certificates.standard.app.key)
      ]
      let process = try quiet.start()
      let end = try fifo.openWhenRead()
      defer { close(end) }
      let health = try quiet.admin("/healthz")
      #expect(health.status == 503 && health.text.hasPrefix("starting"), "\(health.text)")
      #expect(try quiet.admin("/metrics").status == 503)
      process.signal(SIGUSR1)
      process.signal(SIGHUP)
      process.signal(signal)
      #expect(try process.waitForExit(by: .after(5)) == .code(0))
    }

    @Test func aStartThatTakesTooLongSaysWhatItWaitedFor() throws {
      var quiet = try Quiet()
      let fifo = try Fifo("hangs.pem", in: quiet.workspace)
      quiet.configuration.listeners[0].certificates = [
        Certificate(certificate: fifo.path, key: try Certificates.standard.app.key)
      ]
      let process = try quiet.start(["--load-timeout", "200ms"])
      #expect(try process.waitForExit() == .code(1))
      let line = process.standardError.wait { $0.contains("took longer than 200 ms") ? $0 : nil }
      #expect(line?.contains("reading the certificates and keys of the listener public") == true, "\(process.tail)")
    }

    /// The one that hangs is refused; what it comes to later, however good, is not taken; and the next one is.
    @Test func aReloadThatHangsIsRefusedAndItsLateResultDiscarded() throws {
      let quiet = try Quiet()
      let process = try quiet.start(["--load-timeout", "2s"])
      #expect(process.standardError.wait { $0.contains("ready listeners=") ? $0 : nil } != nil)
      #expect(try quiet.get("/before") == 200)

      let fifo = try Fifo("late.pem", in: quiet.workspace)
      let app = try Certificates.standard.app
      var late = quiet.configuration
      late.listeners.append(
        Configuration.Listener(
          name: "late", listen: "unix:\(quiet.workspace.file("late.sock"))",
          certificates: [Certificate(certificate: fifo.path, key: app.key)]))
      late.routes = ["path: \"/late\", to: backend"]
      try quiet.workspace.write("edge.yaml", late.text)
      process.signal(SIGHUP)
      let end = try fifo.openWhenRead()
      // Signals and clients are served meanwhile.
      rename(quiet.workspace.file("access.log"), quiet.workspace.file("access.log.1"))
      process.signal(SIGUSR1)
      try eventually("the log is opened anew") { quiet.workspace.has("access.log") }
      #expect(try quiet.get("/during") == 200)
      let refused = process.standardError.wait { $0.contains("took longer than 2000 ms") ? $0 : nil }
      #expect(refused?.contains("reading the certificates and keys of the listener late") == true, "\(process.tail)")
      let status = try eventually("the failure is shown") {
        let text = try quiet.admin("/status").text
        return text.contains("\"last_reload_successful\":false") ? text : nil
      }
      #expect(status.contains("took longer than 2000 ms") && status.contains("\"generation\":1"), "\(status)")

      // Now the certificate comes, and the load could be completed.
      let bytes = Array(try String(contentsOfFile: app.certificate, encoding: .utf8).utf8)
      #expect(write(end, bytes, bytes.count) == bytes.count)
      close(end)
      try eventually("the load's thread is over") { try !hasThread(process, "load") }
      #expect(!quiet.workspace.has("late.sock"))
      #expect(try quiet.get("/after") == 200)

      var next = quiet.configuration
      next.routes = ["path: \"/next\", to: backend"]
      try quiet.workspace.write("edge.yaml", next.text)
      process.signal(SIGHUP)
      try eventually("the next reload is taken") { try quiet.get("/after") == 404 }
      #expect(try quiet.get("/next") == 200)
      // The status is told once all workers have it.
      try eventually("the success is shown") {
        try quiet.admin("/status").text.contains("\"last_reload_successful\":true")
      }
    }

    /// What was written after a load had read it is not missed.
    @Test func aSignalDuringALoadBeginsAnotherOne() throws {
      let quiet = try Quiet()
      let process = try quiet.start()
      #expect(process.standardError.wait { $0.contains("ready listeners=") ? $0 : nil } != nil)
      let fifo = try Fifo("slow.pem", in: quiet.workspace)
      let app = try Certificates.standard.app
      var slow = quiet.configuration
      slow.listeners.append(
        Configuration.Listener(
          name: "slow", listen: "unix:\(quiet.workspace.file("slow.sock"))",
          certificates: [Certificate(certificate: fifo.path, key: app.key)]))
      try quiet.workspace.write("edge.yaml", slow.text)
      process.signal(SIGHUP)
      let end = try fifo.openWhenRead()
      var last = quiet.configuration
      last.routes = ["path: \"/last\", to: backend"]
      try quiet.workspace.write("edge.yaml", last.text)
      process.signal(SIGHUP)
      close(end)
      try eventually("the last one is in force") { try quiet.get("/other") == 404 }
      #expect(try quiet.get("/last") == 200)
    }

    /// OpenSSL would ask on the terminal, with every signal blocked.
    @Test(arguments: [[], ["-traditional"]])
    func anEncryptedKeyIsRefusedWithoutAsking(_ form: [String]) throws {
      var quiet = try Quiet()
      let app = try Certificates.standard.app
      let key = quiet.workspace.file("encrypted.key")
      let command = form.isEmpty ? ["pkey", "-aes128"] : ["ec", "-aes128"]
      try ChildProcess.succeed(
        [try Programs.openssl] + command + ["-in", app.key, "-passout", "pass:secret", "-out", key])
      quiet.configuration.listeners[0].certificates = [Certificate(certificate: app.certificate, key: key)]
      let file = try quiet.workspace.write("edge.yaml", quiet.configuration.text)
      for command in ["run", "check"] {
        // On a terminal of its own, where a prompt would wait for an answer.
        let outcome = try ChildProcess.run(
          [
            try Programs.script, "--quiet", "--return", "--command",
            "\(try Programs.countersign) \(command) -c \(file)", "/dev/null",
          ], by: .usual)
        #expect(outcome.exit == .code(1))
        #expect(outcome.output.contains("encrypted.key: is encrypted with a passphrase"), "\(outcome.output)")
        #expect(!outcome.output.contains("Enter PEM"))
      }
    }

    // MARK: Logs

    @Test func aStuckStandardErrorHoldsUpNothing() throws {
      let quiet = try Quiet()
      let pipe = try EndToEndTests.Pipe()
      Fifo.fill(pipe.writeEnd)
      defer { close(pipe.readEnd) }
      let process = try quiet.start(error: pipe.writeEnd)
      pipe.closeWriteEnd()
      try eventually("it serves") { (try? quiet.get("/first")) == 200 }

      // Far more complaints than wait: the rest is dropped and counted.
      let bad = (0..<3000).map { "unknown-\($0)-\(String(repeating: "x", count: 100)): 1\n" }.joined()
      try quiet.workspace.write("edge.yaml", quiet.configuration.text + bad)
      try eventually("lines are dropped and counted", everyMilliseconds: 50) {
        process.signal(SIGHUP)
        return try quiet.metric("countersign_log_lines_dropped_total{log=\"operational\"}") ?? 0 > 0
      }
      #expect(try quiet.metric("countersign_config_last_reload_successful") == 0)
      #expect(try quiet.metric("countersign_log_lines_dropped_total{log=\"access\"}") == 0)

      // A good one is taken, the access log goes on, and it ends.
      var next = quiet.configuration
      next.routes = ["path: \"/next\", to: backend"]
      try quiet.workspace.write("edge.yaml", next.text)
      process.signal(SIGHUP)
      try eventually("the reload is in force") { try quiet.get("/first") == 404 }
      #expect(try quiet.get("/next") == 200)
      try eventually("the access log has it") { try quiet.workspace.read("access.log").contains("\"/next\"") }
      process.signal(SIGUSR1)
      process.signal(SIGTERM)
      #expect(try process.waitForExit(by: .after(10)) == .code(0))
    }

    @Test func aFIFOWithoutAReaderAsAccessLogHangsNothing() throws {
      let quiet = try Quiet()
      let fifo = try Fifo("access.log", in: quiet.workspace)
      let process = try quiet.start()
      #expect(process.standardError.wait { $0.contains("ready listeners=") ? $0 : nil } != nil)
      #expect(process.standardError.text.contains("\(fifo.path): the access log is a FIFO that nobody reads"))
      for _ in 0..<3 { #expect(try quiet.get("/lost") == 200) }
      try eventually("lost lines are counted") {
        try quiet.metric("countersign_log_lines_dropped_total{log=\"access\"}") == 3
      }
      #expect(
        process.standardError.wait { $0.contains("the access log lost") && $0.contains("nobody reads it") ? $0 : nil }
          != nil)

      // A reader comes, and gets what is written from then on.
      let reader = open(fifo.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      defer { close(reader) }
      var text = ""
      func readSome() {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = read(reader, &bytes, bytes.count)
        if count > 0 { text += String(decoding: bytes[..<count], as: UTF8.self) }
      }
      try eventually("a line reaches the reader", everyMilliseconds: 50) {
        guard try quiet.get("/found") == 200 else { return false }
        readSome()
        return text.contains("\"/found\"")
      }
      #expect(!text.contains("\"/lost\""))
      #expect(text.hasSuffix("\n") && text.split(separator: "\n").allSatisfy { $0.hasPrefix("{") && $0.hasSuffix("}") })
      process.signal(SIGTERM)
      #expect(try process.waitForExit(by: .after(10)) == .code(0))
    }

    /// The two logs do not wait for each other.
    @Test func aStalledAccessLogLeavesTheOperationalLogAlone() throws {
      let quiet = try Quiet()
      let fifo = try Fifo("access.log", in: quiet.workspace)
      let held = try fifo.hold()
      defer { close(held) }
      let filled = Fifo.fill(held)
      let process = try quiet.start()
      #expect(process.standardError.wait { $0.contains("ready listeners=") ? $0 : nil } != nil)
      #expect(try quiet.get("/stalled") == 200)
      try quiet.workspace.write("edge.yaml", "nonsense: 1\n" + quiet.configuration.text)
      process.signal(SIGHUP)
      #expect(process.standardError.wait { $0.contains("nonsense") ? $0 : nil } != nil)
      process.signal(SIGUSR1)
      #expect(process.standardError.wait { $0.contains("logs reopened") ? $0 : nil } != nil)

      // When it is read again, nothing is missing.
      var bytes = [UInt8](repeating: 0, count: 1 << 20)
      var all: [UInt8] = []
      try eventually("the line comes") {
        let count = read(held, &bytes, bytes.count)
        if count > 0 { all += bytes[..<count] }
        return all.count > filled && all.last == 0x0a
      }
      #expect(String(decoding: all[filled...], as: UTF8.self).contains("\"path\":\"/stalled\""))
      Fifo.fill(held)
      #expect(try quiet.get("/never-read") == 200)
      process.signal(SIGTERM)
      #expect(try process.waitForExit(by: .after(10)) == .code(0))
    }

    /// A disk that is full in the middle of a line: lines are lost whole, every one is counted, and the one that was
    /// half written is completed before the next.
    @Test func aFullDiskLosesWholeLinesAndCountsThem() throws {
      let quiet = try Quiet()
      let process = try quiet.start()
      #expect(process.standardError.wait { $0.contains("ready listeners=") ? $0 : nil } != nil)
      #expect(try quiet.get("/0") == 200)
      let first = try eventually("the first line") {
        let size = try quiet.workspace.read("access.log").utf8.count
        return size > 0 ? size : nil
      }
      // Room for one more line and a part of another.
      func limit(_ bytes: String) throws {
        try ChildProcess.succeed([try Programs.prlimit, "--pid", "\(process.pid)", "--fsize=\(bytes):"])
      }
      try limit("\(first * 5 / 2)")
      var sent = 1
      let dropped = "countersign_log_lines_dropped_total{log=\"access\"}"
      while sent < 10 {
        #expect(try quiet.get("/\(sent)") == 200)
        sent += 1
      }
      try eventually("lines are lost and counted") { try quiet.metric(dropped) ?? 0 >= 7 }
      #expect(try quiet.workspace.read("access.log").last != "\n", "the disk ended in the middle of a line")
      #expect(
        process.standardError.wait { $0.contains("the access log lost") && $0.contains("File too large") ? $0 : nil }
          != nil, "\(process.tail)")
      try limit("unlimited")
      #expect(try quiet.get("/last") == 200)
      sent += 1
      let text = try eventually("the next line") {
        let text = try quiet.workspace.read("access.log")
        return text.contains("\"/last\"") && text.hasSuffix("\n") ? text : nil
      }
      let lines = text.split(separator: "\n")
      for line in lines {
        #expect((try? JSONSerialization.jsonObject(with: Data(line.utf8))) != nil, "not a whole line: \(line)")
      }
      #expect(try lines.count + (quiet.metric(dropped) ?? 0) == sent)
    }
  }
}
