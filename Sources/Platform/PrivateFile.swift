// Writes files that hold secrets: completely or not at all, never through a link, and never readable for others meanwhile.
// A file is written under another name in the same directory, synced to disk, and then moved into place, so a reader sees
// the old file or the new one. Used by the `keys` and `certs` commands.

import CLinux
import Glibc

package enum PrivateFile {
  package enum Existing: Sendable {
    /// Fail with EEXIST.
    case refuse
    /// Replace it. A file that its group can read (0640) stays readable for that group.
    case replace
  }

  /// Writes `bytes` to `path`, with mode 0600 unless `Existing.replace` says otherwise.
  package static func write(_ bytes: [UInt8], to path: String, existing: Existing) throws(SystemError) {
    let directory = self.directory(of: path)
    let temporary = "\(directory)/.\(String(UInt64.random(in: .min ... .max), radix: 36)).new"
    // SAFETY: here and below, each path is a NUL-terminated copy that lives for its call.
    let file = unsafe Glibc.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw SystemError("cannot create a file in \(directory)") }
    do throws(SystemError) {
      defer { close(file) }
      // The umask may have taken the owner's own bits away.
      guard fchmod(file, 0o600) == 0 else { throw SystemError("fchmod") }
      // The new file gets the owner of the old one, and its group if that can read it. So a service that could read the old
      // file can read the new one, also when root ran this command.
      if existing == .replace, let old = status(path), old.st_mode & S_IFMT == S_IFREG {
        let isShared = old.st_mode & 0o040 != 0
        if isShared || old.st_uid != geteuid() {
          guard fchown(file, old.st_uid, isShared ? old.st_gid : gid_t.max) == 0 else { throw SystemError("fchown") }
        }
        if isShared { guard fchmod(file, 0o640) == 0 else { throw SystemError("fchmod") } }
      }
      var written = 0
      while written < bytes.count {
        // SAFETY: written is less than count, so count - written bytes follow the pointer; `bytes` does not change.
        let count = unsafe bytes.withUnsafeBytes {
          unsafe Glibc.write(file, $0.baseAddress! + written, $0.count - written)
        }
        if count < 0 {
          if cs_errno() == EINTR { continue }
          throw SystemError("cannot write")
        }
        written += count
      }
      guard fsync(file) == 0 else { throw SystemError("fsync") }
      switch existing {
      case .replace:
        guard unsafe rename(temporary, path) == 0 else { throw SystemError("cannot move the new file into place") }
      case .refuse:
        // Unlike rename, link fails if the name exists.
        guard unsafe link(temporary, path) == 0 else { throw SystemError("cannot create") }
        unsafe unlink(temporary)
      }
    } catch {
      unsafe unlink(temporary)
      throw error
    }
    sync(directory: directory)
  }

  /// Runs `body` with an exclusive lock on the directory of `path`, so that two processes that read, change and write the same
  /// file do not lose each other's changes.
  package static func withDirectoryLock<Result>(
    of path: String, _ body: () throws -> Result
  ) throws -> Result {
    let directory = self.directory(of: path)
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    let file = unsafe Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { throw SystemError("cannot open the directory \(directory)") }
    defer { close(file) }
    while flock(file, LOCK_EX) != 0 {
      guard cs_errno() == EINTR else { throw SystemError("cannot lock the directory \(directory)") }
    }
    return try body()
  }

  /// Creates the directory and its missing parents, with mode 0700. An existing directory is not changed.
  package static func makeDirectory(_ path: String) throws(SystemError) {
    // SAFETY: here and below, the path is a NUL-terminated copy that lives for its call.
    if unsafe mkdir(path, 0o700) == 0 { return }
    switch cs_errno() {
    case EEXIST:
      guard isDirectory(path) else { throw SystemError("\(path)", code: ENOTDIR) }
    case ENOENT:
      let parent = directory(of: path)
      guard parent != path else { throw SystemError("cannot create \(path)", code: ENOENT) }
      try makeDirectory(parent)
      guard unsafe mkdir(path, 0o700) == 0 || cs_errno() == EEXIST else { throw SystemError("cannot create \(path)") }
    case let code: throw SystemError("cannot create \(path)", code: code)
    }
  }

  /// Whether anything exists at `path`; a dangling link counts.
  package static func exists(_ path: String) -> Bool { status(path) != nil }

  private static func status(_ path: String) -> stat? {
    var status = stat()
    // SAFETY: the path is a NUL-terminated copy that lives for the call; `status` is a whole struct stat for it to fill.
    return unsafe lstat(path, &status) == 0 ? status : nil
  }

  private static func isDirectory(_ path: String) -> Bool {
    var status = Glibc.stat()
    // SAFETY: the path is a NUL-terminated copy that lives for the call; `status` is a whole struct stat for it to fill.
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private static func directory(of path: String) -> String {
    let trimmed = path.count > 1 && path.hasSuffix("/") ? path.dropLast() : path[...]
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  }

  /// Syncs the directory, so that the new name is on disk too. Errors are ignored: some file systems do not support it.
  private static func sync(directory: String) {
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    let file = unsafe Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { return }
    fsync(file)
    close(file)
  }
}
