// The command line of the sample backend: reads the options, starts the monitor, says where it listens, ends on SIGTERM
// or SIGINT.

import ArgumentParser
import Dispatch
import Foundation
import Glibc
import Monitor

@main
struct PrinterMonitor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "printer-monitor",
    abstract: "A sample backend that lets owners find the printers behind their own public address.",
    discussion: """
      It believes X-Forwarded-For, as such backends do, so it is only as safe as what stands in front of it: let \
      nothing but the validator reach the address it listens on.
      """)

  @Option(help: "Where to listen: HOST:PORT, [V6]:PORT or unix:PATH; port 0 picks a free one.")
  var listen = "127.0.0.1:3334"

  @Option(help: "The SQLite file; made if it is not there.")
  var database: String

  @Option(help: "The largest snapshot taken, in bytes.")
  var snapshotMax = 8 * 1024 * 1024

  @Option(help: "For how many seconds after its last announcement a printer can be discovered.")
  var discoveryWindow = 900

  @Flag(help: "Write one JSON line a request to standard output.")
  var accessLog = false

  mutating func validate() throws {
    guard ListenAddress(listen) != nil else {
      throw ValidationError("--listen takes HOST:PORT with a numeric host, [V6]:PORT or unix:PATH.")
    }
    guard (1...(1 << 30)).contains(snapshotMax) else {
      throw ValidationError("--snapshot-max is from 1 to \(1 << 30) bytes.")
    }
    guard (1...86_400).contains(discoveryWindow) else {
      throw ValidationError("--discovery-window is from 1 to 86400 seconds.")
    }
  }

  func run() async throws {
    signal(SIGPIPE, SIG_IGN)
    guard let address = ListenAddress(listen) else { throw ExitCode.failure }
    var settings = Settings(listen: address, databasePath: database)
    settings.snapshotBytesMax = snapshotMax
    settings.discoveryWindowSeconds = discoveryWindow
    settings.writesAccessLog = accessLog

    // Taken over before the ready line, so that whoever waits for that line can end us cleanly.
    let endings = Endings()
    let monitor: Monitor
    do {
      monitor = try await Monitor.start(settings)
    } catch {
      writeError("printer-monitor: cannot start on \(listen) with \(database): \(error)\n")
      throw ExitCode.failure
    }
    writeError("ready listen=\(monitor.address) pid=\(getpid())\n")
    let failure = await withTaskGroup(of: (any Error)?.self) { group in
      group.addTask {
        await endings.next()
        return nil
      }
      group.addTask {
        do { try await monitor.untilStopped() } catch { return error }
        return ExitCode.failure
      }
      let first = await group.next() ?? nil
      if first == nil { try? await monitor.stop() }
      group.cancelAll()
      return first
    }
    if let failure {
      writeError("printer-monitor: \(failure)\n")
      throw ExitCode.failure
    }
  }
}

/// The signals that end the program, as something one can wait for.
private actor Endings {
  private nonisolated let signals: AsyncStream<Void>
  /// A source stops when it is let go.
  private let sources: [any DispatchSourceSignal]

  init() {
    let (signals, continuation) = AsyncStream.makeStream(of: Void.self)
    self.signals = signals
    sources = [SIGTERM, SIGINT].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { continuation.yield() }
      source.resume()
      return source
    }
  }

  nonisolated func next() async {
    for await _ in signals { return }
  }
}
