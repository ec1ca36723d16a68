// The command line. It reads arguments, calls the modules above, prints, and ends with one of three codes: 0 it is well,
// 1 it is not, 2 the command was not understood.

import ArgumentParser
import Platform
import Proxy

@main
struct Countersign: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "countersign",
    abstract: "A reverse proxy that passes a request on with the client's right address, or not at all.",
    discussion: """
      An edge settles who the client is and signs the answer; a validator in front of the backend takes nothing that \
      is not signed for it. To try it out, from the root of the repository:

        countersign certs dev --out certs/dev
        countersign keys new --kid k1 --out certs/dev/edge.jwks.json
        countersign keys export --audience monitor-1 \\
          --in certs/dev/edge.jwks.json --out certs/dev/monitor-1.jwks.json
        countersign check -c conf/edge.yaml
        countersign run -c conf/edge.yaml

      docs/CONFIG.md explains the configuration. \
      Exit codes: 0 all is well, 1 it is not, 2 the command was not understood.
      """,
    version: BuildInfo.version,
    subcommands: [
      Run.self, Check.self, Explain.self, Doctor.self, AuditCommand.self, Route.self, Servers.self, Status.self,
      UpgradeCommand.self, Keys.self, Certs.self,
    ])

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      // The parser's own code for a usage error is 64; ours is 2, as for most programs.
      guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
      Console.complain(fullMessage(for: error))
      exit(withError: ExitCode(2))
    }
  }
}

/// `-c FILE`, for the commands that take a configuration.
struct ConfigOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .customLong("config")], help: ArgumentHelp("The configuration.", valueName: "file"),
    completion: .file())
  var path: String
}

enum Console {
  /// A line on standard error.
  static func complain(_ line: String) {
    StandardError.write(line + "\n")
  }
}
