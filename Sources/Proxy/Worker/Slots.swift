// The worker's tables of connections and exchanges: objects made once and used again, found by index, checked by generation.

import Platform

package protocol Slot: AnyObject {
  /// Counts the lives of the slot.
  var generation: UInt32 { get }
  /// Counts on from there, in a slot that is made anew. A method, for a setter here would cost an exclusivity check wherever a
  /// generation is read.
  func begin(generation: UInt32)
}

package final class Slots<Element: Slot> {
  package let all = WorkList<Element>()
  private let free = WorkList<Int32>()
  /// Of elements that are made anew.
  private var firstGeneration: UInt32 = 0
  /// As many as a token can name.
  package static var countMax: Int { 1 << 24 }

  package init() {}

  package var usedCount: Int { all.count - free.count }

  /// A free element, the one used last first; nil when the table is full. `replaces` says whether a free element is
  /// of an older make and must be made anew.
  package func take(replaces: (Element) -> Bool, make: (Int) -> Element) -> Element? {
    if let index = free.popLast() {
      let element = all[Int(index)]
      guard replaces(element) else { return element }
      let new = make(Int(index))
      // Events that were meant for the old one still find nobody.
      new.begin(generation: element.generation)
      all[Int(index)] = new
      return new
    }
    guard all.count < Slots.countMax else { return nil }
    let element = make(all.count)
    element.begin(generation: firstGeneration)
    all.append(element)
    return element
  }

  /// Drops free elements from the end of the table, back to the last that is in use. Those that are made later are
  /// of a later generation than any that was dropped, so that their tokens are told apart.
  package func shrink() {
    var isFree = [Bool](repeating: false, count: all.count)
    for slot in free { isFree[Int(slot)] = true }
    var count = all.count
    while count > 0, isFree[count - 1] {
      count -= 1
      firstGeneration = max(firstGeneration, all[count].generation)
    }
    while all.count > count { _ = all.popLast() }
    free.removeAll { $0 >= count }
  }

  package func give(_ slot: Int) { free.append(Int32(slot)) }

  /// The element that a token names, or nil when that life is over.
  @inline(__always)
  package func find(_ slot: Int, _ generation: UInt32) -> Element? {
    guard slot < all.count else { return nil }
    let element = all[slot]
    return element.generation == generation ? element : nil
  }
}
