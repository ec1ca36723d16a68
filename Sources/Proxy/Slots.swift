// The worker's table of connections: objects made once and used again, found by index, checked by generation.

protocol Slot: AnyObject {
  var generation: UInt32 { get set }
}

extension Downstream: Slot {}
extension Upstream: Slot {}

struct Slots<Element: Slot> {
  private(set) var all: ContiguousArray<Element> = []
  private var free: ContiguousArray<Int32> = []
  /// As many as a token can name.
  static var countMax: Int { 1 << 24 }

  var usedCount: Int { all.count - free.count }

  /// A free element, the one used last first; nil when the table is full. `replaces` says whether a free element is
  /// of an older make and must be made anew.
  mutating func take(replaces: (Element) -> Bool, make: (Int) -> Element) -> Element? {
    if let index = free.popLast() {
      let element = all[Int(index)]
      guard replaces(element) else { return element }
      let new = make(Int(index))
      // Events that were meant for the old one still find nobody.
      new.generation = element.generation
      all[Int(index)] = new
      return new
    }
    guard all.count < Slots.countMax else { return nil }
    let element = make(all.count)
    all.append(element)
    return element
  }

  mutating func give(_ slot: Int) { free.append(Int32(slot)) }

  /// The element that a token names, or nil when that life is over.
  @inline(__always)
  func find(_ slot: Int, _ generation: UInt32) -> Element? {
    guard slot < all.count else { return nil }
    let element = all[slot]
    return element.generation == generation ? element : nil
  }
}
