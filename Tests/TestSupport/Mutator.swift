// Inputs that nobody would write, the same in every run: good ones that were damaged, and bytes of a grammar's own alphabet.

public struct Mutator {
  public var dice: Seeded
  private let samples: [[UInt8]]
  private let fragments: [[UInt8]]
  private let alphabet: [UInt8]
  private let bytesMax: Int

  /// Numbers at which something overflows, in decimal and in hexadecimal.
  private static let numbers: [[UInt8]] = [
    "0", "-1", "1e9", "127", "255", "256", "32767", "65535", "65536", "2147483647", "4294967295", "4294967296",
    "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
    "99999999999999999999999999", "ffffffffffffffff", "7fffffffffffffff", "00000000000000000000",
  ].map { Array($0.utf8) }

  /// - Parameters:
  ///   - samples: good inputs.
  ///   - fragments: words of the grammar.
  public init(_ seed: UInt64, samples: [[UInt8]], fragments: [String] = [], bytesMax: Int = 2_048) {
    dice = Seeded(seed)
    self.samples = samples.isEmpty ? [[]] : samples
    self.fragments = fragments.map { Array($0.utf8) } + Mutator.numbers
    let letters = Set(self.samples.joined()).union(self.fragments.joined())
    alphabet = letters.sorted()
    self.bytesMax = bytesMax
  }

  public init(_ seed: UInt64, texts: [String], fragments: [String] = [], bytesMax: Int = 2_048) {
    self.init(seed, samples: texts.map { Array($0.utf8) }, fragments: fragments, bytesMax: bytesMax)
  }

  public mutating func below(_ bound: Int) -> Int { Int(dice.next() % UInt64(max(1, bound))) }

  public mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }

  /// One more input.
  public mutating func next() -> [UInt8] {
    // One of eight is made of nothing.
    guard below(8) > 0 else { return made() }
    var bytes = pick(samples)
    for _ in 0..<below(6) { change(&bytes) }
    return bytes.count > bytesMax ? Array(bytes[..<bytesMax]) : bytes
  }

  public mutating func nextText() -> String { String(decoding: next(), as: UTF8.self) }

  private mutating func made() -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0..<below(40) {
      switch below(4) {
      case 0: bytes += pick(fragments)
      case 1: bytes.append(UInt8(truncatingIfNeeded: dice.next()))
      default: bytes.append(pick(alphabet))
      }
    }
    return bytes
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    let at = below(bytes.count + 1)
    let end = min(bytes.count, at + below(12))
    switch below(12) {
    case 0: if at < bytes.count { bytes[at] ^= 1 << UInt8(below(8)) }
    case 1: if at < bytes.count { bytes[at] = pick(alphabet) }
    case 2: if at < bytes.count { bytes[at] = pick([0, 1, 0x7f, 0x80, 0xff]) }
    case 3: bytes.removeSubrange(at..<end)
    case 4: bytes.insert(contentsOf: bytes[at..<end], at: below(bytes.count + 1))
    case 5: bytes.insert(contentsOf: pick(fragments), at: at)
    case 6: bytes.replaceSubrange(at..<end, with: pick(fragments))
    case 7: bytes.removeSubrange(at...)
    case 8: bytes.removeSubrange(..<at)
    case 9: bytes.insert(pick(alphabet), at: at)
    case 10:
      // Behind the one's beginning another one's end.
      let other = pick(samples)
      bytes.replaceSubrange(at..., with: other[below(other.count + 1)...])
    default:
      let piece = Array(bytes[at..<end])
      for _ in 0..<below(40) { bytes.insert(contentsOf: piece, at: at) }
    }
  }
}
