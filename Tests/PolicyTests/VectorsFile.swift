// The published vectors and the pieces that every test of identities needs: a request with its parts at known places,
// signers and verifiers with chosen clocks and numbers.

import Foundation
import Platform
import Policy
import Testing
import Wire

struct VectorsFile: Decodable {
  let derived: [Derived]
  let http: [HTTP]
  let pp2: [PP2]

  struct Derived: Decodable {
    let kid: String
    let purpose: String
    let aud: String
    let hex: String
  }

  struct HTTP: Decodable, CustomTestStringConvertible, Sendable {
    let kid: String
    let method: String
    let authority: String
    let target: String
    let ip: String
    let port: UInt16
    let proto: String
    let via: String
    let edge: String
    let aud: String
    let cid: String
    let cert: String?
    let created: UInt64
    let epoch: String
    let seq: UInt64
    let fields: [String: String]

    var testDescription: String { "\(kid) \(method) \(target)" }

    var identity: ClientIdentity {
      ClientIdentity(
        address: IPAddress(ip)!, port: port, secure: proto == "https",
        via: Via.allCases.first { "\($0.text)" == via }!, connection: ConnectionID(bytes(hex: cid).span)!,
        certificate: cert.map { CertificateDigest(bytes(hex: $0).span)! })
    }

    var request: IdentityRequest {
      IdentityRequest(
        method: method, authority: authority, target: target, attest: fields["client-attest"]!,
        input: fields["signature-input"]!, signature: fields["signature"]!)
    }
  }

  struct PP2: Decodable, CustomTestStringConvertible, Sendable {
    let kid: String
    let src: String
    let sport: UInt16
    let dst: String
    let dport: UInt16
    let alpn: String?
    let authority: String?
    let ssl: String?
    let cid: String
    let epoch: String
    let seq: UInt64
    let created_ms: UInt64
    let aud: String
    let flags: UInt8
    let header: String

    var testDescription: String { "\(kid) \(src)" }
  }

  static let text: [UInt8] = {
    let url = Bundle.module.url(forResource: "vectors", withExtension: "json", subdirectory: "Vectors")!
    return Array(try! Data(contentsOf: url))
  }()
  static let all: VectorsFile = try! JSONDecoder().decode(VectorsFile.self, from: Data(text))

  /// The published keys, which no file may hold.
  static let keys: KeySet = {
    let document = try! JSONSerialization.jsonObject(with: Data(text)) as! [String: Any]
    let jwks = try! JSONSerialization.data(withJSONObject: document["jwks"]!)
    return try! KeySet(json: SecretBytes(Array(jwks).span), source: "vectors", allowsPublishedKeys: true)
  }()
}

func bytes(hex: String) -> [UInt8] {
  let digits = Array(hex.utf8)
  return stride(from: 0, to: digits.count, by: 2).map { at in
    UInt8(String(decoding: digits[at..<at + 2], as: UTF8.self), radix: 16)!
  }
}

/// A request's parts one after another, and where each is.
struct IdentityRequest {
  static let partNames = ["method", "authority", "path", "query", "attest", "input", "signature"]
  var parts: [[UInt8]]

  init(method: String, authority: String, target: String, attest: String, input: String, signature: String) {
    let cut = target.firstIndex(of: "?") ?? target.endIndex
    parts = [method, authority, String(target[..<cut]), String(target[cut...]), attest, input, signature].map {
      Array($0.utf8)
    }
  }

  func verify(
    with verifier: Verifier, atMilliseconds now: UInt64, clock: Clock.Reading? = nil, bound: BoundIdentity? = nil
  ) -> VerifyOutcome {
    // Something stands before and after, so that a wrong offset shows.
    var head = Array("before: x\r\n".utf8)
    var ranges: [ByteRange] = []
    for part in parts {
      ranges.append(ByteRange(head.count, part.count))
      head += part + Array("\r\n".utf8)
    }
    return verifier.verify(
      head: head.span, method: ranges[0], authority: ranges[1], path: ranges[2], query: ranges[3], attest: ranges[4],
      signatureInput: ranges[5], signature: ranges[6], at: clock ?? steady(now), bound: bound)
  }

  subscript(_ name: String) -> String {
    get { String(decoding: parts[Self.partNames.firstIndex(of: name)!], as: UTF8.self) }
    set { parts[Self.partNames.firstIndex(of: name)!] = Array(newValue.utf8) }
  }
}

extension VerifyOutcome {
  /// The refusal's name, or `verified`.
  var name: String {
    switch self {
    case .verified: "verified"
    case .refused(let refusal): "\(refusal.name)"
    }
  }
}

extension ProxyVerifyOutcome {
  var name: String {
    switch self {
    case .verified: "verified"
    case .refused(let refusal): "\(refusal.name)"
    }
  }
}

/// A wall clock that nobody sets: it and the monotonic clock go together.
func steady(_ milliseconds: UInt64) -> Clock.Reading {
  Clock.Reading(wallMilliseconds: milliseconds, monotonicMilliseconds: milliseconds)
}

/// A clock's reading that all made-up messages are near to.
let noonMilliseconds: UInt64 = 1_767_268_800_000

func makeVerifier(
  keys: KeySet = VectorsFile.keys, audience: String = "monitor-1", edges: [String] = [], skew: UInt64 = 2000,
  windows: ReplayWindows = ReplayWindows(start: steady(0), windowBits: 1 << 10, epochsMax: 16)
) throws -> Verifier {
  try Verifier(
    keys: keys, audience: audience, edges: edges, skewMilliseconds: skew, windows: windows, headBytesMax: 16384)
}

func makeSigner(
  keys: KeySet = VectorsFile.keys, keyID: String = "k1", audience: String = "monitor-1", edge: String = "edge-a",
  epoch: UInt64 = noonMilliseconds << 16 | 1, pp2Epoch: UInt64 = noonMilliseconds << 16 | 2, last: UInt64 = 0,
  headBytesMax: Int = 16384
) throws -> Signer {
  let lanes = SenderLanes(http: SenderLane(epoch: epoch, last: last), pp2: SenderLane(epoch: pp2Epoch, last: last))
  return try Signer(
    keys: keys, keyID: keyID, audience: audience, edge: edge, lanes: lanes, headBytesMax: headBytesMax)
}

let someone = ClientIdentity(
  address: IPAddress("192.0.2.7")!, port: 51324, secure: true, via: .socket,
  connection: ConnectionID(high: 0x0001_0203_0405_0607, low: 0x0809_0a0b_0c0d_0e0f))

extension Signer {
  /// The three lines for a request, or nil where it cannot be signed.
  func lines(
    _ identity: ClientIdentity, method: String = "GET", authority: String = "www.example.com", target: String = "/",
    atMilliseconds now: UInt64 = noonMilliseconds, room: Int = 4096
  ) -> String? {
    let request = IdentityRequest(
      method: method, authority: authority, target: target, attest: "", input: "", signature: "")
    var head: [UInt8] = []
    let ranges = request.parts.map { part in
      defer { head += part }
      return ByteRange(head.count, part.count)
    }
    let sink = Buffer(capacity: room)
    let signed = writeFields(
      identity, head: head.span, method: ranges[0], authority: ranges[1], path: ranges[2], query: ranges[3],
      nowMilliseconds: now, into: sink)
    guard signed else {
      #expect(sink.isEmpty && !sink.overflowed)
      return nil
    }
    return sink.overflowed ? nil : String(decoding: sink.copyBytes(), as: UTF8.self)
  }

  /// A signed request.
  func request(
    _ identity: ClientIdentity = someone, method: String = "GET", authority: String = "www.example.com",
    target: String = "/", atMilliseconds now: UInt64 = noonMilliseconds
  ) throws -> IdentityRequest {
    let written = lines(identity, method: method, authority: authority, target: target, atMilliseconds: now)
    let values = try #require(written).components(separatedBy: "\r\n").map { line in
      line.range(of: ": ").map { String(line[$0.upperBound...]) } ?? line
    }
    return IdentityRequest(
      method: method, authority: authority, target: target, attest: values[0], input: values[1],
      signature: values[2])
  }
}
