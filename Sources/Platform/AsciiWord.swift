// Comparing bytes with literals. A StaticString gives its bytes only as a pointer, so this is in Platform.

import Wire

package enum AsciiWord {
  /// Whether `bytes` equal `word`, ignoring ASCII case. `word` must be lower case.
  package static func matches(_ bytes: Span<UInt8>, _ word: StaticString) -> Bool {
    guard bytes.count == word.utf8CodeUnitCount else { return false }
    // SAFETY: a literal's bytes are constants of the program, utf8CodeUnitCount of them; the indices of `bytes` stay below
    // that count, which is its own.
    let wanted = unsafe UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
    for i in bytes.indices {
      if unsafe bytes[i].asciiLowercased != wanted[i] { return false }
    }
    return true
  }

  /// Whether `bytes` equal `word`, byte for byte.
  package static func isEqual(_ bytes: Span<UInt8>, _ word: StaticString) -> Bool {
    guard bytes.count == word.utf8CodeUnitCount else { return false }
    // SAFETY: as above.
    let wanted = unsafe UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
    for i in bytes.indices where unsafe bytes[i] != wanted[i] { return false }
    return true
  }

  /// Whether `word` begins with `bytes`, byte for byte.
  package static func begins(_ word: StaticString, with bytes: Span<UInt8>) -> Bool {
    guard bytes.count <= word.utf8CodeUnitCount else { return false }
    // SAFETY: as above; the indices of `bytes` stay below the word's count.
    let wanted = unsafe UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
    for i in bytes.indices where unsafe bytes[i] != wanted[i] { return false }
    return true
  }
}
