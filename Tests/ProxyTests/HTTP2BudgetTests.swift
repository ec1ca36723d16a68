// What a client of HTTP/2 may ask of us beside requests, and what its Priority field and gRPC's statuses come to.

import Proxy
import Testing
import Wire

@Suite struct HTTP2BudgetTests {
  @Test func aFloodOfFramesThatCarryNothingEnds() {
    var budget = HTTP2Budget(nowMilliseconds: 1_000)
    for i in 0..<HTTP2Budget.framesAtOnce {
      #expect(budget.note(emptyFrames: 1, nowMilliseconds: 1_000) == nil, "\(i)")
    }
    #expect(budget.note(emptyFrames: 0, nowMilliseconds: 1_000) == nil)
    #expect(budget.note(emptyFrames: 1, nowMilliseconds: 1_000) == .http2Flood)
    var other = HTTP2Budget(nowMilliseconds: 1_000)
    #expect(other.note(emptyFrames: HTTP2Budget.framesAtOnce + 1, nowMilliseconds: 1_000) == .http2Flood)
  }

  /// A browser's download: a WINDOW_UPDATE or two for each piece.
  @Test func whatAnswersOurDataIsNoFlood() {
    var budget = HTTP2Budget(nowMilliseconds: 0)
    for _ in 0..<100_000 {
      budget.noteRequest()
      #expect(budget.note(emptyFrames: HTTP2Budget.framesPerRequest, nowMilliseconds: 0) == nil)
    }
  }

  /// Windows that open by a byte each have a piece of data as an answer, and so a budget without end if each piece counted alike.
  @Test func aByteAtATimeIsNoAnswerThatMoreMayBeAskedFor() {
    var budget = HTTP2Budget(nowMilliseconds: 0)
    var taken = 0
    while budget.note(emptyFrames: 1, nowMilliseconds: 0) == nil {
      taken += 1
      budget.noteSent(1, isCut: true)
    }
    #expect(taken == HTTP2Budget.framesAtOnce)
    budget.noteSent(100, isCut: true)
    #expect(budget.note(emptyFrames: 1, nowMilliseconds: 0) == nil)
    #expect(budget.note(emptyFrames: 1, nowMilliseconds: 0) == .http2Flood)
    budget.noteSent(1_024, isCut: true)
    #expect(budget.note(emptyFrames: HTTP2Budget.framesPerRequest, nowMilliseconds: 0) == nil)
  }

  /// A call of gRPC with messages of a few bytes: each is answered by a window for its stream and one for the connection.
  @Test func smallMessagesAreAnsweredWithoutEnd() {
    var budget = HTTP2Budget(nowMilliseconds: 0)
    for _ in 0..<100_000 {
      budget.noteSent(10, isCut: false)
      #expect(budget.note(emptyFrames: HTTP2Budget.framesPerRequest, nowMilliseconds: 0) == nil)
    }
  }

  @Test func requestsThatAreRefusedUnseenAreBounded() {
    var budget = HTTP2Budget(nowMilliseconds: 0)
    #expect(budget.noteRefused(HTTP2Budget.framesAtOnce / HTTP2Budget.framesPerRequest, nowMilliseconds: 0) == nil)
    #expect(budget.noteRefused(1, nowMilliseconds: 0) == .http2Flood)
  }

  @Test func budgetsFillWithTimeAndNotBeyondTheirSize() {
    var budget = HTTP2Budget(nowMilliseconds: 0)
    var now: UInt64 = 0
    for _ in 0..<HTTP2Budget.framesAtOnce { _ = budget.note(emptyFrames: 1, nowMilliseconds: now) }
    for _ in 0..<HTTP2Budget.resetsAtOnce { #expect(budget.noteReset(nowMilliseconds: now) == nil) }
    #expect(budget.noteReset(nowMilliseconds: now) == .http2Resets)
    now = 1_000
    for _ in 0..<HTTP2Budget.resetsPerSecond { #expect(budget.noteReset(nowMilliseconds: now) == nil) }
    #expect(budget.noteReset(nowMilliseconds: now) == .http2Resets)
    for _ in 0..<HTTP2Budget.framesPerSecond { #expect(budget.note(emptyFrames: 1, nowMilliseconds: now) == nil) }
    #expect(budget.note(emptyFrames: 1, nowMilliseconds: now) == .http2Flood)
    now = 1_000_000_000
    for _ in 0..<HTTP2Budget.framesAtOnce { #expect(budget.note(emptyFrames: 1, nowMilliseconds: now) == nil) }
    #expect(budget.note(emptyFrames: 1, nowMilliseconds: now) == .http2Flood)
  }

  @Test func eachClientOfABalancerHasABudgetOfItsOwn() {
    let (one, other) = (IPAddress(v4: 0xcb00_7101), IPAddress(v4: 0xcb00_7102))
    var resets = ClientResets()
    for _ in 0..<HTTP2Budget.resetsAtOnce {
      #expect(!resets.areSpent(by: one, nowMilliseconds: 5))
      resets.note(one, nowMilliseconds: 5)
    }
    #expect(resets.areSpent(by: one, nowMilliseconds: 5) && !resets.areSpent(by: other, nowMilliseconds: 5))
    // As many as it may have in a second keep it there, however they are spread.
    for now in stride(from: UInt64(50), to: 10_000, by: 1_000 / HTTP2Budget.resetsPerSecond) {
      resets.note(one, nowMilliseconds: now)
    }
    #expect(resets.areSpent(by: one, nowMilliseconds: 9_990))
    #expect(!resets.areSpent(by: one, nowMilliseconds: 11_100))
    // Half as many do not.
    var slow = ClientResets()
    for now in stride(from: UInt64(0), to: 100_000, by: 2_000 / HTTP2Budget.resetsPerSecond) {
      slow.note(one, nowMilliseconds: now)
      #expect(!slow.areSpent(by: one, nowMilliseconds: now))
    }
  }

  @Test func whatIsKnownOfClientsIsBounded() {
    var resets = ClientResets()
    for number in 0..<UInt32(ClientResets.clientsMax) { resets.note(IPAddress(v4: number), nowMilliseconds: 0) }
    let next = IPAddress(v4: 0xcb00_7101)
    for _ in 0..<HTTP2Budget.resetsAtOnce { resets.note(next, nowMilliseconds: 0) }
    #expect(!resets.areSpent(by: next, nowMilliseconds: 0), "there is no room")
    // The others are forgotten when their budgets are whole again.
    for _ in 0..<HTTP2Budget.resetsAtOnce { resets.note(next, nowMilliseconds: 1_000) }
    #expect(resets.areSpent(by: next, nowMilliseconds: 1_000))
  }

  /// Asking often does not keep a budget from filling.
  @Test func aBudgetFillsHoweverOftenItIsAsked() {
    var budget = HTTP2Budget(nowMilliseconds: 0)
    for _ in 0..<HTTP2Budget.resetsAtOnce { _ = budget.noteReset(nowMilliseconds: 0) }
    var allowed = 0
    for now in UInt64(1)...10_000 where budget.noteReset(nowMilliseconds: now) == nil { allowed += 1 }
    #expect((HTTP2Budget.resetsPerSecond * 9...HTTP2Budget.resetsPerSecond * 10).contains(allowed), "\(allowed)")
  }

  @Test(arguments: [
    ("", 3, false), ("u=0", 0, false), ("u=7, i", 7, true), ("i", 3, true), ("i=?1,u=5", 5, true), ("i=?0", 3, false),
    ("u=8", 3, false), ("u=-1", 3, false), ("u=12", 3, false), (" u=1 ,\ti ", 1, true), ("x=1, u=2", 2, false),
    ("u", 3, false), ("u=1;p, i", 3, true), (",,,", 3, false), ("i=?2", 3, false),
  ])
  func prioritiesAreReadAndNonsenseIsNone(_ text: String, _ urgency: Int, _ isIncremental: Bool) {
    let read = HTTP2Priority.read(Array(text.utf8).span)
    #expect(read.urgency == urgency && read.isIncremental == isIncremental, "\(text)")
  }

  /// The last few streams that are still to begin; of one stream the last word.
  @Test func whatIsSaidOfStreamsToComeIsKeptForAFew() {
    var early = EarlyPriorities()
    #expect(early.take(stream: 1) == nil)
    for urgency in [7, 1] { early.note(HTTP2Priority(urgency: urgency, isIncremental: urgency == 1), stream: 3) }
    #expect(early.take(stream: 3) == HTTP2Priority(urgency: 1, isIncremental: true))
    #expect(early.take(stream: 3) == nil)
    let streams = (0..<20).map { Int32(5 + 2 * $0) }
    for stream in streams { early.note(HTTP2Priority(urgency: Int(stream % 8), isIncremental: false), stream: stream) }
    for stream in streams.dropLast(EarlyPriorities.most) { #expect(early.take(stream: stream) == nil) }
    for stream in streams.suffix(EarlyPriorities.most) {
      #expect(early.take(stream: stream) == HTTP2Priority(urgency: Int(stream % 8), isIncremental: false))
    }
  }

  @Test(arguments: [
    (400, 13), (401, 16), (403, 7), (404, 12), (413, 8), (429, 14), (431, 13), (500, 2), (502, 14), (503, 14),
    (504, 14),
    (421, 2),
  ])
  func grpcGetsItsOwnStatus(_ http: Int, _ grpc: Int) { #expect(GRPCAnswer.status(http) == grpc) }
}
