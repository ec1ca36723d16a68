// The command: runs seeds, and prints the trace of the first that breaks what must hold.

import ArgumentParser
import Glibc
import SimulatedCalls

@main
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs the engine against a simulated kernel, one run for each seed.",
    discussion: "A seed that fails is run again with its trace printed; `--seed N --trace` shows any other.")

  @Option(help: "How many seeds to run.")
  var seeds = 2_000

  @Option(help: "The first seed.")
  var first: UInt64 = 1

  @Option(help: "Only this seed.")
  var seed: UInt64?

  @Flag(help: "Print what happens.")
  var trace = false

  func run() throws {
    var pattern = Array("/tmp/simulate.XXXXXX\0".utf8CString.dropLast())
    guard let made = mkdtemp(&pattern) else { throw SimulationError("no temporary directory can be made") }
    let directory = String(cString: made)
    defer {
      for file in ["edge.jwks.json", "monitor-1.jwks.json"] { unlink("\(directory)/\(file)") }; rmdir(directory)
    }
    // A relative path, so that what a run prints does not depend on where that is.
    guard chdir(directory) == 0 else { throw SimulationError("\(directory) cannot be entered") }
    let configurations = try Configurations(directory: ".")
    if let seed {
      try play(seed, configurations, isTraced: trace)
      return
    }
    var tally = Tally()
    for seed in first..<first + UInt64(seeds) { tally += try play(seed, configurations, isTraced: trace) }
    let events = Tally.Event.allCases.map { "\(tally.events[$0, default: 0]) \($0.rawValue)" }.joined(separator: ", ")
    print(
      """
      \(seeds) seeds from \(first): nothing broken. \(tally.requests) requests, \(tally.served) of them served, \
      \(tally.attempts) seen by servers, \(tally.retries) retries, \(tally.starting) for starting validators, \
      \(tally.reused) over kept connections, \(tally.tunnels) tunnels, \(tally.closed) ends of them told to close, \
      \(tally.reloads) reloads, \(tally.queued) waited for a place, \(tally.ejections) ejections, \
      \(tally.denied) tries denied by the budget; HTTP/2: \(events)
      """)
  }

  @discardableResult
  private func play(_ seed: UInt64, _ configurations: Configurations, isTraced: Bool) throws -> Tally {
    simulated_begin()
    let world = try World(seed: seed, configurations: configurations, isTraced: isTraced)
    let violation = world.run()
    simulated_end()
    if isTraced { for line in world.lines { print(line) } }
    guard let violation else { return world.tally }
    if !isTraced {
      _ = try? play(seed, configurations, isTraced: true)
      print("seed \(seed): \(violation)")
    }
    throw ExitCode(1)
  }
}
