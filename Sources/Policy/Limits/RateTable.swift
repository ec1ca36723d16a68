// How many requests each client has had of late, for all clients and all rates of the process: a table of fixed size that the
// workers share without a lock.
//
// A client's count at one rate is one word: the time at which everything that it had is earned again (the "theoretical arrival
// time" of the Generic Cell Rate Algorithm, ITU-T I.371), with 16 bits of the hash of who it is:
//
//     16 bits of the hash | 48 bits: microseconds since the table was made
//
// A request puts the word forward by what one request costs, and is refused where that would be further ahead of now than the
// burst allows. A word whose time has come says nothing any more, and may be anybody's: nothing has to be swept.
//
// The hash is keyed and names a line of eight words, which is where the client's word is. Words change by compare-and-swap alone.
// Nobody gets more than the rate because the table is small:
//
// - Two clients whose hashes agree in line and 16 bits are counted as one.
// - Where all eight words of a line are in use, a ninth client is counted together with one of them, by its hash. No count is
//   ever dropped while it says something.
//
// Either refuses too much and never too little, and nobody without the key can bring it about for somebody else. Two workers that see
// a client for the first time in the same moment may give it a word each; then the one that is further ahead counts, so one request
// of the two is not counted.
//
// Called by RouteDemands (Proxy) for each request of a route that has a rate; survives reloads.

import Platform
import Wire

/// What a rate allows, in microseconds.
package struct RateLimit: Sendable, Equatable {
  /// What one request costs; never less than the rate says.
  package let cost: UInt64
  /// What a burst costs.
  package let most: UInt64

  package init(_ rate: Config.Rate) {
    let requests = UInt64(rate.requests)
    cost = (rate.period.microseconds + requests - 1) / requests
    most = cost * UInt64(rate.burst)
  }
}

/// What became of one request.
package struct RateDecision: Sendable, Equatable {
  package var isAllowed: Bool
  /// How many more may come at once.
  package var remaining: Int
  /// Until the next one may come; 0 where it may come now.
  package var waitMicroseconds: UInt64
  /// Until a whole burst may come.
  package var resetMicroseconds: UInt64
  /// It is counted together with another client, because there was no room.
  package var isShared: Bool
}

package final class RateTable: Sendable {
  private let words: AtomicWords
  private let lineMask: UInt64
  private let key0: UInt64
  private let key1: UInt64
  private let startMicroseconds: UInt64

  private static let lineWords = 8
  private static let timeBits: UInt64 = 48
  private static let timeMask: UInt64 = 1 << timeBits - 1
  /// 2 MiB: room for 262,144 clients that have had something of late, of which a line is full with more than eight.
  package static let usualLines = 1 << 15

  /// Nil where the memory cannot be had.
  /// - Parameter lines: of eight clients each; a power of two.
  package init?(lines: Int = RateTable.usualLines, key0: UInt64, key1: UInt64, nowMicroseconds: UInt64) {
    precondition(lines > 0 && lines & (lines - 1) == 0 && lines <= 1 << 24)
    guard let words = AtomicWords(count: lines * Self.lineWords) else { return nil }
    self.words = words
    lineMask = UInt64(lines - 1)
    self.key0 = key0
    self.key1 = key1
    startMicroseconds = nowMicroseconds
  }

  /// To be told who is counted.
  @inline(__always) package var hash: SipHash { SipHash(key0: key0, key1: key1) }

  /// Counts one request of whom `hash` stands for, unless that is too many.
  package func take(_ hash: UInt64, _ limit: RateLimit, nowMicroseconds: UInt64) -> RateDecision {
    // From 1 on, so that a word that was never used is of the past.
    let now = (nowMicroseconds &- startMicroseconds &+ 1) & Self.timeMask
    let line = Int(truncatingIfNeeded: hash & lineMask) &* Self.lineWords
    let mark = hash &>> Self.timeBits
    while true {
      let place = find(mark, line: line, now: now)
      let earned = max(place.word & Self.timeMask, now)
      let next = earned &+ limit.cost
      let ahead = next &- now
      guard ahead <= limit.most, next <= Self.timeMask else {
        return decision(false, ahead: earned &- now, limit, isShared: place.isShared)
      }
      let owner = place.isShared ? place.word &>> Self.timeBits : mark
      let (done, _) = words.exchange(at: place.index, old: place.word, new: owner &<< Self.timeBits | next)
      // Whoever was faster has counted; now it is looked at again.
      if done { return decision(true, ahead: ahead, limit, isShared: place.isShared) }
    }
  }

  private func find(_ mark: UInt64, line: Int, now: UInt64) -> (index: Int, word: UInt64, isShared: Bool) {
    var found: (index: Int, word: UInt64)?
    var free: (index: Int, word: UInt64)?
    for index in line..<line &+ Self.lineWords {
      let word = words.load(index)
      let time = word & Self.timeMask
      if time <= now {
        if free == nil { free = (index, word) }
      } else if word &>> Self.timeBits == mark, time > (found?.word ?? 0) & Self.timeMask {
        found = (index, word)
      }
    }
    if let found { return (found.index, found.word, false) }
    if let free { return (free.index, free.word, false) }
    let index = line &+ Int(truncatingIfNeeded: mark & 7)
    return (index, words.load(index), true)
  }

  private func decision(_ isAllowed: Bool, ahead: UInt64, _ limit: RateLimit, isShared: Bool) -> RateDecision {
    let left = limit.most > ahead ? limit.most &- ahead : 0
    return RateDecision(
      isAllowed: isAllowed, remaining: Int(left / limit.cost),
      waitMicroseconds: left >= limit.cost ? 0 : limit.cost &- left, resetMicroseconds: ahead, isShared: isShared)
  }
}
