// One process that a test started: its output line by line as it comes, its signals, its end. It ends with the
// object, and with the test run even when that crashes: every child asks the kernel for a signal when the thread that
// spawned it is gone, so all are spawned from one thread that lasts.

import Foundation

final class ChildProcess: Sendable {
  let pid: pid_t
  let name: String
  let standardOutput = LineLog()
  let standardError = LineLog()
  private let endSignal: Int32
  private let end = Guarded<Exit?>(nil)

  enum Exit: Equatable, CustomStringConvertible {
    case code(Int32), signal(Int32)
    var description: String {
      switch self {
      case .code(let code): "exit code \(code)"
      case .signal(let signal): "signal \(signal)"
      }
    }
  }

  /// Starts a program. `passing` become file descriptors 3, 4, … of the child; `standardInput`, `output` and `error`,
  /// where given, take the place of /dev/null and of the captured output. The caller keeps its own copies. `endSignal` is
  /// what ends it in the end: SIGTERM for one that has children of its own.
  init(
    _ arguments: [String], name: String? = nil, environment: [String: String] = [:],
    passing: [Int32] = [], standardInput: Int32? = nil, output: Int32? = nil, error: Int32? = nil,
    openFilesMax: Int? = nil, endSignal: Int32 = SIGKILL
  ) throws {
    self.endSignal = endSignal
    self.name = name ?? (arguments[0] as NSString).lastPathComponent
    var command = ["/usr/bin/setpriv", "--pdeathsig", endSignal == SIGTERM ? "TERM" : "KILL", "--"]
    if let openFilesMax { command += ["/usr/bin/prlimit", "--nofile=\(openFilesMax):\(openFilesMax)", "--"] }
    command += arguments

    let out = try output == nil ? Pipe() : nil
    let errorPipe = try error == nil ? Pipe() : nil
    let spawned = try Spawner.shared.spawn(
      command, environment: environment, standardInput: standardInput, standardOutput: output ?? out!.writeEnd,
      standardError: error ?? errorPipe!.writeEnd, passing: passing)
    pid = spawned
    if let out {
      out.closeWriteEnd()
      standardOutput.follow(out.readEnd)
    } else {
      standardOutput.close()
    }
    if let errorPipe {
      errorPipe.closeWriteEnd()
      standardError.follow(errorPipe.readEnd)
    } else {
      standardError.close()
    }

    let end = self.end
    Thread.detachNewThread {
      var status: Int32 = 0
      // Whatever interrupts it: a child that nobody takes would be in the way of all others that the test library waits for.
      while waitpid(spawned, &status, 0) != spawned && errno != ECHILD {}
      let signal = status & 0x7f
      end.with { $0 = signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal) }
    }
  }

  deinit { kill() }

  var exit: Exit? { end.now }

  func signal(_ number: Int32) {
    // Under the lock that the reaper takes, so a pid that was given to someone else is never hit by this object twice
    // over.
    end.with { exit in
      if exit == nil { _ = Foundation.kill(pid, number) }
    }
  }

  /// Ends it at once and waits until it is gone.
  func kill() {
    signal(endSignal)
    if endSignal != SIGKILL, end.wait(until: .after(5), { $0 }) == nil { signal(SIGKILL) }
    _ = end.wait(until: .usual) { $0 }
  }

  func waitForExit(by deadline: Deadline = .usual) throws -> Exit {
    guard let exit = end.wait(until: deadline, { $0 }) else {
      throw Trouble("\(name) (pid \(pid)) did not end\n\(tail)")
    }
    return exit
  }

  /// The last of what it said, for a failure's text.
  var tail: String {
    let lines = standardError.lines.suffix(30)
    return lines.isEmpty ? "(nothing on standard error)" : lines.joined(separator: "\n")
  }

  struct Outcome {
    var exit: Exit
    var output: String
    var error: String
    var succeeded: Bool { exit.isSuccess }
  }

  /// Runs a program to its end.
  static func run(
    _ arguments: [String], environment: [String: String] = [:], standardInput: Int32? = nil,
    by deadline: Deadline = .after(60)
  ) throws -> Outcome {
    let child = try ChildProcess(arguments, environment: environment, standardInput: standardInput)
    let exit = try child.waitForExit(by: deadline)
    child.standardOutput.waitForEnd(by: deadline)
    child.standardError.waitForEnd(by: deadline)
    return Outcome(exit: exit, output: child.standardOutput.text, error: child.standardError.text)
  }

  /// Runs a program that must succeed, and gives its output.
  @discardableResult
  static func succeed(_ arguments: [String]) throws -> String {
    let outcome = try run(arguments)
    guard outcome.succeeded else {
      throw Trouble("\(arguments.joined(separator: " ")): \(outcome.exit)\n\(outcome.error)\(outcome.output)")
    }
    return outcome.output
  }
}

/// A pipe whose ends no child inherits by accident.
struct Pipe {
  let readEnd: Int32
  let writeEnd: Int32

  init() throws {
    var ends: [Int32] = [-1, -1]
    let code = Inheritance.lock.withLock {
      let code = pipe(&ends)
      for end in ends where code == 0 { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      return code
    }
    guard code == 0 else { throw Trouble("no pipe: \(String(cString: strerror(errno)))") }
    (readEnd, writeEnd) = (ends[0], ends[1])
  }

  func closeWriteEnd() { close(writeEnd) }
}

/// Held while a child is made; by whoever must mark a descriptor as not inherited in a second step, or cannot: one that
/// leaked into a child would keep a connection open after the test closed it, or a program busy that is to be run; and by
/// who relies on it that a descriptor which it closes was the last of its kind.
enum Inheritance {
  static let lock = NSLock()
}

/// The one thread that spawns.
private final class Spawner: Sendable {
  static let shared = Spawner()
  private let jobs = Guarded<[@Sendable () -> Void]>([])

  private init() {
    signal(SIGPIPE, SIG_IGN)
    let jobs = self.jobs
    Thread.detachNewThread {
      while true {
        if let job = jobs.wait(until: .after(3600), { $0.isEmpty ? nil : $0.removeFirst() }) { job() }
      }
    }
  }

  func spawn(
    _ arguments: [String], environment: [String: String], standardInput: Int32?, standardOutput: Int32,
    standardError: Int32, passing: [Int32]
  ) throws -> pid_t {
    let result = Guarded<Result<pid_t, any Error>?>(nil)
    jobs.with { queue in
      queue.append {
        let outcome = Result {
          try Self.spawnHere(
            arguments, environment: environment, standardInput: standardInput, standardOutput: standardOutput,
            standardError: standardError, passing: passing)
        }
        result.with { $0 = outcome }
      }
    }
    guard let outcome = result.wait(until: .usual, { $0 }) else { throw Trouble("cannot spawn \(arguments[0])") }
    return try outcome.get()
  }

  private static func spawnHere(
    _ arguments: [String], environment: [String: String], standardInput: Int32?, standardOutput: Int32,
    standardError: Int32, passing: [Int32]
  ) throws -> pid_t {
    // Out of the way first: a descriptor that is passed on may itself be 3 or 4.
    let moved = passing.map { fcntl($0, F_DUPFD_CLOEXEC, 200) }
    defer { for descriptor in moved { close(descriptor) } }

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let standardInput {
      posix_spawn_file_actions_adddup2(&actions, standardInput, 0)
    } else {
      posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    }
    posix_spawn_file_actions_adddup2(&actions, standardOutput, 1)
    posix_spawn_file_actions_adddup2(&actions, standardError, 2)
    for (index, descriptor) in moved.enumerated() {
      posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(3 + index))
    }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = merged.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    var pid: pid_t = 0
    let code = Inheritance.lock.withLock {
      posix_spawn(&pid, arguments[0], &actions, &attributes, &argv, &envp)
    }
    guard code == 0 else { throw Trouble("cannot start \(arguments[0]): \(String(cString: strerror(code)))") }
    return pid
  }
}
