// What is signed is believed: what signers refuse to say, and when, where and by whom a true word is not taken.

import Foundation
import Platform
import Policy
import Testing
import Wire

@Suite struct IdentityTests {
  // MARK: What cannot be signed

  @Test func whatIsNoClientIsNotSigned() throws {
    let signer = try makeSigner()
    for text in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:192.0.2.7"] {
      var identity = someone
      identity.address = try #require(IPAddress(text))
      #expect(signer.lines(identity) == nil, "\(text)")
      #expect(Self.header(signer, identity) == nil, "\(text)")
    }
  }

  @Test func portZeroIsSignedForForwardedOnly() throws {
    let signer = try makeSigner()
    for via in Via.allCases {
      var identity = someone
      identity.port = 0
      identity.via = via
      #expect((signer.lines(identity) != nil) == (via == .forwarded))
    }
  }

  @Test func aRequestWithoutItsPartsIsNotSigned() throws {
    let signer = try makeSigner()
    #expect(signer.lines(someone, method: "") == nil)
    #expect(signer.lines(someone, authority: "") == nil)
    #expect(signer.lines(someone) != nil)
  }

  @Test func whatDoesNotFitIsNotSigned() throws {
    let signer = try makeSigner(headBytesMax: 1024)
    #expect(signer.lines(someone, target: "/" + String(repeating: "a", count: 3000)) == nil)
    // Every room that is too small shows: whoever sends the head must not take it for one that cannot be signed.
    let whole = try #require(signer.lines(someone)).utf8.count
    for room in 1..<whole { #expect(signer.lines(someone, room: room) == nil, "\(room)") }
    // The sequence number has more digits by now.
    #expect(signer.lines(someone, room: whole + 8) != nil)
    #expect(signer.lines(someone) != nil)
  }

  @Test func sequenceNumbersAreNeverUsedAgain() throws {
    let signer = try makeSigner()
    var seen: Set<String> = []
    for _ in 0..<100 {
      let request = try signer.request()
      #expect(seen.insert(request["input"]).inserted)
    }
  }

  @Test func lanesOfOneProcessAllDiffer() throws {
    let lanes = try SenderLanes.make(workers: 200, nowMilliseconds: noonMilliseconds)
    let epochs = Set(lanes.flatMap { [$0.http.epoch, $0.pp2.epoch] })
    #expect(lanes.count == 200)
    #expect(epochs.count == 400)
    #expect(epochs.allSatisfy { $0 >> 16 == noonMilliseconds })
  }

  /// Those of probes, which a load signs before there are workers.
  @Test func lanesDifferFromOthersOfTheProcess() throws {
    let others = Set(UInt16(0)..<0xc000)
    let lanes = try SenderLanes.make(workers: 200, nowMilliseconds: noonMilliseconds, apartFrom: others)
    let bits = lanes.reduce(into: Set<UInt16>()) { $0.formUnion($1.epochBits) }
    #expect(bits.count == 400 && bits.isDisjoint(with: others))
  }

  @Test func aSignerThatCouldNotBeBelievedIsNotMade() throws {
    #expect(throws: KeySetError.self) { try makeSigner(keyID: "k9") }
    #expect(throws: KeySetError.self) { try makeSigner(audience: "Monitor") }
    #expect(throws: KeySetError.self) { try makeSigner(edge: "") }
    let exported = try VectorsFile.keys.exported(for: "monitor-1")
    #expect(throws: KeySetError.self) { try makeSigner(keys: exported, keyID: "ed1") }
    #expect(throws: KeySetError.self) { try makeSigner(keys: exported, audience: "billing.eu-1") }
  }

  // MARK: Round trips

  @Test(arguments: ["k1", "ed1"]) func whatIsSignedIsVerified(_ keyID: String) throws {
    let signer = try makeSigner(keyID: keyID)
    let verifier = try makeVerifier(keys: try VectorsFile.keys.exported(for: "monitor-1"))
    let targets = ["/", "/a?b", "/a?", "/%00%0a?%20", "/" + String(repeating: "x", count: 9000), "*"]
    for target in targets {
      for address in ["192.0.2.7", "2001:db8::", "::1", "1::", "2001:db8:0:0:1::1"] {
        for via in Via.allCases {
          var identity = someone
          identity.address = try #require(IPAddress(address))
          identity.via = via
          identity.secure = via != .socket
          if via == .attested { identity.certificate = CertificateDigest([UInt8](repeating: 0xab, count: 32).span) }
          let request = try signer.request(identity, method: "PATCH", authority: "WWW.Example.com:8443", target: target)
          guard case .verified(let verified) = request.verify(with: verifier, atMilliseconds: noonMilliseconds) else {
            Issue.record("\(target) \(address) \(via) was refused")
            continue
          }
          #expect(verified.client == identity)
        }
      }
    }
  }

  @Test func theLongestOfEverythingIsVerified() throws {
    let (keyID, edge, audience) = (
      String(repeating: "K", count: 32), String(repeating: "e", count: 64), String(repeating: "a", count: 64)
    )
    for algorithm in KeyAlgorithm.allCases {
      let keys = try KeySet([KeySet.newKey(id: keyID, algorithm: algorithm)], source: "test")
      let signer = try makeSigner(
        keys: keys, keyID: keyID, audience: audience, edge: edge, last: UInt64(Int64.max) - 1)
      var identity = someone
      identity.address = IPAddress("2001:1111:1111:1111:1111:1111:1111:1111")!
      identity.port = 65535
      identity.via = .forwarded
      identity.certificate = CertificateDigest([UInt8](repeating: 0xab, count: 32).span)
      let request = try signer.request(identity)
      #expect(request["attest"].utf8.count == Attest.countMax)
      let windows = ReplayWindows(start: steady(0), windowBits: 1 << 18, epochsMax: 16)
      let verifier = try makeVerifier(keys: keys, audience: audience, edges: [edge], windows: windows)
      #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "verified")
    }
  }

  // MARK: Where and by whom

  @Test func aMessageIsForOneAudienceOnly() throws {
    let request = try makeSigner(audience: "billing.eu-1").request()
    #expect(request.verify(with: try makeVerifier(), atMilliseconds: noonMilliseconds).name == "audience-wrong")
    // Changing the name in the message does not help: the key is another one.
    var renamed = request
    renamed["attest"] = request["attest"].replacingOccurrences(of: "billing.eu-1", with: "monitor-1")
    #expect(renamed.verify(with: try makeVerifier(), atMilliseconds: noonMilliseconds).name == "signature-invalid")
  }

  @Test func onlyNamedEdgesAreBelieved() throws {
    let request = try makeSigner(edge: "edge-a").request()
    let strict = try makeVerifier(edges: ["edge-b", "edge"])
    #expect(request.verify(with: strict, atMilliseconds: noonMilliseconds).name == "edge-not-allowed")
    let open = try makeVerifier(edges: ["edge-b", "edge-a"])
    #expect(request.verify(with: open, atMilliseconds: noonMilliseconds).name == "verified")
  }

  @Test func aStolenValidatorCannotSignForAnother() throws {
    let stolen = try KeySet([KeySet.newKey(id: "k1", algorithm: .hmac)], source: "test").exported(for: "monitor-1")
    #expect(throws: KeySetError.self) { try makeSigner(keys: stolen, audience: "billing.eu-1") }
    #expect(throws: KeySetError.self) { try makeVerifier(keys: stolen, audience: "billing.eu-1") }
    #expect(
      stolen.keys.allSatisfy { key in
        if case .secret = key.material { return false }
        return true
      })
  }

  // MARK: When

  @Test(arguments: [
    // created is noon, expires thirty seconds later, the skew two seconds
    (-2_001, "time-future"), (-2_000, "verified"), (0, "verified"), (30_000, "verified"), (30_001, "time-expired"),
  ]) func timeOfArrival(_ offset: Int, outcome: String) throws {
    let request = try makeSigner().request()
    let now = UInt64(Int(noonMilliseconds) + offset)
    #expect(request.verify(with: try makeVerifier(), atMilliseconds: now).name == outcome)
  }

  @Test(
    arguments: [
      (-30_001, nil), (-30_000, "time-expired"), (-2_001, "verified"), (-2_000, "verified"), (-1_999, "starting"),
      (0, "starting"), (1, "starting"),
    ] as [(Int, String?)]) func whatWasSignedBeforeTheStartIsNotTaken(_ start: Int, outcome: String?) throws
  {
    // At noon plus nothing; the process began at noon plus start.
    let windows = ReplayWindows(
      start: steady(UInt64(Int(noonMilliseconds) + start)), windowBits: 1 << 10, epochsMax: 16)
    let request = try makeSigner().request()
    let now = outcome == "time-expired" ? noonMilliseconds + 30_001 : noonMilliseconds
    let name = request.verify(with: try makeVerifier(windows: windows), atMilliseconds: now).name
    #expect(name == outcome ?? "verified")
  }

  /// The wall clock is set by `step` a second after a start at noon; the message comes `elapsed` after the start and was
  /// created `created` after noon by the clock before it was set, all in milliseconds.
  @Test(
    arguments: [
      // Not set: what may have been signed before the start, with an edge's clock ahead by the skew, is refused.
      (0, 3_000, 1_999, true), (0, 3_000, 2_000, false), (0, 31_000, 1_999, true), (0, 33_999, 4_000, false),
      // Put forward an hour: the past keeps its distance from the start.
      (3_600_000, 5_000, 3_600_000 + 1_999, true), (3_600_000, 5_000, 3_600_000 + 2_000, false),
      // Put back by no more than the skew: what was signed before the clock was set, up to the start, stays refused.
      (-500, 5_000, 1_999, true), (-2_000, 6_000, 1_999, true), (-2_000, 6_000, 2_000, false),
      // Put back by an hour: what is signed by the right clock passes when the skew is over twice.
      (-3_600_000, 3_999, -3_600_000 + 3_999, true), (-3_600_000, 4_000, -3_600_000 + 4_000, false),
      (-3_600_000, 60_000, -3_600_000 + 60_000, false),
    ] as [(Int, Int, Int, Bool)]) func theStartWindowWhenTheClockIsSet(
      _ step: Int, _ elapsed: Int, _ created: Int, refused: Bool
    )
  {
    func clock(_ elapsed: Int, _ step: Int) -> Clock.Reading {
      Clock.Reading(
        wallMilliseconds: UInt64(Int(noonMilliseconds) + elapsed + step),
        monotonicMilliseconds: UInt64(77_000 + elapsed))
    }
    let window = StartWindow(clock(0, 0))
    _ = window.mayPrecede(created: noonMilliseconds, now: clock(999, 0), skewMilliseconds: 2_000)
    _ = window.mayPrecede(created: noonMilliseconds, now: clock(1_000, step), skewMilliseconds: 2_000)
    let at = UInt64(Int(noonMilliseconds) + created)
    #expect(window.mayPrecede(created: at, now: clock(elapsed, step), skewMilliseconds: 2_000) == refused)
  }

  /// Once the window is over nothing that it would refuse is unexpired: seconds are tried on both sides of every bound.
  @Test func whenTheStartWindowEndsWhatItRefusedHasExpired() {
    let skew: UInt64 = 2_000
    for step in [-3_600_000, -2_001, -2_000, -1, 0, 1, 3_600_000] {
      let window = StartWindow(Clock.Reading(wallMilliseconds: noonMilliseconds, monotonicMilliseconds: 0))
      var wasRefused = false
      for elapsed in stride(from: 0, through: 40_000, by: 250) {
        let now = UInt64(Int(noonMilliseconds) + step + elapsed)
        let clock = Clock.Reading(wallMilliseconds: now, monotonicMilliseconds: UInt64(elapsed))
        // The oldest that has not expired. Refused as long as the window stands, and never again after.
        let refused = window.mayPrecede(created: now - 30_000, now: clock, skewMilliseconds: skew)
        #expect(elapsed == 0 || wasRefused || !refused)
        if elapsed < 31_750 { #expect(refused, "\(step) \(elapsed)") }
        wasRefused = refused
      }
      #expect(!wasRefused)
    }
  }

  @Test func aKeyIsUsedInItsTimeOnly() throws {
    let seconds = noonMilliseconds / 1000
    for (notBefore, expires, isActive) in [
      (nil, nil, true), (seconds, nil, true), (seconds + 1, nil, false), (nil, seconds + 1, true),
      (nil, seconds, false),
    ] as [(UInt64?, UInt64?, Bool)] {
      var key = try KeySet.newKey(id: "k1", algorithm: .hmac)
      let always = try KeySet([key], source: "test")
      key.notBefore = notBefore
      key.expires = expires
      let limited = try KeySet([key], source: "test")
      let request = try makeSigner(keys: always).request()
      let name = request.verify(with: try makeVerifier(keys: limited), atMilliseconds: noonMilliseconds).name
      #expect(name == (isActive ? "verified" : "key-inactive"))
      #expect((try makeSigner(keys: limited).lines(someone) != nil) == isActive)
      #expect((Self.header(try makeSigner(keys: limited), someone) != nil) == isActive)
    }
  }

  // MARK: Replay

  @Test func aReloadKeepsTheWindows() throws {
    let windows = ReplayWindows(start: steady(0), windowBits: 1 << 10, epochsMax: 16)
    let request = try makeSigner().request()
    #expect(
      request.verify(with: try makeVerifier(windows: windows), atMilliseconds: noonMilliseconds).name == "verified")
    #expect(request.verify(with: try makeVerifier(windows: windows), atMilliseconds: noonMilliseconds).name == "replay")
  }

  @Test func whatIsNotVerifiedLeavesNoTrace() throws {
    let windows = ReplayWindows(start: steady(0), windowBits: 1 << 10, epochsMax: 1)
    let verifier = try makeVerifier(windows: windows)
    let signer = try makeSigner()
    let good = try signer.request()
    for epoch in 1...5 {
      var forged = try makeSigner(epoch: noonMilliseconds << 16 | UInt64(100 + epoch)).request()
      forged["signature"] = "cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=:"
      #expect(forged.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "signature-invalid")
    }
    #expect(windows.epochCount == 0)
    #expect(good.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "verified")
    #expect(windows.epochCount == 1)
    let other = try makeSigner(epoch: noonMilliseconds << 16 | 99).request()
    #expect(other.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "epochs-full")
  }

  @Test func whatFellOutOfTheWindowIsRefused() throws {
    let verifier = try makeVerifier()
    let old = try makeSigner(last: 0).request()
    let new = try makeSigner(last: 5000).request()
    #expect(new.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "verified")
    #expect(old.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "window-old")
  }

  // MARK: Bound connections

  @Test func aBoundConnectionCarriesItsOwnClientOnly() throws {
    let keys = try KeySet(
      [KeySet.newKey(id: "k1", algorithm: .hmac), KeySet.newKey(id: "k2", algorithm: .ed25519)], source: "test")
    let signer = try makeSigner(keys: keys)
    let other = try makeSigner(keys: keys, keyID: "k2", epoch: 77 << 16)
    let verifier = try makeVerifier(keys: keys)
    let written = try #require(Self.header(signer, someone))
    guard case .verified(let bound)? = verifyProxy(written, with: verifier, atMilliseconds: noonMilliseconds) else {
      Issue.record("the header was refused")
      return
    }

    func outcome(_ signer: Signer, _ change: (inout ClientIdentity) -> Void) throws -> String {
      var identity = someone
      change(&identity)
      return try signer.request(identity).verify(with: verifier, atMilliseconds: noonMilliseconds, bound: bound).name
    }
    #expect(try outcome(signer) { _ in } == "verified")
    #expect(try outcome(signer) { $0.address = IPAddress("192.0.2.8")! } == "bound-address")
    #expect(try outcome(signer) { $0.port += 1 } == "bound-port")
    #expect(try outcome(signer) { $0.connection = ConnectionID(high: 1, low: 2) } == "bound-cid")
    #expect(try outcome(other) { _ in } == "bound-key")

    // Refused for the connection, a request is not used up: on the right connection it still counts.
    let request = try signer.request()
    var elsewhere = someone
    elsewhere.port = 1
    let written2 = try #require(Self.header(signer, elsewhere))
    guard case .verified(let bound2)? = verifyProxy(written2, with: verifier, atMilliseconds: noonMilliseconds) else {
      Issue.record("the header was refused")
      return
    }
    #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds, bound: bound2).name == "bound-port")
    #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds, bound: bound).name == "verified")
  }

  @Test func aHealthCheckSpeaksForNobody() throws {
    let signer = try makeSigner()
    let verifier = try makeVerifier()
    let draft = signer.makeHealthHeader(connection: someone.connection, nowMilliseconds: noonMilliseconds)
    let written = try #require(draft).withBytes { bytes in bytes.indices.map { bytes[$0] } }
    guard case .verified(let bound)? = verifyProxy(written, with: verifier, atMilliseconds: noonMilliseconds) else {
      Issue.record("the header was refused")
      return
    }
    #expect(bound.isHealthCheck)
    let request = try signer.request()
    #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds, bound: bound).name == "bound-address")
  }

  @Test func earlyDataIsRefusedOnItsConnection() throws {
    let signer = try makeSigner()
    let verifier = try makeVerifier()
    let written = try #require(Self.header(signer, someone, usedEarlyData: true))
    guard case .verified(let bound)? = verifyProxy(written, with: verifier, atMilliseconds: noonMilliseconds) else {
      Issue.record("the header was refused")
      return
    }
    let request = try signer.request()
    #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds, bound: bound).name == "early-data")
  }

  // MARK: PROXY headers

  @Test(arguments: [
    (-2_001, "time-future"), (-2_000, "verified"), (30_000, "verified"), (30_001, "time-expired"),
  ]) func timeOfArrivalOfAHeader(_ offset: Int, outcome: String) throws {
    let written = try #require(Self.header(try makeSigner(), someone))
    let now = UInt64(Int(noonMilliseconds) + offset)
    #expect(verifyProxy(written, with: try makeVerifier(), atMilliseconds: now)?.name == outcome)
  }

  @Test func aHeaderIsForOneAudienceOneKeyAndOneUse() throws {
    let verifier = try makeVerifier()
    let billing = try #require(Self.header(try makeSigner(audience: "billing.eu-1"), someone))
    #expect(verifyProxy(billing, with: verifier, atMilliseconds: noonMilliseconds)?.name == "audience-wrong")
    let unknown = try KeySet([KeySet.newKey(id: "k9", algorithm: .hmac)], source: "test")
    let stranger = try #require(Self.header(try makeSigner(keys: unknown, keyID: "k9"), someone))
    #expect(verifyProxy(stranger, with: verifier, atMilliseconds: noonMilliseconds)?.name == "key-unknown")
    let impostor = try KeySet([KeySet.newKey(id: "k1", algorithm: .hmac)], source: "test")
    let forged = try #require(Self.header(try makeSigner(keys: impostor), someone))
    #expect(verifyProxy(forged, with: verifier, atMilliseconds: noonMilliseconds)?.name == "signature-invalid")
    let started = ReplayWindows(start: steady(noonMilliseconds), windowBits: 1 << 10, epochsMax: 16)
    let early = try #require(Self.header(try makeSigner(), someone))
    let young = try makeVerifier(windows: started)
    #expect(verifyProxy(early, with: young, atMilliseconds: noonMilliseconds)?.name == "starting")
  }

  /// Who took messages for it until then remembers which; this process does not.
  @Test func anAudienceThatComesLaterHasAStartOfItsOwn() throws {
    let windows = ReplayWindows(start: steady(noonMilliseconds - 100_000), windowBits: 1 << 10, epochsMax: 16)
    func serve(_ audience: String?, skew: UInt64 = 2_000) {
      windows.serve(audience, keys: nil, skewMilliseconds: skew, at: steady(noonMilliseconds))
    }
    func precedes(_ created: UInt64, skew: UInt64 = 2_000) -> Bool {
      windows.start.mayPrecede(created: created, now: steady(noonMilliseconds), skewMilliseconds: skew)
    }
    // The first is the process's own.
    serve("app.eu-1")
    serve("app.eu-1")
    #expect(!precedes(noonMilliseconds))
    serve("billing.eu-1")
    #expect(precedes(noonMilliseconds) && !precedes(noonMilliseconds + 2_000))
    // A skew that is made smaller meanwhile does not let in what was taken with the larger one.
    serve("billing.eu-1", skew: 0)
    #expect(precedes(noonMilliseconds + 1_999, skew: 0))
    // Nor is the past known of an audience that comes back.
    let late = ReplayWindows(start: steady(noonMilliseconds - 100_000), windowBits: 1 << 10, epochsMax: 16)
    for audience in ["app.eu-1", nil, "app.eu-1"] {
      late.serve(audience, keys: nil, skewMilliseconds: 2_000, at: steady(noonMilliseconds))
    }
    #expect(
      late.start.mayPrecede(created: noonMilliseconds, now: steady(noonMilliseconds), skewMilliseconds: 2_000))
    // A process that began without one takes it over like any other.
    let plain = ReplayWindows(start: steady(noonMilliseconds - 100_000), windowBits: 1 << 10, epochsMax: 16)
    for audience in [nil, "app.eu-1"] {
      plain.serve(audience, keys: nil, skewMilliseconds: 2_000, at: steady(noonMilliseconds))
    }
    #expect(
      plain.start.mayPrecede(created: noonMilliseconds, now: steady(noonMilliseconds), skewMilliseconds: 2_000))
  }

  /// An edge that has two keys, and a validator that has one of them or both.
  private final class TwoKeys {
    let keys: [KeySet.Key]
    let one: KeySet
    let both: KeySet
    private var sent: UInt64 = 0

    init() throws {
      keys = try ["k2", "k3"].map { try KeySet.newKey(id: $0, algorithm: .hmac) }
      one = try KeySet([keys[0]], source: "test")
      both = try KeySet(keys, source: "test")
    }

    func serve(_ keys: KeySet, _ windows: ReplayWindows) throws -> Verifier {
      windows.serve("monitor-1", keys: keys, skewMilliseconds: 2_000, at: steady(noonMilliseconds))
      return try makeVerifier(keys: keys, windows: windows)
    }

    /// What becomes of a new header, signed with this key at this time, that comes at noon.
    func outcome(_ id: String, _ verifier: Verifier, created: UInt64) throws -> String? {
      sent += 1
      let signer = try makeSigner(keys: both, keyID: id, last: sent)
      let bytes = try #require(IdentityTests.header(signer, someone, created: created))
      return verifyProxy(bytes, with: verifier, atMilliseconds: noonMilliseconds)?.name
    }
  }

  /// A process that had it, and ended before an upgrade to it was over, remembers what it took.
  @Test func aKeyThatComesLaterHasAStartOfItsOwn() throws {
    let windows = ReplayWindows(start: steady(noonMilliseconds - 100_000), windowBits: 1 << 10, epochsMax: 16)
    let edge = try TwoKeys()
    let first = try edge.serve(edge.one, windows)
    #expect(windows.lateStartsEndMilliseconds == 0)
    #expect(try edge.outcome("k2", first, created: noonMilliseconds) == "verified")
    let later = try edge.serve(edge.both, windows)
    // An upgrade waits for that: the new process would have it for all keys.
    #expect(windows.lateStartsEndMilliseconds == noonMilliseconds + 3_000)
    #expect(try edge.outcome("k2", later, created: noonMilliseconds) == "verified")
    #expect(try edge.outcome("k3", later, created: noonMilliseconds) == "starting")
    #expect(try edge.outcome("k3", later, created: noonMilliseconds + 2_000) == "verified")
    // A reload that changes nothing about it leaves the start as it was; a process that goes on has it for all its keys.
    #expect(try edge.outcome("k3", try edge.serve(edge.both, windows), created: noonMilliseconds + 1_000) == "starting")
    var state = HandoverState()
    _ = windows.write(to: &state, first: 0)
    #expect(state.windowStartMilliseconds == steady(noonMilliseconds).monotonicMilliseconds)
    // One that was taken away and comes back may have been another's meanwhile.
    _ = try edge.serve(try KeySet([edge.keys[1]], source: "test"), windows)
    #expect(try edge.outcome("k2", try edge.serve(edge.both, windows), created: noonMilliseconds) == "starting")
  }

  /// Else each key that was ever in use would be handed from process to process for good; and one that comes back would have no start, though
  /// another process may have taken its messages meanwhile.
  @Test func aKeyThatIsTakenAwayIsNotHandedOnAndStartsAnew() throws {
    let windows = ReplayWindows(start: steady(noonMilliseconds - 100_000), windowBits: 1 << 10, epochsMax: 16)
    let edge = try TwoKeys()
    let first = try edge.serve(edge.both, windows)
    for id in ["k2", "k3"] { #expect(try edge.outcome(id, first, created: noonMilliseconds) == "verified") }
    #expect(Set(windows.carried.map { "\($0.keyID)" }) == ["k2", "k3"])
    _ = try edge.serve(edge.one, windows)
    let carried = windows.carried
    #expect(Set(carried.map { "\($0.keyID)" }) == ["k2"])
    let next = try #require(
      ReplayWindows(
        continuing: windows.start.carried, of: "monitor-1", windowBits: 1 << 10, epochsMax: 16,
        try carried.map {
          .init(purpose: $0.purpose, keyID: $0.keyID, descriptor: try Sockets.duplicate($0.descriptor))
        }))
    let verifier = try edge.serve(edge.both, next)
    #expect(try edge.outcome("k2", verifier, created: noonMilliseconds) == "verified")
    #expect(try edge.outcome("k3", verifier, created: noonMilliseconds) == "starting")
    #expect(try edge.outcome("k3", verifier, created: noonMilliseconds + 2_000) == "verified")
  }

  /// A key that shares its name with one of another algorithm does not lend it its signatures.
  @Test func theKeyDecidesTheAlgorithm() throws {
    let hmac = try KeySet([KeySet.newKey(id: "k1", algorithm: .hmac)], source: "test")
    let ed25519 = try KeySet([KeySet.newKey(id: "k1", algorithm: .ed25519)], source: "test")
    let header = try #require(Self.header(try makeSigner(keys: ed25519), someone))
    #expect(
      verifyProxy(header, with: try makeVerifier(keys: hmac), atMilliseconds: noonMilliseconds)?.name
        == "proxy-attestation")
    let request = try makeSigner(keys: hmac).request()
    #expect(
      request.verify(with: try makeVerifier(keys: ed25519), atMilliseconds: noonMilliseconds).name
        == "signature-length")
  }

  @Test func aNameThatDoesNotFitIsLeftOutOfAHeader() throws {
    let name = String(repeating: "a", count: 255)
    let signer = try makeSigner(audience: String(repeating: "a", count: 64))
    var identity = someone
    identity.address = IPAddress("2001:db8::1")!
    let draft = signer.makeProxyHeader(
      identity, destination: IPAddress("2001:db8::2")!, destinationPort: 443, alpn: "http/1.1".utf8.span,
      authority: name.utf8.span, tlsVersion: "TLSv1.3".utf8.span,
      tlsCipher: String(repeating: "C", count: 60).utf8.span, nowMilliseconds: noonMilliseconds)
    let written = try #require(draft).withBytes { bytes in bytes.indices.map { bytes[$0] } }
    guard case .complete(let parsed) = ProxyHeader.decode(written.span, rules: .attested) else {
      Issue.record("the header is not well formed")
      return
    }
    #expect(!parsed.contents.contains(.authority))
    #expect(written.count <= 536)
  }

  /// The bytes of a header, or nil where it cannot be signed.
  private static func header(
    _ signer: Signer, _ identity: ClientIdentity, usedEarlyData: Bool = false, created: UInt64 = noonMilliseconds
  ) -> [UInt8]? {
    let draft = signer.makeProxyHeader(
      identity, destination: IPAddress("198.51.100.1")!, destinationPort: 443, alpn: "h2".utf8.span,
      authority: "www.example.com".utf8.span, tlsVersion: "TLSv1.3".utf8.span,
      tlsCipher: "TLS_AES_128_GCM_SHA256".utf8.span, usedEarlyData: usedEarlyData, nowMilliseconds: created)
    return draft.map { draft in draft.withBytes { bytes in bytes.indices.map { bytes[$0] } } }
  }
}
