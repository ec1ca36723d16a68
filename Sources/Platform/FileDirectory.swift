// A directory whose files are served, and one of these while it is. A name is looked up by the kernel (openat2(2) with RESOLVE_BENEATH), so
// that nothing in it and no link leads out of the directory, whatever happens there meanwhile. Only regular files are opened.
// The directory is shared by all workers; an open file belongs to one exchange, which closes it.

import CLinux
import Glibc
import Wire

package final class FileDirectory: Sendable {
  /// A longer name is none.
  package static let nameBytesMax = 1_023

  private let descriptor: Int32

  package init(path: String) throws(SystemError) {
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    let opened = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard opened >= 0 else { throw SystemError("open") }
    descriptor = opened
    // Kernels before 5.6, and containers that forbid the call, cannot serve files: that is said when the configuration is loaded.
    // SAFETY: a literal, NUL-terminated.
    let itself = unsafe cs_open_beneath(opened, ".")
    guard itself >= 0 else {
      // deinit closes the descriptor.
      throw SystemError("openat2")
    }
    close(itself)
  }

  deinit { close(descriptor) }

  package enum Opened {
    case file(OpenFile)
    /// There is no regular file of that name in the directory.
    case missing
    /// There may be one that cannot be opened; by its errno.
    case failed(Int32)
  }

  /// Opens a file of the directory, or of one below it.
  package func open(_ name: Span<UInt8>) -> Opened {
    guard name.count > 0, name.count <= FileDirectory.nameBytesMax else { return .missing }
    var text = InlineArray<1_024, UInt8>(repeating: 0)
    for i in 0..<name.count {
      guard name[i] != 0 else { return .missing }
      text[i] = name[i]
    }
    // SAFETY: the text is longer than the name by a NUL at least, and lives for the call.
    let opened = unsafe text.span.withUnsafeBufferPointer { bytes in
      unsafe bytes.withMemoryRebound(to: CChar.self) { unsafe cs_open_beneath(descriptor, $0.baseAddress!) }
    }
    guard opened >= 0 else {
      let code = cs_errno()
      return switch code {
      // Of a link that leads outside the kernel says EXDEV, of a loop of links ELOOP, of a socket ENXIO.
      case ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP, EXDEV, ENXIO, EINVAL: .missing
      default: .failed(code)
      }
    }
    var status = stat()
    // SAFETY: `status` is a whole struct stat for the call to fill.
    guard unsafe fstat(opened, &status) == 0 else {
      let code = cs_errno()
      close(opened)
      return .failed(code)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(opened)
      return .missing
    }
    return .file(
      OpenFile(
        descriptor: opened, bytes: UInt64(max(0, status.st_size)), modifiedSeconds: Int64(status.st_mtim.tv_sec),
        modifiedNanoseconds: UInt64(status.st_mtim.tv_nsec)))
  }
}

/// A regular file that is open for reading. A plain value: whoever has it closes it once.
package struct OpenFile: Sendable {
  private let descriptor: Int32
  /// As it was when it was opened.
  package let bytes: UInt64
  package let modifiedSeconds: Int64
  package let modifiedNanoseconds: UInt64

  init(descriptor: Int32, bytes: UInt64, modifiedSeconds: Int64, modifiedNanoseconds: UInt64) {
    self.descriptor = descriptor
    self.bytes = bytes
    self.modifiedSeconds = modifiedSeconds
    self.modifiedNanoseconds = modifiedNanoseconds
  }

  /// Appends up to `most` bytes from `offset` on, as far as the buffer has room.
  /// - Returns: how many; 0 where the file ends there, or cannot be read.
  package func read(at offset: UInt64, most: UInt64, into buffer: Buffer) -> Int {
    // SAFETY: the buffer lends its free space for the call.
    let read = unsafe buffer.withWritable { room, count in
      let wanted = Int(min(UInt64(count), most))
      while true {
        // SAFETY: the call writes at most `wanted` bytes, for which there is room.
        let n = unsafe pread(descriptor, room, wanted, Int(clamping: offset))
        if n < 0, cs_errno() == EINTR { continue }
        return n
      }
    }
    return max(0, read)
  }

  package func close() { Glibc.close(descriptor) }
}
