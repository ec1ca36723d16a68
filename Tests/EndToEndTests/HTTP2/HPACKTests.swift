// The tests' own header compression, by the examples of RFC 7541 and by what it must refuse.

import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HPACK {
    struct Example: Sendable, CustomTestStringConvertible {
      var section: String
      var tableSizeMax = 4096
      var isHuffman = false
      /// Block by block, each with its fields and the size of the table behind it.
      var blocks: [(hex: String, fields: [HPACKField], tableSize: Int)]
      var testDescription: String { section }
    }

    static func bytes(_ hex: String) -> [UInt8] {
      let digits = hex.filter { !$0.isWhitespace }
      return stride(from: 0, to: digits.count, by: 2).map { offset in
        UInt8(digits.dropFirst(offset).prefix(2), radix: 16)!
      }
    }

    private static func request(_ scheme: String, _ path: String, _ more: (String, String)...) -> [HPACKField] {
      [(":method", "GET"), (":scheme", scheme), (":path", path), (":authority", "www.example.com")].map {
        HPACKField($0.0, $0.1)
      } + more.map { HPACKField($0.0, $0.1) }
    }

    private static func response(_ status: String, _ second: String, _ more: (String, String)...) -> [HPACKField] {
      [
        (":status", status), ("cache-control", "private"), ("date", "Mon, 21 Oct 2013 20:13:\(second) GMT"),
        ("location", "https://www.example.com"),
      ].map { HPACKField($0.0, $0.1) } + more.map { HPACKField($0.0, $0.1) }
    }

    private static let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"

    static let examples: [Example] = [
      Example(
        section: "C.2.1",
        blocks: [
          (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            [HPACKField("custom-key", "custom-header")], 55
          )
        ]),
      Example(
        section: "C.2.2",
        blocks: [("040c 2f73 616d 706c 652f 7061 7468", [HPACKField(":path", "/sample/path")], 0)]),
      Example(
        section: "C.2.3",
        blocks: [("1008 7061 7373 776f 7264 0673 6563 7265 74", [HPACKField("password", "secret")], 0)]),
      Example(section: "C.2.4", blocks: [("82", [HPACKField(":method", "GET")], 0)]),
      Example(
        section: "C.3",
        blocks: [
          ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", request("http", "/"), 57),
          ("8286 84be 5808 6e6f 2d63 6163 6865", request("http", "/", ("cache-control", "no-cache")), 110),
          (
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            request("https", "/index.html", ("custom-key", "custom-value")), 164
          ),
        ]),
      Example(
        section: "C.4", isHuffman: true,
        blocks: [
          ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", request("http", "/"), 57),
          ("8286 84be 5886 a8eb 1064 9cbf", request("http", "/", ("cache-control", "no-cache")), 110),
          (
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            request("https", "/index.html", ("custom-key", "custom-value")), 164
          ),
        ]),
      Example(
        section: "C.5", tableSizeMax: 256,
        blocks: [
          (
            """
            4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d
            546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d
            """, response("302", "21"), 222
          ), ("4803 3330 37c1 c0bf", response("307", "21"), 222),
          (
            """
            88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
            6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b
            2076 6572 7369 6f6e 3d31
            """, response("200", "22", ("content-encoding", "gzip"), ("set-cookie", cookie)), 215
          ),
        ]),
      Example(
        section: "C.6", tableSizeMax: 256, isHuffman: true,
        blocks: [
          (
            """
            4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7
            8f0b 97c8 e9ae 82ae 43d3
            """, response("302", "21"), 222
          ), ("4883 640e ffc1 c0bf", response("307", "21"), 222),
          (
            """
            88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
            dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07
            """, response("200", "22", ("content-encoding", "gzip"), ("set-cookie", cookie)), 215
          ),
        ]),
    ]

    @Test(arguments: examples) func examplesAreRead(_ example: Example) throws {
      var decoder = HPACKDecoder(tableSizeAllowed: example.tableSizeMax)
      for block in example.blocks {
        #expect(try Self.bytes(block.hex) == Self.rewritten(block.fields, as: Self.bytes(block.hex)))
        #expect(try decoder.decode(Self.bytes(block.hex)) == block.fields)
        #expect(decoder.tableSize == block.tableSize)
      }
    }

    /// The same block from the fields, with the representations that it has: what is read is written, too.
    private static func rewritten(_ fields: [HPACKField], as block: [UInt8]) throws -> [UInt8] {
      var written = HPACKBlock()
      var at = 0
      for field in fields {
        let before = written.bytes.count
        let first = block[at]
        switch first {
        case 0x80...: written.indexed(Int(first & 0x7f))
        default:
          let indexing: HPACKBlock.Indexing = first >= 0x40 ? .incremental : first >= 0x10 ? .never : .without
          let nameIndex = Int(first & (first >= 0x40 ? 0x3f : 0x0f))
          let stringAt = at + 1
          written.literal(field, indexing, nameIndex: nameIndex, isHuffman: block[stringAt] & 0x80 != 0)
        }
        at += written.bytes.count - before
      }
      return written.bytes
    }

    /// Section C.1, as sizes of a table, which have five bits in the first byte.
    @Test(arguments: [(10, [0x2a]), (30, [0x3e]), (31, [0x3f, 0]), (1337, [0x3f, 0x9a, 0x0a])] as [(Int, [UInt8])])
    func numbers(_ value: Int, _ bytes: [UInt8]) throws {
      var block = HPACKBlock()
      block.tableSize(value)
      #expect(block.bytes == bytes)
      var decoder = HPACKDecoder()
      #expect(try decoder.decode(bytes) == [])
      #expect(decoder.tableSizeMax == value)
    }

    @Test(arguments: [
      ("c6", HPACKFault.index), ("80", .index), ("be", .index), ("7f0700", .index), ("40", .truncated),
      ("8240", .truncated), ("400161", .truncated), ("4003616200", .truncated), ("ff", .truncated),
      ("ff80", .truncated),
      ("ffffffffffff7f", .number), ("8221", .tableSize), ("3fe220", .tableSize), ("3fe21f", .tableSize),
      // Padding of eight bits, padding of zeroes, and the end of the string.
      ("0085f2b24a84ff8449509fff", .huffman), ("0085f2b24a84ff83495090", .huffman),
      ("0085f2b24a84ff874951fffffffa7f", .huffman), ("00016181ff", .huffman),
    ]) func faults(_ hex: String, _ fault: HPACKFault) {
      var decoder = HPACKDecoder()
      #expect(throws: fault) { try decoder.decode(Self.bytes(hex)) }
    }

    @Test func theTableForgetsTheOldest() throws {
      var decoder = HPACKDecoder(tableSizeAllowed: 100)
      var block = HPACKBlock()
      for name in ["a", "b", "c"] { block.literal(HPACKField(name, "1"), .incremental) }
      _ = try decoder.decode(block.bytes)
      #expect(decoder.table.map(\.nameText) == ["c", "b"])
      var large = HPACKBlock()
      large.literal(HPACKField("d", String(repeating: "x", count: 80)), .incremental)
      _ = try decoder.decode(large.bytes)
      #expect(decoder.table == [])
      var small = HPACKBlock()
      small.tableSize(0)
      small.tableSize(40)
      small.literal(HPACKField("e", "1"), .incremental)
      small.literal(HPACKField("f", "1"), .incremental)
      small.indexed(62)
      #expect(try decoder.decode(small.bytes).map(\.nameText) == ["e", "f", "f"])
      #expect(decoder.tableSize == 34)
    }

    /// Every byte, in every way to write it.
    @Test func whatIsWrittenIsRead() throws {
      var random = Seeded(7541)
      var decoder = HPACKDecoder()
      for round in 0..<200 {
        let fields = (0..<5).map { HPACKField(random.bytes($0 * 7 % 11), random.bytes(round + $0)) }
        for isHuffman in [false, true] {
          var block = HPACKBlock()
          for (index, field) in fields.enumerated() {
            block.literal(field, [.incremental, .without, .never][index % 3], isHuffman: isHuffman)
          }
          #expect(try decoder.decode(block.bytes) == fields)
        }
      }
      #expect(try HPACKHuffman.decode(HPACKHuffman.encode(Array(0...255))) == Array(0...255))
    }
  }
}
