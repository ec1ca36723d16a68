// Reads a file of secrets, and refuses one that another user could have read or replaced.
// All checks are made on the open descriptor, so the file cannot be exchanged between a check and the read.

import CLinux
import Glibc

package enum KeyFileError: Error, Equatable, Sendable {
  case open(code: Int32)
  case isLink
  case isNotRegular
  case owner(user: UInt32)
  /// The permissions, if they are too wide.
  case mode(UInt32)
  /// Readable for a group other than the allowed one.
  case group(id: UInt32, allowed: String?)
  case groupUnknown(String)
  case tooLarge(bytes: Int)
  case read(code: Int32)
}

package enum KeyFile {
  package static let bytesMax = 64 * 1024

  /// Reads the whole file. It must be a regular file and not a link, belong to root or to the effective user, have no
  /// permissions for others or for a group (except read for `group`, by name), and have at most `bytesMax` bytes.
  package static func read(path: String, group: String? = nil) throws(KeyFileError) -> SecretBytes {
    // O_NONBLOCK: opening a FIFO, which is refused below, must not wait for a writer.
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    let descriptor = unsafe Glibc.open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else {
      let code = cs_errno()
      throw code == ELOOP ? .isLink : .open(code: code)
    }
    defer { close(descriptor) }

    var status = stat()
    // SAFETY: `status` is a whole struct stat for the call to fill.
    guard unsafe fstat(descriptor, &status) == 0 else { throw .open(code: cs_errno()) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .isNotRegular }
    guard status.st_uid == 0 || status.st_uid == geteuid() else { throw .owner(user: status.st_uid) }
    let others = status.st_mode & 0o077
    if others == 0o040 {
      guard let group else { throw .mode(status.st_mode & 0o777) }
      guard let allowed = groupID(group) else { throw .groupUnknown(group) }
      guard status.st_gid == allowed else { throw .group(id: status.st_gid, allowed: group) }
    } else if others != 0 {
      throw .mode(status.st_mode & 0o777)
    }
    guard status.st_size <= bytesMax else { throw .tooLarge(bytes: Int(status.st_size)) }

    // One byte more than is allowed, to notice a file that has grown meanwhile.
    var failure: KeyFileError?
    var filled = 0
    let whole = unsafe SecretBytes(count: bytesMax + 1) { base in
      while filled <= bytesMax {
        // SAFETY: the closure gets room for bytesMax + 1 bytes, of which so many follow base + filled.
        let n = unsafe Glibc.read(descriptor, base + filled, bytesMax + 1 - filled)
        if n == 0 { break }
        if n < 0 {
          let code = cs_errno()
          if code == EINTR { continue }
          failure = .read(code: code)
          return false
        }
        filled += n
      }
      return true
    }
    guard let whole else { throw failure ?? .read(code: EIO) }
    guard filled <= bytesMax else { throw .tooLarge(bytes: filled) }
    return whole.withBytes { SecretBytes($0.extracting(first: filled)) }
  }

  /// The id of a group, by name.
  private static func groupID(_ name: String) -> UInt32? {
    var entry = unsafe group()
    var found: UnsafeMutablePointer<group>?
    var room = [CChar](repeating: 0, count: 16 * 1024)
    // SAFETY: getgrnam_r fills `entry`, whose strings lie in `room`, for which it is told the size. Of the entry only a number
    // is read.
    return unsafe room.withUnsafeMutableBufferPointer { room in
      guard unsafe getgrnam_r(name, &entry, room.baseAddress!, room.count, &found) == 0, unsafe found != nil else {
        return nil
      }
      return unsafe entry.gr_gid
    }
  }
}
