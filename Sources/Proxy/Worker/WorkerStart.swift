// The start of all workers: each is made on its own thread, all at the same time, and none accepts before all are made. Making one takes
// a while where there are many routes; and in an upgrade the old process goes on where it takes too long, which it may only if none has
// served.
//
//   making ─► all made: run ─► they run
//      └────► one cannot be made, or whoever waits gives up: they end

import Platform
import Synchronization

package final class WorkerStart: Sendable {
  private struct State {
    var made = 0
    var fault: SystemError?
    /// Nil: it is not decided yet.
    var mayRun: Bool?
  }

  private let state = Mutex(State())
  private let count: Int
  /// Signalled when the last one is made, or one cannot be.
  private let isMade: Wakeup
  /// Signalled once, for all of them, and never cleared.
  private let isDecided: Wakeup

  package init(count: Int) throws(SystemError) {
    self.count = count
    isMade = try Wakeup()
    isDecided = try Wakeup()
  }

  /// Starts a thread for each, which makes its worker and waits for `run`.
  package func makeAll(_ make: @escaping @Sendable (Int) throws(SystemError) -> Worker) throws(SystemError)
    -> [WorkerThread]
  {
    var threads: [WorkerThread] = []
    do throws(SystemError) {
      for index in 0..<count {
        threads.append(
          try WorkerThread.start(name: "worker-\(index)", processor: index) { [self] in
            if let worker = made(make, index), isToRun { worker.run() }
          })
      }
      _ = isMade.wait(timeoutMilliseconds: -1)
      if let fault = state.withLock({ $0.fault }) { throw fault }
    } catch {
      decide(false)
      for thread in threads { thread.join() }
      throw error
    }
    return threads
  }

  /// To be called when `makeAll` has returned.
  package func run() { decide(true) }

  /// The same: nobody is served.
  package func giveUp(_ threads: [WorkerThread]) {
    decide(false)
    for thread in threads { thread.join() }
  }

  private func decide(_ mayRun: Bool) {
    state.withLock { $0.mayRun = mayRun }
    isDecided.signal()
  }

  // MARK: A worker's thread

  private func made(_ make: (Int) throws(SystemError) -> Worker, _ index: Int) -> Worker? {
    do throws(SystemError) {
      let worker = try make(index)
      let isLast = state.withLock { state in
        state.made += 1
        return state.made == count
      }
      if isLast { isMade.signal() }
      return worker
    } catch {
      state.withLock { $0.fault = error }
      isMade.signal()
      return nil
    }
  }

  private var isToRun: Bool {
    while true {
      if let mayRun = state.withLock({ $0.mayRun }) { return mayRun }
      _ = isDecided.wait(timeoutMilliseconds: -1)
    }
  }
}
