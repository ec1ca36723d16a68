// SipHash-2-4 (Aumasson and Bernstein, 2012) over 64-bit words: a keyed hash for tables whose keys come from strangers. Whoever
// does not have the key cannot choose two inputs that meet in a table.
// Called by the rate limiter for each request that is counted.

public struct SipHash: Sendable {
  private var v0: UInt64
  private var v1: UInt64
  private var v2: UInt64
  private var v3: UInt64
  private var count: UInt64 = 0

  public init(key0: UInt64, key1: UInt64) {
    v0 = key0 ^ 0x736f_6d65_7073_6575
    v1 = key1 ^ 0x646f_7261_6e64_6f6d
    v2 = key0 ^ 0x6c79_6765_6e65_7261
    v3 = key1 ^ 0x7465_6462_7974_6573
  }

  /// Adds eight bytes, the first one lowest.
  public mutating func add(_ word: UInt64) {
    count &+= 8
    v3 ^= word
    mix()
    mix()
    v0 ^= word
  }

  /// Adds a text, with its length behind it, so that two texts in a row are not one.
  public mutating func add(_ bytes: Span<UInt8>) {
    var at = 0
    while at < bytes.count {
      var word: UInt64 = 0
      for i in 0..<min(8, bytes.count &- at) { word |= UInt64(bytes[at &+ i]) &<< UInt64(8 &* i) }
      add(word)
      at &+= 8
    }
    add(UInt64(bytes.count))
  }

  /// The hash of everything that was added; `self` stays as it is.
  public var value: UInt64 {
    var end = self
    // The last block has the length in its highest byte; all that was added are whole words.
    let last = count &<< 56
    end.v3 ^= last
    end.mix()
    end.mix()
    end.v0 ^= last
    end.v2 ^= 0xff
    for _ in 0..<4 { end.mix() }
    return end.v0 ^ end.v1 ^ end.v2 ^ end.v3
  }

  @inline(__always) private mutating func mix() {
    v0 &+= v1
    v1 = v1 &<< 13 | v1 &>> 51
    v1 ^= v0
    v0 = v0 &<< 32 | v0 &>> 32
    v2 &+= v3
    v3 = v3 &<< 16 | v3 &>> 48
    v3 ^= v2
    v0 &+= v3
    v3 = v3 &<< 21 | v3 &>> 43
    v3 ^= v0
    v2 &+= v1
    v1 = v1 &<< 17 | v1 &>> 47
    v1 ^= v2
    v2 = v2 &<< 32 | v2 &>> 32
  }
}
