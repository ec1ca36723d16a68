// SHA-256, HMAC, HKDF and CRC-32C for forging, written here so that the attacker in these tests shares no line with
// the product. `ForgeTests` holds them against the project's vectors.

enum Digest {
  static func sha256(_ message: [UInt8]) -> [UInt8] {
    var state: [UInt32] = [
      0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    var padded = message + [0x80]
    while padded.count % 64 != 56 { padded.append(0) }
    padded += bigEndian(UInt64(message.count * 8))
    for block in stride(from: 0, to: padded.count, by: 64) {
      var words = (0..<16).map { i in
        (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(padded[block + i * 4 + $1]) }
      }
      for i in 16..<64 {
        let s0 = rotate(words[i - 15], 7) ^ rotate(words[i - 15], 18) ^ words[i - 15] >> 3
        let s1 = rotate(words[i - 2], 17) ^ rotate(words[i - 2], 19) ^ words[i - 2] >> 10
        words.append(words[i - 16] &+ s0 &+ words[i - 7] &+ s1)
      }
      var v = state
      for i in 0..<64 {
        let s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)
        let choice = (v[4] & v[5]) ^ (~v[4] & v[6])
        let first = v[7] &+ s1 &+ choice &+ roundConstants[i] &+ words[i]
        let s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)
        let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])
        v = [first &+ s0 &+ majority, v[0], v[1], v[2], v[3] &+ first, v[4], v[5], v[6]]
      }
      for i in 0..<8 { state[i] = state[i] &+ v[i] }
    }
    return state.flatMap { bigEndian($0) }
  }

  static func hmac(_ key: [UInt8], _ message: [UInt8]) -> [UInt8] {
    var block = key.count > 64 ? sha256(key) : key
    block += [UInt8](repeating: 0, count: 64 - block.count)
    return sha256(block.map { $0 ^ 0x5c } + sha256(block.map { $0 ^ 0x36 } + message))
  }

  /// One block of HKDF-SHA256 (RFC 5869): 32 bytes.
  static func hkdf(_ secret: [UInt8], salt: String, info: [UInt8]) -> [UInt8] {
    hmac(hmac(Array(salt.utf8), secret), info + [1])
  }

  static func crc32c(_ bytes: [UInt8]) -> UInt32 {
    var crc: UInt32 = 0xffff_ffff
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
    }
    return ~crc
  }

  private static func rotate(_ word: UInt32, _ bits: UInt32) -> UInt32 { word >> bits | word << (32 - bits) }

  /// The fractional parts of the cube roots of the first 64 primes.
  private static let roundConstants: [UInt32] = {
    let primes = (2...311).filter { candidate in !(2..<candidate).contains { candidate % $0 == 0 } }
    return primes.map { prime in
      // floor(cbrt(prime) * 2^32) by whole numbers: the greatest x with x^3 <= prime * 2^96.
      var root: UInt64 = 0
      for bit in stride(from: 34, through: 0, by: -1) {
        let candidate = root | 1 << UInt64(bit)
        let square = UInt128(candidate) * UInt128(candidate)
        if square <= UInt128(prime) << 96 / UInt128(candidate) { root = candidate }
      }
      return UInt32(truncatingIfNeeded: root)
    }
  }()
}

func bigEndian<Integer: FixedWidthInteger>(_ value: Integer) -> [UInt8] {
  withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

extension [UInt8] {
  init(hex: String) {
    let digits = Array<Character>(hex)
    self = stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0..<($0 + 2)]), radix: 16)! }
  }

  var hex: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
