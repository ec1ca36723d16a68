// Threads, messages to them, and limits of the process.

import CLinux
import Glibc
import Synchronization

/// A thread. Whoever drops it without waiting for its end lets it end by itself: a thread that nobody joins or detaches keeps its
/// stack for as long as the process lives.
package final class WorkerThread: @unchecked Sendable {
  // SAFETY: written by `start` alone, before anybody else has the object, and only read after.
  private var handle = pthread_t()
  /// The handle was joined or detached, and names no thread any more.
  private let isReleased = Atomic(false)

  private init() {}

  deinit { if !isReleased.load(ordering: .relaxed) { _ = pthread_detach(handle) } }

  /// Runs `body` on a new thread. `name` has at most 15 bytes. `processor`: the thread is pinned to the nth processor of those
  /// that this process may use.
  package static func start(
    name: String, processor: Int?, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) -> WorkerThread {
    let thread = WorkerThread()
    // SAFETY: the box is retained here, and released by the new thread's first line or, where there is none, below. The name
    // is a NUL-terminated copy. pthread_create writes the handle, which nobody else reads before this function returns.
    let box = unsafe Unmanaged.passRetained(
      Start {
        _ = unsafe cs_name_thread(String(name.prefix(15)))
        if let processor { _ = cs_pin_thread(Int32(processor)) }
        body()
      })
    let code = unsafe pthread_create(
      &thread.handle, nil,
      { raw in
        let start = unsafe Unmanaged<Start>.fromOpaque(raw!).takeRetainedValue()
        start.body()
        return nil
      }, box.toOpaque())
    guard code == 0 else {
      thread.isReleased.store(true, ordering: .relaxed)
      unsafe box.release()
      throw SystemError("pthread_create", code: code)
    }
    return thread
  }

  /// Waits until the thread has ended. Traps after another `join` or a `detach`.
  package func join() {
    takeHandle()
    _ = pthread_join(handle, nil)
  }

  /// Lets the thread end by itself; it cannot be joined any more. Traps after another `detach` or a `join`.
  package func detach() {
    takeHandle()
    _ = pthread_detach(handle)
  }

  /// A second join or detach would reach a thread that is gone, or another that has its number now.
  private func takeHandle() {
    precondition(!isReleased.exchange(true, ordering: .relaxed), "the thread was joined or detached before")
  }

  private final class Start: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
}

/// Messages to one worker. `post` takes a lock and wakes the worker, which takes all messages at once.
package final class Mailbox<Message: Sendable>: Sendable {
  private let messages = Mutex<[Message]>([])
  package let wakeup: Wakeup

  package init() throws(SystemError) { wakeup = try Wakeup() }

  package func post(_ message: Message) {
    messages.withLock { $0.append(message) }
    wakeup.signal()
  }

  package func takeAll() -> [Message] {
    wakeup.clear()
    return messages.withLock { held in
      let taken = held
      held = []
      return taken
    }
  }
}

/// The processors that this process may run on.
package enum Processors {
  package static var count: Int { max(1, Int(cs_cpu_count())) }
}

/// Limits of the process.
package enum ProcessLimits {
  /// Raises the soft limit of open files to the hard limit. Returns the limit that is in force then.
  package static func raiseOpenFiles() -> Int {
    var limit = rlimit()
    // SAFETY: each call reads or writes one rlimit, which is a local.
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1_024 }
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    return openFiles
  }

  /// The limit of open files that is in force.
  package static var openFiles: Int {
    var limit = rlimit()
    // SAFETY: the call writes one rlimit, which is a local.
    return unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
      ? Int(clamping: limit.rlim_cur) : 1_024
  }

  package static var processIdentifier: Int32 { getpid() }
  /// The process that started this one, or whoever has taken its place where that has ended.
  package static var parentIdentifier: Int32 { getppid() }
  /// Whether there is a process of this number, which may be another's by now.
  package static func exists(_ process: Int32) -> Bool { process > 0 && (kill(process, 0) == 0 || cs_errno() == EPERM) }
  /// The user that the process acts as.
  package static var user: UInt32 { geteuid() }

  /// Ends the process without the C library's exit handlers. Those must not run while an abandoned thread may be inside a
  /// library.
  package static func exitImmediately(_ code: Int32) -> Never { _exit(code) }
}
