// Lines as a process writes them, and waiting for the one that matters. A thread reads; nobody polls.

import Foundation

final class LineLog: Sendable {
  private struct State {
    var lines: [String] = []
    var ended = false
  }
  private let state = Guarded(State())

  var lines: [String] { state.now.lines }
  var text: String { lines.map { $0 + "\n" }.joined() }
  var count: Int { state.with { $0.lines.count } }

  /// Reads the descriptor to its end on a thread of its own, and closes it.
  func follow(_ descriptor: Int32) {
    let state = self.state
    Thread.detachNewThread {
      var pending: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 65536)
      while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { break }
        pending += chunk[..<count]
        guard let last = pending.lastIndex(of: 10) else { continue }
        let whole = pending[..<last].split(separator: 10, omittingEmptySubsequences: false)
        let fresh = whole.map { String(decoding: $0, as: UTF8.self) }
        pending.removeSubrange(...last)
        state.with { $0.lines += fresh }
      }
      Foundation.close(descriptor)
      let rest = pending.isEmpty ? [] : [String(decoding: pending, as: UTF8.self)]
      state.with {
        $0.lines += rest
        $0.ended = true
      }
    }
  }

  func close() { state.with { $0.ended = true } }

  func waitForEnd(by deadline: Deadline) { _ = state.wait(until: deadline) { $0.ended ? true : nil } }

  /// Waits for a line, from the given index on, of which `pick` makes something. Ends early when no line can come any
  /// more.
  func wait<Result>(from start: Int = 0, by deadline: Deadline = .usual, _ pick: (String) throws -> Result?) rethrows
    -> Result?
  {
    var next = start
    let found: Result?? = try state.wait(until: deadline) { state in
      while next < state.lines.count {
        defer { next += 1 }
        if let result = try pick(state.lines[next]) { return .some(result) }
      }
      return state.ended ? .some(nil) : nil
    }
    return found ?? nil
  }
}
