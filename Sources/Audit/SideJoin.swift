// Which line of a validator and which line of an edge tell of the same exchange, where logs of both are given: those with the same
// connection, method, host, path and client, whose times overlap but for a difference of clocks. Lines come in the order of time
// (MergedLog); one whose other side has not come waits for it.
//
//   line ─► the other side waits, with the same client ─► joined
//      └──► waits ─► its time is over, or too many wait ─► the other side waits, with another client ─► disagrees
//                                                      └─► alone
//
// A disagreement is only looked for when a line has waited in vain: of two clients' requests for one path over one connection, each
// has then found its own. Invariant: a line is in one pair, or alone. Memory: `waitingMax` entries. Called by Summary and Affected.

import Platform
import Wire

package struct Disagreement: Equatable, Sendable {
  package let milliseconds: UInt64
  package let connection: ConnectionID
  package let atEdge: IPAddress
  package let atValidator: IPAddress
}

struct SideJoin {
  enum Side { case edge, validator }

  struct Sighting {
    let side: Side
    let connection: ConnectionID
    /// Of method, host and path.
    let target: UInt64
    let client: IPAddress
    let start: UInt64
    let end: UInt64
    /// The number of a validator's line, to tell the caller which it was.
    var ordinal = 0
    /// A hash of the field's value; nil where the line has none.
    var value: UInt64?
  }

  /// How long a line waits, by the times of lines.
  static let waitMilliseconds: UInt64 = 120_000
  /// By how much clocks may differ.
  static let skewMilliseconds: UInt64 = 5_000

  private struct Entry {
    var sighting: Sighting
    let bucket: Int
    /// The next one of its bucket, or the next free one.
    var next: Int32
    var older: Int32
    var newer: Int32
  }

  private(set) var joined: UInt64 = 0
  private(set) var aloneAtEdge: UInt64 = 0
  private(set) var aloneAtValidator: UInt64 = 0
  private(set) var disagreeing: UInt64 = 0
  /// The first of them.
  private(set) var disagreements: [Disagreement] = []
  static let disagreementsMax = 1_000

  private let waitingMax: Int
  private let hashing: AuditHash
  private var entries: ContiguousArray<Entry> = []
  private var buckets: ContiguousArray<Int32>
  private var free: Int32 = -1
  private var oldest: Int32 = -1
  private var newest: Int32 = -1
  private var waiting = 0

  init(waitingMax: Int, _ hashing: AuditHash) {
    self.waitingMax = waitingMax
    self.hashing = hashing
    var count = 1
    while count < waitingMax { count *= 2 }
    buckets = ContiguousArray(repeating: -1, count: count)
  }

  /// Takes a line. Returns the one of the other side that tells of the same exchange, if it waits.
  mutating func take(_ sighting: Sighting) -> Sighting? {
    while oldest >= 0, entries[Int(oldest)].sighting.end + SideJoin.waitMilliseconds < sighting.end { expireOldest() }
    let hash = hashing.mix(hashing.mix(sighting.connection.high, sighting.connection.low), sighting.target)
    let bucket = Int(truncatingIfNeeded: hash) & (buckets.count - 1)
    if let found = find(in: bucket, sighting, where: { $0 == sighting.client }) {
      let other = entries[Int(found)].sighting
      remove(found)
      joined += 1
      return other
    }
    if waiting == waitingMax { expireOldest() }
    insert(sighting, bucket)
    return nil
  }

  /// No more lines will come.
  mutating func end() { while oldest >= 0 { expireOldest() } }

  private func find(in bucket: Int, _ wanted: Sighting, where fits: (IPAddress) -> Bool) -> Int32? {
    var at = buckets[bucket]
    while at >= 0 {
      let entry = entries[Int(at)]
      let other = entry.sighting
      if other.side != wanted.side, other.connection == wanted.connection, other.target == wanted.target,
        other.start <= wanted.end + SideJoin.skewMilliseconds, wanted.start <= other.end + SideJoin.skewMilliseconds,
        fits(other.client)
      {
        return at
      }
      at = entry.next
    }
    return nil
  }

  private mutating func expireOldest() {
    let (sighting, bucket) = (entries[Int(oldest)].sighting, entries[Int(oldest)].bucket)
    remove(oldest)
    guard let found = find(in: bucket, sighting, where: { _ in true }) else {
      if sighting.side == .edge { aloneAtEdge += 1 } else { aloneAtValidator += 1 }
      return
    }
    let other = entries[Int(found)].sighting
    remove(found)
    disagreeing += 1
    guard disagreements.count < SideJoin.disagreementsMax else { return }
    let isEdge = sighting.side == .edge
    disagreements.append(
      Disagreement(
        milliseconds: (isEdge ? sighting : other).end, connection: sighting.connection,
        atEdge: (isEdge ? sighting : other).client, atValidator: (isEdge ? other : sighting).client))
  }

  // MARK: The lists

  private mutating func insert(_ sighting: Sighting, _ bucket: Int) {
    let entry = Entry(sighting: sighting, bucket: bucket, next: -1, older: newest, newer: -1)
    let slot: Int32
    if free >= 0 {
      slot = free
      free = entries[Int(slot)].next
      entries[Int(slot)] = entry
    } else {
      slot = Int32(entries.count)
      entries.append(entry)
    }
    if newest >= 0 { entries[Int(newest)].newer = slot } else { oldest = slot }
    newest = slot
    waiting += 1
    // Behind the others of its bucket: the one that waited longest is found first.
    guard buckets[bucket] >= 0 else {
      buckets[bucket] = slot
      return
    }
    var at = Int(buckets[bucket])
    while entries[at].next >= 0 { at = Int(entries[at].next) }
    entries[at].next = slot
  }

  private mutating func remove(_ slot: Int32) {
    let entry = entries[Int(slot)]
    if buckets[entry.bucket] == slot {
      buckets[entry.bucket] = entry.next
    } else {
      var at = Int(buckets[entry.bucket])
      while entries[at].next != slot { at = Int(entries[at].next) }
      entries[at].next = entry.next
    }
    if entry.older >= 0 { entries[Int(entry.older)].newer = entry.newer } else { oldest = entry.newer }
    if entry.newer >= 0 { entries[Int(entry.newer)].older = entry.older } else { newest = entry.older }
    entries[Int(slot)].next = free
    free = slot
    waiting -= 1
  }
}

extension SideJoin.Sighting {
  /// Nil for a line that has no other side: one without client or connection, what an edge did not send on, and at a validator what
  /// an edge asks by itself, which has no line there.
  init?(_ line: LogLine, _ bytes: Span<UInt8>, connection: ConnectionID?, _ hashing: AuditHash) {
    guard line.isRequest, let client = line.client, let connection else { return nil }
    let isValidator = line.isAtValidator(bytes)
    guard !line.upstream.isEmpty || isValidator && !line.isEdgesOwn(bytes) else { return nil }
    let target = hashing.of(
      bytes, line.path, seed: hashing.of(bytes, line.host, seed: hashing.of(bytes, line.method)))
    self.init(
      side: isValidator ? .validator : .edge, connection: connection, target: target, client: client,
      start: line.startMilliseconds, end: line.milliseconds)
  }
}

extension LogLine {
  /// What the rule demanded was an edge's signature.
  func isAtValidator(_ bytes: Span<UInt8>) -> Bool {
    // `attested`, the first byte lowest.
    evidence.count == 8 && bytes.word(at: evidence.lower) == 0x6465_7473_6574_7461
  }

  /// A request for what an edge's self-test or its health checks ask a validator for, by its path.
  fileprivate func isEdgesOwn(_ bytes: Span<UInt8>) -> Bool {
    let path = bytes.extracting(path.range)
    let wanted = LogLine.selfTestPath
    if path.count >= wanted.count { return ByteComparison.isEqual(path.extracting(first: wanted.count), wanted.span) }
    return ByteComparison.isEqual(path, LogLine.healthPath.span)
  }

  // docs/IDENTITY.md section 5.
  private static let selfTestPath = Array("/.well-known/countersign-probe/self-test/".utf8)
  private static let healthPath = Array("/.well-known/countersign-probe/health".utf8)

  /// Of 32 hexadecimal digits.
  func connectionID(_ bytes: Span<UInt8>) -> ConnectionID? {
    guard connection.count == 32 else { return nil }
    var words = (high: UInt64(0), low: UInt64(0))
    for i in 0..<16 {
      guard let high = LogLine.hex(bytes[connection.lower + i]), let low = LogLine.hex(bytes[connection.lower + 16 + i])
      else { return nil }
      words = (words.high << 4 | high, words.low << 4 | low)
    }
    return ConnectionID(high: words.high, low: words.low)
  }

  private static func hex(_ byte: UInt8) -> UInt64? {
    switch byte {
    case 0x30...0x39: UInt64(byte &- 0x30)
    case 0x61...0x66: UInt64(byte &- 0x57)
    default: nil
    }
  }
}
