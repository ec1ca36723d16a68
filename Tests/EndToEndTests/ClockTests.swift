// Clocks that are wrong, and clocks that are set: nothing passes twice for it, nothing is refused for longer than it must
// be, and the operator is told by how much which clock is off.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Clocks {
    /// A validator whose clock stands as the test sets it, and a forger whose clock is right.
    private final class Bench {
      let workspace: Workspace
      let backend: RecordingBackend
      let clock: SettableClock
      let validator: Countersign
      let forger: Forger

      init(aheadSeconds: Double, bound: Bool = false) throws {
        workspace = try Workspace()
        backend = try RecordingBackend()
        clock = try SettableClock(aheadSeconds: aheadSeconds, in: workspace)
        let keys = try Keys.standard
        validator = try Countersign(
          .validator(keys: keys, to: ["\(backend.address)"], bound: bound), name: "validator", in: workspace,
          environment: clock.environment)
        forger = try Forger(validatorKeys: keys.validator)
      }

      func send(_ request: SignedRequest) throws -> Int {
        let connection = try Connection(to: validator["from-edge"])
        try connection.send(request.text)
        return try connection.readResponse().status
      }
    }

    /// The start counts as the right clock tells it, so a fresh request passes at once, not when an hour is over.
    @Test func aValidatorStartedWithItsClockAheadServesWhenTheClockIsPutRight() throws {
      let bench = try Bench(aheadSeconds: 3_600)
      let before = SignedRequest("/before", by: bench.forger)
      #expect(try bench.send(before) == 403)
      try bench.clock.set(aheadSeconds: 0)
      try eventually("a fresh request passes", everyMilliseconds: 50) {
        try bench.send(SignedRequest("/fresh", by: bench.forger)) == 200
      }
    }

    /// A host without a battery starts in the past. What a process before this one took is still refused when the clock
    /// has come to the present.
    @Test func aClockPutForwardAfterTheStartLetsNothingOldPass() throws {
      let forger = try Forger(validatorKeys: Keys.standard.validator)
      let captured = SignedRequest("/captured", by: forger)
      let bench = try Bench(aheadSeconds: -3_600)
      try bench.clock.set(aheadSeconds: 0)
      #expect(try bench.send(captured) == 503)
      _ = try bench.validator.access.wait(refusal: "starting")
      try eventually("a fresh request passes", everyMilliseconds: 50) {
        try bench.send(SignedRequest("/fresh", by: bench.forger)) == 200
      }
      #expect([403, 503].contains(try bench.send(captured)))
      #expect(!bench.backend.saw("/captured"))
    }

    @Test func aRefusalForItsTimeSaysByHowMuchAndWhoseClock() throws {
      let bench = try Bench(aheadSeconds: 0)
      var early = SignedRequest("/early", by: bench.forger)
      early.created += 100
      early.expires += 100
      #expect(try bench.send(early) == 403)
      var entry = try bench.validator.access.wait(refusal: "time-future")
      let ahead = try #require(number(in: entry.detail, "created ", " ms ahead of this host's clock"))
      #expect((98_000...100_000).contains(ahead))
      let line = try #require(
        bench.validator.process.standardError.wait { $0.contains("edge \"edge-a\" signs") ? $0 : nil })
      #expect(line.contains("\(ahead) ms ahead of this host's clock"))

      var late = SignedRequest("/late", by: bench.forger)
      late.created -= 100
      late.expires -= 100
      #expect(try bench.send(late) == 403)
      entry = try bench.validator.access.wait(refusal: "time-expired")
      let ago = try #require(number(in: entry.detail, "expired ", " ms ago by this host's clock"))
      #expect((70_000...80_000).contains(ago))

      var long = SignedRequest("/long", by: bench.forger)
      long.expires += 30
      #expect(try bench.send(long) == 403)
      #expect(
        try bench.validator.access.wait(refusal: "time-lifetime").detail
          == "signed to be used for 60 s instead of 30 s")

      // Once a minute is enough; this was the same edge.
      let lines = bench.validator.process.standardError.lines.filter { $0.contains("edge-a") }
      #expect(lines.count == 1, "\(lines)")
    }

    /// Anybody can write a wrong time. No edge is accused of it.
    @Test func anUnsignedTimeIsNoWordOfAnEdges() throws {
      let bench = try Bench(aheadSeconds: 0)
      var early = SignedRequest("/early", by: bench.forger)
      early.created += 100
      early.expires += 100
      early.key = [UInt8](repeating: 1, count: 32)
      #expect(try bench.send(early) == 403)
      let detail = try bench.validator.access.wait(refusal: "time-future").detail
      #expect(detail?.hasSuffix(" ms ahead of this host's clock; not validly signed") == true)
      var signed = SignedRequest("/signed", by: bench.forger)
      signed.edge = "edge-b"
      #expect(try bench.send(signed) == 403)
      #expect(!bench.validator.process.standardError.lines.contains { $0.contains("edge-a") })
    }

    /// Of a PROXY header the key is known, and the peer; it has no edge's name.
    @Test func aHeaderRefusedForItsTimeSaysByHowMuch() throws {
      let bench = try Bench(aheadSeconds: 0, bound: true)
      let request = SignedRequest("/early", by: bench.forger)
      var header = SignedProxyHeader(for: request, by: bench.forger)
      header.createdMilliseconds += 100_000
      let connection = try Connection(to: bench.validator["from-edge"], from: "127.0.0.9")
      try connection.send(header.bytes)
      #expect(try connection.readToEnd() == [])
      let entry = try bench.validator.access.wait(refusal: "time-future")
      #expect(number(in: entry.detail, "created ", " ms ahead of this host's clock") != nil)
      _ = try #require(
        bench.validator.process.standardError.wait { $0.contains("the edge at 127.0.0.9 signs") ? $0 : nil })
    }

    /// How long the process has run is no matter of the wall clock.
    @Test func aClockSetBackBehindTheStartLeavesTheAdminListenerServing() throws {
      let workspace = try Workspace()
      let clock = try SettableClock(aheadSeconds: 0, in: workspace)
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace, environment: clock.environment)
      try clock.set(aheadSeconds: -3_600)
      for path in ["/status", "/metrics", "/healthz"] {
        #expect(try Connection(to: edge["admin"], from: nil).get(path).status == 200)
      }
      let status = try Connection(to: edge["admin"], from: nil).get("/status").text
      let number = try #require(status.firstRange(of: "\"uptime_seconds\":")).upperBound
      #expect(try #require(Int(status[number...].prefix { $0.isNumber })) < 600)
      #expect(try Connection(to: edge["public"]).get("/").status == 200)
    }

    private func number(in detail: String?, _ before: String, _ after: String) -> Int? {
      guard let detail, detail.hasPrefix(before), detail.hasSuffix(after) else { return nil }
      return Int(detail.dropFirst(before.count).dropLast(after.count))
    }
  }
}
