// Threads and what passes between them.

import CLinux
import Glibc
import Synchronization

package final class WorkerThread: @unchecked Sendable {
  // SAFETY: written once by start before the object is given to anyone, joined once.
  private var handle = pthread_t()

  private init() {}

  /// Runs `body` on a new thread named `name` (at most 15 bytes), pinned to the nth allowed processor if one is given.
  package static func start(
    name: String, processor: Int?, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) -> WorkerThread {
    let thread = WorkerThread()
    let box = unsafe Unmanaged.passRetained(
      Start {
        // SAFETY: a NUL-terminated name.
        _ = unsafe cs_name_thread(String(name.prefix(15)))
        if let processor { _ = cs_pin_thread(Int32(processor)) }
        body()
      })
    // SAFETY: the box is retained here and taken over by the thread's first lines.
    let code = unsafe pthread_create(
      &thread.handle, nil,
      { raw in
        let start = unsafe Unmanaged<Start>.fromOpaque(raw!).takeRetainedValue()
        start.body()
        return nil
      }, box.toOpaque())
    guard code == 0 else {
      unsafe box.release()
      throw SystemError("pthread_create", code: code)
    }
    return thread
  }

  package func join() {
    // SAFETY: a handle that pthread_create filled, joined once.
    _ = pthread_join(handle, nil)
  }

  /// Nobody will join it.
  package func detach() {
    // SAFETY: a handle that pthread_create filled, neither joined nor detached before.
    _ = pthread_detach(handle)
  }

  private final class Start: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
}

/// Messages to one worker. Posting locks and wakes; the worker takes all at once.
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
  /// Raises the soft limit of open files to the hard one; returns what holds now.
  package static func raiseOpenFiles() -> Int {
    var limit = rlimit()
    // SAFETY: a local of the right type.
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1_024 }
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    return Int(clamping: limit.rlim_cur)
  }

  package static var processIdentifier: Int32 { getpid() }

  /// Ends the process without the C library's clean-up, which must not run while a thread that was given up may still
  /// be inside a library.
  package static func endAtOnce(_ code: Int32) -> Never { _exit(code) }
}
