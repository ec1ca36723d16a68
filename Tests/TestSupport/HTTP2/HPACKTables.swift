// What RFC 7541 lists: the static table (appendix A) and the Huffman code (appendix B).

/// A field's name and value as bytes: tests send what is no text as well.
public struct HPACKField: Hashable, Sendable, CustomStringConvertible {
  public var name: [UInt8]
  public var value: [UInt8]

  public init(_ name: [UInt8], _ value: [UInt8]) {
    self.name = name
    self.value = value
  }

  public init(_ name: String, _ value: String) { self.init(Array(name.utf8), Array(value.utf8)) }

  /// What the field counts for, in a table and in a list of fields (RFC 7541 section 4.1, RFC 9113 section 6.5.2).
  public var size: Int { name.count + value.count + 32 }

  public var nameText: String { String(decoding: name, as: UTF8.self) }
  public var valueText: String { String(decoding: value, as: UTF8.self) }
  public var description: String { "\(nameText): \(valueText)" }
}

public enum HPACKTables {
  /// Index 1 is the first.
  public static let fields: [HPACKField] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
  ].map { HPACKField($0.0, $0.1) }
}

/// The code is canonical: codes are numbered by their length, and within a length by the symbol. So the symbols of each length
/// are all that there is to know of it.
public enum HPACKHuffman {
  private static let endOfString = 256

  private static let symbols: [(bits: Int, symbols: [Int])] = [
    (5, text("012aceiost")), (6, text(" %-./3456789=A_bdfghlmnpru")), (7, text(":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz")),
    (8, text("&*,;XZ")), (10, text("!\"()?")), (11, text("'+|")), (12, text("#>")), (13, [0] + text("$@[]~")),
    (14, text("^}")), (15, text("<`{")), (19, text("\\") + [195, 208]),
    (20, [128, 130, 131, 162, 184, 194, 224, 226]),
    (21, [153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230]),
    (
      22,
      [
        129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196,
        198, 228, 232, 233,
      ]
    ),
    (
      23,
      [
        1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182,
        183, 188, 191, 197, 231, 239,
      ]
    ),
    (24, [9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237]), (25, [199, 207, 234, 235]),
    (26, [192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255]),
    (27, [203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254]),
    (28, Array(2...8) + [11, 12] + Array(14...21) + Array(23...31) + [127, 220, 249]),
    (30, [10, 13, 22, endOfString]),
  ]

  private static func text(_ text: String) -> [Int] { text.utf8.map(Int.init).sorted() }

  private struct Code: Hashable {
    var bits: Int
    var value: UInt32
  }

  private static let codes: [Code] = {
    var codes = [Code](repeating: Code(bits: 0, value: 0), count: endOfString + 1)
    var next: UInt32 = 0
    var length = 0
    for (bits, symbols) in symbols {
      next <<= UInt32(bits - length)
      length = bits
      for symbol in symbols {
        codes[symbol] = Code(bits: bits, value: next)
        next += 1
      }
    }
    precondition(next == 1 << 30, "the code is not complete")
    return codes
  }()

  private static let symbolByCode = Dictionary(uniqueKeysWithValues: codes.enumerated().map { ($1, $0) })

  public static func encode(_ bytes: [UInt8]) -> [UInt8] {
    var encoded: [UInt8] = []
    var held: UInt64 = 0
    var bits = 0
    for byte in bytes {
      let code = codes[Int(byte)]
      held = held << UInt64(code.bits) | UInt64(code.value)
      bits += code.bits
      while bits >= 8 {
        encoded.append(UInt8(truncatingIfNeeded: held >> UInt64(bits - 8)))
        bits -= 8
      }
    }
    if bits > 0 { encoded.append(UInt8(truncatingIfNeeded: held << UInt64(8 - bits)) | 0xff >> UInt8(bits)) }
    return encoded
  }

  /// Strict: what is padded by more than seven bits, or by others than ones, and what has the end of the string in it, is none
  /// (RFC 7541 section 5.2).
  public static func decode(_ bytes: some Sequence<UInt8>) throws(HPACKFault) -> [UInt8] {
    var decoded: [UInt8] = []
    var code = Code(bits: 0, value: 0)
    for byte in bytes {
      for bit in (0..<8).reversed() {
        code.value = code.value << 1 | UInt32(byte >> UInt8(bit) & 1)
        code.bits += 1
        if code.bits > 30 { throw .huffman }
        guard code.bits >= 5, let symbol = symbolByCode[code] else { continue }
        guard symbol != endOfString else { throw .huffman }
        decoded.append(UInt8(symbol))
        code = Code(bits: 0, value: 0)
      }
    }
    guard code.bits < 8, code.value == 1 << UInt32(code.bits) - 1 else { throw .huffman }
    return decoded
  }
}
