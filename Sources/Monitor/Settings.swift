// What a monitor is started with: where it listens, where it keeps its data, and every bound it has.
// The command line fills it in; nothing here changes while the program runs.

import Foundation

/// Where the monitor accepts connections.
package enum ListenAddress: Hashable, Sendable, CustomStringConvertible {
  case ip4(String, port: UInt16)
  case ip6(String, port: UInt16)
  case unix(String)

  /// Reads `127.0.0.1:3334`, `[::1]:3334` or `unix:PATH`.
  package init?(_ text: String) {
    if text.hasPrefix("unix:") {
      let path = String(text.dropFirst(5))
      // sun_path holds 108 bytes with its closing zero.
      guard !path.isEmpty, path.utf8.count < 108 else { return nil }
      self = .unix(path)
      return
    }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    let host = String(text[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") {
      guard case .v6 = NetworkAddress(String(host.dropFirst().dropLast()))?.family else { return nil }
      self = .ip6(String(host.dropFirst().dropLast()), port: port)
    } else {
      guard case .v4 = NetworkAddress(host)?.family else { return nil }
      self = .ip4(host, port: port)
    }
  }

  package var description: String {
    switch self {
    case .ip4(let host, let port): "\(host):\(port)"
    case .ip6(let host, let port): "[\(host)]:\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }
}

/// The settings of one monitor.
package struct Settings: Sendable {
  package var listen: ListenAddress
  package var databasePath: String
  /// The largest JSON body taken.
  package var jsonBytesMax = 16 * 1024
  /// The largest snapshot taken.
  package var snapshotBytesMax = 8 * 1024 * 1024
  /// How long after its last announcement a printer can still be discovered.
  package var discoveryWindowSeconds = 900
  /// How long a request body may take to arrive.
  package var bodyTimeoutSeconds = 60.0
  /// How often an idle event stream is pinged.
  package var pingIntervalSeconds = 20.0
  /// How many event streams one printer may have at a time.
  package var streamsPerPrinterMax = 64
  /// Whether one JSON line a request goes to standard output.
  package var writesAccessLog = false

  package init(listen: ListenAddress, databasePath: String) {
    self.listen = listen
    self.databasePath = databasePath
  }
}
