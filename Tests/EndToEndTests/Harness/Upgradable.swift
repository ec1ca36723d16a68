// A Countersign with an admin socket that is upgraded by a test: the processes that it becomes write to the same streams, and end
// with this object. Its program is a link, which a test may lead elsewhere.

import Foundation

final class Upgradable: Sendable {
  let first: Countersign
  let admin: String
  let workspace: Workspace
  private let program: String
  private let drain: String

  /// - Parameter configuration: what the file says beside `admin.listen` and a short drain, which are added.
  init(
    _ configuration: Configuration, in workspace: Workspace, name: String = "service", drain: String = "5s",
    options: [String] = [], environment: [String: String] = [:]
  ) throws {
    self.workspace = workspace
    self.drain = drain
    admin = "unix:\(workspace.file("\(name).admin"))"
    program = workspace.file("\(name).program")
    try FileManager.default.createSymbolicLink(atPath: program, withDestinationPath: try Programs.countersign)
    first = try Countersign(
      Self.text(configuration, admin, drain), name: name, in: workspace, environment: environment, options: options,
      program: program)
  }

  private static func text(_ configuration: Configuration, _ admin: String, _ drain: String) -> Configuration {
    var configuration = configuration
    configuration.more.append("admin: { listen: \"\(admin)\" }")
    configuration.timeouts.append("drain: \(drain)")
    return configuration
  }

  var errors: LineLog { first.process.standardError }

  /// The file's new text, for the next process.
  func write(_ configuration: Configuration, more: String = "") throws {
    try write(text: Self.text(configuration, admin, drain).text + more)
  }

  func write(text: String) throws {
    try workspace.write((first.configurationFile as NSString).lastPathComponent, text)
  }

  /// Leads the program's path to a script instead.
  func replaceProgram(by script: String) throws {
    // A child that is made meanwhile would have the file open for writing as long as it lives, and nobody could run it.
    let file = try Inheritance.lock.withLock {
      try workspace.write("script-\(UUID().uuidString)", script, mode: 0o755)
    }
    try replaceProgram(withPath: file)
  }

  func replaceProgram(withPath path: String) throws {
    let fresh = program + ".fresh"
    try FileManager.default.createSymbolicLink(atPath: fresh, withDestinationPath: path)
    guard rename(fresh, program) == 0 else { throw Trouble("cannot replace \(program)") }
  }

  func command() throws -> ChildProcess.Outcome {
    try ChildProcess.run([try Programs.countersign, "upgrade", "--admin", admin])
  }

  /// Upgrades, and returns the number of the new process.
  @discardableResult
  func upgrade() throws -> pid_t {
    let outcome = try command()
    guard outcome.succeeded, let pid = outcome.output.split(separator: " ").dropFirst().first.flatMap({ pid_t($0) })
    else { throw Trouble("not upgraded: \(outcome.error)\(outcome.output)\n\(first.process.tail)") }
    return pid
  }

  /// All processes that got ready, in their order.
  var processes: [pid_t] {
    errors.lines.compactMap { line in
      guard line.hasPrefix("ready listeners="), let at = line.range(of: " pid=") else { return nil }
      return pid_t(line[at.upperBound...])
    }
  }

  static func isRunning(_ pid: pid_t) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return false }
    return text.split(separator: ")").last?.split(separator: " ").first != "Z"
  }

  func ask(_ path: String) throws -> HTTPResponse { try Connection(unix: String(admin.dropFirst(5))).get(path) }

  /// What /metrics says of this name, which goes with its labels; nil where it does not have it.
  func metric(_ name: String) throws -> Int? { try ask("/metrics").metric(name) }

  deinit {
    for pid in processes {
      // A number may be another's by now.
      let command = (try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)) ?? ""
      if command.contains(first.configurationFile) { kill(pid, SIGKILL) }
    }
  }
}
