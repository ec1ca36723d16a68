// The shorter way of reading the next message of a sender that spoke before: it must say of every text what the whole way
// says. One verifier knows the sender and one does not; both get the same messages.

import Platform
import Policy
import Testing
import Wire

@Suite struct KnownSenderTests {
  private static let certificate = CertificateDigest([UInt8](repeating: 0xab, count: 32).span)!

  private static func client(
    _ address: String, port: UInt16 = 51324, secure: Bool = true, via: Via = .socket,
    certificate: CertificateDigest? = nil
  ) -> ClientIdentity {
    ClientIdentity(
      address: IPAddress(address)!, port: port, secure: secure, via: via,
      connection: ConnectionID(high: 0x1122_3344_5566_7788, low: 0x99aa_bbcc_ddee_ff00), certificate: certificate)
  }

  static let clients = [
    client("192.0.2.7"), client("1.2.3.4", port: 1, secure: false, via: .proxyV1),
    client("255.255.255.254", port: 65535, via: .attested, certificate: certificate),
    client("2001:db8::7", port: 0, via: .forwarded), client("2001:db8:1:2:3:4:5:6", secure: false, via: .proxyV2),
  ]

  /// A verifier that has just verified a message of this client, and one that has verified none. Both have one window.
  private func verifiers(_ client: ClientIdentity, _ signer: Signer) throws -> (Verifier, Verifier) {
    let windows = ReplayWindows(start: steady(0), windowBits: 1 << 10, epochsMax: 16)
    let knows = try makeVerifier(edges: ["edge-a"], windows: windows)
    #expect(try signer.request(client).verify(with: knows, atMilliseconds: noonMilliseconds).name == "verified")
    return (knows, try makeVerifier(edges: ["edge-a"], windows: windows))
  }

  private func expectTheSame(_ request: IdentityRequest, _ knows: Verifier, _ knowsNot: Verifier, _ what: String) {
    let short = request.verify(with: knows, atMilliseconds: noonMilliseconds).name
    let whole = request.verify(with: knowsNot, atMilliseconds: noonMilliseconds).name
    // Nothing that is changed is signed; were it verified, the other would know the sender as well.
    if short != whole || short == "verified" { Issue.record("\(what): \(short), should be \(whole)") }
  }

  @Test(arguments: clients) func everyByteThatIsChanged(_ client: ClientIdentity) throws {
    let signer = try makeSigner()
    let (knows, knowsNot) = try verifiers(client, signer)
    let request = try signer.request(client)
    for part in [4, 5, 6] {
      for at in request.parts[part].indices {
        let original = request.parts[part][at]
        for byte in 0...UInt8.max where byte != original {
          var changed = request
          changed.parts[part][at] = byte
          expectTheSame(changed, knows, knowsNot, "\(IdentityRequest.partNames[part]) \(at) \(byte)")
        }
      }
    }
    #expect(request.verify(with: knows, atMilliseconds: noonMilliseconds).name == "verified")
    #expect(request.verify(with: knowsNot, atMilliseconds: noonMilliseconds).name == "replay")
  }

  @Test(arguments: clients) func everyByteThatIsMissingOrDoubled(_ client: ClientIdentity) throws {
    let signer = try makeSigner()
    let (knows, knowsNot) = try verifiers(client, signer)
    let request = try signer.request(client)
    for part in [4, 5, 6] {
      let name = IdentityRequest.partNames[part]
      for at in request.parts[part].indices {
        var changed = request
        changed.parts[part].remove(at: at)
        expectTheSame(changed, knows, knowsNot, "\(name) without \(at)")
        for byte in [request.parts[part][at], 0x20, 0x22, 0x2c, 0x30, 0x31, 0x3a, 0x3b] {
          changed = request
          changed.parts[part].insert(byte, at: at)
          expectTheSame(changed, knows, knowsNot, "\(name) with \(byte) at \(at)")
        }
        changed = request
        changed.parts[part].removeSubrange(at...)
        expectTheSame(changed, knows, knowsNot, "\(name) up to \(at)")
        guard at > 0 else { continue }
        changed = request
        changed.parts[part].removeSubrange(..<at)
        expectTheSame(changed, knows, knowsNot, "\(name) from \(at)")
      }
    }
  }

  /// Addresses, ports and numbers that are not what they seem, where the shorter way reads them.
  @Test(arguments: [
    ("192.0.2.7", "::ffff:192.0.2.7"), ("192.0.2.7", "192.0.2.07"), ("192.0.2.7", "0.0.0.0"), ("192.0.2.7", ""),
    ("192.0.2.7", "2001:DB8::7"), ("192.0.2.7", "2001:db8:0::7"), ("51324", "0"), ("51324", "65536"),
    ("51324", "051324"), ("51324", ""), ("51324", "18446744073709551617"), ("192.0.2.7", "192.0.2.7\", port=1, ip=\""),
    ("ip=", "ip=\"192.0.2.7\", port=51324, proto=\"https\", via=\"socket\", edge=\"edge-a\", aud=\"monitor-1\", cid=:"),
  ]) func whatIsNotWhatItSeems(_ from: String, _ to: String) throws {
    let signer = try makeSigner()
    let (knows, knowsNot) = try verifiers(someone, signer)
    var request = try signer.request(someone)
    request["attest"] = request["attest"].replacing(from, with: to)
    expectTheSame(request, knows, knowsNot, to)
  }

  @Test(arguments: ["0", "02", "9223372036854775808", "18446744073709551618", "00000000000000000002", "", "2.2", "-2"])
  func numbersThatAreNone(_ number: String) throws {
    let signer = try makeSigner()
    let (knows, knowsNot) = try verifiers(someone, signer)
    var request = try signer.request(someone)
    request["input"] = request["input"].replacing(".2\"", with: ".\(number)\"")
    expectTheSame(request, knows, knowsNot, number)
  }

  /// Senders that share a place, and messages of one sender that differ in everything that is kept.
  @Test func whatIsKeptGoesWithWhatFollows() throws {
    let verifier = try makeVerifier(
      edges: ["edge-a", "edge-b"],
      windows: ReplayWindows(start: steady(0), windowBits: 1 << 10, epochsMax: 64))
    var signers: [Signer] = []
    for i in 0..<40 as Range<UInt64> {
      let epoch: UInt64 = noonMilliseconds << 16 | (i / 2 + 1) << 4 | (i & 1)
      let (keyID, edge) = (i % 3 == 0 ? "ed1" : "k1", i % 2 == 0 ? "edge-a" : "edge-b")
      signers.append(try makeSigner(keyID: keyID, edge: edge, epoch: epoch))
    }
    for round in 0..<4 {
      for (index, signer) in signers.enumerated() {
        let client = Self.clients[(index + round) % Self.clients.count]
        let now = noonMilliseconds + UInt64(round) * 1_000
        let request = try signer.request(client, atMilliseconds: now)
        let outcome = request.verify(with: verifier, atMilliseconds: now)
        guard case .verified(let verified) = outcome else {
          Issue.record("\(index) in round \(round): \(outcome.name)")
          continue
        }
        #expect(verified.client == client && verified.keyID == signer.keyID)
        #expect(verified.sequence == UInt64(round + 1))
        #expect(request.verify(with: verifier, atMilliseconds: now).name == "replay")
      }
    }
  }

  /// What was refused leaves nothing behind: not even a message that only its signature speaks against.
  @Test func onlyWhatWasVerifiedIsKept() throws {
    let verifier = try makeVerifier(edges: ["edge-a"])
    for (edge, audience, refusal) in [
      ("edge-b", "monitor-1", "edge-not-allowed"), ("edge-a", "monitor-2", "audience-wrong"),
    ] {
      let signer = try makeSigner(audience: audience, edge: edge)
      for _ in 0..<3 {
        let request = try signer.request()
        #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds).name == refusal)
      }
    }
    let signer = try makeSigner()
    var request = try signer.request()
    request["path"] = "/other"
    #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "signature-invalid")
    request["path"] = "/"
    #expect(request.verify(with: verifier, atMilliseconds: noonMilliseconds).name == "verified")
  }
}
