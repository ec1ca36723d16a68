// Requests to the validator whose HTTP is faultless and whose identity is not: the rest of the specification's
// refusal table, one fault each. Wherever the format lets it be, the request is signed with the true key after it was
// bent, so that only the fault named here can be what stops it.

import Foundation
import Testing

struct ForgedRequest: Sendable, CustomTestStringConvertible {
  var refusal: String
  var title: String
  var status: Int
  /// Where the connection can go on.
  var stays = false
  /// The fault is in the trailers: the backend may see the head, never a whole request.
  var isInBody = false
  var text: @Sendable (_ path: String, Forger) -> String

  var testDescription: String { "\(refusal): \(title)" }

  /// Bent before it is signed.
  private static func signed(
    _ refusal: String, _ title: String, status: Int = 400, stays: Bool = false,
    _ bend: @escaping @Sendable (inout SignedRequest) -> Void
  ) -> ForgedRequest {
    ForgedRequest(refusal: refusal, title: title, status: status, stays: stays) { path, forger in
      var request = SignedRequest(path, by: forger)
      bend(&request)
      return request.text
    }
  }

  /// Bent after it was signed; the closure gets the three lines and the request.
  private static func altered(
    _ refusal: String, _ title: String, status: Int = 400,
    _ bend: @escaping @Sendable (inout [String], inout SignedRequest) -> Void
  ) -> ForgedRequest {
    ForgedRequest(refusal: refusal, title: title, status: status) { path, forger in
      var request = SignedRequest(path, by: forger)
      var lines = request.identityFields
      bend(&lines, &request)
      return request.text(with: lines)
    }
  }

  /// Signed truly, with one line more, which the signature does not cover.
  private static func adding(_ refusal: String, _ line: String) -> ForgedRequest {
    signed(refusal, line) { $0.fields = [line] }
  }

  // MARK: Names

  static let names: [ForgedRequest] =
    [
      "X_Forwarded_For", "x_forwarded_for", "X.Forwarded.For", "X-Forwarded_For", "x-forwarded.proto", "X_Real_IP",
      "Client_Attest",
      "client.attest", "CLIENT_ATTEST", "Signature_Input", "Signature.Input", "True_Client_IP", "CF_Connecting_IP",
      "Client_IP",
      "X_Client_IP", "X_Cluster_Client_IP", "Fastly_Client_IP", "Client_Cert", "Client.Cert.Chain",
      "X_Forwarded_Anything", "Early_Data",
    ].map { adding("name-alias", "\($0): \(Peer.claimed)") }
    + [
      "X-Forwarded-For", "client-attest", "Signature", "Signature-Input", "close, X-Real-IP", "Forwarded",
      "keep-alive,x-forwarded-proto",
      "Host", "True-Client-IP", "X_Forwarded_For",
    ].map { adding("hop-nominated", "Connection: \($0)") }
    + [
      ForgedRequest(refusal: "absolute-form", title: "the right authority", status: 400) { path, forger in
        let request = SignedRequest(path, by: forger)
        return request.text.replacing("GET \(path)", with: "GET http://\(Site.host)\(path)")
      },
      adding("trailer-identity", "Trailer: X-Forwarded-For"),
      adding("trailer-identity", "Trailer: X-Checksum, client-attest"),
    ]
    + [
      "X-Forwarded-For: \(Peer.claimed)", "client-attest: ip=\"\(Peer.claimed)\"", "X_Real_IP: \(Peer.claimed)",
      "Forwarded: for=\(Peer.claimed)",
    ].map {
      trailer in
      ForgedRequest(refusal: "trailer-identity", title: "in the trailers, \(trailer)", status: 400, isInBody: true) {
        path, forger in
        var request = SignedRequest(path, by: forger)
        request.method = "POST"
        request.fields = ["Transfer-Encoding: chunked"]
        return request.text + Text.chunks(["hello"], trailers: [trailer])
      }
    }
    + [
      "X-Forwarded-For", "x-forwarded-for", "X-FORWARDED-FOR", "X-Forwarded-Proto", "X-Forwarded-Host",
      "X-Forwarded-Port",
      "X-Forwarded-Server", "X-Forwarded-Anything", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP",
      "Client-IP",
      "X-Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP", "Client-Cert", "Client-Cert-Chain",
    ].map { adding("identity-foreign", "\($0): \(Peer.claimed)") }

  // MARK: Missing and doubled

  static let counts: [ForgedRequest] =
    [
      altered("identity-missing", "nothing at all", status: 403) { lines, _ in lines = [] },
      altered("identity-missing", "no client-attest", status: 403) { lines, _ in lines.remove(at: 0) },
      altered("identity-missing", "no signature-input", status: 403) { lines, _ in lines.remove(at: 1) },
      altered("identity-missing", "no signature", status: 403) { lines, _ in lines.remove(at: 2) },
      altered("identity-missing", "a client address in plain words", status: 403) { lines, _ in
        lines = ["X-Forwarded-For: \(Peer.claimed)"]
      },
      altered("identity-duplicate", "client-attest twice", status: 400) { lines, _ in lines.append(lines[0]) },
      altered("identity-duplicate", "signature-input twice", status: 400) { lines, _ in lines.append(lines[1]) },
      altered("identity-duplicate", "signature twice", status: 400) { lines, _ in lines.append(lines[2]) },
      altered("identity-duplicate", "a second client-attest with another address", status: 400) { lines, _ in
        lines.insert(lines[0].replacing(Peer.client(), with: Peer.claimed), at: 0)
      },
    ]

  // MARK: Form

  private static func form(_ title: String, _ from: String, _ to: String) -> ForgedRequest {
    signed("identity-form", title) { $0.attestOverride = $0.attest.replacing(from, with: to) }
  }

  private static func address(_ text: String) -> ForgedRequest {
    signed("identity-address", text) { $0.address = text }
  }

  static let identity: [ForgedRequest] =
    [
      form("a blank too many", ", port", ",  port"),
      form("a blank too few", ", port", ",port"),
      form("upper case", "proto=", "Proto="),
      form("a port with a leading zero", "port=51324", "port=051324"),
      form("a port beyond all ports", "port=51324", "port=65536"),
      form("port 0 from a socket", "port=51324", "port=0"),
      form("a port in quotes", "port=51324", "port=\"51324\""),
      form("an address in upper case", Peer.client(), "2001:DB8::1"),
      form("an address that is not shortened", Peer.client(), "2001:db8:0:0:0:0:0:1"),
      form("an unknown protocol", "\"https\"", "\"ftp\""),
      form("an unknown way of knowing", "\"socket\"", "\"guess\""),
      form("an escape in a string", "edge-a", "edge\\-a"),
      form("a second address", ", port", ", ip=\"\(Peer.claimed)\", port"),
      form("a member too many", ", cid=", ", x=1, cid="),
      form("a parameter", ", port", ";a=1, port"),
      signed("identity-form", "members in another order") {
        $0.attestOverride = $0.attest.replacing(
          "proto=\"https\", via=\"socket\"", with: "via=\"socket\", proto=\"https\"")
      },
      signed("identity-form", "no cid") { request in
        request.attestOverride = String(request.attest.prefix(upTo: request.attest.range(of: ", cid=")!.lowerBound))
      },
      signed("identity-form", "a cid of 15 bytes") { $0.cid = Array($0.cid.dropLast()) },
      signed("identity-form", "a cid with bits that mean nothing") { request in
        request.cid = [UInt8](repeating: 0, count: 16)
        request.attestOverride = request.attest.replacing("AAAA==:", with: "AAAB==:")
      },
      signed("identity-form", "a certificate of 31 bytes") { $0.certificate = [UInt8](repeating: 7, count: 31) },
      signed("identity-form", "a blank at a member's end") {
        $0.attestOverride = $0.attest.replacing("\", port", with: "\" , port")
      },
    ]
    + [
      "0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:203.0.113.66", "fe80::1%eth0",
      "[2001:db8::1]",
      "127.1", "0177.0.0.1", "203.0.113.066", "localhost", "", "203.0.113.66:80",
    ].map(address)

  // MARK: Signature

  static let signature: [ForgedRequest] = [
    altered("signature-form", "not base64") { lines, _ in lines[2] = String(lines[2].dropLast(5)) + "!!!!:" },
    altered("signature-form", "another label") { lines, _ in lines[2] = lines[2].replacing("cs=", with: "sig1=") },
    altered("signature-form", "no colons") { lines, _ in
      lines[2] = String(lines[2].dropLast()).replacing("cs=:", with: "cs=")
    },
    altered("signature-form", "another label for the input") { lines, _ in
      lines[1] = lines[1].replacing("cs=", with: "sig1=")
    },
    altered("signature-form", "a parameter") { lines, _ in lines[2] += ";a=1" },
    signed("signature-tag", "another tag") { $0.tag = "other" },
    signed("signature-tag", "no tag") { $0.tag = nil },
    signed("signature-components", "the query left out") {
      $0.components = #"("@method" "@authority" "@path" "client-attest")"#
    },
    signed("signature-components", "the identity left out") {
      $0.components = #"("@method" "@authority" "@path" "@query")"#
    },
    signed("signature-components", "in another order") {
      $0.components = #"("@authority" "@method" "@path" "@query" "client-attest")"#
    },
    signed("signature-components", "one too many") {
      $0.components = #"("@method" "@authority" "@path" "@query" "client-attest" "date")"#
    },
    signed("signature-components", "none") { $0.components = "()" },
    signed("signature-params", "no nonce") { request in
      request.parametersOverride = request.parameters.replacing(
        ";nonce=\"\(request.epoch.base64url).\(request.sequence)\"", with: "")
    },
    signed("signature-params", "in another order") { request in
      request.parametersOverride = request.parameters.replacing(
        ";created=\(request.created);expires=\(request.expires)",
        with: ";expires=\(request.expires);created=\(request.created)")
    },
    signed("signature-params", "an algorithm of its choosing") { request in
      request.parametersOverride = request.parameters.replacing(";keyid=", with: ";alg=\"none\";keyid=")
    },
    signed("signature-params", "a sequence number of 0") { $0.sequence = 0 },
    signed("signature-params", "a sequence number with a leading zero") { request in
      request.parametersOverride = request.parameters.replacing(
        ".\(request.sequence)\"", with: ".0\(request.sequence)\"")
    },
    signed("signature-length", "a truncated signature") { request in
      let whole = Digest.hmac(request.key, Array(request.base.utf8))
      request.signatureOverride = "cs=:\(Array(whole.prefix(16)).base64):"
    },
    signed("signature-length", "an empty signature") { $0.signatureOverride = "cs=::" },
  ]

  // MARK: Keys, times, audience

  static let keysAndTimes: [ForgedRequest] = [
    signed("key-unknown", "a key that nobody has", status: 403) { $0.kid = "k9" },
    signed("signature-invalid", "a key of one's own", status: 403) { $0.key = [UInt8](repeating: 0x41, count: 32) },
    altered("signature-invalid", "another method", status: 403) { _, request in request.method = "DELETE" },
    altered("signature-invalid", "another path", status: 403) { _, request in request.target += "/more" },
    altered("signature-invalid", "another query", status: 403) { _, request in request.target += "?admin=1" },
    altered("signature-invalid", "another host", status: 403) { _, request in request.host = "other.example.com" },
    altered("signature-invalid", "another client address", status: 403) { lines, _ in
      lines[0] = lines[0].replacing(Peer.client(), with: Peer.claimed)
    },
    altered("signature-invalid", "another protocol", status: 403) { lines, _ in
      lines[0] = lines[0].replacing("\"https\"", with: "\"http\"")
    },
    altered("signature-invalid", "a later expiry of the whole", status: 403) { lines, request in
      lines[1] = lines[1].replacing(
        "created=\(request.created);expires=\(request.expires)",
        with: "created=\(request.created - 1);expires=\(request.expires - 1)")
    },
    altered("signature-invalid", "another sequence number", status: 403) { lines, request in
      lines[1] = lines[1].replacing(".\(request.sequence)\"", with: ".\(request.sequence + 1_000)\"")
    },
    altered("signature-invalid", "one bit of the signature", status: 403) { lines, request in
      var signature = Digest.hmac(request.key, Array(request.base.utf8))
      signature[31] ^= 1
      lines[2] = "signature: cs=:\(signature.base64):"
    },
    ForgedRequest(refusal: "signature-invalid", title: "the lines of another request", status: 403) { path, forger in
      SignedRequest(path, by: forger).text(with: SignedRequest("/other", by: forger).identityFields)
    },
    signed("edge-not-allowed", "an edge that is not on the list", status: 403) { $0.edge = "edge-z" },
    signed("audience-wrong", "meant for another validator", status: 421) { $0.audience = "monitor-2" },
    signed("time-future", "signed in an hour", status: 403, stays: true) {
      $0.created += 3600
      $0.expires += 3600
    },
    signed("time-expired", "signed an hour ago", status: 403, stays: true) {
      $0.created -= 3600
      $0.expires -= 3600
    },
    signed("time-lifetime", "valid for an hour", status: 403, stays: true) { $0.expires = $0.created + 3600 },
    signed("time-lifetime", "valid a second too long", status: 403, stays: true) { $0.expires += 1 },
    signed("time-lifetime", "valid a second too short", status: 403, stays: true) { $0.expires -= 1 },
  ]

  // MARK: Early data

  /// Whatever its value says: an edge sends no such field, so the request came another way.
  static let early: [ForgedRequest] = [
    "Early-Data: 1", "early-data: 0", "EARLY-DATA:", "Early-Data: 1\r\nEarly-Data: 1",
  ]
  .map { line in signed("early-data", line, status: 425, stays: true) { $0.fields = [line] } }

  static let all = early + names + counts + identity + signature + keysAndTimes
}
