// Another process of this same program, started in an upgrade: from the path by which this one was started, so that a file that was
// replaced is the new version; with the same arguments and environment; with one descriptor more than the standard streams.
//
// posix_spawn(3) and not fork: other threads may hold any lock of the C library at that moment. The blocked signals stay blocked, so
// that one which comes before the new process can serve it waits. All other descriptors are closed on exec.

import CLinux
import Glibc

package enum ChildProgram {
  /// Variables that are for one process alone.
  private static let ownVariables = ["LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "\(HandoverSocket.variable)="]

  /// Starts it with `handover` as its end of the socket. Returns its process number.
  package static func start(handover: Int32) throws(SystemError) -> Int32 {
    let arguments = CommandLine.arguments
    guard let program = arguments.first, !program.isEmpty else {
      throw SystemError("the program has no path", code: ENOENT)
    }
    var environment = self.environment().filter { entry in !ownVariables.contains { entry.hasPrefix($0) } }
    environment.append("\(HandoverSocket.variable)=\(HandoverSocket.inheritedDescriptor)")

    // SAFETY: the actions are initialized before they are used and destroyed once. Each string is a copy of its own that lives
    // until the call is over and is freed once; both arrays end with a null pointer, as the call demands.
    var actions = unsafe posix_spawn_file_actions_t()
    guard unsafe posix_spawn_file_actions_init(&actions) == 0 else { throw SystemError("posix_spawn", code: ENOMEM) }
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    guard unsafe posix_spawn_file_actions_adddup2(&actions, handover, HandoverSocket.inheritedDescriptor) == 0 else {
      throw SystemError("posix_spawn", code: ENOMEM)
    }
    var argv: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = unsafe environment.map { unsafe strdup($0) } + [nil]
    defer { for i in unsafe argv.indices { unsafe free(argv[i]) } }
    defer { for i in unsafe envp.indices { unsafe free(envp[i]) } }
    var process: pid_t = 0
    let code = unsafe posix_spawnp(&process, program, &actions, nil, &argv, &envp)
    guard code == 0 else { throw SystemError("cannot start \(program)", code: code) }
    return process
  }

  private static func environment() -> [String] {
    var entries: [String] = []
    // SAFETY: a null-terminated array of NUL-terminated strings, which nothing in this program changes; each is copied.
    var at = unsafe cs_environment()
    while let place = unsafe at, let entry = unsafe place.pointee {
      unsafe entries.append(String(cString: entry))
      unsafe at = place + 1
    }
    return entries
  }

  /// Ends a process that `start` made, and waits for it for at most a second. Returns how it ended, as a shell would say it.
  package static func end(_ process: Int32) -> Int32? {
    // It is a child that nobody else waits for, so the number is still its own.
    _ = kill(process, SIGKILL)
    return exitStatus(process, waitMilliseconds: 1_000)
  }

  /// How a process that `start` made has ended; nil while it runs.
  package static func exitStatus(_ process: Int32, waitMilliseconds: Int) -> Int32? {
    var status: Int32 = 0
    for waited in 0...waitMilliseconds {
      // SAFETY: the call writes one word, a local.
      if unsafe waitpid(process, &status, WNOHANG) == process { return cs_exit_status(status) }
      if waited < waitMilliseconds { Clock.sleep(milliseconds: 1) }
    }
    return nil
  }
}
