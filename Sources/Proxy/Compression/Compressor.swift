// What compresses one response at a time, and the few that a worker has of it. One takes about 134 KiB from when it is made until
// a quiet time (`Compressors.release`), and a buffer while compressed bytes wait for the client. When all are in use a response goes as it
// is: memory has a bound, and nobody waits.
// Invariant: a compressor belongs to one exchange, from `take` to `give`.

import Platform

final class Compressor {
  private let gzip: GzipWriter
  /// Compressed bytes on their way to the client's leg.
  let output: Buffer
  /// A flush has begun, and waits for room in the output.
  private(set) var isFlushing = false
  private(set) var isFinished = false
  /// Something was compressed that cannot be read yet from what came out.
  private(set) var hasUnflushed = false

  /// What one step compresses at most.
  static let pieceBytesMax = 16 * 1024

  fileprivate init?(_ pool: BufferPool) {
    guard let gzip = GzipWriter() else { return nil }
    self.gzip = gzip
    output = Buffer(pool: pool)
  }

  fileprivate func begin(level: Int) -> Bool {
    isFlushing = false
    isFinished = false
    hasUnflushed = false
    return gzip.begin(level: level)
  }

  /// Compresses up to `count` bytes at the front of `input`, as far as there is room. Returns how many.
  func compress(first count: Int, of input: Buffer) -> Int {
    let n = input.withReadable {
      gzip.compress($0.extracting(first: min(count, Compressor.pieceBytesMax)), into: output)
    }
    if n > 0 { hasUnflushed = true }
    return n
  }

  /// Has what was compressed so far come out, as far as there is room.
  func flush() {
    isFlushing = !gzip.flush(into: output)
    if !isFlushing { hasUnflushed = false }
  }

  /// Ends the content, as far as there is room.
  func finish() { isFinished = gzip.finish(into: output) }
}

/// One worker's.
final class Compressors {
  /// How many responses are compressed at a time.
  static let usedMax = 128
  /// How many free ones are kept through a quiet time.
  static let quietCount = 4

  private(set) var used = 0
  private var free: ContiguousArray<Compressor> = []

  /// One that begins anew; nil when all are in use, or there is no memory.
  func take(level: Int, _ pool: BufferPool) -> Compressor? {
    guard used < Compressors.usedMax, let compressor = free.popLast() ?? Compressor(pool) else { return nil }
    guard compressor.begin(level: level) else { return nil }
    used += 1
    return compressor
  }

  func give(_ compressor: Compressor) {
    compressor.output.reset()
    used -= 1
    free.append(compressor)
  }

  /// Keeps at most so many free ones.
  func release(keeping most: Int) { if free.count > most { free.removeLast(free.count - most) } }
}
