// Addresses in text: read strictly, written in the one canonical way.
// Invariant: what `text` writes, `parse` reads back to the same address. Called by the configuration, by the PROXY v1
// and forwarded-field parsers, and by everything that writes an address to a peer or to a log.

extension IPAddress {
  /// Reads a whole dotted quad, or a whole IPv6 address as RFC 4291 section 2.2 writes it: no zone, brackets, port,
  /// prefix length nor white space. The quad has four decimal numbers without leading zeros, because `010` is ten to
  /// some readers and eight to others (RFC 6943 section 3.1.1).
  public static func parse(_ text: Span<UInt8>) -> IPAddress? {
    // The longest form is six full groups and a quad: 45 bytes.
    guard text.count >= 2, text.count <= 45 else { return nil }
    for index in text.indices {
      let byte = text[index]
      if byte == 0x3a { return parseV6(text) }
      if byte == 0x2e { return parseV4(text).map(IPAddress.init(v4:)) }
    }
    return nil
  }

  private static func parseV4(_ text: Span<UInt8>) -> UInt32? {
    guard text.count >= 7, text.count <= 15 else { return nil }
    var address: UInt32 = 0
    var octet: UInt32 = 0
    var digits = 0
    var dots = 0
    for index in text.indices {
      let byte = text[index]
      switch byte {
      case 0x30...0x39:
        guard digits == 0 || octet != 0 else { return nil }
        octet = octet &* 10 &+ UInt32(byte &- 0x30)
        digits &+= 1
        guard octet <= 255 else { return nil }
      case 0x2e:
        guard digits > 0, dots < 3 else { return nil }
        address = address << 8 | octet
        octet = 0
        digits = 0
        dots &+= 1
      default: return nil
      }
    }
    guard dots == 3, digits > 0 else { return nil }
    return address << 8 | octet
  }

  private static func parseV6(_ text: Span<UInt8>) -> IPAddress? {
    var groups = InlineArray<8, UInt16>(repeating: 0)
    var count = 0
    /// How many groups stand before `::`; nil as long as it has not come.
    var gap: Int?
    var at = 0
    if text[0] == 0x3a {
      guard text[1] == 0x3a else { return nil }
      gap = 0
      at = 2
    }
    while at < text.count {
      guard count < 8 else { return nil }
      let start = at
      var group: UInt32 = 0
      while at < text.count, let digit = hexDigit(text[at]) {
        guard at - start < 4 else { return nil }
        group = group << 4 | digit
        at += 1
      }
      if at < text.count, text[at] == 0x2e {
        // The last two groups as a dotted quad.
        guard count <= 6, let quad = parseV4(text.extracting(start..<text.count)) else { return nil }
        groups[count] = UInt16(quad >> 16)
        groups[count + 1] = UInt16(quad & 0xffff)
        count += 2
        at = text.count
        break
      }
      guard at > start else { return nil }
      groups[count] = UInt16(group)
      count += 1
      guard at < text.count else { break }
      guard text[at] == 0x3a else { return nil }
      at += 1
      // A single colon must be followed by another group.
      guard at < text.count else { return nil }
      if text[at] == 0x3a {
        guard gap == nil else { return nil }
        gap = count
        at += 1
      }
    }
    if let gap {
      // "::" stands for one or more groups (RFC 4291 section 2.2).
      guard count < 8 else { return nil }
      let moved = count - gap
      for offset in 0..<moved {
        let from = count - 1 - offset
        groups[7 - offset] = groups[from]
        groups[from] = 0
      }
    } else {
      guard count == 8 else { return nil }
    }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for index in 0..<4 { high = high << 16 | UInt64(groups[index]) }
    for index in 4..<8 { low = low << 16 | UInt64(groups[index]) }
    return IPAddress(v6High: high, v6Low: low)
  }

  private static func hexDigit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case 0x30...0x39: UInt32(byte - 0x30)
    case 0x41...0x46: UInt32(byte - 0x37)
    case 0x61...0x66: UInt32(byte - 0x57)
    default: nil
    }
  }
}

/// Decimal numbers in text: digits only, no sign, no leading zero.
enum DecimalText {
  /// Nil when `text` is empty, is anything but digits, has a leading zero or is over `max`.
  static func parse(_ text: Span<UInt8>, max: UInt32) -> UInt32? {
    guard text.count >= 1, text.count <= 10 else { return nil }
    guard text[0] != 0x30 || text.count == 1 else { return nil }
    var value: UInt64 = 0
    for index in text.indices {
      let byte = text[index]
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      value = value * 10 + UInt64(byte - 0x30)
    }
    return value <= UInt64(max) ? UInt32(value) : nil
  }
}

// MARK: Output

extension IPAddress: CustomStringConvertible, LosslessStringConvertible {
  /// An address as it is written: at most 39 bytes, held in place.
  public struct Text: Sendable {
    @usableFromInline var storage = InlineArray<39, UInt8>(repeating: 0)
    @usableFromInline var length = 0

    /// The bytes of the text.
    @inlinable public func withBytes<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
      body(storage.span.extracting(0..<length))
    }

    mutating func append(_ byte: UInt8) {
      storage[length] = byte
      length += 1
    }

    mutating func append(decimal value: UInt8) {
      if value >= 100 { append(0x30 + value / 100) }
      if value >= 10 { append(0x30 + value / 10 % 10) }
      append(0x30 + value % 10)
    }

    mutating func append(hex value: UInt16) {
      var shift: UInt16 = 12
      while shift > 0, value >> shift == 0 { shift -= 4 }
      while true {
        let digit = UInt8(truncatingIfNeeded: value >> shift & 15)
        append(digit < 10 ? 0x30 + digit : 0x57 + digit)
        guard shift > 0 else { return }
        shift -= 4
      }
    }

    mutating func append(quad value: UInt32) {
      for index in 0..<4 {
        if index > 0 { append(0x2e) }
        append(decimal: UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index)))
      }
    }
  }

  /// The dotted quad, or IPv6 as RFC 5952 section 4 has it: lower case, no leading zeros, the longest run of two or more
  /// zero groups (the first of equals) as `::`; a mapped address in mixed notation (section 5).
  public var text: Text {
    var text = Text()
    guard family == .v6 else {
      text.append(quad: UInt32(truncatingIfNeeded: low))
      return text
    }
    if isMapped {
      text.append(0x3a)
      text.append(0x3a)
      text.append(hex: 0xffff)
      text.append(0x3a)
      text.append(quad: UInt32(truncatingIfNeeded: low))
      return text
    }
    let gap = longestZeroRun
    var index = 0
    while index < 8 {
      if index == gap.lowerBound, !gap.isEmpty {
        text.append(0x3a)
        text.append(0x3a)
        index = gap.upperBound
        continue
      }
      if index > 0, index != gap.upperBound || gap.isEmpty { text.append(0x3a) }
      text.append(hex: group(index))
      index += 1
    }
    return text
  }

  /// Writes `text`.
  @inlinable public func write(to sink: some ByteSink) {
    guard family == .v4 else {
      text.withBytes { sink.append($0) }
      return
    }
    let address = UInt32(truncatingIfNeeded: low)
    let (first, firstCount) = IPAddress.octets(address &>> 16)
    let (second, secondCount) = IPAddress.octets(address & 0xffff)
    // The dot after the last octet is not counted. Each half has at least four bytes.
    let shift = UInt64(firstCount &<< 3)
    sink.append(
      packed: first | second << shift, second &>> (64 &- shift), count: firstCount &+ secondCount &- 1)
  }

  /// Two octets in decimal, each with a dot behind it, the first character lowest, and how many characters these are.
  @inlinable @inline(__always) static func octets(_ two: UInt32) -> (UInt64, Int) {
    let (upper, upperCount) = octet(two &>> 8)
    let (lower, lowerCount) = octet(two & 0xff)
    return (UInt64(upper) | UInt64(lower) &<< UInt64(upperCount &<< 3), upperCount &+ lowerCount)
  }

  @inlinable @inline(__always) static func octet(_ octet: UInt32) -> (UInt32, Int) {
    let hundreds = (octet &* 41) &>> 12
    let tens = ((octet &- hundreds &* 100) &* 103) &>> 10
    let ones = octet &- hundreds &* 100 &- tens &* 10
    let zeros: UInt32 = octet >= 100 ? 0 : octet >= 10 ? 1 : 2
    let text = hundreds | tens &<< 8 | ones &<< 16 | 0x2e30_3030
    return (text &>> (zeros &<< 3), Int(4 &- zeros))
  }

  public var description: String {
    text.withBytes { bytes in
      var characters: [UInt8] = []
      characters.reserveCapacity(bytes.count)
      for index in bytes.indices { characters.append(bytes[index]) }
      return String(decoding: characters, as: UTF8.self)
    }
  }

  /// As `parse`.
  public init?(_ text: String) {
    guard let address = IPAddress.parse(text.utf8.span) else { return nil }
    self = address
  }

  private func group(_ index: Int) -> UInt16 {
    let half = index < 4 ? high : low
    return UInt16(truncatingIfNeeded: half >> UInt64(48 - 16 * (index & 3)))
  }

  private var longestZeroRun: Range<Int> {
    var best = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, group(end) == 0 { end += 1 }
      if end - start >= 2, end - start > best.count { best = start..<end }
      start = max(end, start + 1)
    }
    return best
  }
}
