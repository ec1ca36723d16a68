// Nothing passes twice, nothing stale passes, and after a restart nothing passes until the past is surely over.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct Replay {
    private static let bound = Result { try ValidatorBench(.bound) }
    private static let shared = Result { try ValidatorBench(.shared) }

    private func mark() -> String { "/replay/\(UUID().uuidString)" }

    @Test(arguments: Site.Mode.allCases)
    func aRequestPassesOnceAndNeverAgain(_ mode: Site.Mode) throws {
      let bench = try (mode == .bound ? Self.bound : Self.shared).get()
      let mark = mark()
      let bytes = bench.bytes(SignedRequest(mark, by: bench.forger))
      #expect(try bench.send(bytes).status == 200)
      for _ in 0..<3 {
        let start = bench.validator.access.end
        // The copy of a bound request ends with its PROXY header already.
        #expect(try bench.send(bytes).status == (mode == .bound ? 0 : 403))
        #expect(
          try bench.validator.access.wait(from: start, for: "a refusal") { $0.refusal != nil }.refusal == "replay")
      }
      #expect(bench.backend.requests(to: mark).count == 1)
    }

    /// A header of its own does not make a copied request fresh.
    @Test func aCopiedRequestUnderAFreshHeaderIsRefused() throws {
      let bench = try Self.bound.get()
      let mark = mark()
      let request = SignedRequest(mark, by: bench.forger)
      #expect(try bench.send(request).status == 200)
      let start = bench.validator.access.end
      #expect(try bench.send(request).status == 403)
      #expect(try bench.validator.access.wait(from: start, for: "a refusal") { $0.refusal != nil }.refusal == "replay")
      #expect(bench.backend.requests(to: mark).count == 1)
    }

    /// Whichever threads they land on: of many copies at once exactly one passes.
    @Test func ofManyCopiesAtOnceExactlyOnePasses() throws {
      let bench = try Self.shared.get()
      for _ in 0..<20 {
        let mark = mark()
        let bytes = bench.bytes(SignedRequest(mark, by: bench.forger))
        let connections = try (0..<8).map { _ in try Connection(to: bench.address) }
        for connection in connections { try connection.send(Array(bytes.dropLast())) }
        for connection in connections { try connection.send(Array(bytes.suffix(1))) }
        let statuses = try connections.map { try bench.read($0).status }
        #expect(statuses.filter { $0 == 200 }.count == 1)
        #expect(statuses.filter { $0 == 403 }.count == 7)
        #expect(bench.backend.requests(to: mark).count == 1)
      }
    }

    /// What a validator took before this process did is not known here, however long the process has run.
    @Test func anAudienceThatAProcessTakesOverHasAStartOfItsOwn() throws {
      var attested: Configuration?
      let second = try ValidatorBench(
        .shared,
        change: {
          attested = $0
          $0.listeners[0].trust = ["from: any, evidence: socket"]
        })
      // Whose starting time is over, and so is that of a process that began before it.
      let first = try ValidatorBench(.shared)
      let taken = mark()
      let bytes = first.bytes(SignedRequest(taken, by: first.forger))
      #expect(try first.send(bytes).status == 200)
      first.validator.process.signal(SIGTERM)
      try second.validator.reloadAccepting(#require(attested))
      let start = second.validator.access.end
      #expect(try second.send(bytes).status == 503)
      _ = try second.validator.access.wait(refusal: "starting", from: start)
      try second.start()
      #expect(try second.send(SignedRequest(mark(), by: second.forger)).status == 200)
      #expect(try second.send(bytes).status != 200)
      #expect(!second.backend.saw(taken))
    }

    /// Out of order within the window is honest; below it is not known any more, so it is refused.
    @Test func whatIsTooOldForTheWindowIsRefused() throws {
      let bench = try ValidatorBench(.shared, change: { $0.identity.append("replay_window: 1024") })
      let forger = bench.forger
      let epoch = Forger.freshEpoch()
      func send(_ sequence: UInt64, _ mark: String) throws -> Int {
        var request = SignedRequest(mark, by: forger)
        (request.epoch, request.sequence) = (epoch, sequence)
        return try bench.send(request).status
      }
      #expect(try send(10_000, mark()) == 200)
      #expect(try send(9_990, mark()) == 200)
      #expect(try send(9_989, mark()) == 200)
      #expect(try send(9_990, mark()) == 403)
      let start = bench.validator.access.end
      let old = mark()
      #expect(try send(100, old) == 403)
      _ = try bench.validator.access.wait(refusal: "window-old", from: start)
      #expect(!bench.backend.saw(old))
      #expect(try send(10_001, mark()) == 200)
    }

    /// A thief of the key cannot make the table of senders grow without end, nor push honest ones out of it.
    @Test func aFullTableOfSendersRefusesNewOnesAndKeepsTheOldOnes() throws {
      let bench = try ValidatorBench(.shared)
      let connection = try Connection(to: bench.address)
      var refused = 0
      let total = 1100
      for _ in 0..<total {
        var request = SignedRequest("/epoch", by: bench.forger)
        request.epoch = Forger.freshEpoch()
        try connection.send(request.text)
        let status = try connection.readResponse().status
        #expect(status == 200 || status == 503)
        if status == 503 { refused += 1 }
      }
      // The forger's own lane holds one place.
      #expect(refused >= total - 1024)
      #expect(refused <= total - 1000)
      _ = try bench.validator.access.wait(refusal: "epochs-full")
      try bench.servesHonestly()
    }

    /// Only a message with a true signature may take a place in the window.
    @Test func anUnsignedNumberDoesNotUseUpTheTrueOne() throws {
      let bench = try Self.shared.get()
      let request = SignedRequest(mark(), by: bench.forger)
      var forged = request
      forged.key = [UInt8](repeating: 1, count: 32)
      #expect(try bench.send(forged).status == 403)
      forged.sequence += 1 << 40
      #expect(try bench.send(forged).status == 403)
      #expect(try bench.send(request).status == 200)
    }

    @Test func aReloadKeepsTheWindows() throws {
      let bench = try ValidatorBench(.shared)
      let text = try bench.workspace.read("validator.yaml")
      let mark = mark()
      let bytes = bench.bytes(SignedRequest(mark, by: bench.forger))
      #expect(try bench.send(bytes).status == 200)
      try bench.validator.reload(
        text.replacing("  - { to: backend }", with: "  - { path_regex: \"/(replay|reloaded).*\", to: backend }"))
      try eventually("the reload is in force") {
        try bench.send(SignedRequest("/gone", by: bench.forger)).status == 404
      }
      #expect(try bench.send(SignedRequest("/reloaded", by: bench.forger)).status == 200)
      let start = bench.validator.access.end
      #expect(try bench.send(bytes).status == 403)
      _ = try bench.validator.access.wait(refusal: "replay", from: start)
      #expect(bench.backend.requests(to: mark).count == 1)
    }

    /// The windows are gone with the process, so what was signed before it started, and might have passed then, does
    /// not pass now.
    @Test func afterARestartWhatWasSignedBeforeIsRefused() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let configuration = Configuration.validator(keys: try Keys.standard, to: ["\(backend.address)"], bound: false)
      let forger = try Forger(validatorKeys: Keys.standard.validator)
      let mark = mark()
      let captured = SignedRequest(mark, by: forger)

      let first = try Countersign(configuration, name: "first", in: workspace)
      first.process.kill()
      let second = try Countersign(configuration, name: "second", in: workspace)
      let connection = try Connection(to: second["from-edge"])
      try connection.send(captured.text)
      let response = try connection.readResponse()
      #expect(response.status == 503)
      #expect(response["retry-after"] == "1")
      _ = try second.access.wait(refusal: "starting")
      #expect(!backend.saw(mark))
      // The connection goes on, and a fresh signature passes as soon as the time is over.
      try eventually("a fresh request passes", everyMilliseconds: 50) {
        try connection.send(SignedRequest("/fresh", by: forger).text)
        return try connection.readResponse().status == 200
      }
      // The captured one never does.
      try connection.send(captured.text)
      #expect([403, 503].contains(try connection.readResponse().status))
      #expect(!backend.saw(mark))
    }

    /// A client of the edge never notices that a validator has only just come up.
    @Test(arguments: Site.Mode.allCases)
    func theEdgeSignsAnewForAValidatorThatIsStarting(_ mode: Site.Mode) throws {
      let site = try Site(mode, isStarting: true, validator: { $0.identity[$0.identity.count - 1] = "clock_skew: 1s" })
      let response = try site.connect().get("/first")
      #expect(response.status == 200)
      #expect(response.text == Peer.client())
      #expect(site.backend.requests(to: "/first").count == 1)
      _ = try site.validator.access.wait(refusal: "starting")
    }

    /// Nothing was done yet, so a request that must not be repeated is safe to send again, with its body.
    @Test(arguments: Site.Mode.allCases)
    func aBodyIsSentAgainToAValidatorThatIsStarting(_ mode: Site.Mode) throws {
      let site = try Site(
        mode, isStarting: true, script: { try $0.reply(try $0.readBody().text) },
        validator: { $0.identity[$0.identity.count - 1] = "clock_skew: 1s" })
      let connection = try site.connect()
      try connection.send(Text.request("/first", method: "POST", body: "the only body"))
      let response = try connection.readResponse()
      #expect(response.status == 200)
      #expect(response.text == "the only body")
      #expect(site.backend.requests(to: "/first").count == 1)
      _ = try site.validator.access.wait(refusal: "starting")
    }
  }
}
