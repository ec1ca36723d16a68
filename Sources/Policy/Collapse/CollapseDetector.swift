// Notices when many clients become one, or a few: somebody in front has stopped passing their addresses on.
//
// What tells it from a crowd behind one address, a load test or the night is what becomes of all the others. In a crowd they stay;
// at night everything becomes less; in a collapse the others are gone while as much traffic comes as before.
//
//     sketches of 2 s ──► blocks of 2, 4, 8 … 128 s ──► each judged against the blocks of its length before it
//
// A block is judged if it holds enough requests, and there is a past to judge by. With m as the number of clients that a twentieth of
// the usual ones is (at least 1, at most 8), it is a collapse if
//
//   - usually there are `distinctMin` clients or more in such a block;
//   - the requests of all but the m most frequent clients are down to a tenth of the usual, and so is not the whole;
//   - just before, in one of the last two blocks with traffic, they were still there: what fades does not collapse;
//   - there are at most a fifth of the usual clients, and of the blocks before it hardly any had so few: where clients come in bursts, a
//     block between two bursts says nothing.
//
// Or all at once come from private addresses where a tenth did at most. While it lasts the past is not added to. It is over when
// the others are back to a third, for two blocks.
// Confined to whoever holds it (CollapseMonitor, under its lock); bounded memory; nothing here depends on a clock.

import Wire

package struct CollapseDetector: Sendable {
  // docs/CONFIG.md says these to operators.
  /// Seconds of the shortest block.
  package static let blockSeconds = 2
  static let levelCount = 7
  static let topLevels = 8
  /// Below so many usual clients in a block it is not judged.
  package static let distinctMin = 15.0
  /// One client may stand for so many.
  static let clientsInOne = 20.0
  /// Requests that a block must hold to be judged.
  package static let requestsMin = 60.0
  static let othersGone = 0.1
  static let othersBack = 0.33
  /// An outage says nothing about who the clients are: a block with less of the usual traffic than this is passed over, unless that
  /// lasts.
  static let outage = 0.05
  static let outageSecondsMax = 1_800
  /// What of the usual must have been there just before.
  static let presentBefore = 0.7
  static let distinctLeft = 0.2
  /// How much of the usual traffic must go on.
  static let trafficMin = 0.3
  static let privateUsual = 0.1
  static let privateNow = 0.9
  /// Over how long the past is averaged, and how much of it there must be.
  static let pastSeconds = 600.0
  package static let warmUpSeconds = 20
  static let warmUpBlocks = 5
  /// Of so many blocks before, one in `burstShare` may have been as empty of clients.
  static let recentMax = 32
  static let burstShare = 16
  /// An alarm that has lasted so many of the shortest blocks (a day) is the new usual.
  static let blocksUntilUsual = 43_200

  fileprivate struct Seen {
    var publicCount = 0.0
    var others = InlineArray<8, Double>(repeating: 0)
  }

  /// What is usual in a block of one length.
  fileprivate struct Past {
    var blocks = 0
    var count = 0.0
    var distinct = 0.0
    var publicCount = 0.0
    var others = InlineArray<8, Double>(repeating: 0)
    /// The same of the last block, and of the one before.
    var last = Seen()
    var secondLast = Seen()
    /// The clients of each of the last blocks in which about as much came as usual.
    var recent = InlineArray<32, Float>(repeating: 0)
    var recentCount = 0
    /// Blocks in a row in which next to nothing came.
    var emptyBlocks = 0

    /// Whether blocks with this few clients come now and then.
    func knowsSoFew(_ distinct: Double) -> Bool {
      let held = min(recentCount, CollapseDetector.recentMax)
      var few = 0
      for i in 0..<held where Double(recent[i]) <= distinct { few += 1 }
      return few > held / CollapseDetector.burstShare
    }
  }

  private struct Level {
    var block = ClientSketch()
    /// Blocks of the level before in `block`: 0, or 1.
    var halves = 0
    var past = Past()
    /// Blocks in a row that say it is over.
    var recovered = 0
  }

  package enum Kind: UInt8, Sendable {
    /// Many clients became a few.
    case few
    /// Clients of the internet became private addresses.
    case privateAddresses
  }

  package struct Finding: Equatable, Sendable {
    package let kind: Kind
    package let blockSeconds: Int
    package let usualClients: Int
    package let clients: Int
    package let requests: Int
  }

  package enum Change: Equatable, Sendable {
    case none
    case collapsed(Finding)
    case recovered
    /// It has lasted for so long that it is what is usual now.
    case becameUsual
  }

  private var levels: InlineArray<7, Level> = InlineArray(repeating: Level())
  /// Which level noticed, and what, as long as it lasts.
  private var alarm: (level: Int, kind: Kind)?
  private var alarmBlocks = 0

  package init() {}

  package var isCollapsed: Bool { alarm != nil }

  /// About how many clients are usual in the shortest block, and how many were in the last.
  package private(set) var usualClients = 0.0
  package private(set) var lastClients = 0.0

  /// What the last `blockSeconds` saw.
  package mutating func take(_ sketch: ClientSketch) -> Change {
    var change = Change.none
    var block = sketch
    if isCollapsed {
      alarmBlocks += 1
      if alarmBlocks >= Self.blocksUntilUsual {
        self = CollapseDetector()
        return .becameUsual
      }
    }
    for level in 0..<Self.levelCount {
      levels[level].block.merge(block)
      if level > 0 {
        levels[level].halves += 1
        guard levels[level].halves == 2 else { return change }
      }
      block = levels[level].block
      levels[level].block = ClientSketch()
      levels[level].halves = 0
      let found = judge(block, level)
      if found != .none { change = found }
    }
    return change
  }

  private mutating func judge(_ block: ClientSketch, _ level: Int) -> Change {
    let distinct = block.distinct
    var others = InlineArray<8, Double>(repeating: 0)
    block.countOthers(&others)
    if level == 0 {
      lastClients = distinct
      usualClients = levels[0].past.distinct
    }
    if let alarm {
      guard alarm.level == level, !block.isEmpty else { return .none }
      levels[level].recovered = isOver(block, others, level, alarm.kind) ? levels[level].recovered + 1 : 0
      guard levels[level].recovered >= 2 else { return .none }
      self.alarm = nil
      levels[level].recovered = 0
      return .recovered
    }
    if let kind = collapse(block, distinct, others, level) {
      alarm = (level, kind)
      alarmBlocks = 0
      return .collapsed(
        Finding(
          kind: kind, blockSeconds: Self.blockSeconds << level,
          usualClients: Int(levels[level].past.distinct.rounded()),
          clients: Int(distinct.rounded()), requests: Int(block.count)))
    }
    remember(block, distinct, others, level)
    return .none
  }

  private func collapse(
    _ block: ClientSketch, _ distinct: Double, _ others: InlineArray<8, Double>, _ level: Int
  ) -> Kind? {
    let past = levels[level].past
    let seconds = Self.blockSeconds << level
    guard past.blocks >= Self.warmUpBlocks, past.blocks * seconds >= Self.warmUpSeconds,
      past.distinct >= Self.distinctMin, Double(block.count) >= Self.requestsMin,
      Double(block.count) >= past.count * Self.trafficMin
    else { return nil }
    let m = Self.topCount(past.distinct)
    let few = past.distinct * Self.distinctLeft
    let wereThere = max(past.last.others[m], past.secondLast.others[m]) >= past.others[m] * Self.presentBefore
    if past.others[m] > 0, wereThere, others[m] <= past.others[m] * Self.othersGone, distinct <= few,
      !past.knowsSoFew(few)
    {
      return .few
    }
    let publicCount = Double(block.count - block.privateCount)
    let wasPublic = max(past.last.publicCount, past.secondLast.publicCount) >= past.publicCount * Self.presentBefore
    if wasPublic, past.publicCount >= past.count * (1 - Self.privateUsual),
      publicCount <= past.publicCount * Self.othersGone,
      publicCount <= Double(block.count) * (1 - Self.privateNow)
    {
      return .privateAddresses
    }
    return nil
  }

  private func isOver(_ block: ClientSketch, _ others: InlineArray<8, Double>, _ level: Int, _ kind: Kind) -> Bool {
    let past = levels[level].past
    switch kind {
    case .few:
      let m = Self.topCount(past.distinct)
      return others[m] >= past.others[m] * Self.othersBack
    case .privateAddresses:
      return Double(block.count - block.privateCount) >= past.publicCount * Self.othersBack
    }
  }

  /// The index of how many of the most frequent clients are looked at apart: a twentieth of the usual ones.
  private static func topCount(_ distinct: Double) -> Int { min(topLevels, max(1, Int(distinct / clientsInOne))) - 1 }

  /// Adds a block to the past: its average, and from `pastSeconds` on one that forgets.
  private mutating func remember(
    _ block: ClientSketch, _ distinct: Double, _ others: InlineArray<8, Double>, _ level: Int
  ) {
    var past = levels[level].past
    let seconds = Self.blockSeconds << level
    if past.blocks >= Self.warmUpBlocks, Double(block.count) < past.count * Self.outage,
      past.emptyBlocks * seconds < Self.outageSecondsMax
    {
      levels[level].past.emptyBlocks += 1
      return
    }
    past.emptyBlocks = 0
    if Double(block.count) >= past.count * Self.trafficMin {
      past.recent[past.recentCount % Self.recentMax] = Float(distinct)
      past.recentCount += 1
      past.secondLast = past.last
      past.last = Seen(publicCount: Double(block.count - block.privateCount), others: others)
    }
    past.blocks += 1
    let weight = max(1 / Double(past.blocks), Double(Self.blockSeconds << level) / Self.pastSeconds)
    let share = min(1, weight)
    past.count += (Double(block.count) - past.count) * share
    past.distinct += (distinct - past.distinct) * share
    past.publicCount += (Double(block.count - block.privateCount) - past.publicCount) * share
    for m in 0..<Self.topLevels { past.others[m] += (others[m] - past.others[m]) * share }
    levels[level].past = past
  }
}

// MARK: Upgrades

/// All of it, so that the detector of a new process goes on as the one of the old process would have.
extension CollapseDetector {
  package func write(to out: inout HandoverWriter) {
    out.write(byte: alarm.map { $0.kind.rawValue + 1 } ?? 0)
    out.write(byte: UInt8(alarm?.level ?? 0))
    out.write(count: isCollapsed ? alarmBlocks : 0)
    out.write(figure: usualClients)
    out.write(figure: lastClients)
    for level in 0..<Self.levelCount {
      out.write(flag: levels[level].halves == 1)
      out.write(flag: levels[level].recovered == 1)
      levels[level].block.write(to: &out)
      levels[level].past.write(to: &out)
    }
  }

  package init(_ body: inout HandoverReader) throws(HandoverFault) {
    let what = "an alarm about clients"
    self.init()
    let kind = try body.byte(what)
    let level = Int(try body.byte(what))
    alarmBlocks = try body.count(most: Self.blocksUntilUsual - 1, what)
    if kind > 0 {
      guard let kind = Kind(rawValue: kind - 1), level < Self.levelCount else { throw .malformed(what) }
      alarm = (level, kind)
    } else {
      guard level == 0, alarmBlocks == 0 else { throw .malformed(what) }
    }
    usualClients = try body.figure()
    lastClients = try body.figure()
    for level in 0..<Self.levelCount {
      levels[level].halves = try body.flag(what) ? 1 : 0
      levels[level].recovered = try body.flag(what) ? 1 : 0
      levels[level].block = try ClientSketch(&body)
      levels[level].past = try Past(&body)
    }
  }
}

extension CollapseDetector.Past {
  fileprivate func write(to out: inout HandoverWriter) {
    // Without a block there is nothing else.
    out.write(word: UInt64(blocks))
    guard blocks > 0 else { return }
    for figure in [count, distinct, publicCount] { out.write(figure: figure) }
    for m in 0..<CollapseDetector.topLevels { out.write(figure: others[m]) }
    last.write(to: &out)
    secondLast.write(to: &out)
    for i in 0..<CollapseDetector.recentMax { out.write(count: Int(recent[i].bitPattern)) }
    out.write(word: UInt64(recentCount))
    out.write(word: UInt64(emptyBlocks))
  }

  fileprivate init(_ body: inout HandoverReader) throws(HandoverFault) {
    let what = "what is usual of clients"
    self.init()
    blocks = try body.number(what)
    guard blocks > 0 else { return }
    count = try body.figure()
    distinct = try body.figure()
    publicCount = try body.figure()
    for m in 0..<CollapseDetector.topLevels { others[m] = try body.figure() }
    last = try CollapseDetector.Seen(&body)
    secondLast = try CollapseDetector.Seen(&body)
    for i in 0..<CollapseDetector.recentMax {
      recent[i] = Float(bitPattern: try body.figure32(what))
      guard recent[i] >= 0, recent[i] <= Float(HandoverReader.figureMax) else { throw .malformed(what) }
    }
    recentCount = try body.number(what)
    emptyBlocks = try body.number(what)
  }
}

extension CollapseDetector.Seen {
  fileprivate func write(to out: inout HandoverWriter) {
    out.write(figure: publicCount)
    for m in 0..<CollapseDetector.topLevels { out.write(figure: others[m]) }
  }

  fileprivate init(_ body: inout HandoverReader) throws(HandoverFault) {
    self.init()
    publicCount = try body.figure()
    for m in 0..<CollapseDetector.topLevels { others[m] = try body.figure() }
  }
}

extension HandoverWriter {
  fileprivate mutating func write(figure: Double) { write(word: figure.bitPattern) }
}

extension HandoverReader {
  /// More than any count of requests, or of blocks, and little enough to be multiplied and rounded.
  fileprivate static let figureMax = Double(1 << 40)

  fileprivate mutating func figure() throws(HandoverFault) -> Double {
    let what = "a figure about clients"
    let figure = Double(bitPattern: try word(what))
    // A figure that is none is not in the range either.
    guard figure >= 0, figure <= Self.figureMax else { throw .malformed(what) }
    return figure
  }

  fileprivate mutating func number(_ what: String) throws(HandoverFault) -> Int {
    let number = try word(what)
    guard number <= 1 << 40 else { throw .malformed(what) }
    return Int(number)
  }
}
