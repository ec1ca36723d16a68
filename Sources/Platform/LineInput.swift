// A file of lines, plain or gzip, read from its beginning to its end: each line is looked at where it lies in the buffer, and no
// string is made. What is gzip shows by its first two bytes (RFC 1952 section 2.3.1), not by its name.
//
// Invariants: begin <= scanned <= end <= capacity, and begin..<end is initialized; the current line lies in front of begin until
// the next call of `next`. Of a regular file no more is read than it had when it was opened, so that it reads the same again.
// Memory: the buffer, and for gzip a second one and zlib's 40 KiB. Used by the commands that look through logs. One thread.

import CLinux
import Glibc

package struct LineInputError: Error, CustomStringConvertible {
  package let description: String
}

@safe package final class LineInput {
  /// A longer line is passed over.
  package static let lineBytesMax = 128 * 1024
  private static let packedBytes = 64 * 1024

  package let name: String
  /// A regular file, which can be read again.
  package let isRepeatable: Bool
  /// Bytes of a regular file when it was opened; 0 of anything else.
  package let size: UInt64
  /// Bytes of the file that were read so far.
  package private(set) var readBytes: UInt64 = 0
  /// The current line was too long: there is none of it.
  package private(set) var isTooLong = false
  /// The file ends within the current line.
  package private(set) var isUnfinished = false

  private let descriptor: Int32
  // SAFETY: capacity bytes each, allocated in init and freed in deinit, the second one only for gzip.
  private let base: UnsafeMutablePointer<UInt8>
  private var packed: UnsafeMutablePointer<UInt8>?
  private var packedBegin = 0
  private var packedEnd = 0
  private var gzip: GzipStream?
  private var begin = 0
  private var end = 0
  private var lineStart = 0
  private var lineEnd = 0
  private var hasBegun = false
  private var hasEnded = false

  /// Opens a file; `-` is standard input.
  package init(path: String) throws(LineInputError) {
    name = path == "-" ? "standard input" : path
    // SAFETY: here and below, the path is a NUL-terminated copy that lives for its call, and `status` a whole struct stat.
    descriptor = path == "-" ? STDIN_FILENO : unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    unsafe base = .allocate(capacity: LineInput.lineBytesMax)
    var status = stat()
    guard descriptor >= 0, unsafe fstat(descriptor, &status) == 0 else {
      isRepeatable = false
      size = 0
      throw LineInputError(description: "\(name): \(SystemError("open").reason)")
    }
    isRepeatable = status.st_mode & S_IFMT == S_IFREG && path != "-"
    size = isRepeatable ? UInt64(status.st_size) : 0
    guard status.st_mode & S_IFMT != S_IFDIR else { throw LineInputError(description: "\(name): is a directory") }
  }

  deinit {
    if descriptor > STDERR_FILENO { close(descriptor) }
    // SAFETY: nobody has a reference to self any more.
    unsafe base.deallocate()
    unsafe packed?.deallocate()
  }

  /// Goes to the beginning again; of a repeatable one.
  package func rewind() throws(LineInputError) {
    guard isRepeatable, lseek(descriptor, 0, SEEK_SET) == 0 else { throw error("cannot be read again") }
    readBytes = 0
    (begin, end, lineStart, lineEnd) = (0, 0, 0, 0)
    (packedBegin, packedEnd) = (0, 0)
    gzip = nil
    (hasBegun, hasEnded, isTooLong, isUnfinished) = (false, false, false, false)
  }

  /// Leaves out all but the last `count` bytes, before the first line is read; what comes first is then a part of a line. Only in a
  /// plain regular file: of any other nothing is left out.
  package func skip(toLast count: Int) throws(LineInputError) {
    guard isRepeatable, !hasBegun, size > UInt64(count) else { return }
    try beginReading()
    guard gzip == nil else { return }
    let start = size - UInt64(count)
    guard lseek(descriptor, off_t(start), SEEK_SET) >= 0 else { throw error(SystemError("lseek").reason) }
    readBytes = start
    end = 0
  }

  /// Calls `body` with the current line, without its line feed.
  @inline(__always) package func withLine<R>(_ body: (Span<UInt8>) -> R) -> R {
    // SAFETY: lineStart..<lineEnd is initialized, and nothing writes to the buffer before the next call of `next`.
    body(unsafe Span(_unsafeStart: UnsafePointer(base + lineStart), count: lineEnd - lineStart))
  }

  /// Goes on to the next line; false where there is none.
  package func next() throws(LineInputError) -> Bool {
    isTooLong = false
    var scanned = begin
    while true {
      // SAFETY: scanned..<end is initialized; memchr looks at no more.
      if scanned < end, let found = unsafe memchr(base + scanned, 0x0a, end - scanned) {
        let at = unsafe UnsafeRawPointer(base).distance(to: found)
        (lineStart, lineEnd) = isTooLong ? (at, at) : (begin, at)
        begin = at + 1
        return true
      }
      if isTooLong { begin = end }
      if begin > 0 {
        // SAFETY: both ranges lie in the buffer; memmove allows overlap.
        unsafe memmove(base, base + begin, end - begin)
        end -= begin
        begin = 0
      }
      scanned = end
      if end == LineInput.lineBytesMax {
        isTooLong = true
        (end, scanned) = (0, 0)
      }
      guard try fill() else {
        guard end > 0 || isTooLong else { return false }
        (lineStart, lineEnd, begin) = isTooLong ? (0, 0, end) : (0, end, end)
        isUnfinished = true
        return true
      }
    }
  }

  // MARK: Reading

  private func error(_ reason: String) -> LineInputError { LineInputError(description: "\(name): \(reason)") }

  /// Reads more behind `end`; false at the end of the file.
  private func fill() throws(LineInputError) -> Bool {
    guard !hasEnded else { return false }
    if !hasBegun {
      try beginReading()
      if gzip == nil, end > 0 { return true }
    }
    if gzip != nil { return try inflate() }
    // SAFETY: room for that many bytes follows end.
    let n = try unsafe read(into: base + end, LineInput.lineBytesMax - end)
    end += n
    hasEnded = n == 0
    return n > 0
  }

  /// Looks whether it is gzip.
  private func beginReading() throws(LineInputError) {
    hasBegun = true
    // SAFETY: the buffer is empty and longer than two bytes.
    while end < 2 {
      let n = try unsafe read(into: base + end, 2 - end)
      if n == 0 { return }
      end += n
    }
    guard unsafe base[0] == 0x1f, unsafe base[1] == 0x8b else { return }
    do { gzip = try GzipStream() } catch { throw self.error(error.reason) }
    let room = unsafe packed ?? .allocate(capacity: LineInput.packedBytes)
    unsafe packed = room
    // SAFETY: two bytes of the one buffer are copied to the other, which has room for more.
    unsafe memcpy(room, base, 2)
    (packedBegin, packedEnd, end) = (0, 2, 0)
  }

  private func inflate() throws(LineInputError) -> Bool {
    guard let gzip, let packed = unsafe packed else { return false }
    while true {
      if packedBegin == packedEnd {
        // SAFETY: the buffer has packedBytes bytes.
        packedEnd = try unsafe read(into: packed, LineInput.packedBytes)
        packedBegin = 0
        if packedEnd == 0 {
          guard gzip.isBetweenMembers else { throw error("ends within its gzip data") }
          hasEnded = true
          return false
        }
      }
      // SAFETY: packedBegin..<packedEnd is initialized, and as many bytes as said follow end.
      let outcome = unsafe gzip.inflate(
        packed + packedBegin, packedEnd - packedBegin, into: base + end, LineInput.lineBytesMax - end)
      switch outcome {
      case .failed(let why): throw error("is not gzip as it should be: \(why)")
      case .moved(let taken, let written):
        packedBegin += taken
        end += written
        if written > 0 { return true }
      }
    }
  }

  // SAFETY: callers pass a pointer to at least `room` bytes of theirs.
  private func read(into target: UnsafeMutablePointer<UInt8>, _ room: Int) throws(LineInputError) -> Int {
    var most = room
    if isRepeatable {
      most = Int(min(UInt64(room), size - readBytes))
      if most == 0 { return 0 }
    }
    while true {
      // SAFETY: at most `room` bytes are written to the target.
      let n = unsafe Glibc.read(descriptor, target, most)
      if n < 0, cs_errno() == EINTR { continue }
      guard n >= 0 else { throw error(SystemError("read").reason) }
      guard n > 0 || !isRepeatable else { throw error("became shorter while it was read") }
      readBytes += UInt64(n)
      return n
    }
  }
}
