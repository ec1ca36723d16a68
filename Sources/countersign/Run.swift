// `countersign run`: serve.

import ArgumentParser
import Policy
import Proxy

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve, until a signal ends it.",
    discussion: """
      Reads the configuration and everything that it names, listens, and prints one line on standard error when it is \
      ready:

        ready listeners=public=127.0.0.1:8443,admin=127.0.0.1:9901 workers=2 pid=4711

      Signals: SIGHUP reads the configuration again (a faulty one is reported and the old one stays), SIGTERM ends \
      it in order: it is not ready for `timeouts.drain_delay`, then takes no more connections, lets requests finish for \
      `timeouts.drain`, and tells WebSockets to close within `timeouts.drain_tunnels`; another one, or SIGINT, ends it at \
      once; SIGUSR1 opens \
      the access log again; SIGUSR2 starts the program anew and leaves the service to it when it is ready \
      (`countersign upgrade`). Signals are served at any time, also while a configuration is being loaded. Under systemd it \
      says when it is ready, reloading and stopping, and what became of the last reload (Type=notify).

      Exit codes: 0 ended by a signal, 1 it could not start or go on, 2 the command was not understood.
      """)

  @OptionGroup var config: ConfigOptions

  @Option(
    help: ArgumentHelp(
      "How long reading the configuration and all that it names may take, at the start and at a reload: 1ms to 10m.",
      valueName: "duration"))
  var loadTimeout = "30s"

  func validate() throws {
    guard let most = DurationText.milliseconds(loadTimeout), (1...600_000).contains(most) else {
      throw ValidationError("--load-timeout takes a duration from 1ms to 10m with its unit, such as 30s")
    }
  }

  func run() throws {
    let most = DurationText.milliseconds(loadTimeout) ?? 30_000
    throw ExitCode(Engine.run(configPath: config.path, loadMilliseconds: UInt64(most)))
  }
}
