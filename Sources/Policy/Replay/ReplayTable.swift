// Which sequence numbers of each epoch of one key were used: the anti-replay window of RFC 6479, for many senders and
// many threads, without a lock on the path of a message.
//
// An epoch has a slot (open addressing by the epoch's own value) and a ring of 2^n bits. A word of the ring holds
//
//     generation (sequence >> n), 48 bits | the use of 16 neighbouring sequence numbers, 16 bits
//
// and changes by compare-and-swap only: an older generation than the word's is too old for the window, a bit that is
// set is a replay, a newer generation replaces the word. So of two copies of a message exactly one wins the swap,
// whichever threads they are on, and a word never forgets within its generation. The window is the ring but for up to
// 15 numbers, which share a word with the newest.
//
// Slots are taken and dropped under a mutex, which happens when a sender starts. An epoch is dropped when its newest
// message has expired. Someone may be marking a message in it at that very moment; then either the marker's raised
// expiry is seen by the dropper, who gives the epoch back, or the dropper's tombstone is seen by the marker, who
// refuses (all of these are sequentially consistent, so one of the two must be). A dropped epoch may come back, but
// only with messages that expire later than everything that was ever forgotten: what a clock that was set back, or a
// thread with a stale notion of now, would let through again is refused.
//
// All of it, the forgotten time included, lies in shared memory, and the mutex has a lock of the file behind it: in an upgrade
// two processes use one table (decision 25). A process may end at any point. What that leaves is told by the slot itself: one
// without an epoch has no expiry, or its ring is not clear yet. The next who takes a slot sees to that first.
//
// Called by Verifier: `peek` before the signature is checked, `mark` after.

import Platform
import Synchronization
import Wire

package final class ReplayTable: Sendable {
  /// Numbers that a window spans.
  package let windowBits: Int
  /// Epochs at the same time.
  package let epochsMax: Int

  private let slotCount: Int
  private let shift: UInt64
  private let ringWords: Int
  /// The head, of a page; of each slot, on a cache line of its own, the epoch, the highest sequence and the newest expiry (ms);
  /// and from `ringsStart` on the rings, slot after slot.
  private let words: AtomicWords
  private let ringsStart: Int
  /// Held by who takes or drops slots, with the lock of `words` for other processes.
  private let entering = Mutex(())

  // The words of the head.
  private static let markAt = 0
  private static let windowBitsAt = 1
  private static let epochsMaxAt = 2
  /// The newest expiry of all epochs that were dropped.
  private static let forgottenUntilAt = 3
  private static let headWords = 512
  /// `CSGRPLY` and the version of the layout.
  private static let mark: UInt64 = 0x4353_4752_504c_5901

  /// A process that stopped while it held the lock is not waited for any longer: a new sender is refused then.
  private static let lockMilliseconds = 100
  private static let line = 8
  private static let empty: UInt64 = 0
  private static let gone: UInt64 = 1
  /// An epoch is kept this much longer than it must be, so that an idle sender seldom has to be entered again.
  static let dropMarginMilliseconds: UInt64 = 10_000

  /// - Parameters:
  ///   - windowBits: numbers that a window spans, a power of two from 2^10 to 2^24.
  ///   - epochsMax: epochs at the same time.
  /// Nil when the address space or a limit does not allow it; memory is only taken as it is used.
  package convenience init?(windowBits: Int, epochsMax: Int) {
    let layout = Layout(windowBits: windowBits, epochsMax: epochsMax)
    guard let words = AtomicWords(count: layout.words) else { return nil }
    words.store(UInt64(windowBits), at: Self.windowBitsAt)
    words.store(UInt64(epochsMax), at: Self.epochsMaxAt)
    words.store(Self.mark, at: Self.markAt)
    self.init(windowBits: windowBits, epochsMax: epochsMax, layout, words)
  }

  /// The table that another process made, which both use from here on. The descriptor is this object's, also where it is nil: there is
  /// no such table in it.
  package convenience init?(sharing descriptor: Int32, windowBits: Int, epochsMax: Int) {
    let layout = Layout(windowBits: windowBits, epochsMax: epochsMax)
    guard let words = AtomicWords(sharing: descriptor, count: layout.words),
      words.load(Self.markAt) == Self.mark, words.load(Self.windowBitsAt) == UInt64(windowBits),
      words.load(Self.epochsMaxAt) == UInt64(epochsMax)
    else { return nil }
    self.init(windowBits: windowBits, epochsMax: epochsMax, layout, words)
  }

  private init(windowBits: Int, epochsMax: Int, _ layout: Layout, _ words: AtomicWords) {
    self.windowBits = windowBits
    self.epochsMax = epochsMax
    slotCount = layout.slots
    ringsStart = layout.ringsStart
    self.words = words
    shift = UInt64(windowBits.trailingZeroBitCount)
    ringWords = windowBits / 16
  }

  /// Where things are.
  private struct Layout {
    let slots: Int
    let ringsStart: Int
    let words: Int

    init(windowBits: Int, epochsMax: Int) {
      precondition(ReplayTable.isWindow(bits: windowBits) && ReplayTable.isLimit(epochs: epochsMax))
      // At most half full, so that a look-up seldom takes more than one step.
      var slots = 2
      while slots < 2 * epochsMax { slots *= 2 }
      self.slots = slots
      // On a page of their own.
      let page = ReplayTable.headWords
      ringsStart = page + (slots * ReplayTable.line + page - 1) / page * page
      words = ringsStart + slots * (windowBits / 16)
    }
  }

  package static func isWindow(bits: Int) -> Bool { bits >= 1 << 10 && bits <= 1 << 24 && bits & (bits - 1) == 0 }
  package static func isLimit(epochs: Int) -> Bool { epochs > 0 && epochs <= 1 << 16 }

  /// The memory, for another process; open as long as this table lives.
  package var descriptor: Int32 { words.descriptor }

  /// Epochs that are remembered now.
  package var epochCount: Int { (0..<slotCount).count { words.load(slotStart($0)) > Self.gone } }

  private func slotStart(_ slot: Int) -> Int { Self.headWords &+ slot &* Self.line }

  /// What is already known of a message, without changing anything: nothing of it has been verified yet.
  package func peek(epoch: UInt64, sequence: UInt64) -> Refusal? {
    guard epoch > Self.gone, sequence >> shift < 1 << 48 else { return .windowOld }
    guard let slot = find(epoch) else { return nil }
    if isTooOld(sequence, slot: slot) { return .windowOld }
    let word = words.load(wordIndex(sequence, slot: slot))
    let generation = sequence >> shift
    if generation < word >> 16 { return .windowOld }
    return generation == word >> 16 && word & bit(sequence) != 0 ? .replay : nil
  }

  /// Uses up a verified message, or says why it cannot be used.
  package func mark(
    epoch: UInt64, sequence: UInt64, expiresMilliseconds: UInt64, nowMilliseconds: UInt64
  ) -> Refusal? {
    guard epoch > Self.gone, sequence >> shift < 1 << 48 else { return .windowOld }
    let slot: Int
    if let found = find(epoch) {
      slot = found
    } else {
      switch enter(epoch, expiresMilliseconds: expiresMilliseconds, nowMilliseconds: nowMilliseconds) {
      case .slot(let entered): slot = entered
      case .refused(let refusal): return refusal
      }
    }
    if isTooOld(sequence, slot: slot) { return .windowOld }
    // Before the bit: whoever drops this epoch looks at it after setting the tombstone that is looked for below.
    words.raise(slotStart(slot) &+ 2, to: expiresMilliseconds)

    let index = wordIndex(sequence, slot: slot)
    let generation = sequence >> shift
    var old = words.load(index)
    var new: UInt64
    while true {
      if generation < old >> 16 { return .windowOld }
      if generation == old >> 16 {
        if old & bit(sequence) != 0 { return .replay }
        new = old | bit(sequence)
      } else {
        new = generation << 16 | bit(sequence)
      }
      let (done, found) = words.exchange(at: index, old: old, new: new)
      if done { break }
      old = found
    }
    guard words.load(slotStart(slot)) == epoch else {
      // The epoch was dropped meanwhile; the ring may be another's by now, so our trace goes if it still can.
      _ = words.exchange(at: index, old: new, new: old)
      return .windowOld
    }
    words.raise(slotStart(slot) &+ 1, to: sequence)
    return nil
  }

  private func isTooOld(_ sequence: UInt64, slot: Int) -> Bool {
    let highest = words.load(slotStart(slot) &+ 1)
    return highest > sequence && highest &- sequence >= UInt64(windowBits)
  }

  private func wordIndex(_ sequence: UInt64, slot: Int) -> Int {
    ringsStart &+ slot &* ringWords &+ Int(truncatingIfNeeded: sequence >> 4) & (ringWords &- 1)
  }

  private func bit(_ sequence: UInt64) -> UInt64 { 1 << (sequence & 15) }

  // MARK: Epochs

  private func home(_ epoch: UInt64) -> Int {
    Int(truncatingIfNeeded: (epoch &* 0x9e37_79b9_7f4a_7c15) >> 32) & (slotCount &- 1)
  }

  private func find(_ epoch: UInt64) -> Int? {
    var slot = home(epoch)
    for _ in 0..<slotCount {
      let found = words.load(slotStart(slot))
      if found == epoch { return slot }
      if found == Self.empty { return nil }
      slot = (slot &+ 1) & (slotCount &- 1)
    }
    return nil
  }

  private enum Entry {
    case slot(Int)
    case refused(Refusal)
  }

  private func enter(_ epoch: UInt64, expiresMilliseconds: UInt64, nowMilliseconds: UInt64) -> Entry {
    let entry = entering.withLock { _ in
      words.withProcessLock(waitMilliseconds: Self.lockMilliseconds) { () -> Entry in
        // Another thread may have been faster.
        if let slot = find(epoch) { return .slot(slot) }
        let live = drop(nowMilliseconds: nowMilliseconds)
        guard expiresMilliseconds > words.load(Self.forgottenUntilAt) else { return .refused(.windowOld) }
        guard live < epochsMax else { return .refused(.epochsFull) }
        var slot = home(epoch)
        while words.load(slotStart(slot)) > Self.gone { slot = (slot &+ 1) & (slotCount &- 1) }
        // The ring is clear, and so is the highest sequence: memory begins so, and drop leaves it so.
        words.store(expiresMilliseconds, at: slotStart(slot) &+ 2)
        words.store(epoch, at: slotStart(slot))
        return .slot(slot)
      }
    }
    return entry ?? .refused(.epochsFull)
  }

  /// Drops the epochs whose newest message has expired, and finishes what a process that ended left. Returns how many stay.
  private func drop(nowMilliseconds now: UInt64) -> Int {
    var live = 0
    for slot in 0..<slotCount {
      let at = slotStart(slot)
      let epoch = words.load(at)
      guard epoch > Self.gone else {
        // Whoever dropped it ended before it was clear, or a late marker raised its expiry.
        let left = words.load(at + 2)
        if left != 0 { forget(slot, newest: min(left, now)) }
        continue
      }
      guard words.load(at + 2) + Self.dropMarginMilliseconds < now else {
        live += 1
        continue
      }
      words.store(Self.gone, at: at)
      let newest = words.load(at + 2)
      guard newest + Self.dropMarginMilliseconds < now else {
        words.store(epoch, at: at)
        live += 1
        continue
      }
      forget(slot, newest: newest)
    }
    // A tombstone with nothing after it keeps no one's chain together. Backwards, twice round for chains that wrap.
    for step in 1...2 * slotCount {
      let slot = 2 * slotCount - step
      let next = words.load(slotStart((slot + 1) % slotCount))
      let at = slotStart(slot % slotCount)
      if next == Self.empty, words.load(at) == Self.gone { words.store(Self.empty, at: at) }
    }
    return live
  }

  /// Clears what a slot that has no epoch any more remembers. The expiry goes last: as long as there is one, this is not done.
  private func forget(_ slot: Int, newest: UInt64) {
    words.raise(Self.forgottenUntilAt, to: newest)
    words.clear(ringsStart + slot * ringWords..<ringsStart + (slot + 1) * ringWords)
    words.store(0, at: slotStart(slot) + 1)
    words.store(0, at: slotStart(slot) + 2)
  }
}
