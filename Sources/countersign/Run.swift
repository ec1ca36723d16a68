// `countersign run`: serve.

import ArgumentParser
import Proxy

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve, until a signal ends it.",
    discussion: """
      Reads the configuration and everything that it names, listens, and prints one line on standard error when it is \
      ready:

        ready listeners=public=127.0.0.1:8443,admin=127.0.0.1:9901 workers=2 pid=4711

      Signals: SIGHUP reads the configuration again (a faulty one is reported and the old one stays), SIGTERM takes no \
      more connections, lets those in flight finish for `timeouts.drain`, and ends; SIGINT ends at once; SIGUSR1 opens \
      the log files again. Under systemd it says when it is ready, reloading and stopping (Type=notify).

      Exit codes: 0 ended by a signal, 1 it could not start or go on, 2 the command was not understood.
      """)

  @OptionGroup var config: ConfigOptions

  func run() throws {
    throw ExitCode(Engine.run(configPath: config.path))
  }
}
