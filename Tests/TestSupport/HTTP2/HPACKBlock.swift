// Header blocks as they are written (RFC 7541 section 6), representation by representation: a test says which, for it may be
// about blocks that no encoder would make.

public struct HPACKBlock: Sendable {
  public enum Indexing: Sendable {
    case incremental, without, never
  }

  public private(set) var bytes: [UInt8] = []

  public init() {}

  /// Literals without indexing, names and values as they are: a block that says the same wherever it comes.
  public init(_ fields: [HPACKField]) {
    for field in fields { literal(field) }
  }

  public mutating func indexed(_ index: Int) { number(index, prefixBits: 7, 0x80) }

  /// `nameIndex`: where the name stands in a table, which is written in place of it.
  public mutating func literal(
    _ field: HPACKField, _ indexing: Indexing = .without, nameIndex: Int = 0, isHuffman: Bool = false
  ) {
    switch indexing {
    case .incremental: number(nameIndex, prefixBits: 6, 0x40)
    case .without: number(nameIndex, prefixBits: 4, 0x00)
    case .never: number(nameIndex, prefixBits: 4, 0x10)
    }
    if nameIndex == 0 { string(field.name, isHuffman: isHuffman) }
    string(field.value, isHuffman: isHuffman)
  }

  public mutating func tableSize(_ size: Int) { number(size, prefixBits: 5, 0x20) }

  /// Bytes as they are, whatever they mean.
  public mutating func raw(_ bytes: [UInt8]) { self.bytes += bytes }

  /// Section 5.1.
  private mutating func number(_ value: Int, prefixBits: Int, _ pattern: UInt8) {
    let most = 1 << prefixBits - 1
    guard value >= most else {
      bytes.append(pattern | UInt8(value))
      return
    }
    bytes.append(pattern | UInt8(most))
    var rest = value - most
    while rest >= 128 {
      bytes.append(0x80 | UInt8(rest & 0x7f))
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func string(_ text: [UInt8], isHuffman: Bool) {
    let coded = isHuffman ? HPACKHuffman.encode(text) : text
    number(coded.count, prefixBits: 7, isHuffman ? 0x80 : 0)
    bytes += coded
  }
}
