// `countersign check --against`: what would a reload change about trust, and would it be taken?

import ArgumentParser
import Platform
import Policy

struct Against {
  let newPath: String
  let oldPath: String
  /// The access log, where it is asked how many clients a change touches.
  let logPath: String?

  /// Prints the changes; ends the command with 1 where a reload would be refused.
  func report(_ new: Config) throws {
    let old = try Check.read(oldPath)
    let changes = TrustDiff.compare(old: try boundary(old, oldPath), new: try boundary(new, newPath))
    let touched = try logPath.flatMap { try count(changes, log: $0) }
    for (index, change) in changes.enumerated() {
      for line in change.lines(oldFile: oldPath, newFile: newPath) { print(line) }
      if let touched, change.reach != .nobody { print("  \(touched[index].text) of the last day in \(logPath ?? "")") }
    }
    try judge(changes, new)
  }

  private func judge(_ changes: [TrustChange], _ new: Config) throws {
    let place = "\(newPath):\(new.place(of: "accept_weaker").line)"
    guard let hash = try WeakerHash.of(changes) else {
      if let given = new.acceptWeaker {
        Console.complain("\(place): warning: `accept_weaker: \(given)` is for no change from \(oldPath); it can go")
      }
      return print("\(newPath): \(changes.isEmpty ? "trust is the same as" : "trust is not weaker than") in \(oldPath)")
    }
    let count = changes.count { $0.effect == .weakens }
    let what = "\(count) change\(count == 1 ? "" : "s") from \(oldPath) weaken\(count == 1 ? "s" : "") trust"
    if new.acceptWeaker == hash { return print("\(place): \(what), accepted by `accept_weaker`") }
    if let given = new.acceptWeaker {
      Console.complain("\(place): warning: `accept_weaker: \(given)` is not for what changes from \(oldPath)")
    }
    print(
      "\(newPath): \(what): a reload refuses this file, unless it says at its top level that exactly this is meant:")
    print("accept_weaker: \"\(hash)\"")
    throw ExitCode(1)
  }

  private func boundary(_ config: Config, _ path: String) throws -> TrustBoundary {
    do {
      return try TrustBoundary(
        config, keys: try config.identity.keys.map { try KeySet.load(path: $0, group: config.identity.keysGroup) })
    } catch {
      Console.complain("\(path):\(config.place(of: "identity.keys").line): \(error)")
      throw ExitCode(1)
    }
  }

  /// Nil where nobody can be counted.
  private func count(_ changes: [TrustChange], log: String) throws -> [TouchCount.Touched]? {
    do throws(LineInputError) {
      let input = try LineInput(path: log)
      // A line has a time, and the end of a log has a whole line.
      var last: Int64?
      try input.skip(toLast: 2 * LineInput.lineBytesMax)
      while try input.next() { last = input.withLine { TouchCount.seconds(line: $0) } ?? last }
      guard let last else {
        Console.complain("\(log): warning: has no line of an access log; nobody is counted")
        return nil
      }
      var count = TouchCount(changes, lastSeconds: last)
      try input.rewind()
      while try input.next() { input.withLine { count.note(line: $0) } }
      return count.touched
    } catch {
      Console.complain("\(error)")
      throw ExitCode(1)
    }
  }
}
