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
  /// Of each slot, on a cache line of its own: the epoch, the highest sequence, the newest expiry (ms).
  private let slots: AtomicWords
  /// Slot after slot.
  private let rings: AtomicWords
  private let state = Mutex(State())

  private struct State {
    var live = 0
    /// The newest expiry of all epochs that were dropped.
    var forgottenUntil: UInt64 = 0
  }

  private static let line = 8
  private static let empty: UInt64 = 0
  private static let gone: UInt64 = 1
  /// An epoch is kept this much longer than it must be, so that an idle sender seldom has to be entered again.
  static let dropMarginMilliseconds: UInt64 = 10_000

  /// - Parameters:
  ///   - windowBits: numbers that a window spans, a power of two from 2^10 to 2^24.
  ///   - epochsMax: epochs at the same time.
  /// Nil when the address space does not allow it; memory is only taken as it is used.
  package init?(windowBits: Int, epochsMax: Int) {
    precondition(windowBits >= 1 << 10 && windowBits <= 1 << 24 && windowBits & (windowBits - 1) == 0)
    precondition(epochsMax > 0 && epochsMax <= 1 << 16)
    // At most half full, so that a look-up seldom takes more than one step.
    var slotCount = 2
    while slotCount < 2 * epochsMax { slotCount *= 2 }
    guard let slots = AtomicWords(count: slotCount * Self.line),
      let rings = AtomicWords(count: slotCount * (windowBits / 16))
    else { return nil }
    self.windowBits = windowBits
    self.epochsMax = epochsMax
    self.slotCount = slotCount
    self.slots = slots
    self.rings = rings
    shift = UInt64(windowBits.trailingZeroBitCount)
    ringWords = windowBits / 16
  }

  /// Epochs that are remembered now.
  package var epochCount: Int { state.withLock { $0.live } }

  /// What is already known of a message, without changing anything: nothing of it has been verified yet.
  package func peek(epoch: UInt64, sequence: UInt64) -> Refusal? {
    guard epoch > Self.gone, sequence >> shift < 1 << 48 else { return .windowOld }
    guard let slot = find(epoch) else { return nil }
    if isTooOld(sequence, slot: slot) { return .windowOld }
    let word = rings.load(wordIndex(sequence, slot: slot))
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
    slots.raise(slot &* Self.line &+ 2, to: expiresMilliseconds)

    let index = wordIndex(sequence, slot: slot)
    let generation = sequence >> shift
    var old = rings.load(index)
    var new: UInt64
    while true {
      if generation < old >> 16 { return .windowOld }
      if generation == old >> 16 {
        if old & bit(sequence) != 0 { return .replay }
        new = old | bit(sequence)
      } else {
        new = generation << 16 | bit(sequence)
      }
      let (done, found) = rings.exchange(at: index, old: old, new: new)
      if done { break }
      old = found
    }
    guard slots.load(slot &* Self.line) == epoch else {
      // The epoch was dropped meanwhile; the ring may be another's by now, so our trace goes if it still can.
      _ = rings.exchange(at: index, old: new, new: old)
      return .windowOld
    }
    slots.raise(slot &* Self.line &+ 1, to: sequence)
    return nil
  }

  private func isTooOld(_ sequence: UInt64, slot: Int) -> Bool {
    let highest = slots.load(slot &* Self.line &+ 1)
    return highest > sequence && highest &- sequence >= UInt64(windowBits)
  }

  private func wordIndex(_ sequence: UInt64, slot: Int) -> Int {
    slot &* ringWords &+ Int(truncatingIfNeeded: sequence >> 4) & (ringWords &- 1)
  }

  private func bit(_ sequence: UInt64) -> UInt64 { 1 << (sequence & 15) }

  // MARK: Epochs

  private func home(_ epoch: UInt64) -> Int {
    Int(truncatingIfNeeded: (epoch &* 0x9e37_79b9_7f4a_7c15) >> 32) & (slotCount &- 1)
  }

  private func find(_ epoch: UInt64) -> Int? {
    var slot = home(epoch)
    for _ in 0..<slotCount {
      let found = slots.load(slot &* Self.line)
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
    state.withLock { state in
      // Another thread may have been faster.
      if let slot = find(epoch) { return .slot(slot) }
      drop(nowMilliseconds: nowMilliseconds, &state)
      guard expiresMilliseconds > state.forgottenUntil else { return .refused(.windowOld) }
      guard state.live < epochsMax else { return .refused(.epochsFull) }
      var slot = home(epoch)
      while slots.load(slot &* Self.line) > Self.gone { slot = (slot &+ 1) & (slotCount &- 1) }
      // The ring is clear, and so is the highest sequence: memory begins so, and drop leaves it so.
      slots.store(expiresMilliseconds, at: slot &* Self.line &+ 2)
      slots.store(epoch, at: slot &* Self.line)
      state.live += 1
      return .slot(slot)
    }
  }

  /// Drops the epochs whose newest message has expired.
  private func drop(nowMilliseconds now: UInt64, _ state: inout State) {
    for slot in 0..<slotCount {
      let at = slot * Self.line
      let epoch = slots.load(at)
      guard epoch > Self.gone, slots.load(at + 2) + Self.dropMarginMilliseconds < now else { continue }
      slots.store(Self.gone, at: at)
      let newest = slots.load(at + 2)
      guard newest + Self.dropMarginMilliseconds < now else {
        slots.store(epoch, at: at)
        continue
      }
      rings.clear(slot * ringWords..<(slot + 1) * ringWords)
      slots.store(0, at: at + 1)
      slots.store(0, at: at + 2)
      state.forgottenUntil = max(state.forgottenUntil, newest)
      state.live -= 1
    }
    // A tombstone with nothing after it keeps no one's chain together. Backwards, twice round for chains that wrap.
    for step in 1...2 * slotCount {
      let slot = 2 * slotCount - step
      let next = slots.load((slot + 1) % slotCount * Self.line)
      let at = slot % slotCount * Self.line
      if next == Self.empty, slots.load(at) == Self.gone { slots.store(Self.empty, at: at) }
    }
  }
}
