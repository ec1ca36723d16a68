// The deadlines of one worker's connections: a timer wheel whose slots are doubly linked lists of indices. A deadline that
// moves later, as with each request, does not touch the lists: the entry stays in its slot, and is moved to the right one
// when that slot expires. So setting a deadline is usually one store.
// Invariant: an armed index is in exactly one slot, which is not later than its deadline rounded up. One thread.
// It is in Platform because its entries are behind a pointer: as arrays of a class they would cost a dozen dynamic
// exclusivity checks for each request.

@safe public final class TimerWheel {
  /// The duration of a slot. A deadline is reported at most this late, plus the delay of the worker's loop.
  public static let slotMilliseconds: UInt64 = 32
  private static let slotCount = 1_024
  @usableFromInline static let none: Int32 = -1

  @usableFromInline
  struct Entry {
    /// 0: no deadline.
    @usableFromInline var deadline: UInt64 = 0
    /// The tick in whose slot the entry is; `UInt64.max` if it is in none (not armed).
    @usableFromInline var tick = UInt64.max
    var next = TimerWheel.none
    var previous = TimerWheel.none
  }

  @usableFromInline
  @safe struct State {
    // SAFETY: by the invariant at `state` below.
    @usableFromInline var entries: UnsafeMutablePointer<Entry>
    @usableFromInline var capacity: Int
    /// The first tick that has not expired.
    var tick: UInt64
    var armedCount = 0
  }

  // SAFETY: `state.entries` has `capacity` entries, all initialized, and is replaced only by a larger copy; `heads` has
  // slotCount. All are made in init, freed in deinit and never lent; TimerWheel is not Sendable: one thread uses it. Each
  // index from outside is compared with `capacity` before it is used, and `capacity` never falls; heads and links hold
  // -1 or an index that was compared. The members refer to this as the invariant.
  @usableFromInline let state: UnsafeMutablePointer<State>
  private let heads: UnsafeMutablePointer<Int32>

  /// - Parameter nowMilliseconds: the time, on the clock of the deadlines.
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

  /// Sets the deadline of an index; 0 removes it.
  @inlinable public func set(_ index: Int, deadlineMilliseconds: UInt64) {
    precondition(index >= 0)
    if index >= capacity { grow(to: index + 1) }
    // SAFETY: index is below capacity now.
    unsafe entries[index].deadline = deadlineMilliseconds
    // An entry in a slot that is not too late stays there. `due` moves it on, or drops it if it has no deadline any more.
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

  /// Milliseconds until a deadline may be due, but at most `most`.
  public func delay(nowMilliseconds: UInt64, most: UInt64) -> UInt64 {
    guard armedCount > 0 else { return most }
    // Slots later than `most` do not matter.
    let end = min(UInt64(TimerWheel.slotCount), most / TimerWheel.slotMilliseconds + 1)
    var ahead: UInt64 = 0
    // SAFETY: `slot` is below slotCount.
    while ahead < end, unsafe heads[TimerWheel.slot(tick + ahead)] < 0 { ahead += 1 }
    let due = (tick + ahead + 1) * TimerWheel.slotMilliseconds
    return due <= nowMilliseconds ? 0 : min(most, due - nowMilliseconds)
  }

  /// An index whose deadline is due; its deadline is removed. Nil if there is none: call it until then.
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

  /// The tick in which the deadline lies, within one turn of the wheel.
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

  /// Moves an index to the slot of its deadline, unless it is in that or an earlier one.
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
