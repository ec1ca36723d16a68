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

      With `--live` it also asks the validators behind upstreams with `identity: attest`, as `run` does before it serves: two \
      signed probes for each must come back as two clients. Without it nothing is connected to.

      With `--against` it also says what a reload from that configuration to this one would change about trust: who may \
      speak for whom, and what has to be shown for it; what weakens it comes first. With `--log` it says how many \
      clients of the log's last day each change touches.

        countersign check -c new.yaml --against edge.yaml --log access.log

      With `--schema` it prints the JSON schema that an editor completes and checks configurations with.

      Exit codes: 0 it would run, and a reload would take it; 1 it would not, or a reload would refuse it because it \
      weakens trust and does not say so (`accept_weaker`, which is printed then); 2 the command was not understood.
      """)

  @Option(
    name: [.customShort("c"), .customLong("config")], help: ArgumentHelp("The configuration.", valueName: "file"),
    completion: .file())
  var path: String?

  @Flag(help: "Print the JSON schema of configurations, for editors, and look at none.")
  var schema = false

  @Flag(help: "Print the configuration with all defaults filled in, as YAML that reads back to the same.")
  var resolved = false

  @Flag(help: "Ask the validators whether they take what this configuration signs for them.")
  var live = false

  @Option(
    help: ArgumentHelp("Compare trust with this configuration: the one that is in use.", valueName: "running"),
    completion: .file())
  var against: String?

  @Option(
    help: ArgumentHelp("With `--against`: the access log of what is in use.", valueName: "file"), completion: .file())
  var log: String?

  func validate() throws {
    if path == nil, !schema { throw ValidationError("Missing expected argument '-c <file>'") }
    if schema, path != nil || resolved || live || against != nil || log != nil {
      throw ValidationError("--schema stands alone: it looks at no configuration")
    }
    if log != nil, against == nil { throw ValidationError("--log is part of --against") }
    if resolved, against != nil { throw ValidationError("--resolved and --against are two questions") }
  }

  func run() throws {
    guard let path else { return print(ConfigSchema.json, terminator: "") }
    let read = ConfigReader.read(path: path)
    let findings = Engine.check(read, asksValidators: live)
    let checked = try Self.report(findings, on: read, path)
    if let against {
      return try Against(newPath: path, oldPath: against, logPath: log).report(checked)
    }
    print(resolved ? checked.resolved(forPeople: true) : "\(path): would run\n", terminator: "")
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
