// What the fields of a section say about where the message's content ends (RFC 9112 section 6).
// Callers: RequestHead, ResponseHead.

extension FieldTable {
  private static let chunked = PackedName("chunked")

  /// What Content-Length and Transfer-Encoding say together (RFC 9112 section 6), refusing all that two readers
  /// could take in two ways. `.none` when neither is there.
  func framing(_ bytes: Span<UInt8>, minorVersion: Int) -> Framing {
    let hasLength = has(.contentLength)
    guard has(.transferEncoding) else {
      guard hasLength else { return .stated(.none) }
      if repeated & FieldKind.contentLength.bit == 0, let length = Self.length(bytes, firstValue(.contentLength)) {
        return .stated(.length(length))
      }
      guard isLenient, let length = readRepeatedLength(bytes) else { return .refused(.framingLength) }
      repeatedLength = length
      return .stated(.length(length))
    }
    if hasLength { return .refused(.framingTeCl) }
    guard minorVersion == 1, repeated & FieldKind.transferEncoding.bit == 0,
      bytes.holds(Self.chunked, at: firstValue(.transferEncoding))
    else { return .refused(.framingTe) }
    return .stated(.chunked)
  }

  /// The length that all lines and elements of Content-Length state alike; nil where one differs or is none.
  private func readRepeatedLength(_ bytes: Span<UInt8>) -> UInt64? {
    var stated: UInt64?
    for index in firstIndex(.contentLength)..<count where line(index).kind == .contentLength {
      let value = line(index).value
      var start = value.lower
      while true {
        var end = start
        while end < value.upper, bytes[end] != Ascii.comma { end &+= 1 }
        var (first, last) = (start, end)
        while first < last, Ascii.isBlank(bytes[first]) { first &+= 1 }
        while last > first, Ascii.isBlank(bytes[last &- 1]) { last &-= 1 }
        guard let length = Self.length(bytes, ByteRange(first, last &- first)) else { return nil }
        if let stated, stated != length { return nil }
        stated = length
        guard end < value.upper else { break }
        start = end &+ 1
      }
    }
    return stated
  }

  enum Framing {
    case stated(BodyFraming)
    case refused(Refusal)
  }

  /// Digits only, at most 19 of them and below 2^63.
  private static func length(_ bytes: Span<UInt8>, _ range: ByteRange) -> UInt64? {
    guard range.count >= 1, range.count <= 19 else { return nil }
    var length: UInt64 = 0
    for at in range.range {
      guard Ascii.isDigit(bytes[at]) else { return nil }
      length = length &* 10 &+ UInt64(bytes[at] &- 0x30)  // 19 digits stay below 2^64
    }
    return length <= UInt64(Int64.max) ? length : nil
  }
}
