// The seam to the engine: the two calls that the command line makes into Proxy.

import Policy
import Proxy

enum Engine {
  /// Serves until a signal ends it; returns the exit code.
  static func run(configPath: String, loadMilliseconds: UInt64) -> Int32 {
    Supervisor.run(configPath: configPath, loadMilliseconds: loadMilliseconds)
  }

  /// Loads what the configuration names (certificates, keys, patterns) and says what is wrong with it. `asksValidators`: those behind
  /// its upstreams are asked, too.
  static func check(_ read: ConfigResult, asksValidators: Bool) -> [Diagnostic] {
    Snapshot.check(read, asksValidators: asksValidators)
  }
}
