// A directory of a test's own, gone when the test lets go of it, or when the test run ends for those that are shared.
// Unix sockets live here too, so its path is short.

import Foundation

final class Workspace: Sendable {
  let path: String

  init() throws {
    var template = Array("/tmp/countersign-e2e.XXXXXX".utf8CString)
    guard template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!) }) != nil else {
      throw Trouble("no temporary directory: \(String(cString: strerror(errno)))")
    }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    _ = Self.sweepsAtExit
    Self.living.with { _ = $0.insert(path) }
  }

  deinit {
    Self.living.with { _ = $0.remove(path) }
    try? FileManager.default.removeItem(atPath: path)
  }

  private static let living = Guarded<Set<String>>([])
  private static let sweepsAtExit: Bool = {
    atexit { for path in Workspace.living.now { try? FileManager.default.removeItem(atPath: path) } }
    return true
  }()

  func file(_ name: String) -> String { "\(path)/\(name)" }

  func makeDirectory(_ name: String) throws {
    try FileManager.default.createDirectory(atPath: file(name), withIntermediateDirectories: true)
  }

  /// Writes the whole file at once, so a process that reads it just now sees the old text or the new one.
  @discardableResult
  func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws -> String {
    let target = file(name)
    let fresh = target + ".fresh"
    try Data(text.utf8).write(to: URL(fileURLWithPath: fresh))
    guard chmod(fresh, mode) == 0, rename(fresh, target) == 0 else {
      throw Trouble("cannot write \(target): \(String(cString: strerror(errno)))")
    }
    return target
  }

  func read(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: file(name))), as: UTF8.self)
  }

  func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: file(name)) }
}
