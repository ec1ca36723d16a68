// Threads for the tests that run real programs. Such a test waits most of its time, and waits by blocking: on the threads
// that Swift has for all tests of a process, one for each processor, two of them at most would run.

import Foundation
import Testing

/// A fixed number of threads, each of which runs one test at a time.
final class TestThreads: TaskExecutor {
  private let jobs = Guarded<[UnownedJob]>([])

  init(count: Int) {
    for _ in 0..<count {
      Thread.detachNewThread { [self] in
        while true {
          let job = jobs.wait(until: .after(3600)) { $0.isEmpty ? nil : $0.removeFirst() }
          job?.runSynchronously(on: asUnownedTaskExecutor())
        }
      }
    }
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.with { $0.append(job) }
  }
}

/// The tests of a suite, or the cases of a test, run on threads of their own.
struct OnTestThreads: SuiteTrait, TestTrait, TestScoping {
  let threads: TestThreads

  func scopeProvider(for test: Test, testCase: Test.Case?) -> Self? { testCase == nil ? self : nil }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(threads) { try await function() }
  }
}

extension Trait where Self == OnTestThreads {
  /// So many at once. Those of a suite begin in any order: what takes long has a thread of its own, and so begins first.
  static func threads(_ count: Int) -> Self { OnTestThreads(threads: TestThreads(count: count)) }
}
