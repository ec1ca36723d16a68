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
    let read = try Self.read(config.path)
    let findings = Engine.check(read)
    for finding in findings { Console.complain(finding.text(file: config.path)) }
    guard !findings.contains(where: { $0.severity == .error }) else { throw ExitCode(1) }
    print(resolved ? read.resolved() : "\(config.path): would run\n", terminator: "")
  }

  /// The configuration, after its findings were reported; ends the command with `code` when it has errors.
  static func read(_ path: String, code: Int32 = 1) throws -> Config {
    let result = ConfigReader.read(path: path)
    for finding in result.diagnostics { Console.complain(finding.text(file: path)) }
    guard let config = result.config else {
      let count = result.diagnostics.count { $0.severity == .error }
      Console.complain("\(path): \(count) error\(count == 1 ? "" : "s")")
      throw ExitCode(code)
    }
    return config
  }
}
