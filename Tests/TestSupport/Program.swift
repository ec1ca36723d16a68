// A program that a test runs to its end. Foundation's `Process` is not used: it learns of an end by the end of a socket, of which each
// program that another test starts meanwhile has a copy, so that it waits for all of those.

import Foundation

public enum Program {
  public struct Fault: Error, CustomStringConvertible {
    public let description: String
  }

  /// Runs a program, which is looked for in PATH. Its input is empty.
  /// - Returns: what it wrote to both outputs, and its exit code; 128 and the signal's number where a signal has ended it.
  public static func run(_ arguments: [String]) throws -> (output: String, code: Int32) {
    // Not a pipe, whose end would come with the last copy of it.
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("output-\(UUID().uuidString)").path
    let output = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw Fault(description: "no file for the output: \(errno)") }
    defer { close(output) }
    unlink(path)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    for number in Int32(1)...2 { posix_spawn_file_actions_adddup2(&actions, output, number) }
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for pointer in argv { free(pointer) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, arguments[0], &actions, nil, &argv, environ)
    guard code == 0 else { throw Fault(description: "cannot start \(arguments[0]): \(code)") }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) != pid {
      guard errno == EINTR else { throw Fault(description: "\(arguments[0]) is nobody's child") }
    }
    let signal = status & 0x7f
    lseek(output, 0, SEEK_SET)
    let text = try FileHandle(fileDescriptor: output, closeOnDealloc: false).readToEnd() ?? Data()
    return (String(decoding: text, as: UTF8.self), signal == 0 ? (status >> 8) & 0xff : 128 + signal)
  }
}
