// Deadlines of one worker's connections. A wheel of coarse slots holds connections by index; where a deadline only
// moves later, as it does with each request, the wheel is not touched: the entry is looked at when its slot comes round
// and is put where it belongs then. So an exchange costs a store, not a list operation.
// Invariant: an armed index stands in exactly one slot, not later than its deadline rounded up.

package struct TimerWheel {
  /// Milliseconds of one slot: deadlines are met this late at most, plus the loop's own delay.
  package static let slotMilliseconds: UInt64 = 32
  private static let slotCount = 1_024
  private static let none: Int32 = -1

  private var heads: [Int32]
  private var next: [Int32] = []
  private var previous: [Int32] = []
  /// The slot's tick that an index stands in; nil-like `UInt64.max` when not armed.
  private var tickOf: [UInt64] = []
  private var deadlines: [UInt64] = []
  /// The first tick not yet looked at.
  private var tick: UInt64
  package private(set) var armedCount = 0

  /// - Parameter nowMilliseconds: of the clock that deadlines are given in.
  package init(nowMilliseconds: UInt64) {
    heads = Array(repeating: TimerWheel.none, count: TimerWheel.slotCount)
    tick = nowMilliseconds / TimerWheel.slotMilliseconds
  }

  /// Sets the deadline of an index; 0 takes it away.
  package mutating func set(_ index: Int, deadlineMilliseconds: UInt64) {
    grow(to: index + 1)
    deadlines[index] = deadlineMilliseconds
    guard deadlineMilliseconds > 0 else { return }
    let wanted = place(deadlineMilliseconds)
    if tickOf[index] == .max {
      link(index, wanted)
    } else if wanted < tickOf[index] {
      unlink(index)
      link(index, wanted)
    }
  }

  package func deadline(of index: Int) -> UInt64 { index < deadlines.count ? deadlines[index] : 0 }

  /// Milliseconds until something may be due, at most `most`; `most` when nothing is armed.
  package func delay(nowMilliseconds: UInt64, most: UInt64) -> UInt64 {
    guard armedCount > 0 else { return most }
    // One slot is looked at per turn at most this often: idle workers with armed timers wake rarely enough.
    var ahead: UInt64 = 0
    while ahead < UInt64(TimerWheel.slotCount), heads[Int((tick + ahead) % UInt64(TimerWheel.slotCount))] < 0 {
      ahead += 1
    }
    let due = (tick + ahead + 1) * TimerWheel.slotMilliseconds
    return due <= nowMilliseconds ? 0 : min(most, due - nowMilliseconds)
  }

  /// Takes the next index that is due, or nil; its deadline is gone with it. Call until nil.
  package mutating func due(nowMilliseconds: UInt64) -> Int? {
    let end = nowMilliseconds / TimerWheel.slotMilliseconds
    while tick < end {
      let slot = Int(tick % UInt64(TimerWheel.slotCount))
      let head = heads[slot]
      guard head >= 0 else {
        tick += 1
        continue
      }
      let index = Int(head)
      unlink(index)
      let deadline = deadlines[index]
      if deadline == 0 { continue }
      if deadline <= nowMilliseconds {
        deadlines[index] = 0
        return index
      }
      link(index, place(deadline))
    }
    return nil
  }

  /// The tick whose end is the first at or after the deadline, held within one turn of the wheel.
  private func place(_ deadline: UInt64) -> UInt64 {
    let wanted = deadline / TimerWheel.slotMilliseconds
    return min(max(wanted, tick), tick + UInt64(TimerWheel.slotCount) - 1)
  }

  private mutating func grow(to count: Int) {
    while deadlines.count < count {
      deadlines.append(0)
      tickOf.append(.max)
      next.append(TimerWheel.none)
      previous.append(TimerWheel.none)
    }
  }

  private mutating func link(_ index: Int, _ at: UInt64) {
    let slot = Int(at % UInt64(TimerWheel.slotCount))
    let head = heads[slot]
    next[index] = head
    previous[index] = TimerWheel.none
    if head >= 0 { previous[Int(head)] = Int32(index) }
    heads[slot] = Int32(index)
    tickOf[index] = at
    armedCount += 1
  }

  private mutating func unlink(_ index: Int) {
    let slot = Int(tickOf[index] % UInt64(TimerWheel.slotCount))
    let after = next[index]
    let before = previous[index]
    if before >= 0 { next[Int(before)] = after } else { heads[slot] = after }
    if after >= 0 { previous[Int(after)] = before }
    tickOf[index] = .max
    armedCount -= 1
  }
}
