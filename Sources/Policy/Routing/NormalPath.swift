// A path as most servers read it: percent-encodings decoded once, `//` taken for `/`, and the segments `.` and `..` resolved (RFC 3986
// section 5.2.4). Routes are matched by it where two readings of one path may lead to two routes (docs/CONFIG.md, "Two readings of a
// path"). Invariant: what is written can stand in a request target, and two paths that are read alike are written alike.
//
// - `%XX` of a visible ASCII character becomes that character, but for `%`, `?`, `#` and `\`: decoded, the first would begin another
//   encoding, the next two would end the path, and the last may not stand in one. All other encodings stay, with capitals.
// - A `%` that begins no encoding becomes `%25`.
//
// - Servers that resolve dot segments do so before or after decoding, with or without taking `//` for `/`. Where that makes a
//   difference (`/a//../b`, `/a/b%2f..%2fc`, `/a/../b/%2e%2e`), the path has no one normal form, and that is said.
// - Others decode and do no more: they see `/a/../b` in `/%61/../b`. That is the decoded form, written by the same function.
// Callers: RouteTable, for a request; PathChange; the configuration's reader, for what is written there.

import Platform
import Wire

package enum NormalPath {
  /// What one byte of a path may become longer by: `%` becomes `%25`.
  static let growth = 3

  /// What was found in a path.
  package struct Marks {
    /// A segment `.` or `..`, however it is written.
    package var hasDots = false
    /// A slash behind a slash.
    package fileprivate(set) var hasEmpty = false
    /// `..` with a dot that is encoded, and without.
    fileprivate var goesUpEncoded = false
    fileprivate var goesUpPlain = false
    fileprivate var hasEncodedSlash = false

    /// What `..` takes away depends on the order in which a server decodes, joins slashes and resolves.
    package var isUnclear: Bool {
      goesUpEncoded && goesUpPlain || (goesUpEncoded || goesUpPlain) && (hasEmpty || hasEncodedSlash)
    }
  }

  /// Appends the normal form of `path`, which begins with a slash, to an empty buffer. Where it does not fit, the buffer says so
  /// (`overflowed`).
  /// - Parameter resolves: false for the decoded form, in which dot segments and double slashes stay.
  @discardableResult
  package static func write(_ path: Span<UInt8>, resolves: Bool = true, into out: Buffer) -> Marks {
    var marks = Marks()
    guard path.count > 0, path[0] == 0x2f else {
      out.append(path)
      return marks
    }
    // The byte before, decoded.
    var last: UInt8 = 0
    var hasEncodedDot = false
    func append(_ byte: UInt8) {
      if byte == 0x2f, last == 0x2f { marks.hasEmpty = true }
      last = byte
      guard resolves, byte == 0x2f else {
        out.append(byte)
        return
      }
      endSegment(out, hasEncodedDot, &marks)
      hasEncodedDot = false
      if !out.withReadable({ $0.count > 0 && $0[$0.count - 1] == 0x2f }) { out.append(byte) }
    }
    var at = 0
    while at < path.count {
      let byte = path[at]
      at += 1
      guard byte == 0x25 else {
        append(byte)
        continue
      }
      guard at + 1 < path.count, let value = PathText.escaped(path[at], path[at + 1]) else {
        out.append("%25")
        last = 0x25
        continue
      }
      at += 2
      if value == 0x2f { marks.hasEncodedSlash = true }
      if value == 0x2e { hasEncodedDot = true }
      if isPlain(value) {
        append(value)
      } else {
        last = value
        out.append(0x25)
        out.append(hexDigit(value >> 4))
        out.append(hexDigit(value & 15))
      }
    }
    if resolves { endSegment(out, hasEncodedDot, &marks) }
    return marks
  }

  /// The normal form of a path of the configuration.
  package static func of(_ path: String) -> String {
    let bytes = Array(path.utf8)
    let out = Buffer(capacity: growth * bytes.count + 1)
    write(bytes.span, into: out)
    return String(decoding: out.copyBytes(), as: UTF8.self)
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x25, 0x3f, 0x23, 0x5c: false
    default: byte > 0x20 && byte < 0x7f
    }
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? value + 0x30 : value + 0x37 }

  /// Resolves the segment that ends here where it is `.` or `..`. What is before it ends in a slash then.
  private static func endSegment(_ out: Buffer, _ hasEncodedDot: Bool, _ marks: inout Marks) {
    let dots = out.withReadable { bytes -> Int in
      var at = bytes.count
      while at > 0, bytes[at - 1] == 0x2e, bytes.count - at < 3 { at -= 1 }
      return at > 0 && bytes[at - 1] == 0x2f ? bytes.count - at : 0
    }
    guard dots == 1 || dots == 2 else { return }
    marks.hasDots = true
    if dots == 2, hasEncodedDot { marks.goesUpEncoded = true }
    if dots == 2, !hasEncodedDot { marks.goesUpPlain = true }
    out.removeLast(dots)
    guard dots == 2, out.count > 1 else { return }
    // The segment before it, up to its slash. The first slash stays.
    let segment = out.withReadable { bytes -> Int in
      var at = bytes.count - 1
      while bytes[at - 1] != 0x2f { at -= 1 }
      return bytes.count - at
    }
    out.removeLast(segment)
  }
}
