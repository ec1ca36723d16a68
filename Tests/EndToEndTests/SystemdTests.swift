// Under systemd: sockets that were opened before the process, and who the main process is, in an upgrade too.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Systemd {
    /// Starts as systemd would, with LISTEN_PID the process's own number.
    private func start(
      _ file: String, names: String, passing: [Int32], environment: [String: String] = [:]
    ) throws -> ChildProcess {
      try ChildProcess(
        ["/bin/sh", "-c", "LISTEN_PID=$$ exec \"$0\" run -c \"$1\"", try Programs.countersign, file],
        environment: environment.merging(["LISTEN_FDS": "\(passing.count)", "LISTEN_FDNAMES": names]) { $1 },
        passing: passing)
    }

    @Test func aSocketOfSystemdIsServedAndHandedOn() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let (listening, address) = try Socket.listen()
      defer { close(listening) }
      let told = try Notifications(at: workspace.file("notify.sock"))
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].listen = "\(address)"
      configuration.timeouts = ["drain: 5s"]
      let file = try workspace.write("edge.yaml", configuration.text)
      // It waits in the queue before there is a process.
      let early = try Connection(to: address)
      let process = try start(
        file, names: "public", passing: [listening], environment: ["NOTIFY_SOCKET": workspace.file("notify.sock")])
      #expect(try early.get("/early").status == 200)
      #expect(try told.next(from: process).contains("READY=1"))
      early.close()

      process.signal(SIGUSR2)
      let main = try told.next(from: process)
      let pid = try #require(main.first.flatMap { pid_t($0.dropFirst("MAINPID=".count)) }, "\(main)")
      defer { kill(pid, SIGKILL) }
      #expect(main == ["MAINPID=\(pid)"])
      #expect(try told.next(from: process).contains("READY=1"))
      #expect(try process.waitForExit() == .code(0))
      for _ in 0..<8 { #expect(try Connection(to: address).get("/late").status == 200) }
      kill(pid, SIGTERM)
      #expect(try told.next(from: process).contains("STOPPING=1"))
      try eventually("the process ends") { !Upgradable.isRunning(pid) }
      // The socket is systemd's: who comes now waits for the next process.
      let waiting = try Connection(to: address)
      let again = try start(file, names: "public", passing: [listening])
      #expect(try waiting.get("/again").status == 200)
      again.kill()
    }

    @Test(arguments: [
      ("other", "no listener has that name"), ("public:public", "LISTEN_FDNAMES has not as many names"),
    ])
    func aSocketThatFitsNoListenerIsRefused(_ names: String, _ words: String) throws {
      let workspace = try Workspace()
      let (listening, _) = try Socket.listen()
      defer { close(listening) }
      let file = try workspace.write("edge.yaml", Configuration.plainEdge(to: ["127.0.0.1:9"]).text)
      let process = try start(file, names: names, passing: [listening])
      #expect(try process.waitForExit() == .code(1))
      process.standardError.waitForEnd(by: .usual)
      #expect(process.standardError.text.contains(words), "\(process.standardError.text)")
    }

    @Test func aSocketOfAnotherAddressIsRefused() throws {
      let workspace = try Workspace()
      let (listening, address) = try Socket.listen()
      defer { close(listening) }
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
      configuration.listeners[0].listen = "127.0.0.2:\(address.port)"
      let process = try start(
        try workspace.write("edge.yaml", configuration.text), names: "public", passing: [listening])
      #expect(try process.waitForExit() == .code(1))
      process.standardError.waitForEnd(by: .usual)
      #expect(process.standardError.text.contains("systemd passed a socket for \(address)"), "\(process.tail)")
    }
  }
}
