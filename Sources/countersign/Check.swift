// `countersign check`: would it run?

import ArgumentParser
import Policy

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read a configuration and all that it names, and report everything that is wrong.",
    discussion: """
      Every finding is one line on standard error, with its place, what was expected, and the nearest valid spelling:

        conf/edge.yaml:14:7: unknown key `lisen` in `listeners[0]`: did you mean `listen`?

      Also loads the certificates, keys and patterns that the configuration names, as `run` would. Warnings are \
      reported and do not count as errors.

      Exit codes: 0 it would run, 1 it would not, 2 the command was not understood.
      """)

  @OptionGroup var config: ConfigOptions

  @Flag(help: "Print the configuration with all defaults filled in, as YAML that reads back to the same.")
  var resolved = false

  func run() throws {
    let read = ConfigReader.read(path: config.path)
    let findings = Engine.check(read)
    let checked = try Self.report(findings, on: read, config.path)
    print(resolved ? checked.resolved() : "\(config.path): would run\n", terminator: "")
  }

  /// The configuration, after its findings were reported; ends the command with `code` when it has errors.
  static func read(_ path: String, code: Int32 = 1) throws -> Config {
    let result = ConfigReader.read(path: path)
    return try report(result.diagnostics, on: result, path, code: code)
  }

  private static func report(
    _ findings: [Diagnostic], on read: ConfigResult, _ path: String, code: Int32 = 1
  ) throws -> Config {
    for finding in findings { Console.complain(finding.text(file: path)) }
    let count = findings.count { $0.severity == .error }
    guard let config = read.config, count == 0 else {
      Console.complain("\(path): \(count) error\(count == 1 ? "" : "s")")
      throw ExitCode(code)
    }
    return config
  }
}
