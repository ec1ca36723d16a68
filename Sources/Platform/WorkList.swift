// A list that one worker changes often: what is to be sent, what is free, the streams of a connection.
//
// It is in Platform because its elements lie in memory of its own. An array that is a property of a class is an access for as long as
// its code runs, and the compiler cannot tell that nothing in there comes back to it: so each access of that property is checked while
// the program runs, and these were most of the 60 checks that a request over HTTP/2 had.
//
// Invariants: the first `count` of `capacity` elements are initialized. An element is let go of when the list is whole again, for its end
// may come back to the list. Confined to one worker's thread.

@safe public final class WorkList<Element> {
  @usableFromInline
  @safe struct State {
    // SAFETY: by the invariants above. Allocated in init and `grow`, freed there and in deinit; lent to nobody.
    @usableFromInline var items: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int
    @usableFromInline var count = 0
  }

  // SAFETY: no access is checked against another while the program runs, for there never are two: no method lends the state, or calls
  // anything but the allocator while it changes it. WorkList is not Sendable: one thread uses it. The methods below that touch nothing but
  // the state refer to this as "the state's own memory".
  @exclusivity(unchecked) @usableFromInline var state: State

  public init(capacity: Int = 0) {
    // SAFETY: establishes the invariants.
    unsafe state = State(items: .allocate(capacity: capacity), capacity: capacity)
  }

  deinit {
    // SAFETY: nobody has a reference to self any more; the first `count` are initialized.
    unsafe state.items.deinitialize(count: state.count)
    unsafe state.items.deallocate()
  }

  // SAFETY: the state's own memory.
  @inlinable public var count: Int { unsafe state.count }
  @inlinable public var isEmpty: Bool { count == 0 }
  @inlinable public var first: Element? { isEmpty ? nil : self[0] }
  @inlinable public var last: Element? { isEmpty ? nil : self[count - 1] }

  @inlinable public subscript(index: Int) -> Element {
    @inline(__always) get {
      precondition(index >= 0 && index < count)
      // SAFETY: below `count`.
      return unsafe state.items[index]
    }
    set {
      precondition(index >= 0 && index < count)
      // SAFETY: below `count`; what was there is let go of behind this.
      let old = unsafe (state.items + index).move()
      unsafe (state.items + index).initialize(to: newValue)
      withExtendedLifetime(old) {}
    }
  }

  @inlinable @inline(__always) public func append(_ element: Element) {
    // SAFETY: below `capacity` where it grows in time, and not initialized before.
    if unsafe state.count == state.capacity { grow() }
    unsafe (state.items + state.count).initialize(to: element)
    unsafe state.count &+= 1
  }

  @usableFromInline @inline(never) func grow() {
    let capacity = Swift.max(8, 2 * count)
    // SAFETY: the elements move, so that nothing is left in what is freed. As many as it has room for are there when it grows.
    let items = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
    unsafe items.moveInitialize(from: state.items, count: state.count)
    unsafe state.items.deallocate()
    unsafe state.items = items
    unsafe state.capacity = capacity
  }

  @inlinable @inline(__always) public func popLast() -> Element? {
    guard !isEmpty else { return nil }
    // SAFETY: it was below `count`, and is not any more.
    unsafe state.count &-= 1
    return unsafe (state.items + state.count).move()
  }

  /// Removes the element at `index`; those behind it come one to the front.
  public func remove(at index: Int) -> Element {
    precondition(index >= 0 && index < count)
    // SAFETY: it was below `count`; those behind it fill its place.
    let removed = unsafe (state.items + index).move()
    unsafe state.count -= 1
    unsafe (state.items + index).moveInitialize(from: state.items + index + 1, count: state.count - index)
    return removed
  }

  /// Removes the element at `index`, whose place the last one takes. For elements that know their places.
  /// - Returns: the element that is at `index` now and has to learn it; nil where the removed one was the last.
  @inlinable public func removeUnordered(at index: Int) -> Element? {
    precondition(index >= 0 && index < count)
    guard let last = popLast(), index < count else { return nil }
    self[index] = last
    return last
  }

  /// Removes the first `number`; those behind them come to the front.
  @inlinable public func removeFirst(_ number: Int) {
    precondition(number >= 0 && number <= count)
    guard number > 0 else { return }
    let kept = count &- number
    for at in 0..<kept { swapAt(at, at &+ number) }
    drop(number, at: kept)
  }

  /// Removes so many from `index` on, the last one first, so that each leaves a list that is whole.
  @usableFromInline func drop(_ number: Int, at index: Int) {
    for at in (index..<index + number).reversed() { _ = remove(at: at) }
  }

  @inlinable public func removeAll() { while popLast() != nil {} }

  /// Removes the elements for which that holds; the others keep their order.
  public func removeAll(where isUnwanted: (Element) -> Bool) {
    var kept = 0
    for at in 0..<count where !isUnwanted(self[at]) {
      if kept != at { swapAt(kept, at) }
      kept += 1
    }
    drop(count - kept, at: kept)
  }

  public func lastIndex(where isWanted: (Element) -> Bool) -> Int? {
    var at = count
    while at > 0 {
      at -= 1
      if isWanted(self[at]) { return at }
    }
    return nil
  }

  @usableFromInline func swapAt(_ one: Int, _ other: Int) {
    precondition(one >= 0 && one < count && other >= 0 && other < count && one != other)
    // SAFETY: both are below `count`, and each has one again behind this.
    let element = unsafe (state.items + one).move()
    unsafe (state.items + one).moveInitialize(from: state.items + other, count: 1)
    unsafe (state.items + other).initialize(to: element)
  }
}

extension WorkList: Sequence {
  /// Over the elements that there are now, whatever becomes of the list meanwhile. Allocates; what is done for each request goes by index.
  public func makeIterator() -> IndexingIterator<[Element]> { (0..<count).map { self[$0] }.makeIterator() }
}
