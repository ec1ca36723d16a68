// What the kernel knows about a process: its memory and its processor time.

import Foundation

extension ChildProcess {
  /// Resident bytes now.
  var residentBytes: Int { get throws { try figure("VmRSS") } }

  /// Bytes of addresses that are set aside, stacks of threads among them.
  var addressBytes: Int { get throws { try figure("VmSize") } }

  /// The most resident bytes since the last call of `forgetPeak`.
  var peakResidentBytes: Int { get throws { try figure("VmHWM") } }

  /// Lets the peak begin anew at what is resident now.
  func forgetPeak() throws {
    guard let file = fopen("/proc/\(pid)/clear_refs", "w") else { throw Trouble("no clear_refs for \(name)") }
    fputs("5", file)
    fclose(file)
  }

  /// Stops it, and returns when all of its threads stand still: on a busy machine a signal takes a while to reach each.
  func standStill() throws {
    signal(SIGSTOP)
    try eventually("\(name) stands still") {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").allSatisfy { thread in
        let text = try String(contentsOfFile: "/proc/\(pid)/task/\(thread)/stat", encoding: .utf8)
        return text.split(separator: ")").last?.split(separator: " ").first == "T"
      }
    }
  }

  private func figure(_ key: String) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key + ":") }),
      let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
    else { throw Trouble("no \(key) for \(name)") }
    return kibibytes * 1024
  }

  /// Processor seconds used so far, by all its threads.
  var processorSeconds: Double {
    get throws {
      let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
      // The second field, the name, is in parentheses and may hold anything.
      guard let end = text.lastIndex(of: ")") else { throw Trouble("no stat for \(name)") }
      let fields = text[text.index(after: end)...].split(separator: " ")
      guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
        throw Trouble("no times for \(name)")
      }
      return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
  }

  /// Whether every one of its threads stands still, after SIGSTOP.
  var isStopped: Bool {
    get throws {
      let tasks = "/proc/\(pid)/task"
      return try FileManager.default.contentsOfDirectory(atPath: tasks).allSatisfy { task in
        let text = try String(contentsOfFile: "\(tasks)/\(task)/stat", encoding: .utf8)
        return text[(text.lastIndex(of: ")") ?? text.startIndex)...].hasPrefix(") T")
      }
    }
  }

  /// How many file descriptors are open.
  var openFileCount: Int {
    get throws { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count }
  }
}
