// One running `countersign run`: started from a configuration's text, ready when it says so, reloaded by its signal.

import Foundation
import Synchronization

final class Countersign: Sendable {
  let process: ChildProcess
  let configurationFile: String
  let access: AccessLog
  /// The addresses by listener name, from the ready line.
  let listeners: [String: Address]
  private let workspace: Workspace
  private let fileName: String
  /// How many lines standard error had at the last reload that was asked for; nil before the first.
  private let linesAtReload = Mutex<Int?>(nil)

  init(
    _ configuration: Configuration, name: String = "edge", in workspace: Workspace, environment: [String: String] = [:],
    openFilesMax: Int? = nil, through wrapper: [String] = [], options: [String] = [], program: String? = nil
  ) throws {
    fileName = "\(name).yaml"
    self.workspace = workspace
    configurationFile = try workspace.write(fileName, configuration.text)
    let process = try ChildProcess(
      wrapper + [try program ?? Programs.countersign, "run", "-c", configurationFile] + options, name: name,
      environment: environment,
      openFilesMax: openFilesMax)
    self.process = process
    access = AccessLog(process.standardOutput)
    let prefix = "ready listeners="
    let ready = process.standardError.wait { $0.contains(prefix) ? $0 : nil }
    guard let ready, let start = ready.range(of: prefix) else {
      throw Trouble(
        """
        \(name) did not get ready: \(process.exit.map { "\($0)" } ?? "still running")
        \(process.tail)
        \(configuration.text)
        """
      )
    }
    var listeners: [String: Address] = [:]
    for entry in ready[start.upperBound...].prefix(while: { $0 != " " }).split(separator: ",") {
      guard let equals = entry.firstIndex(of: "=") else { throw Trouble("not a listener: \(ready)") }
      if let address = Address(entry[entry.index(after: equals)...]) { listeners[String(entry[..<equals])] = address }
    }
    self.listeners = listeners
  }

  subscript(_ listener: String) -> Address {
    get throws {
      guard let address = listeners[listener] else {
        throw Trouble("\(process.name) has no listener \(listener): \(listeners)")
      }
      return address
    }
  }

  /// What /metrics says of this name, which goes with its labels; nil where it does not have it. For one with an admin listener.
  func metric(_ name: String) throws -> Int? {
    try Connection(to: self["admin"], from: nil).get("/metrics").metric(name)
  }

  /// The first line on standard error that has all of these parts, from the given index on; it is waited for.
  @discardableResult
  func said(_ parts: String..., from start: Int = 0) throws -> String {
    let line = process.standardError.wait(from: start) { line in
      parts.allSatisfy { line.contains($0) } ? line : nil
    }
    guard let line else { throw Trouble("\(process.name) never said: \(parts)\n\(process.tail)") }
    return line
  }

  /// Writes another configuration and signals; whether and when it is taken is for the caller to see.
  func reload(_ text: String) throws {
    try workspace.write(fileName, text)
    linesAtReload.withLock { $0 = process.standardError.count }
    process.signal(SIGHUP)
  }

  func reload(_ configuration: Configuration) throws { try reload(configuration.text) }

  /// Reloads, also where that weakens trust: then the reload is refused, and the file says what the refusal asks for.
  /// An earlier one that was asked for is waited for.
  /// - Returns: what is said of the reload that is taken.
  @discardableResult
  func reloadAccepting(_ text: String) throws -> String {
    if let start = linesAtReload.withLock({ $0 }) { _ = endOfReload(from: start) }
    let lines = try linesOfReload(accepting: text)
    guard let taken = lines.first(where: { $0.contains("reloaded generation=") }) else {
      throw Trouble("not reloaded\n\(process.tail)\n\(text)")
    }
    return taken
  }

  /// All that is said of a reload, taken or refused; where only that weakens trust was refused, of the next one, which accepts it.
  func linesOfReload(accepting text: String) throws -> [String] {
    let asked = "`accept_weaker: \""
    let errors = process.standardError
    var text = text
    while true {
      let start = errors.count
      try reload(text)
      guard endOfReload(from: start) != nil else { throw Trouble("no reload\n\(process.tail)\n\(text)") }
      let lines = Array(errors.lines[start...])
      guard !text.contains("accept_weaker: "), let line = lines.first(where: { $0.contains(asked) }),
        let at = line.range(of: asked)
      else { return lines }
      text += "accept_weaker: \"\(line[at.upperBound...].prefix { $0 != "\"" })\"\n"
    }
  }

  /// The last line of what is said of a reload, taken or refused.
  private func endOfReload(from start: Int) -> String? {
    process.standardError.wait(from: start) { line in
      ["reloaded generation=", "reload refused"].contains { line.contains($0) } ? line : nil
    }
  }

  @discardableResult
  func reloadAccepting(_ configuration: Configuration) throws -> String { try reloadAccepting(configuration.text) }

  /// Runs the program to its end.
  static func command(_ arguments: String..., by deadline: Deadline = .usual) throws -> ChildProcess.Outcome {
    try ChildProcess.run([try Programs.countersign] + arguments, by: deadline)
  }

  /// What `run` with this configuration says when it must not start.
  static func refusedStart(_ text: String, in workspace: Workspace) throws -> ChildProcess.Outcome {
    let file = try workspace.write("refused.yaml", text)
    return try command("run", "-c", file)
  }
}
