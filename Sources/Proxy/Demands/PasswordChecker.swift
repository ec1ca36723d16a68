// The thread that checks passwords against their hashes, one after the other, so that no worker does. It begins with the first one,
// and ends after a minute without any.
//
// Bounded: 64 passwords wait at most, 16 of one client, so that whoever guesses keeps few places from others. The same name and
// password, however many requests bring it, is one check. What does not fit is answered 503 (`credentials-busy`).

import Platform
import Synchronization
import Wire

package final class PasswordChecker: Sendable {
  static let jobsMax = 64
  static let jobsPerClientMax = 16
  static let waitersMax = 64
  private static let restMilliseconds: Int32 = 60_000

  struct Job: Sendable {
    let key: LoginKey
    let password: SecretBytes
    let hash: String
    /// The name is in the file; else the check is made for its time alone.
    let isKnown: Bool
    /// Whose it is, as clients are counted.
    let client: IPAddress
  }

  /// The request of a worker that waits.
  struct Waiter: Sendable {
    let worker: Int
    let slot: Int
    let generation: UInt32
  }

  package struct Answer: Sendable {
    let key: LoginKey
    let isRight: Bool
    let waiters: [Waiter]
  }

  enum Submission { case added, joined, full }

  private struct Entry {
    let job: Job
    var waiters: [Waiter]
  }

  private struct State {
    /// The oldest first; that one is being checked where `isChecking`.
    var entries: [Entry] = []
    var isRunning = false
  }

  /// Of the digests of what was right; for this process alone.
  let secret: SecretBytes
  private let state = Mutex(State())
  private let wakeup: Wakeup
  private let mailboxes: [Mailbox<Worker.Message>]
  private let check: @Sendable (SecretBytes, String) -> Bool

  /// - Parameter check: whether a password is what a hash was made of.
  package init(
    _ mailboxes: [Mailbox<Worker.Message>],
    check: @escaping @Sendable (SecretBytes, String) -> Bool = PasswordHash.isRight
  ) throws {
    secret = try SecureRandom.secret(count: 32)
    wakeup = try Wakeup()
    self.mailboxes = mailboxes
    self.check = check
  }

  /// Has a password checked; the waiter's worker is told.
  func submit(_ job: Job, for waiter: Waiter) -> Submission {
    let submission = state.withLock { state -> Submission in
      if let at = state.entries.firstIndex(where: { $0.job.key == job.key }) {
        guard state.entries[at].waiters.count < Self.waitersMax else { return .full }
        state.entries[at].waiters.append(waiter)
        return .joined
      }
      guard state.entries.count < Self.jobsMax,
        state.entries.count(where: { $0.job.client == job.client }) < Self.jobsPerClientMax,
        state.isRunning || begin()
      else { return .full }
      state.isRunning = true
      state.entries.append(Entry(job: job, waiters: [waiter]))
      return .added
    }
    if submission == .added { wakeup.signal() }
    return submission
  }

  private func begin() -> Bool {
    guard let thread = try? WorkerThread.start(name: "passwords", processor: nil, { self.run() }) else { return false }
    thread.detach()
    return true
  }

  private func run() {
    while true {
      while let job = state.withLock({ $0.entries.first?.job }) { answer(job) }
      if wakeup.wait(timeoutMilliseconds: Self.restMilliseconds) {
        wakeup.clear()
        continue
      }
      let ends = state.withLock { state in
        guard state.entries.isEmpty else { return false }
        state.isRunning = false
        return true
      }
      if ends { return }
    }
  }

  private func answer(_ job: Job) {
    // Always made, so that a name that there is not takes as long.
    let fits = check(job.password, job.hash)
    // Only now: whoever joined meanwhile is told too.
    let waiters = state.withLock { $0.entries.removeFirst().waiters }
    let answer = Answer(key: job.key, isRight: fits && job.isKnown, waiters: waiters)
    // What is right is known to every worker from now on.
    for (worker, mailbox) in mailboxes.enumerated()
    where answer.isRight || waiters.contains(where: { $0.worker == worker }) {
      mailbox.post(.passwordChecked(answer))
    }
  }
}
