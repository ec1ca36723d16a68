// Header blocks read back (RFC 7541), strictly: whatever an encoder may not write is a fault.

public enum HPACKFault: Error, Equatable, Sendable {
  /// The block ends within a representation.
  case truncated
  /// A number that no index, length or size can be.
  case number
  case index
  case huffman
  /// A change of the table's size that is not at the front, or beyond what was allowed.
  case tableSize
}

public struct HPACKDecoder: Sendable {
  /// What our SETTINGS_HEADER_TABLE_SIZE allows.
  public var tableSizeAllowed: Int
  /// The newest first.
  public private(set) var table: [HPACKField] = []
  public private(set) var tableSizeMax: Int
  public var tableSize: Int { table.reduce(0) { $0 + $1.size } }

  public init(tableSizeAllowed: Int = 4096) {
    self.tableSizeAllowed = tableSizeAllowed
    tableSizeMax = tableSizeAllowed
  }

  public mutating func decode(_ block: [UInt8]) throws(HPACKFault) -> [HPACKField] {
    var rest = block[...]
    var fields: [HPACKField] = []
    while let first = rest.first {
      switch first {
      case 0x80...:
        fields.append(try field(at: Self.number(&rest, prefixBits: 7)))
      case 0x40...:
        let field = try literal(&rest, prefixBits: 6)
        fields.append(field)
        add(field)
      case 0x20...:
        let size = try Self.number(&rest, prefixBits: 5)
        // RFC 7541 section 4.2.
        guard fields.isEmpty, size <= tableSizeAllowed else { throw .tableSize }
        tableSizeMax = size
        evict(for: 0)
      default:
        fields.append(try literal(&rest, prefixBits: 4))
      }
    }
    return fields
  }

  private func field(at index: Int) throws(HPACKFault) -> HPACKField {
    guard index > 0 else { throw .index }
    if index <= HPACKTables.fields.count { return HPACKTables.fields[index - 1] }
    let dynamic = index - HPACKTables.fields.count - 1
    guard dynamic < table.count else { throw .index }
    return table[dynamic]
  }

  private func literal(_ rest: inout ArraySlice<UInt8>, prefixBits: Int) throws(HPACKFault) -> HPACKField {
    let index = try Self.number(&rest, prefixBits: prefixBits)
    let name = index == 0 ? try Self.string(&rest) : try field(at: index).name
    return HPACKField(name, try Self.string(&rest))
  }

  private mutating func add(_ field: HPACKField) {
    evict(for: field.size)
    // One that is too large for the table empties it, and that is no fault (section 4.4).
    if field.size <= tableSizeMax { table.insert(field, at: 0) }
  }

  private mutating func evict(for size: Int) {
    while !table.isEmpty, tableSize + size > tableSizeMax { table.removeLast() }
  }

  static func number(_ rest: inout ArraySlice<UInt8>, prefixBits: Int) throws(HPACKFault) -> Int {
    guard let first = rest.popFirst() else { throw .truncated }
    let most = 1 << prefixBits - 1
    var value = Int(first) & most
    guard value == most else { return value }
    var shift = 0
    while true {
      guard let byte = rest.popFirst() else { throw .truncated }
      guard shift <= 28 else { throw .number }
      value += Int(byte & 0x7f) << shift
      shift += 7
      if byte & 0x80 == 0 { return value }
    }
  }

  private static func string(_ rest: inout ArraySlice<UInt8>) throws(HPACKFault) -> [UInt8] {
    guard let first = rest.first else { throw .truncated }
    let count = try number(&rest, prefixBits: 7)
    guard count <= rest.count else { throw .truncated }
    let bytes = rest.prefix(count)
    rest = rest.dropFirst(count)
    return first & 0x80 == 0 ? Array(bytes) : try HPACKHuffman.decode(bytes)
  }
}
