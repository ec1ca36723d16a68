// The micro-benchmark of a request's path: what each step costs by itself, in nanoseconds and allocations. bench/README.md
// says how to read it. This is its command line; the steps stand in the other files, Measure.swift says how each is measured.

import AllocationCounter
import ArgumentParser
import Foundation

@main
struct Micro: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "countersign-micro",
    abstract: "Measures the steps of a request's path by themselves.",
    discussion: "Exit codes: 0 when every step did what it claims, another when one did not.")

  @Option(help: ArgumentHelp("Also write the table as JSON.", valueName: "file"))
  var json: String?

  @Option(help: ArgumentHelp("Only the steps that have this in their names.", valueName: "substring"))
  var only: String?

  @Flag(help: "Few and short batches: to see that it works, not to quote.")
  var quick = false

  static var steps: [Step] {
    [Step("nothing: the loop around every step") { Operation { time in time >= 0 } }]
      + ParseSteps.all + ClientSteps.all + SignSteps.all + VerifySteps.all + WriteSteps.all + RouteSteps.all
      + LogSteps.all
  }

  func run() throws {
    try Micro.checkThatAllocationsAreCounted()
    let steps = Micro.steps.filter { step in only.map { step.name.contains($0) } ?? true }
    guard !steps.isEmpty else { throw ValidationError("no step has \"\(only ?? "")\" in its name") }

    let measure = Measure(batches: quick ? 3 : 15, batchMicroseconds: quick ? 2_000 : 20_000)
    let table = Table(names: steps.map(\.name))
    say(table.heading)
    var costs: [Cost] = []
    for step in steps {
      let cost = try measure.cost(of: step)
      say(table.row(cost))
      costs.append(cost)
    }
    if let json { try write(costs, to: json) }
  }

  /// A counter that stands beside malloc instead of before it would say 0 of everything.
  private static func checkThatAllocationsAreCounted() throws {
    let before = allocation_count()
    let made = [UInt8](repeating: 1, count: 100_000)
    guard allocation_count() > before, made.count == 100_000 else {
      throw NotReady(step: "allocations", why: "are not counted; the counter is not linked before malloc")
    }
  }

  private func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

  private struct Report: Encodable {
    let quick: Bool
    let steps: [Cost]
  }

  private func write(_ costs: [Cost], to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    var data = try encoder.encode(Report(quick: quick, steps: costs))
    data.append(0x0a)
    try data.write(to: URL(fileURLWithPath: path))
  }
}

/// The table as text: names to the left, numbers to the right.
struct Table {
  private let nameWidth: Int
  private static let widths = [12, 12, 14]

  init(names: [String]) { nameWidth = max(4, names.map(\.count).max() ?? 0) }

  var heading: String { line("step", ["median ns", "min ns", "allocations"]) }

  func row(_ cost: Cost) -> String {
    line(
      cost.step,
      [
        Table.text(cost.medianNanoseconds, places: 1), Table.text(cost.minNanoseconds, places: 1),
        // Whole numbers of allocations are the rule; what is between is shared by many.
        cost.allocations == cost.allocations.rounded()
          ? Table.text(cost.allocations, places: 0) : Table.text(cost.allocations, places: 4),
      ])
  }

  private func line(_ name: String, _ cells: [String]) -> String {
    zip(cells, Table.widths).reduce(name + pad(name, to: nameWidth)) { line, cell in
      line + pad(cell.0, to: cell.1) + cell.0
    }
  }

  private func pad(_ text: String, to width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count))
  }

  private static func text(_ value: Double, places: Int) -> String { String(format: "%.\(places)f", value) }
}
