// A file or directory as the kernel knows it, whatever path or link leads to it. Used to tell whether one directory holds a file that
// another path names; nothing is opened.

import Glibc

package enum FileKind: Sendable {
  case directory, socket, other

  /// What is at `path`, by where links lead; nil where there is nothing, or it cannot be looked at.
  package static func at(_ path: String) -> FileKind? {
    var status = stat()
    // SAFETY: the path is a NUL-terminated copy that lives for the call; `status` is a whole struct stat for it to fill.
    guard unsafe stat(path, &status) == 0 else { return nil }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: return .directory
    case S_IFSOCK: return .socket
    default: return .other
    }
  }
}

package struct FileIdentity: Hashable, Sendable {
  private let device: UInt64
  private let number: UInt64

  /// Links are followed; nil where there is nothing, or it cannot be looked at.
  package init?(path: String) {
    var status = stat()
    // SAFETY: the path is a NUL-terminated copy that lives for the call; `status` is a whole struct stat for it to fill.
    guard unsafe stat(path, &status) == 0 else { return nil }
    device = UInt64(status.st_dev)
    number = UInt64(status.st_ino)
  }

  /// The directories that `path` is in, up to the root: those of the name itself, and those of what it leads to where it is a link. What
  /// does not exist yet is where it would be made.
  package static func directories(of path: String) -> Set<FileIdentity> {
    var found: Set<FileIdentity> = []
    var named = parent(of: path)
    while realPath(named) == nil, named != parent(of: named) { named = parent(of: named) }
    let meant = realPath(path).map { parent(of: $0) }
    for start in [realPath(named), meant] {
      guard var directory = start else { continue }
      while true {
        if let identity = FileIdentity(path: directory) { found.insert(identity) }
        if directory == parent(of: directory) { break }
        directory = parent(of: directory)
      }
    }
    return found
  }

  private static func parent(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func realPath(_ path: String) -> String? {
    // SAFETY: the path is a NUL-terminated copy that lives for the call; what comes back is a NUL-terminated string of ours, which is
    // copied and then given back.
    guard let real = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(real) }
    return unsafe String(cString: real)
  }
}
