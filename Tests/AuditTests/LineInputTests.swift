// Lines of files, wherever the borders of buffers fall, plain and packed.

import Audit
import Foundation
import Platform
import TestSupport
import Testing

@Suite struct LineInputTests {
  private let files: LogFiles

  init() throws { files = try LogFiles() }

  private struct Line: Equatable {
    var text: String
    var isTooLong = false
  }

  private func lines(_ input: LineInput) throws -> [Line] {
    var all: [Line] = []
    while try input.next() {
      all.append(
        Line(
          text: input.withLine { bytes in String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self) },
          isTooLong: input.isTooLong))
    }
    return all
  }

  @Test(arguments: [
    ("", [], false), ("a", ["a"], true), ("a\n", ["a"], false), ("\n\na\n\n", ["", "", "a", ""], false),
    ("a\nb", ["a", "b"], true),
  ])
  func linesEndWithALineFeed(_ text: String, _ expected: [String], _ isUnfinished: Bool) throws {
    let file = try files.write("log", Array(text.utf8))
    for path in [file, try files.packed(file)] {
      let input = try LineInput(path: path)
      #expect(try lines(input) == expected.map { Line(text: $0) })
      #expect(input.isUnfinished == isUnfinished)
      #expect(input.readBytes == input.size)
      try input.rewind()
      #expect(try lines(input).map(\.text) == expected)
    }
  }

  /// Wherever that begins, and as if nothing was left out when it is read again; of gzip nothing can be.
  @Test func onlyTheEndIsReadWhereThatIsAskedFor() throws {
    let text = "first\nsecond\nthird\n"
    let file = try files.write("log", Array(text.utf8))
    let gzip = try files.packed(file)
    let all = ["first", "second", "third"]
    for count in 0...text.utf8.count + 1 {
      let input = try LineInput(path: file)
      try input.skip(toLast: count)
      let end = String(text.suffix(count))
      #expect(
        try lines(input).map(\.text)
          == end.split(separator: "\n", omittingEmptySubsequences: false).map(String.init).dropLast(1))
      #expect(input.readBytes == input.size)
      try input.rewind()
      #expect(try lines(input).map(\.text) == all, "\(count)")
      let packed = try LineInput(path: gzip)
      try packed.skip(toLast: count)
      #expect(try lines(packed).map(\.text) == all, "\(count) of gzip")
    }
  }

  /// The buffer's border at every byte of two lines, and of the line feeds around them.
  @Test func everySplitOfTheBufferIsTheSame() throws {
    let two = ["first " + String(repeating: "a", count: 20), "second"]
    for shift in 0..<(two[0].count + two[1].count + 4) {
      let filler = String(repeating: "f", count: 5_000) + "\n"
      var text = String(repeating: filler, count: LineInput.lineBytesMax / filler.utf8.count)
      text += String(repeating: "x", count: LineInput.lineBytesMax - text.utf8.count - shift - 1) + "\n"
      #expect(text.utf8.count == LineInput.lineBytesMax - shift)
      let before = text.split(separator: "\n", omittingEmptySubsequences: false).count - 1
      let file = try files.write("log", Array((text + two.joined(separator: "\n") + "\nlast\n").utf8))
      let read = try lines(try LineInput(path: file))
      #expect(read.count == before + 3 && read[before...].map(\.text) == two + ["last"])
    }
  }

  @Test func aLineThatIsTooLongIsPassedOverAlone() throws {
    for count in [LineInput.lineBytesMax - 1, LineInput.lineBytesMax, LineInput.lineBytesMax * 2, 300_001] {
      let long = String(repeating: "x", count: count)
      let file = try files.write("log", Array("a\n\(long)\nb\n\(long)".utf8))
      let read = try lines(try LineInput(path: file))
      let isTooLong = count >= LineInput.lineBytesMax
      try #require(read.count == 4)
      #expect(read.map(\.isTooLong) == [false, isTooLong, false, isTooLong])
      #expect(read[0].text == "a" && read[2].text == "b" && read[1].text == (isTooLong ? "" : long))
      try? FileManager.default.removeItem(atPath: file + ".gz")
      #expect(try lines(try LineInput(path: try files.packed(file))) == read)
    }
  }

  @Test func packedFilesReadAsTheyWere() throws {
    var random = Seeded(5)
    let text = (0..<40_000).map { "line \($0) \(UInt64.random(in: .min ... .max, using: &random))" }
    let file = try files.write("log", Array((text.joined(separator: "\n") + "\n").utf8))
    #expect(try lines(try LineInput(path: try files.packed(file))).map(\.text) == text)
  }

  /// As `gzip -c >>` leaves them.
  @Test func severalPackedPartsAreOneFile() throws {
    let first = try Data(contentsOf: URL(fileURLWithPath: files.packed(files.write("1", Array("a\nb".utf8)))))
    let second = try Data(contentsOf: URL(fileURLWithPath: files.packed(files.write("2", Array("c\nd\n".utf8)))))
    let file = try files.write("both", Array(first + second))
    #expect(try lines(try LineInput(path: file)).map(\.text) == ["a", "bc", "d"])
  }

  @Test func aPackedFileThatIsCutOrBrokenFails() throws {
    let file = try files.write("log", Array((0..<2_000).map { "line \($0 &* 7919)\n" }.joined().utf8))
    let whole = Array(try Data(contentsOf: URL(fileURLWithPath: files.packed(file))))
    for count in [2, 5, 30, whole.count / 2, whole.count - 1] {
      let cut = try files.write("cut", Array(whole[..<count]))
      let error = #expect(throws: LineInputError.self) { _ = try lines(try LineInput(path: cut)) }
      #expect(error?.description == "\(cut): ends within its gzip data")
    }
    var broken = whole
    broken[whole.count / 2] ^= 0xff
    let path = try files.write("broken", broken)
    #expect(throws: LineInputError.self) { _ = try lines(try LineInput(path: path)) }
    let trailing = try files.write("trailing", whole + Array("garbage".utf8))
    #expect(throws: LineInputError.self) { _ = try lines(try LineInput(path: trailing)) }
  }

  @Test func whatCannotBeReadSaysWhy() throws {
    for (path, why) in [("\(files.path)/none", "no such file"), (files.path, "is a directory")] {
      let error = #expect(throws: LineInputError.self) { _ = try LineInput(path: path) }
      #expect(error?.description == "\(path): \(why)")
    }
  }

  /// What is written to a log while it is read is not of this audit, and both readings see the same.
  @Test func aFileThatGrowsIsReadAsItWas() throws {
    let file = try files.write("log", Array("a\nb\n".utf8))
    let input = try LineInput(path: file)
    let handle = try #require(FileHandle(forWritingAtPath: file))
    try handle.seekToEnd()
    try handle.write(contentsOf: Data("c\n".utf8))
    try handle.close()
    #expect(try lines(input).map(\.text) == ["a", "b"])
    _ = try files.write("log", Array("a".utf8))
    let shrunk = try LineInput(path: try files.write("other", Array("a\nb\n".utf8)))
    truncate("\(files.path)/other", 1)
    #expect(throws: LineInputError.self) { _ = try lines(shrunk) }
  }
}
