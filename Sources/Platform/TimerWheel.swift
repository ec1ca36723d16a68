// Deadlines of one worker's connections. A wheel of coarse slots holds connections by index; where a deadline only
// moves later, as it does with each request, the wheel is not touched: the entry is looked at when its slot comes round
// and is put where it belongs then. So an exchange costs a store, not a list operation.
// Invariant: an armed index stands in exactly one slot, not later than its deadline rounded up. One thread.
// Here and not beside its callers in Proxy, because its entries stand behind a pointer as Buffer's state does: as arrays of
// a class they cost a request a dozen dynamic exclusivity checks.

@safe public final class TimerWheel {
  /// Milliseconds of one slot: deadlines are met this late at most, plus the loop's own delay.
  public static let slotMilliseconds: UInt64 = 32
  private static let slotCount = 1_024
  @usableFromInline static let none: Int32 = -1

  @usableFromInline
  struct Entry {
    /// 0: there is none.
    @usableFromInline var deadline: UInt64 = 0
    /// The tick in whose slot it stands; `UInt64.max` when not armed.
    @usableFromInline var tick = UInt64.max
    var next = TimerWheel.none
    var previous = TimerWheel.none
  }

  @usableFromInline
  @safe struct State {
    // SAFETY: by the invariant at `state` below.
    @usableFromInline var entries: UnsafeMutablePointer<Entry>
    @usableFromInline var capacity: Int
    /// The first tick not yet looked at.
    var tick: UInt64
    var armedCount = 0
  }

  // SAFETY: `state.entries` has `capacity` entries, all initialized, and is replaced only by a larger copy; `heads` has
  // slotCount. All are made in init, freed in deinit and never lent; TimerWheel is not Sendable: one thread uses it. Each
  // index from outside is compared with `capacity` before it is used, and `capacity` never falls; heads and links hold
  // -1 or an index that was compared. The members refer to this as the invariant.
  @usableFromInline let state: UnsafeMutablePointer<State>
  private let heads: UnsafeMutablePointer<Int32>

  /// - Parameter nowMilliseconds: of the clock that deadlines are given in.
  public init(nowMilliseconds: UInt64) {
    let room = 64
    // SAFETY: establishes the invariant: everything that is allocated is initialized.
    let entries = UnsafeMutablePointer<Entry>.allocate(capacity: room)
    unsafe entries.initialize(repeating: Entry(), count: room)
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(
      to: State(entries: entries, capacity: room, tick: nowMilliseconds / TimerWheel.slotMilliseconds))
    unsafe heads = .allocate(capacity: TimerWheel.slotCount)
    unsafe heads.initialize(repeating: TimerWheel.none, count: TimerWheel.slotCount)
  }

  deinit {
    // SAFETY: what init or `grow` allocated, each freed once; none of it needs to be deinitialized.
    unsafe entries.deallocate()
    unsafe state.deallocate()
    unsafe heads.deallocate()
  }

  // SAFETY: by the invariant; callers compare their index with `capacity`.
  @inlinable var entries: UnsafeMutablePointer<Entry> { unsafe state.pointee.entries }
  // SAFETY: by the invariant.
  @inlinable var capacity: Int { unsafe state.pointee.capacity }
  // SAFETY: by the invariant.
  public var armedCount: Int { unsafe state.pointee.armedCount }
  // SAFETY: by the invariant.
  private var tick: UInt64 { unsafe state.pointee.tick }

  /// Sets the deadline of an index; 0 takes it away.
  @inlinable public func set(_ index: Int, deadlineMilliseconds: UInt64) {
    precondition(index >= 0)
    if index >= capacity { grow(to: index + 1) }
    // SAFETY: index is below capacity now.
    unsafe entries[index].deadline = deadlineMilliseconds
    // An entry that stands no later than its deadline stays where it is; one without a deadline is passed over there.
    guard deadlineMilliseconds > 0,
      unsafe entries[index].tick > deadlineMilliseconds / TimerWheel.slotMilliseconds
    else { return }
    arm(index)
  }

  @inlinable public func deadline(of index: Int) -> UInt64 {
    precondition(index >= 0)
    // SAFETY: read only where index is below capacity.
    return unsafe index < capacity ? entries[index].deadline : 0
  }

  /// Milliseconds until something may be due, at most `most`; `most` when nothing is armed.
  public func delay(nowMilliseconds: UInt64, most: UInt64) -> UInt64 {
    guard armedCount > 0 else { return most }
    // Slots beyond `most` need no look.
    let end = min(UInt64(TimerWheel.slotCount), most / TimerWheel.slotMilliseconds + 1)
    var ahead: UInt64 = 0
    // SAFETY: `slot` is below slotCount.
    while ahead < end, unsafe heads[TimerWheel.slot(tick + ahead)] < 0 { ahead += 1 }
    let due = (tick + ahead + 1) * TimerWheel.slotMilliseconds
    return due <= nowMilliseconds ? 0 : min(most, due - nowMilliseconds)
  }

  /// Takes the next index that is due, or nil; its deadline is gone with it. Call until nil.
  public func due(nowMilliseconds: UInt64) -> Int? {
    let end = nowMilliseconds / TimerWheel.slotMilliseconds
    // SAFETY: `slot` is below slotCount, and a head that is not -1 is below capacity, by the invariant.
    while tick < end {
      let head = unsafe heads[TimerWheel.slot(tick)]
      guard head >= 0 else {
        unsafe state.pointee.tick += 1
        continue
      }
      let index = Int(head)
      unlink(index)
      let deadline = unsafe entries[index].deadline
      if deadline == 0 { continue }
      if deadline <= nowMilliseconds {
        unsafe entries[index].deadline = 0
        return index
      }
      link(index, place(deadline))
    }
    return nil
  }

  private static func slot(_ tick: UInt64) -> Int { Int(tick % UInt64(slotCount)) }

  /// The tick whose end is the first at or after the deadline, held within one turn of the wheel.
  private func place(_ deadline: UInt64) -> UInt64 {
    let wanted = deadline / TimerWheel.slotMilliseconds
    return min(max(wanted, tick), tick + UInt64(TimerWheel.slotCount) - 1)
  }

  @usableFromInline @inline(never) func grow(to count: Int) {
    let room = max(count, capacity * 2)
    // SAFETY: room is at least twice capacity, all of which is initialized: by the old entries, moved once, and by new ones
    // behind them. Nobody keeps a pointer to what is freed.
    let larger = UnsafeMutablePointer<Entry>.allocate(capacity: room)
    unsafe larger.moveInitialize(from: entries, count: capacity)
    unsafe (larger + capacity).initialize(repeating: Entry(), count: room - capacity)
    unsafe entries.deallocate()
    unsafe state.pointee.entries = larger
    unsafe state.pointee.capacity = room
  }

  /// Puts an index where its deadline wants it, if it is not there or earlier.
  @usableFromInline @inline(never) func arm(_ index: Int) {
    // SAFETY: `set`, the only caller, has compared index with capacity.
    let wanted = unsafe place(entries[index].deadline)
    guard unsafe entries[index].tick > wanted else { return }
    if unsafe entries[index].tick != .max { unlink(index) }
    link(index, wanted)
  }

  private func link(_ index: Int, _ at: UInt64) {
    let slot = TimerWheel.slot(at)
    // SAFETY: callers pass an index below capacity; slot is below slotCount, and head -1 or below capacity, by the invariant.
    let head = unsafe heads[slot]
    unsafe entries[index].next = head
    unsafe entries[index].previous = TimerWheel.none
    if head >= 0 { unsafe entries[Int(head)].previous = Int32(index) }
    unsafe heads[slot] = Int32(index)
    unsafe entries[index].tick = at
    unsafe state.pointee.armedCount += 1
  }

  private func unlink(_ index: Int) {
    // SAFETY: callers pass an index below capacity; its links are -1 or below capacity, by the invariant, and `slot` is below
    // slotCount.
    let entry = unsafe entries[index]
    if entry.previous >= 0 {
      unsafe entries[Int(entry.previous)].next = entry.next
    } else {
      unsafe heads[TimerWheel.slot(entry.tick)] = entry.next
    }
    if entry.next >= 0 { unsafe entries[Int(entry.next)].previous = entry.previous }
    unsafe entries[index].tick = .max
    unsafe state.pointee.armedCount -= 1
  }
}
