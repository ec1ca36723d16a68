// What a burst of connections leaves behind is given back when the burst is over: kept chunks, slots, and the pages that
// malloc keeps. Looked at once a second, and only acted on when much was in use before that is not in use now.

import Platform

/// How much of something was in use at most: in the second at hand, and since memory was last given back.
package struct UseWatch {
  private var inSecond = 0
  private(set) var most = 0

  package init() {}

  package mutating func note(_ count: Int) { if count > inSecond { inSecond = count } }

  /// A second is over: by how much its use stays below the most.
  package mutating func endSecond() -> Int {
    most = max(most, inSecond)
    return most - inSecond
  }

  /// What is in use now is the measure from here on.
  package mutating func beginSecond(_ count: Int, isGivenBack: Bool) {
    if isGivenBack { most = inSecond }
    inSecond = count
  }
}

extension Worker {
  /// So many connections, or chunks, fewer than at most are a burst that is over; fewer than that, when it stays so for a
  /// while; and less than the last is not worth the trouble.
  private static let burstMin = 128
  private static let remainderMin = 16
  private static let remainderSeconds = 10
  /// Free chunks that are kept through a quiet time.
  private static let quietChunks = 8
  private static let watchMilliseconds: UInt64 = 1_000

  /// At the end of each turn.
  func watchMemory() {
    chunkUse.note(pool.lent)
    connectionUse.note(downstreams.usedCount)
    guard nowMilliseconds >= memoryWatchMilliseconds else { return }
    memoryWatchMilliseconds = nowMilliseconds + Worker.watchMilliseconds
    let lack = max(chunkUse.endSecond(), connectionUse.endSecond())
    secondsBelow = lack >= Worker.remainderMin ? secondsBelow + 1 : 0
    let isOver = lack >= Worker.burstMin || secondsBelow >= Worker.remainderSeconds
    // Lists of this turn name slots; with nothing in them, a slot that is free is named by nobody.
    let gives = isOver && queued.isEmpty && settling.isEmpty
    if gives {
      secondsBelow = 0
      giveBackMemory()
    }
    chunkUse.beginSecond(pool.lent, isGivenBack: gives)
    connectionUse.beginSecond(downstreams.usedCount, isGivenBack: gives)
  }

  private func giveBackMemory() {
    pool.release(keeping: Worker.quietChunks)
    downstreams.shrink()
    upstreams.shrink()
    exchanges.shrink()
    shared.freeMemory.giveBack()
  }
}
