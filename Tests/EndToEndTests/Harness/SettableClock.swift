// The wall clock of a process under test, set as its host's would be; the monotonic clock goes on.

import Foundation

struct SettableClock {
  private let file: String

  init(aheadSeconds: Double, in workspace: Workspace, name: String = "clock") throws {
    file = workspace.file(name)
    guard FileManager.default.createFile(atPath: file, contents: Data(count: 8)) else {
      throw Trouble("no file \(file)")
    }
    try set(aheadSeconds: aheadSeconds)
  }

  /// In place, so that a process that has the file mapped sees it with its next look at the clock.
  func set(aheadSeconds: Double) throws {
    var nanoseconds = Int64(aheadSeconds * 1e9).littleEndian
    let descriptor = open(file, O_WRONLY | O_CLOEXEC)
    defer { close(descriptor) }
    guard pwrite(descriptor, &nanoseconds, 8, 0) == 8 else { throw Trouble("cannot write \(file)") }
  }

  var environment: [String: String] {
    get throws { ["LD_PRELOAD": try Programs.settableClock, "SETTABLE_CLOCK": file] }
  }
}
