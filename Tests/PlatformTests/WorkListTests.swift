// A list with memory of its own keeps what it was given, in order, and lets go of it once.

import Platform
import TestSupport
import Testing

/// Counts those that are alive, and says when it ends.
private final class Item {
  let number: Int
  let ended: (Item) -> Void
  init(_ number: Int, ended: @escaping (Item) -> Void = { _ in }) {
    self.number = number
    self.ended = ended
  }
  deinit { ended(self) }
}

@Suite struct WorkListTests {
  @Test func anyChangesLeaveWhatAnArrayWouldHave() {
    var random = Seeded(20_261_129)
    for _ in 0..<200 {
      var alive = 0
      func make(_ number: Int) -> Item {
        alive += 1
        return Item(number) { _ in alive -= 1 }
      }
      do {
        let list = WorkList<Item>(capacity: Int.random(in: 0...3, using: &random))
        var model: [Int] = []
        for step in 0..<200 {
          let at = model.isEmpty ? 0 : Int.random(in: 0..<model.count, using: &random)
          switch Int.random(in: 0..<10, using: &random) {
          case 0...3:
            list.append(make(step))
            model.append(step)
          case 4: #expect(list.popLast()?.number == model.popLast())
          case 5 where !model.isEmpty: #expect(list.remove(at: at).number == model.remove(at: at))
          case 6 where !model.isEmpty:
            let moved = list.removeUnordered(at: at)?.number
            let last = model.removeLast()
            if at < model.count { model[at] = last }
            #expect(moved == (at < model.count ? last : nil))
          case 7 where !model.isEmpty:
            list[at] = make(step)
            model[at] = step
          case 8 where step.isMultiple(of: 5):
            list.removeFirst(at)
            model.removeFirst(at)
          case 9 where step.isMultiple(of: 7):
            let divisor = Int.random(in: 2...4, using: &random)
            list.removeAll { $0.number.isMultiple(of: divisor) }
            model.removeAll { $0.isMultiple(of: divisor) }
          default: break
          }
          #expect(list.map(\.number) == model)
          #expect(list.count == model.count && list.isEmpty == model.isEmpty)
          #expect(list.first?.number == model.first && list.last?.number == model.last)
          #expect(list.lastIndex { $0.number < step / 2 } == model.lastIndex { $0 < step / 2 })
          #expect(alive == model.count)
        }
        if Bool.random(using: &random) {
          list.removeAll()
          #expect(list.isEmpty && alive == 0)
        }
      }
      // The list's end is its elements' end.
      #expect(alive == 0)
    }
  }

  @Test func anElementsEndFindsTheListWhole() {
    let list = WorkList<Item>()
    var seen: [[Int]] = []
    func add(_ numbers: Range<Int>) {
      for number in numbers {
        list.append(
          Item(number) { item in
            seen.append(list.map(\.number))
            // It may also change it.
            if item.number == 1 { list.append(Item(100)) }
          })
      }
    }
    add(0..<5)
    list.removeFirst(2)
    #expect(list.map(\.number) == [2, 3, 4, 100])
    #expect(seen == [[2, 3, 4, 1], [2, 3, 4]])
    list[0] = Item(50)
    #expect(seen.last?.first == 50)
    list.removeAll { $0.number == 50 }
    #expect(list.first?.number == 3)
    list.removeAll()
    #expect(list.isEmpty)
  }

  @Test func whoGoesOverItSeesWhatItHadWhileItChanges() {
    let list = WorkList<Int>()
    for number in 0..<10 { list.append(number) }
    var seen: [Int] = []
    for number in list {
      seen.append(number)
      list.append(100 + number)
    }
    // What was added meanwhile is for the next time.
    #expect(seen == Array(0..<10) && list.count == 20)
    seen = []
    for number in list {
      seen.append(number)
      while list.count > 5 { _ = list.popLast() }
    }
    #expect(seen == Array(0..<10) + (0..<10).map { 100 + $0 })
  }
}
