// Lines for refused connections are bounded whatever comes, and none is lost from the account.

import Proxy
import TestSupport
import Testing
import Wire

@Suite struct RefusedLinesTests {
  private static let interval = RefusedLines.intervalMilliseconds

  private func peer(_ index: Int) -> IPAddress { IPAddress(v4: 0x0a00_0000 + UInt32(index)) }

  private func admits(
    _ lines: RefusedLines, _ refusal: Refusal, peer: IPAddress?, nowMilliseconds: UInt64
  ) -> Bool { lines.admits(refusal, peer: peer, nowMilliseconds: nowMilliseconds) }

  private struct Told: Equatable {
    var refusal: Refusal
    var peer: RefusedLines.Peer
    var count: UInt64
  }

  private func end(_ lines: RefusedLines, _ now: UInt64) -> [Told] {
    var told: [Told] = []
    lines.endInterval(nowMilliseconds: now) { told.append(Told(refusal: $0, peer: $1, count: $2)) }
    return told
  }

  @Test func theFirstAreWholeAndThenThereIsACount() {
    let lines = RefusedLines()
    #expect(lines.dueMilliseconds == .max)
    let admitted = (0..<1_000).count { _ in lines.admits(.proxyMissing, peer: peer(1), nowMilliseconds: 7) }
    #expect(admitted == RefusedLines.wholeMax)
    #expect(lines.dueMilliseconds == 7 + Self.interval)
    // Another name of the same peer, and the same name of another, are accounts of their own.
    #expect(admits(lines, .proxyLocal, peer: peer(1), nowMilliseconds: 8))
    #expect(admits(lines, .proxyMissing, peer: peer(2), nowMilliseconds: 8))
    #expect(admits(lines, .proxyMissing, peer: nil, nowMilliseconds: 8))
    #expect(end(lines, 100) == [Told(refusal: .proxyMissing, peer: .address(peer(1)), count: 995)])
  }

  /// A checker that keeps coming is one line an interval; one that stayed away for a whole interval is new again.
  @Test func aPeerThatStaysIsCountedAndOneThatReturnsIsNew() {
    let lines = RefusedLines()
    var now: UInt64 = 0
    for _ in 0..<10 { _ = lines.admits(.proxyLocal, peer: nil, nowMilliseconds: now) }
    #expect(end(lines, now) == [Told(refusal: .proxyLocal, peer: .unix, count: 5)])
    for _ in 0..<3 {
      now += Self.interval
      #expect(!admits(lines, .proxyLocal, peer: nil, nowMilliseconds: now))
      #expect(end(lines, now) == [Told(refusal: .proxyLocal, peer: .unix, count: 1)])
    }
    #expect(end(lines, now).isEmpty && lines.dueMilliseconds == .max)
    #expect(admits(lines, .proxyLocal, peer: nil, nowMilliseconds: now))
  }

  @Test func moreThanTheTableHoldsAreCountedTogether() {
    let lines = RefusedLines()
    let peers = RefusedLines.entriesMax * 4
    var whole = 0
    for round in 0..<10 {
      for index in 0..<peers where lines.admits(.tlsHandshake, peer: peer(index), nowMilliseconds: UInt64(round)) {
        whole += 1
      }
    }
    #expect(whole == RefusedLines.entriesMax * RefusedLines.wholeMax)
    let told = end(lines, 100)
    #expect(told.count == RefusedLines.entriesMax + 1)
    #expect(told.last?.peer == .other && told.last?.count == UInt64(10 * (peers - RefusedLines.entriesMax)))
    #expect(told.reduce(UInt64(whole)) { $0 + $1.count } == UInt64(10 * peers))
  }

  /// Over any sequence: every connection is in one line or in one count, and the lines of an interval are bounded.
  @Test(arguments: UInt64(1)...20)
  func nothingIsLostFromTheAccount(_ seed: UInt64) {
    var random = Seeded(seed)
    let lines = RefusedLines()
    var (now, sent, accounted) = (UInt64(0), UInt64(0), UInt64(0))
    for _ in 0..<20 {
      var whole = 0
      let spread = Int.random(in: 1...2_000, using: &random)
      for _ in 0..<Int.random(in: 0...5_000, using: &random) {
        let refusal = [Refusal.proxyMissing, .tlsHandshake, .connectionLimit].randomElement(using: &random)!
        let index = Int.random(in: 0..<spread, using: &random)
        sent += 1
        if lines.admits(refusal, peer: index == 0 ? nil : peer(index), nowMilliseconds: now) { whole += 1 }
      }
      #expect(whole <= RefusedLines.entriesMax * RefusedLines.wholeMax)
      now += Self.interval
      let told = end(lines, now)
      #expect(told.count <= RefusedLines.entriesMax + Refusal.allCases.count)
      accounted += UInt64(whole) + told.reduce(0) { $0 + $1.count }
    }
    #expect(accounted == sent)
  }
}
