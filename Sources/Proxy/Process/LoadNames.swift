// The names of a configuration that is being loaded, all at once and within a time: what is not known by then is not waited for.

import Platform
import Policy
import Synchronization
import Wire

/// What the names of a configuration came to when it was loaded.
struct LoadedNames: Sendable {
  enum Outcome: Sendable {
    case answer(NameAnswer)
    case failed(String)
  }

  fileprivate(set) var outcomes: [ServerName: Outcome] = [:]
  /// When that was (monotonic).
  let milliseconds = Clock.monotonicMilliseconds()

  func answer(_ name: ServerName) -> NameAnswer? {
    if case .answer(let answer)? = outcomes[name] { answer } else { nil }
  }
}

enum LoadNames {
  /// How long names are waited for, all together.
  static let waitMilliseconds: UInt64 = 5_000
  /// Threads; one that hangs keeps one name back.
  static let threadsMax = 8

  private final class Work: Sendable {
    struct State {
      var waiting: ArraySlice<ServerName>
      var found: [ServerName: LoadedNames.Outcome] = [:]
      var running = 0
      var isOver = false
    }

    let state: Mutex<State>
    let finished: Wakeup

    init(_ names: [ServerName]) throws(SystemError) {
      state = Mutex(State(waiting: names[...]))
      finished = try Wakeup()
    }

    func run() {
      while let name = state.withLock({ $0.isOver ? nil : $0.waiting.popFirst() }) {
        let outcome: LoadedNames.Outcome
        do { outcome = .answer(try NameAnswer.ask(name, wantsTTL: false)) } catch { outcome = .failed(error.reason) }
        state.withLock { $0.found[name] = outcome }
      }
      state.withLock { $0.running -= 1 }
      finished.signal()
    }
  }

  /// Asks for each name once.
  static func ask(_ names: Set<ServerName>) -> LoadedNames {
    var loaded = LoadedNames()
    guard !names.isEmpty else { return loaded }
    do {
      let work = try Work(names.sorted { "\($0)" < "\($1)" })
      for _ in 0..<min(names.count, threadsMax) {
        work.state.withLock { $0.running += 1 }
        do {
          try WorkerThread.start(name: "load-names", processor: nil) { work.run() }.detach()
        } catch {
          work.state.withLock { $0.running -= 1 }
          throw error
        }
      }
      let deadline = Clock.monotonicMilliseconds() + waitMilliseconds
      while work.state.withLock({ $0.running }) > 0 {
        let now = Clock.monotonicMilliseconds()
        guard now < deadline, work.finished.wait(timeoutMilliseconds: Int32(deadline - now)) else { break }
        work.finished.clear()
      }
      loaded.outcomes = work.state.withLock { state in
        state.isOver = true
        return state.found
      }
      for name in names where loaded.outcomes[name] == nil {
        loaded.outcomes[name] = .failed("no answer within \(waitMilliseconds / 1_000) s")
      }
    } catch {
      for name in names { loaded.outcomes[name] = .failed("\(error)") }
    }
    return loaded
  }
}
