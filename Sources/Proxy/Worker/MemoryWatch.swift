// What a burst of connections leaves behind is given back when the burst is over: kept chunks, slots, and the pages that
// malloc keeps. Looked at once a second, and only acted on when much was in use before that is not in use now.

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

/// Watches one worker's use of memory. Called at the end of each turn.
struct MemoryWatch {
  private var chunkUse = UseWatch()
  private var connectionUse = UseWatch()
  private var dueMilliseconds: UInt64 = 0
  private var secondsBelow = 0

  /// So many connections, or chunks, fewer than at most are a burst that is over; fewer than that, when it stays so for a
  /// while; and less than the last is not worth the trouble.
  private static let burstMin = 128
  private static let remainderMin = 16
  private static let remainderSeconds = 10
  /// Free chunks that are kept through a quiet time.
  static let quietChunks = 8
  private static let intervalMilliseconds: UInt64 = 1_000

  enum Finding { case goOn, giveBack }

  /// What a turn used. `isQuiet`: no list of the worker names a slot, so that free ones may go.
  mutating func note(chunks: Int, connections: Int, isQuiet: Bool, nowMilliseconds: UInt64) -> Finding {
    chunkUse.note(chunks)
    connectionUse.note(connections)
    guard nowMilliseconds >= dueMilliseconds else { return .goOn }
    dueMilliseconds = nowMilliseconds + MemoryWatch.intervalMilliseconds
    let lack = max(chunkUse.endSecond(), connectionUse.endSecond())
    secondsBelow = lack >= MemoryWatch.remainderMin ? secondsBelow + 1 : 0
    let isOver = lack >= MemoryWatch.burstMin || secondsBelow >= MemoryWatch.remainderSeconds
    let gives = isOver && isQuiet
    if gives { secondsBelow = 0 }
    chunkUse.beginSecond(chunks, isGivenBack: gives)
    connectionUse.beginSecond(connections, isGivenBack: gives)
    return gives ? .giveBack : .goOn
  }
}
