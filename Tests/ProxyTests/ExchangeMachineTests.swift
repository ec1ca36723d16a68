// Every fault at every step that an exchange can be at, against what the machine promises in its header.

import Policy
import Proxy
import Testing
import Wire

/// A machine brought to a step, and what a test knows about that step.
private struct Step: CustomStringConvertible {
  var request: ExchangeMachine.RequestPhase
  var response: ExchangeMachine.ResponsePhase
  var isAttempted: Bool
  var sent: Bool
  var reused: Bool
  var isHeld: Bool
  var isIdempotent: Bool
  var retries: Int
  var keepAlive: Bool
  var machine = ExchangeMachine()

  var description: String {
    "request \(request), response \(response), attempted \(isAttempted), sent \(sent), reused \(reused), "
      + "held \(isHeld), idempotent \(isIdempotent), retries \(retries), keep-alive \(keepAlive)"
  }

  /// Nil where no exchange can be at such a step.
  mutating func reach() -> Bool {
    guard isAttempted || (!sent && !reused && response == .awaiting) else { return false }
    guard sent || response == .awaiting else { return false }
    machine.begin(
      hasBody: request == .body, isIdempotent: isIdempotent, keepAlive: keepAlive)
    machine.allow(ExchangeMachine.Retries(retries, on: [.connect, .reset, .timeout]))
    if isAttempted { machine.attempt(reused: reused) }
    if sent { machine.noteSent() }
    if !isHeld { machine.noteNotHeld() }
    if response != .awaiting { machine.responseHead(keepAlive: true) }
    if response == .done { machine.responseEnded() }
    return machine.request == request && machine.response == response
  }

  static var all: [Step] {
    var steps: [Step] = []
    for request in [ExchangeMachine.RequestPhase.body, .done] {
      for response in [ExchangeMachine.ResponsePhase.awaiting, .body, .done] {
        for retries in [0, 1, 3] {
          for bits in 0..<64 {
            func flag(_ i: Int) -> Bool { bits >> i & 1 == 1 }
            var step = Step(
              request: request, response: response, isAttempted: flag(0), sent: flag(1), reused: flag(2),
              isHeld: flag(3), isIdempotent: flag(4), retries: retries, keepAlive: flag(5))
            if step.reach() { steps.append(step) }
          }
        }
      }
    }
    return steps
  }
}

private let faults: [ExchangeMachine.Fault] = [
  .connect, .connectTimeout, .upstreamTLS, .closedBeforeResponse, .responseTimeout, .badResponse, .responseHeadTooLarge,
  .truncatedResponse,
  .badStatus, .serverDown(isTakenAway: false), .serverDown(isTakenAway: true), .starting, .clientGone,
  .request(.framingChunk), .request(.bodyTooLarge), .request(.bodyTimeout), .unprocessed, .answerCut,
]

@Suite struct ExchangeMachineTests {
  @Test func theTableIsNotEmpty() {
    #expect(Step.all.count > 300)
    #expect(Set(Step.all.map(\.description)).count == Step.all.count)
  }

  @Test func nothingIsAnsweredOrTriedAgainAfterAResponseHead() {
    for step in Step.all where step.response != .awaiting {
      for fault in faults {
        var machine = step.machine
        switch machine.fault(fault) {
        case .abort: break
        // The response that is already on its way is the one that goes on, and one that is over stays as it is.
        case .passOn:
          let goesOn: [ExchangeMachine.Fault] = [
            .starting, .badStatus, .serverDown(isTakenAway: false), .serverDown(isTakenAway: true),
          ]
          #expect(goesOn.contains(fault) || fault == .clientGone && step.machine.isDiscarding)
        case .answer, .retry, .resend, .retryLater: Issue.record("\(fault) at \(step)")
        }
      }
    }
  }

  @Test func nothingIsTriedAgainThatIsNoLongerHeld() {
    for step in Step.all where !step.isHeld {
      for fault in faults {
        var machine = step.machine
        switch machine.fault(fault) {
        case .retry, .resend, .retryLater: Issue.record("\(fault) at \(step)")
        case .answer, .abort, .passOn: break
        }
      }
    }
  }

  /// RFC 9110 section 9.2.2. A validator's «starting» is an answer, and a refused stream (RFC 9113 section 8.7) a word as good: they
  /// say that the request was not acted on.
  @Test func whatMayHaveBeenActedOnIsNotSentTwice() {
    for step in Step.all where step.sent && !step.isIdempotent {
      for fault in faults where fault != .starting && fault != .unprocessed {
        var machine = step.machine
        let verdict = machine.fault(fault)
        #expect(verdict != .retry && verdict != .resend, "\(fault) at \(step)")
      }
    }
  }

  /// RFC 9113 section 8.7, whatever the method; not without end, and not behind a response's head.
  @Test func whatAServerDidNotProcessIsSentAgain() {
    for step in Step.all {
      var machine = step.machine
      let verdict = machine.fault(.unprocessed)
      if step.response != .awaiting {
        #expect(verdict == .abort(.upstreamReset), "\(step)")
      } else if !step.isHeld {
        #expect(verdict == .answer(.upstreamReset), "\(step)")
      } else {
        #expect(verdict == .resend, "\(step)")
        for _ in 1..<ExchangeMachine.unprocessedTriesMax {
          #expect(!machine.goesFirst)
          #expect(machine.fault(.unprocessed) == .resend)
        }
        // The last time it is the first on a connection, which its server takes if it takes any; but a server that refuses streams has too
        // many, and is not made to take a connection for each.
        machine.noteUnprocessed(isPassing: false)
        #expect(!machine.goesFirst)
        machine.noteUnprocessed(isPassing: true)
        #expect(machine.goesFirst)
        #expect(machine.fault(.unprocessed) == .answer(.upstreamReset))
      }
    }
  }

  @Test func whatCanBeTriedAgainIs() {
    for step in Step.all
    where step.response == .awaiting && step.isHeld && step.retries > 0 && (!step.sent || step.isIdempotent) {
      let faults: [ExchangeMachine.Fault] = [
        .connect, .connectTimeout, .upstreamTLS, .closedBeforeResponse, .responseTimeout, .badStatus,
        .serverDown(isTakenAway: false), .serverDown(isTakenAway: true),
      ]
      for fault in faults {
        var machine = step.machine
        let isStale = fault == .closedBeforeResponse && step.reused
        #expect(machine.fault(fault) == (isStale ? .resend : .retry), "\(fault) at \(step)")
      }
    }
  }

  /// Without leave of the budget there is no other try but for a kept connection that was stale, and the exchange says why.
  @Test func noTryIsMadeThatTheBudgetDoesNotAllow() {
    for step in Step.all {
      for fault in faults {
        var machine = step.machine
        var other = step.machine
        let verdict = machine.fault(fault, mayRetry: false)
        #expect(verdict != .retry, "\(fault) at \(step)")
        if other.fault(fault) == .retry { #expect(machine.isRetryDenied, "\(fault) at \(step)") }
        #expect(!other.isRetryDenied)
      }
    }
  }

  @Test func onlyTheConfiguredOccasionsAreTriedAgain() {
    let occasions: [(Config.Retries.Occasions, [ExchangeMachine.Fault])] = [
      (.connect, [.connect, .connectTimeout, .upstreamTLS]), (.reset, [.closedBeforeResponse]),
      (.timeout, [.responseTimeout]),
    ]
    for (allowed, _) in occasions {
      for (occasion, faults) in occasions {
        for fault in faults {
          var machine = ExchangeMachine()
          machine.begin(hasBody: false, isIdempotent: true, keepAlive: true)
          machine.allow(ExchangeMachine.Retries(1, on: allowed))
          machine.attempt(reused: false)
          machine.noteSent()
          #expect((machine.fault(fault) == .retry) == (occasion == allowed), "\(fault)")
        }
      }
    }
  }

  /// A server that fails may still answer; one that an operator has taken away is not waited for.
  @Test func whatCannotBeTriedAgainWaitsForAServerThatFailsAndNotForOneTakenAway() {
    var machine = ExchangeMachine()
    machine.begin(hasBody: false, isIdempotent: false, keepAlive: true)
    machine.allow(ExchangeMachine.Retries(1, on: [.connect, .reset, .timeout]))
    machine.attempt(reused: false)
    machine.noteSent()
    #expect(machine.fault(.serverDown(isTakenAway: false)) == .passOn)
    #expect(machine.fault(.serverDown(isTakenAway: true)) == .answer(.upstreamReset))
  }

  /// A response that cannot be understood and the client's own faults are never tried again.
  @Test func theRestIsFinal() {
    for step in Step.all where step.response == .awaiting {
      let expected: [(ExchangeMachine.Fault, ExchangeMachine.Verdict)] = [
        (.badResponse, .answer(.upstreamResponse)), (.responseHeadTooLarge, .answer(.upstreamResponse)),
        (.clientGone, .abort(.clientReset)), (.request(.framingChunk), .answer(.framingChunk)),
        (.request(.bodyTooLarge), .answer(.bodyTooLarge)), (.request(.bodyTimeout), .answer(.bodyTimeout)),
      ]
      for (fault, verdict) in expected {
        var machine = step.machine
        #expect(machine.fault(fault) == verdict, "\(fault) at \(step)")
      }
    }
  }

  /// Whatever goes wrong first and after: the number of tries has an end, and it is known.
  @Test func triesAreBounded() {
    for step in Step.all where step.response == .awaiting {
      for fault in faults {
        var machine = step.machine
        var retries = 0
        var waits = 0
        trying: while retries + waits < 100 {
          switch machine.fault(fault) {
          case .retry, .resend: retries += 1
          case .retryLater: waits += 1
          case .answer, .abort, .passOn: break trying
          }
          machine.rewind(hasBody: step.request == .body)
          machine.attempt(reused: true)
          if step.sent { machine.noteSent() }
        }
        let more = fault == .unprocessed ? ExchangeMachine.unprocessedTriesMax : 1
        #expect(retries <= step.retries + more, "\(fault) at \(step)")
        #expect(waits <= ExchangeMachine.startingTriesMax, "\(fault) at \(step)")
      }
    }
  }

  /// And behind it there is no further kept connection that could be stale as well.
  @Test func aStaleConnectionCostsNoConfiguredTry() {
    var machine = ExchangeMachine()
    machine.begin(hasBody: false, isIdempotent: true, keepAlive: true)
    machine.allow(ExchangeMachine.Retries(1, on: [.connect, .reset, .timeout]))
    var verdicts: [ExchangeMachine.Verdict] = []
    for reused in [true, false, false] {
      machine.attempt(reused: reused)
      machine.noteSent()
      verdicts.append(machine.fault(.closedBeforeResponse))
      #expect(machine.hasMetStale)
    }
    #expect(verdicts == [.resend, .retry, .answer(.upstreamReset)])
  }

  @Test func aStaleConnectionTakesAPostAlongOnlyUnsent() {
    for sent in [false, true] {
      var machine = ExchangeMachine()
      machine.begin(hasBody: true, isIdempotent: false, keepAlive: true)
      machine.attempt(reused: true)
      if sent { machine.noteSent() }
      #expect(machine.fault(.closedBeforeResponse) == (sent ? .answer(.upstreamReset) : .resend))
    }
  }

  @Test func aStartingValidatorIsAskedAgainSoOften() {
    var machine = ExchangeMachine()
    machine.begin(hasBody: false, isIdempotent: false, keepAlive: true)
    for _ in 0..<ExchangeMachine.startingTriesMax {
      machine.attempt(reused: false)
      machine.noteSent()
      #expect(machine.fault(.starting) == .retryLater)
      machine.rewind(hasBody: false)
    }
    machine.attempt(reused: false)
    machine.noteSent()
    #expect(machine.fault(.starting) == .passOn)
  }

  @Test func theRoutesRetriesCount() {
    var machine = ExchangeMachine()
    machine.begin(hasBody: false, isIdempotent: true, keepAlive: true)
    machine.allow(ExchangeMachine.Retries(2, on: [.connect]))
    machine.attempt(reused: false)
    #expect(machine.fault(.connect) == .retry && machine.fault(.connect) == .retry)
    #expect(machine.fault(.connect) == .answer(.upstreamConnect))
  }

  @Test func aNewExchangeRemembersNothing() {
    for step in Step.all {
      var machine = step.machine
      _ = machine.fault(.starting)
      _ = machine.fault(.closedBeforeResponse)
      machine.begin(hasBody: true, isIdempotent: false, keepAlive: true)
      #expect(machine.request == .body && machine.response == .awaiting && machine.ending == nil)
      #expect(!machine.sent && !machine.reused && machine.replayable && !machine.hasMetStale)
      #expect(!machine.isIdempotent && machine.keepsDownstream)
    }
  }

  // MARK: Endings

  /// A response that overtook its request waits for it where the client's connection is to be kept, and only there.
  @Test func anEndingComesWithTheResponsesEndUnlessTheRequestIsReadOn() {
    for step in Step.all {
      #expect(
        step.machine.isDiscarding == (step.response == .done && step.request == .body && step.keepAlive), "\(step)")
      #expect((step.machine.ending == nil) == (step.response != .done || step.machine.isDiscarding), "\(step)")
    }
  }

  @Test func aDiscardedRequestEndsInStepOrClosesItsConnection() {
    for step in Step.all where step.machine.isDiscarding {
      var whole = step.machine
      whole.requestEnded()
      #expect(whole.ending == ExchangeMachine.Ending(keepDownstream: true, keepUpstream: false), "\(step)")
      var given = step.machine
      given.noteDownstreamCloses()
      #expect(given.ending == ExchangeMachine.Ending(keepDownstream: false, keepUpstream: false), "\(step)")
      var gone = step.machine
      #expect(gone.fault(.clientGone) == .passOn)
      #expect(gone.ending == ExchangeMachine.Ending(keepDownstream: false, keepUpstream: false), "\(step)")
    }
  }

  /// A response that overtook its request leaves neither side in step.
  @Test func whatIsOutOfStepIsNotKept() throws {
    for step in Step.all where step.response == .done && !step.machine.isDiscarding {
      let ending = try #require(step.machine.ending)
      #expect(ending.keepDownstream == (step.request == .done && step.keepAlive), "\(step)")
      #expect(ending.keepUpstream == (step.request == .done), "\(step)")
    }
  }

  @Test func aServerThatAnsweredEarlyIsOutOfStepEvenIfTheRequestEndsBeforeIt() throws {
    var machine = ExchangeMachine()
    machine.begin(hasBody: true, isIdempotent: true, keepAlive: true)
    machine.allow(ExchangeMachine.Retries(1, on: [.connect, .reset, .timeout]))
    machine.attempt(reused: false)
    machine.noteSent()
    machine.responseHead(keepAlive: true)
    #expect(machine.keepsDownstream)
    machine.requestEnded()
    machine.responseEnded()
    #expect(machine.ending == ExchangeMachine.Ending(keepDownstream: true, keepUpstream: false))
  }

  @Test func eachSideKeepsItsOwn() {
    for (downstream, upstream) in [(true, true), (true, false), (false, true), (false, false)] {
      var machine = ExchangeMachine()
      machine.begin(hasBody: false, isIdempotent: true, keepAlive: true)
      machine.allow(ExchangeMachine.Retries(1, on: [.connect, .reset, .timeout]))
      machine.attempt(reused: true)
      machine.noteSent()
      if !downstream { machine.noteDownstreamCloses() }
      machine.responseHead(keepAlive: upstream)
      machine.responseEnded()
      #expect(machine.ending == ExchangeMachine.Ending(keepDownstream: downstream, keepUpstream: upstream))
    }
  }

  @Test func anAnswerOfOursKeepsNoUpstream() {
    for step in Step.all where step.response == .awaiting {
      for keepAlive in [false, true] {
        var machine = step.machine
        machine.answered(keepAlive: keepAlive)
        let ending = ExchangeMachine.Ending(keepDownstream: keepAlive, keepUpstream: false)
        #expect(machine.ending == (machine.isDiscarding ? nil : ending), "\(step)")
        // And whatever goes wrong now is told to nobody.
        for fault in faults
        where ![.starting, .badStatus, .serverDown(isTakenAway: false), .serverDown(isTakenAway: true)].contains(fault)
          && !(fault == .clientGone && machine.isDiscarding)
        {
          var after = machine
          guard case .abort = after.fault(fault) else {
            Issue.record("\(fault) at \(step)")
            continue
          }
        }
      }
    }
  }
}
