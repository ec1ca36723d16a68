// The programs under test and the real ones around them. A missing one is a failure that says what to install, never a skip.

import Foundation

enum Programs {
  static var countersign: String { get throws { try built("countersign", variable: "COUNTERSIGN_BIN") } }
  static var printerMonitor: String { get throws { try built("printer-monitor", variable: "PRINTER_MONITOR_BIN") } }
  static var curl: String { get throws { try installed("curl", package: "curl") } }
  static var openssl: String { get throws { try installed("openssl", package: "openssl") } }
  static var haproxy: String { get throws { try installed("haproxy", package: "haproxy") } }
  static var nghttp: String { get throws { try installed("nghttp", package: "nghttp2-client") } }
  static var h2load: String { get throws { try installed("h2load", package: "nghttp2-client") } }
  static var nginx: String { get throws { try installed("nginx", package: "nginx-light") } }
  static var readelf: String { get throws { try installed("readelf", package: "binutils") } }
  static var ldd: String { get throws { try installed("ldd", package: "libc-bin") } }
  static var unshare: String { get throws { try installed("unshare", package: "util-linux") } }

  static var prometheus: String { get throws { try installed("prometheus", package: "prometheus") } }
  static var promtool: String { get throws { try installed("promtool", package: "prometheus") } }
  /// The system's own, which has Debian's packages: python3-grpcio is one.
  static var python: String { get throws { try installed("python3", package: "python3") } }
  static var gzip: String { get throws { try installed("gzip", package: "gzip") } }
  static var prlimit: String { get throws { try installed("prlimit", package: "util-linux") } }
  /// Runs a program on a terminal of its own.
  static var script: String { get throws { try installed("script", package: "bsdutils") } }

  static var nginxStreamModule: String {
    get throws {
      let path = "/usr/lib/nginx/modules/ngx_stream_module.so"
      guard FileManager.default.fileExists(atPath: path) else {
        throw Trouble("nginx has no stream module: apt-get install libnginx-mod-stream")
      }
      return path
    }
  }

  /// Runs the engine against a simulated kernel.
  static var simulate: String { get throws { try built("simulate", variable: "SIMULATE_BIN") } }

  /// Counts the allocations of the process that it is preloaded into.
  static var allocationCounter: String {
    get throws { try built("libAllocationCounter.so", variable: "ALLOCATION_COUNTER_LIBRARY") }
  }

  /// Has the wall clock of the process that it is preloaded into set by a file.
  static var settableClock: String {
    get throws { try built("libSettableClock.so", variable: "SETTABLE_CLOCK_LIBRARY") }
  }

  private static func built(_ name: String, variable: String) throws -> String {
    if let path = ProcessInfo.processInfo.environment[variable], !path.isEmpty {
      guard FileManager.default.isExecutableFile(atPath: path) else {
        throw Trouble("\(variable)=\(path): no program there")
      }
      return path
    }
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let path = root.appendingPathComponent(".build/release/\(name)").path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw Trouble("no program at \(path): run `make build`, or set \(variable)")
    }
    return path
  }

  private static func installed(_ name: String, package: String) throws -> String {
    for directory in ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"] {
      let path = "\(directory)/\(name)"
      if FileManager.default.isExecutableFile(atPath: path) { return path }
    }
    throw Trouble("\(name) is not installed: apt-get install \(package)")
  }
}
