// Buffer against an array that does the same the slow way, and the pool that lends its memory.

import Platform
import TestSupport
import Testing
import Wire

@Suite struct BufferTests {
  /// What a Buffer promises, without its cleverness.
  private struct Model {
    let capacity: Int
    var bytes: [UInt8] = []
    var overflowed = false
    var room: Int { capacity - bytes.count }

    mutating func append(_ more: [UInt8]) {
      guard !more.isEmpty else { return }
      if more.count <= room { bytes += more } else { overflowed = true }
    }
  }

  private static let word: StaticString = "HTTP/1.1 200 "

  /// With the size of the small chunk that it begins with; 0: there is none.
  @Test(arguments: [1, 2, 7, 16, 61, 256], [0, 4])
  func doesWhatAnArrayDoes(capacity: Int, smallBytes: Int) throws {
    guard smallBytes < capacity else { return }
    for seed in UInt64(1)...40 {
      var random = Seeded(seed &* 1_000 &+ UInt64(capacity))
      let pool = BufferPool(chunkBytes: capacity, keptMax: 1)
      let small = smallBytes > 0 ? BufferPool(chunkBytes: smallBytes, keptMax: 1) : nil
      let buffer = Buffer(pool: pool, small: small)
      let other = Buffer(capacity: capacity)
      var model = Model(capacity: capacity)
      for step in 0..<200 {
        let size = Int.random(in: 0...capacity + 2, using: &random)
        let operation = Int.random(in: 0..<14, using: &random)
        switch operation {
        case 0, 1:
          let more = random.bytes(size)
          buffer.append(more.span)
          model.append(more)
        case 2:
          buffer.append(UInt8(truncatingIfNeeded: step))
          model.append([UInt8(truncatingIfNeeded: step)])
        case 3:
          buffer.append(Self.word)
          model.append(Array("HTTP/1.1 200 ".utf8))
        case 4:
          let number = random.next() >> UInt64.random(in: 0...63, using: &random)
          buffer.append(decimal: number)
          model.append(Array(String(number).utf8))
        case 5:
          let number = random.next() >> UInt64.random(in: 0...63, using: &random)
          buffer.append(hex: number)
          model.append(Array(String(number, radix: 16).utf8))
        case 6:
          buffer.append(text: "häuser")
          model.append(Array("häuser".utf8))
        case 7, 8:
          let n = min(size, model.bytes.count)
          buffer.consume(n)
          model.bytes.removeFirst(n)
        case 9:
          buffer.removeAll()
          model.bytes = []
          model.overflowed = false
        case 10: buffer.compact()
        case 11:
          // Space made sure of is neither content nor lost.
          let fits = buffer.reserve(size)
          #expect(fits == (size <= model.room))
          if !fits { model.overflowed = true }
        case 12:
          let n = min(size, model.bytes.count)
          let at = Int.random(in: 0...model.bytes.count - n, using: &random)
          let patch = random.bytes(n)
          buffer.overwrite(at: at, with: patch.span)
          model.bytes.replaceSubrange(at..<at + n, with: patch)
        default:
          other.removeAll()
          other.append(random.bytes(min(size, capacity)).span)
          let n = Int.random(in: 0...other.count, using: &random)
          let before = other.copyBytes()
          buffer.append(first: n, of: other)
          model.append(Array(before.prefix(n)))
          #expect(other.copyBytes() == before)
        }
        if step % 23 == 22 {
          buffer.releaseIfEmpty()
          #expect(pool.lent + (small?.lent ?? 0) == (model.bytes.isEmpty ? 0 : 1))
        }
        if step % 61 == 60 {
          buffer.reset()
          model = Model(capacity: capacity)
        }
        try #require(
          buffer.copyBytes() == model.bytes, "seed \(seed), step \(step), operation \(operation)")
        #expect(buffer.count == model.bytes.count && buffer.isEmpty == model.bytes.isEmpty)
        #expect(buffer.room == model.room)
        #expect(buffer.overflowed == model.overflowed, "seed \(seed), step \(step), operation \(operation)")
        #expect((model.bytes.isEmpty ? 0...1 : 1...1).contains(pool.lent + (small?.lent ?? 0)))
      }
    }
  }

  @Test func whatFitsASmallChunkTakesNoLargeOne() {
    let pool = BufferPool(chunkBytes: 64, keptMax: 1)
    let small = BufferPool(chunkBytes: 8, keptMax: 1)
    let buffer = Buffer(pool: pool, small: small)
    buffer.append("12345678")
    #expect(pool.lent == 0 && small.lent == 1)
    buffer.consume(4)
    buffer.append("9")
    #expect(pool.lent == 0 && small.lent == 1)
    buffer.append("abcd")
    #expect(pool.lent == 1 && small.lent == 0)
    #expect(buffer.copyBytes() == Array("56789abcd".utf8))
    buffer.reset()
    #expect(pool.lent == 0 && small.lent == 0)
  }

  @Test func whatDoesNotFitIsNotTakenInPart() {
    let buffer = Buffer(capacity: 8)
    buffer.append("12345")
    buffer.append("6789")
    #expect(buffer.overflowed && buffer.copyBytes() == Array("12345".utf8))
    // The flag stays until what was lost is given up.
    buffer.append("678")
    buffer.consume(8)
    #expect(buffer.overflowed && buffer.isEmpty)
    buffer.removeAll()
    #expect(!buffer.overflowed && buffer.room == 8)
  }

  @Test func roomBeforeTheBytesIsRoom() {
    let buffer = Buffer(capacity: 8)
    buffer.append("12345678")
    buffer.consume(6)
    buffer.append("abcdef")
    #expect(buffer.copyBytes() == Array("78abcdef".utf8) && !buffer.overflowed && buffer.room == 0)
  }

  @Test func anIdleBufferHoldsNoMemory() {
    let pool = BufferPool(chunkBytes: 64, keptMax: 4)
    var buffers = (0..<6).map { _ in Buffer(pool: pool) }
    #expect(pool.lent == 0)
    for buffer in buffers { buffer.append(1) }
    #expect(pool.lent == 6)
    buffers[0].releaseIfEmpty()
    #expect(pool.lent == 6 && buffers[0].count == 1)
    buffers[0].consume(1)
    #expect(pool.lent == 6)
    buffers[0].releaseIfEmpty()
    buffers[1].reset()
    #expect(pool.lent == 4)
    // A chunk goes back with its buffer, full or not.
    buffers.removeLast(4)
    #expect(pool.lent == 0)
    buffers[0].append("again")
    #expect(pool.lent == 1 && buffers[0].copyBytes() == Array("again".utf8))
  }

  @Test func lendingNothingIsLendingAnEmptySpan() {
    let pool = BufferPool(chunkBytes: 8, keptMax: 1)
    let buffer = Buffer(pool: pool)
    #expect(buffer.withReadable { $0.count } == 0)
    buffer.append(Span<UInt8>())
    #expect(pool.lent == 0 && !buffer.overflowed)
  }

  @Test func whatIsLentCanBeAppendedToItself() {
    let pool = BufferPool(chunkBytes: 8, keptMax: 1)
    let buffer = Buffer(pool: pool)
    buffer.append("1234")
    buffer.withReadable { outer in
      buffer.withReadable { buffer.append($0) }
      #expect(outer.count == 4 && outer[3] == UInt8(ascii: "4"))
    }
    #expect(buffer.copyBytes() == Array("12341234".utf8))
    buffer.reset()
    #expect(pool.lent == 0)
  }

  /// What would free, move or overwrite lent bytes ends the process.
  @Test func lentBytesStayAsTheyAre() async {
    await #expect(processExitsWith: .failure) { lending { $0.reset() } }
    await #expect(processExitsWith: .failure) { lending { $0.releaseIfEmpty() } }
    await #expect(processExitsWith: .failure) { lending { $0.consume(1) } }
    await #expect(processExitsWith: .failure) { lending { $0.compact() } }
    // It fits behind the bytes only once they are moved.
    await #expect(processExitsWith: .failure) { lending { $0.append("567") } }
    await #expect(processExitsWith: .failure) { lending { $0.overwrite(at: 0, with: [1].span) } }
    await #expect(processExitsWith: .success) { lending { $0.append("56") } }
  }
}

/// Six of a buffer's eight bytes are taken, the first two of them consumed, and the rest lent while `body` runs.
private func lending(_ body: (Buffer) -> Void) {
  let buffer = Buffer(capacity: 8)
  buffer.append("..1234")
  buffer.consume(2)
  buffer.withReadable { _ in body(buffer) }
}
