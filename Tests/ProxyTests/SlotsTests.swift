// A token names one life of one slot.

import Platform
import Proxy
import TestSupport
import Testing

private final class Cell: Slot {
  let slot: Int
  let make: Int
  var generation: UInt32 = 0
  init(slot: Int, make: Int = 0) {
    self.slot = slot
    self.make = make
  }
  func begin(generation: UInt32) { self.generation = generation }
  var token: Token { Token(.downstream, slot: slot, generation: generation) }
}

extension Slots where Element == Cell {
  fileprivate func take(make: Int = 0) throws -> Cell {
    let cell = take(replaces: { $0.make != make }, make: { Cell(slot: $0, make: make) })
    return try #require(cell)
  }

  fileprivate func find(_ token: Token) -> Cell? { find(token.slot, token.generation) }

  fileprivate func end(_ cell: Cell) {
    cell.generation &+= 1
    give(cell.slot)
  }
}

@Suite struct SlotsTests {
  @Test func whatIsFreeAtTheEndIsDroppedAndItsTokensStayDead() throws {
    let slots = Slots<Cell>()
    let cells = try (0..<8).map { _ in try slots.take() }
    let tokens = cells.map(\.token)
    // All but the fourth, in some order; the last has had more lives than the others.
    slots.end(cells[7])
    let again = try slots.take()
    #expect(again === cells[7])
    let late = again.token
    for i in [2, 7, 0, 5, 1, 6, 4] { slots.end(cells[i]) }
    slots.shrink()
    #expect(slots.all.count == 4)
    #expect(slots.usedCount == 1)
    #expect(slots.find(tokens[3]) === cells[3])
    for token in tokens + [late] where token.slot != 3 { #expect(slots.find(token) == nil) }
    // Made anew, and no earlier token names them.
    let next = try (0..<7).map { _ in try slots.take() }
    #expect(Set(next.map(\.slot)) == [0, 1, 2, 4, 5, 6, 7])
    #expect(slots.usedCount == 8)
    for token in tokens + [late] where token.slot != 3 { #expect(slots.find(token) == nil) }
    for cell in next { #expect(slots.find(cell.token) === cell) }
    slots.shrink()
    #expect(slots.all.count == 8)
  }

  @Test func nothingIsLeftOfATableThatIsFree() throws {
    let slots = Slots<Cell>()
    weak let seen: Cell? = try {
      let cell = try slots.take()
      slots.end(cell)
      return cell
    }()
    slots.shrink()
    #expect(slots.all.isEmpty && slots.usedCount == 0)
    #expect(seen == nil)
  }

  @Test func aTokenFindsItsOwnLifeOnly() throws {
    let slots = Slots<Cell>()
    let first = try slots.take()
    let early = first.token
    #expect(slots.find(early) === first)
    slots.end(first)
    #expect(slots.find(early) == nil)
    let second = try slots.take()
    // The same object in its next life: the late token of the first still finds nobody.
    #expect(second === first && slots.find(early) == nil && slots.find(second.token) === second)
  }

  @Test func generationsWrap() throws {
    let slots = Slots<Cell>()
    let cell = try slots.take()
    cell.generation = .max
    let last = cell.token
    slots.end(cell)
    #expect(cell.generation == 0 && slots.find(last) == nil)
    #expect(slots.find(cell.token) === cell)
  }

  @Test func tokensOfSlotsThatNeverWereFindNobody() throws {
    let slots = Slots<Cell>()
    #expect(slots.find(0, 0) == nil)
    _ = try slots.take()
    #expect(slots.find(1, 0) == nil && slots.find(1 << 24 - 1, 0) == nil)
  }

  @Test func theSlotUsedLastIsUsedFirst() throws {
    let slots = Slots<Cell>()
    let cells = try (0..<5).map { _ in try slots.take() }
    #expect(cells.map(\.slot) == [0, 1, 2, 3, 4] && slots.usedCount == 5)
    for i in [3, 1, 4] { slots.end(cells[i]) }
    #expect(slots.usedCount == 2)
    let again = try (0..<4).map { _ in try slots.take().slot }
    #expect(again == [4, 1, 3, 5])
    #expect(slots.usedCount == 6 && slots.all.count == 6)
  }

  @Test func aSlotOfAnOlderMakeIsMadeAnew() throws {
    let slots = Slots<Cell>()
    let old = try slots.take(make: 1)
    slots.end(old)
    let new = try slots.take(make: 2)
    #expect(new !== old && new.slot == old.slot && slots.find(new.token) === new && slots.all.count == 1)
  }

  /// Random lives against a table of who is alive.
  @Test func manyLives() throws {
    var random = Seeded(5)
    let slots = Slots<Cell>()
    var alive: [Cell] = []
    var dead: [Token] = []
    for _ in 0..<5_000 {
      if alive.isEmpty || Bool.random(using: &random) {
        let cell = try slots.take()
        #expect(!alive.contains { $0 === cell })
        alive.append(cell)
      } else {
        let cell = alive.remove(at: Int.random(in: 0..<alive.count, using: &random))
        dead.append(cell.token)
        slots.end(cell)
      }
      #expect(slots.usedCount == alive.count)
    }
    for cell in alive { #expect(slots.find(cell.token) === cell) }
    for token in dead { #expect(slots.find(token) == nil) }
  }
}
