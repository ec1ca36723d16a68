// PROXY headers for a validator that requires them, one fault each. What the header alone can be wrong in ends the
// connection without a byte; where header and request are each right but do not belong together, the request is
// answered.

import Foundation
import Testing

struct ForgedHeader: Sendable, CustomTestStringConvertible {
  var refusal: String
  var title: String
  /// 0: the connection ends without an answer.
  var status = 0
  /// Where the connection can go on.
  var stays = false
  var bytes: @Sendable (_ path: String, Forger) -> [UInt8]

  var testDescription: String { "\(refusal): \(title)" }

  /// Bent before it is signed; an honest request follows.
  private static func signed(
    _ refusal: String, _ title: String, _ bend: @escaping @Sendable (inout SignedProxyHeader) -> Void
  ) -> ForgedHeader {
    ForgedHeader(refusal: refusal, title: title) { path, forger in
      let request = SignedRequest(path, by: forger)
      var header = SignedProxyHeader(for: request, by: forger)
      bend(&header)
      return header.bytes + Array(request.text.utf8)
    }
  }

  /// Other bytes in front of an honest request.
  private static func raw(_ refusal: String, _ title: String, _ front: [UInt8]) -> ForgedHeader {
    ForgedHeader(refusal: refusal, title: title) { path, forger in
      front + Array(SignedRequest(path, by: forger).text.utf8)
    }
  }

  /// Header and request are each honest; the request is not the one that the header was made for.
  private static func mixed(
    _ refusal: String, _ title: String, status: Int = 403, stays: Bool = false,
    _ bend: @escaping @Sendable (inout SignedRequest, inout SignedProxyHeader) -> Void
  ) -> ForgedHeader {
    ForgedHeader(refusal: refusal, title: title, status: status, stays: stays) { path, forger in
      var request = SignedRequest(path, by: forger)
      var header = SignedProxyHeader(for: request, by: forger)
      bend(&request, &header)
      return header.bytes + Array(request.text.utf8)
    }
  }

  static let form: [ForgedHeader] = [
    raw("proxy-missing", "no header at all", []),
    raw(
      "proxy-missing", "a header whose mark is broken",
      [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0b]),
    raw("proxy-version", "version 1", Array("PROXY TCP4 \(Peer.claimed) 127.0.0.1 51324 443\r\n".utf8)),
    raw("proxy-version", "version 1, UNKNOWN", Array("PROXY UNKNOWN\r\n".utf8)),
    signed("proxy-version", "version 3") { $0.versionAndCommand = 0x31 },
    signed("proxy-command", "an unknown command") { $0.versionAndCommand = 0x22 },
    signed("proxy-local", "LOCAL") { $0.versionAndCommand = 0x20 },
    signed("proxy-family", "UDP") { $0.familyAndProtocol = 0x12 },
    signed("proxy-family", "no family") { $0.familyAndProtocol = 0x00 },
    signed("proxy-family", "a unix socket") { $0.familyAndProtocol = 0x31 },
    signed("proxy-length", "over the limit") { $0.tlvs.append((0x04, [UInt8](repeating: 0, count: 1024))) },
    signed("proxy-length", "a TLV that reaches past the end") {
      $0.tail = []
      $0.lengthError = -1
    },
    signed("proxy-tlv", "a type twice") { $0.tlvs.append((0x01, Array("http/1.1".utf8))) },
    signed("proxy-tlv", "an SSL subtype at the top") { $0.tlvs.append((0x21, Array("TLSv1.3".utf8))) },
    signed("proxy-tlv", "a reserved type") { $0.tlvs.append((0xf7, [1])) },
    signed("proxy-tlv", "a custom type of someone else") { $0.tlvs.append((0xea, [1, 2, 3])) },
    signed("proxy-crc", "a wrong checksum") { $0.spoilsCRC = true },
    signed("proxy-unique-id", "no connection id") { $0.tlvs.removeAll { $0.type == SignedProxyHeader.uniqueIDType } },
    signed("proxy-unique-id", "a connection id of 15 bytes") { header in
      let index = header.tlvs.firstIndex { $0.type == SignedProxyHeader.uniqueIDType }!
      header.tlvs[index].value.removeLast()
    },
    signed("proxy-attestation", "no attestation") { $0.hasAttestation = false },
    signed("proxy-attestation", "something after it") { $0.tail = [(0x04, [0])] },
    signed("proxy-attestation", "two of them") { header in
      header.tail = [(SignedProxyHeader.attestationType, [UInt8](repeating: 0, count: 75))]
    },
    signed("proxy-attestation", "an unknown algorithm") { $0.algorithm = 3 },
    signed("proxy-attestation", "a flag that means nothing") { $0.flags |= 0x80 },
    signed("proxy-address", "unspecified") { $0.source = [0, 0, 0, 0] },
    signed("proxy-address", "broadcast") { $0.source = [255, 255, 255, 255] },
    signed("proxy-address", "multicast") { $0.source = [224, 0, 0, 1] },
  ]

  static let attestation: [ForgedHeader] = [
    signed("key-unknown", "a key that nobody has") { $0.kid = "k9" },
    signed("signature-invalid", "a key of one's own") { $0.key = [UInt8](repeating: 0x41, count: 32) },
    signed("signature-invalid", "one bit of the tag") { $0.spoilsTag = true },
    signed("audience-wrong", "meant for another validator") { $0.audience = "monitor-2" },
    signed("time-future", "made in an hour") { $0.createdMilliseconds += 3_600_000 },
    signed("time-expired", "made an hour ago") { $0.createdMilliseconds -= 3_600_000 },
    ForgedHeader(refusal: "signature-invalid", title: "the request key for the header") { path, forger in
      let request = SignedRequest(path, by: forger)
      var header = SignedProxyHeader(for: request, by: forger)
      header.key = forger.httpKey
      return header.bytes + Array(request.text.utf8)
    },
  ]

  static let binding: [ForgedHeader] = [
    mixed("bound-address", "the header names another client") { _, header in header.source = [203, 0, 113, 66] },
    mixed("bound-port", "the header names another port") { _, header in header.sourcePort = 4321 },
    mixed("bound-cid", "the header names another connection") { _, header in
      let index = header.tlvs.firstIndex { $0.type == SignedProxyHeader.uniqueIDType }!
      header.tlvs[index].value = [UInt8](repeating: 9, count: 16)
    },
    mixed("early-data", "the request came as early data", status: 425, stays: true) { _, header in header.flags |= 4 },
    ForgedHeader(refusal: "request-line", title: "a second header is just bad HTTP", status: 400) { path, forger in
      let request = SignedRequest(path, by: forger)
      return SignedProxyHeader(for: request, by: forger).bytes + SignedProxyHeader(for: request, by: forger).bytes
        + Array(request.text.utf8)
    },
  ]

  static let all = form + attestation + binding
}
