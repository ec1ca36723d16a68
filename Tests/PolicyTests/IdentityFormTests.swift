// What is not exactly as it must be, and the name under which it is refused. Each document is the one good request with
// one thing changed; the signature is not made anew, so nothing here may get as far as the signature.

import Foundation
import Platform
import Policy
import Testing
import Wire

@Suite struct IdentityFormTests {
  static let attest =
    #"ip="192.0.2.7", port=51324, proto="https", via="socket", edge="edge-a", aud="monitor-1", cid=:AAECAwQFBgcICQoLDA0ODw==:"#
  static let input =
    #"cs=("@method" "@authority" "@path" "@query" "client-attest");created=1767268800;expires=1767268830;nonce="AZt5bdYAAAE.1";keyid="k1";tag="countersign""#

  struct Change: CustomTestStringConvertible, Sendable {
    let from: String
    let to: String
    let refusal: String
    init(_ from: String, _ to: String, _ refusal: String) {
      self.from = from
      self.to = to
      self.refusal = refusal
    }
    var testDescription: String { "\(from) → \(to): \(refusal)" }
  }

  @Test func theUnchangedRequestIsTheOneThatIsChangedBelow() throws {
    let request = try makeSigner().request()
    #expect(request["attest"] == Self.attest)
    #expect(request["input"] == Self.input)
    #expect(request.verify(with: try makeVerifier(), atMilliseconds: noonMilliseconds).name == "verified")
  }

  @Test(arguments: [
    // Members: missing, doubled, reordered, renamed, unknown
    Change(#"ip="192.0.2.7", "#, "", "identity-form"),
    Change(#"port=51324, "#, "", "identity-form"),
    Change(#", edge="edge-a""#, "", "identity-form"),
    Change(#", cid=:AAECAwQFBgcICQoLDA0ODw==:"#, "", "identity-form"),
    Change(#"ip="192.0.2.7""#, #"ip="192.0.2.7", ip="192.0.2.7""#, "identity-form"),
    Change(#"ip="192.0.2.7", port=51324"#, #"port=51324, ip="192.0.2.7""#, "identity-form"),
    Change("ip=", "IP=", "identity-form"),
    Change("ODw==:", "ODw==:, x=1", "identity-form"),
    Change("ODw==:", "ODw==:;q=1", "identity-form"),
    Change("ODw==:", "ODw==:,", "identity-form"),
    // White space: exactly one space after each comma, none elsewhere
    Change(", port", ",port", "identity-form"),
    Change(", port", ",  port", "identity-form"),
    Change(", port", ",\tport", "identity-form"),
    Change(", port", " , port", "identity-form"),
    Change("ip=", " ip=", "identity-form"),
    Change("ODw==:", "ODw==: ", "identity-form"),
    Change("ip=", "ip =", "identity-form"),
    // Addresses
    Change("192.0.2.7", "192.0.2.256", "identity-address"),
    Change("192.0.2.7", "192.0.2.07", "identity-address"),
    Change("192.0.2.7", "192.0.2", "identity-address"),
    Change("192.0.2.7", "3221225991", "identity-address"),
    Change("192.0.2.7", "0.0.0.0", "identity-address"),
    Change("192.0.2.7", "255.255.255.255", "identity-address"),
    Change("192.0.2.7", "224.0.0.1", "identity-address"),
    Change("192.0.2.7", "192.0.2.7:80", "identity-address"),
    Change("192.0.2.7", " 192.0.2.7", "identity-address"),
    Change("192.0.2.7", "::ffff:192.0.2.7", "identity-address"),
    Change("192.0.2.7", "::", "identity-address"),
    Change("192.0.2.7", "ff02::1", "identity-address"),
    Change("192.0.2.7", "[2001:db8::1]", "identity-address"),
    Change("192.0.2.7", "fe80::1%eth0", "identity-address"),
    Change("192.0.2.7", "unknown", "identity-address"),
    Change("192.0.2.7", "", "identity-address"),
    Change("192.0.2.7", "2001:DB8::1", "identity-form"),
    Change("192.0.2.7", "2001:db8:0:0:0:0:0:1", "identity-form"),
    Change("192.0.2.7", "2001:0db8::1", "identity-form"),
    Change("192.0.2.7", "2001:db8::1:0:0:0:1", "identity-form"),
    Change("192.0.2.7", "64:ff9b::192.0.2.7", "identity-form"),
    // Ports
    Change("port=51324", "port=0", "identity-form"),
    Change("port=51324", "port=65536", "identity-form"),
    Change("port=51324", "port=051324", "identity-form"),
    Change("port=51324", "port=-1", "identity-form"),
    Change("port=51324", "port=+1", "identity-form"),
    Change("port=51324", "port=1.0", "identity-form"),
    Change("port=51324", #"port="51324""#, "identity-form"),
    Change("port=51324", "port=", "identity-form"),
    Change("port=51324", "port=99999999999999999999999", "identity-form"),
    // Words
    Change(#""https""#, #""HTTPS""#, "identity-form"),
    Change(#""https""#, #""httpss""#, "identity-form"),
    Change(#""https""#, #""ftp""#, "identity-form"),
    Change(#""https""#, "https", "identity-form"),
    Change(#""socket""#, #""Socket""#, "identity-form"),
    Change(#""socket""#, #""proxy-v3""#, "identity-form"),
    Change(#""socket""#, #""""#, "identity-form"),
    Change(#""socket""#, "socket", "identity-form"),
    // Names
    Change(#""edge-a""#, #""edge a""#, "identity-form"),
    Change(#""edge-a""#, #""""#, "identity-form"),
    Change(#""edge-a""#, #""edge\"a""#, "identity-form"),
    Change("edge-a", String(repeating: "e", count: 65), "identity-form"),
    Change("monitor-1", "Monitor-1", "identity-form"),
    Change("monitor-1", "monitor_1", "identity-form"),
    Change("monitor-1", String(repeating: "m", count: 65), "identity-form"),
    Change("monitor-1", "monitor-2", "audience-wrong"),
    // Byte sequences: standard base64, padded, no bits left over
    Change("ODw==", "ODw", "identity-form"),
    Change("ODw==", "ODw=", "identity-form"),
    Change("ODw==", "ODx==", "identity-form"),
    Change("ODw==", "OD-==", "identity-form"),
    Change("ODw==", "ODwA", "identity-form"),
    Change(":AAEC", "AAEC", "identity-form"),
    Change("ODw==:", "ODw==", "identity-form"),
    Change("ODw==:", "ODw==:, cert=:AAAA:", "identity-form"),
    Change(
      "ODw==:", "ODw==:, cert=:wWaxMmndY/w1x5f/CKbNkAlQZqdFrdttiDHCsPh4IRQ=", "identity-form"),
    Change(
      "ODw==:", "ODw==:, cert=:wWaxMmndY/w1x5f/CKbNkAlQZqdFrdttiDHCsPh4IRR=:", "identity-form"),
  ]) func attestation(_ change: Change) throws { try check(change, part: "attest", original: Self.attest) }

  @Test(arguments: [
    Change("cs=", "sig1=", "signature-form"),
    Change("cs=", "CS=", "signature-form"),
    Change("cs=", "", "signature-form"),
    Change("cs=(", "cs=[", "signature-form"),
    Change(#"sign""#, #"sign", other=("@method");tag="x""#, "signature-form"),
    Change(#"sign""#, #"sign" "#, "signature-form"),
    Change(#""@query" "#, "", "signature-components"),
    Change(#" "client-attest""#, "", "signature-components"),
    Change(#" "client-attest""#, #" "client-attest" "host""#, "signature-components"),
    Change(#" "client-attest""#, #" "client-attest";sf"#, "signature-components"),
    Change(#"("@method" "@authority""#, #"("@authority" "@method""#, "signature-components"),
    Change(#""@method" "@auth"#, #""@method"  "@auth"#, "signature-components"),
    Change(#"cs=("@"#, #"cs=( "@"#, "signature-components"),
    Change(");", ") ;", "signature-params"),
    Change(";created=1767268800", "", "signature-params"),
    Change(";expires=1767268830", "", "signature-params"),
    Change(";created=1767268800;expires=1767268830", ";expires=1767268830;created=1767268800", "signature-params"),
    Change(";created", "; created", "signature-params"),
    Change("=1767268800", "=01767268800", "signature-params"),
    Change("=1767268800", "=1767268800.0", "signature-params"),
    Change("=1767268800", "=1000000000000000", "signature-params"),
    Change("=1767268800", "=-1", "signature-params"),
    Change("=1767268800", "=", "signature-params"),
    Change(#";nonce="AZt5bdYAAAE.1""#, "", "signature-params"),
    Change("AAE.1", "AAF.1", "signature-params"),
    Change("AAE.1", "AAE=.1", "signature-params"),
    Change("AZt5bdYA", "AZt5bdY/", "signature-params"),
    Change("AZt5bdYAAAE", "AAAAAAAAAAA", "signature-params"),
    Change("AAE.1", "AAE.0", "signature-params"),
    Change("AAE.1", "AAE.01", "signature-params"),
    Change("AAE.1", "AAE.", "signature-params"),
    Change("AAE.1", "AAE1", "signature-params"),
    Change("AAE.1", "AAE.9223372036854775808", "signature-params"),
    Change("AAE.1", "AAE.18446744073709551617", "signature-params"),
    Change(#";keyid="k1""#, "", "signature-params"),
    Change(#"keyid="k1""#, #"keyid="""#, "signature-params"),
    Change(#"keyid="k1""#, #"keyid="k 1""#, "signature-params"),
    Change(#"keyid="k1""#, #"keyid="\#(String(repeating: "k", count: 33))""#, "signature-params"),
    Change(#"keyid="k1""#, #"keyid="k1";alg="hmac-sha256""#, "signature-params"),
    Change(#"keyid="k1""#, #"alg="hmac-sha256";keyid="k1""#, "signature-params"),
    Change(#"sign""#, #"sign";x"#, "signature-params"),
    Change(#";tag="countersign""#, "", "signature-tag"),
    Change(#"tag="countersign""#, #"tag="Countersign""#, "signature-tag"),
    Change(#"tag="countersign""#, #"tag="countersign2""#, "signature-tag"),
    Change(#"tag="countersign""#, #"tag="""#, "signature-tag"),
    Change(#"keyid="k1""#, #"keyid="k2""#, "key-unknown"),
    // The key decides the algorithm: its signatures are 64 bytes, this one has 32.
    Change(#"keyid="k1""#, #"keyid="ed1""#, "signature-length"),
    Change("1767268800;expires=1767268830", "1767268803;expires=1767268833", "time-future"),
    Change("1767268800;expires=1767268830", "1767268769;expires=1767268799", "time-expired"),
    Change("expires=1767268830", "expires=1767268831", "time-lifetime"),
    Change("expires=1767268830", "expires=1767268829", "time-lifetime"),
    Change("expires=1767268830", "expires=1767268800", "time-lifetime"),
    Change("AAE.1", "AAE.2", "signature-invalid"),
  ]) func signatureInput(_ change: Change) throws { try check(change, part: "input", original: Self.input) }

  @Test(arguments: [
    ("", "identity-missing"),
    ("cs=", "signature-form"),
    ("cs=::", "signature-length"),
    ("cs=:AAAA:", "signature-length"),
    ("sig1=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=:", "signature-form"),
    ("cs=F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=", "signature-form"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=", "signature-form"),
    ("cs=:F_nmgD8guhObkXgq8MKLjsycm6iNb-ZCWUDoDwngIzQ=:", "signature-form"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzR=:", "signature-form"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ:", "signature-length"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQQ:", "signature-length"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIw==:", "signature-length"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=:, x=1", "signature-form"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=:;x", "signature-form"),
    (" cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=:", "signature-form"),
    (
      "cs=:8xx3HPBUPdmmLoq2u7J3hcH3Zkxkpmn1yis7qdBODnVkXi2sQAAc7M8KuhfJfQbAVheMnm9reKDyKikMWwv6Cw==:",
      "signature-length"
    ),
    ("cs=:\(String(repeating: "A", count: 88)):", "signature-length"),
    ("cs=:\(String(repeating: "A", count: 4000)):", "signature-length"),
    ("cs=:F/nmgD8guhObkXgq8MKLjsycm6iNb+ZCWUDoDwngIzQ=:", "signature-invalid"),
  ]) func signature(_ text: String, refusal: String) throws {
    var request = try makeSigner().request()
    request["signature"] = text
    #expect(request.verify(with: try makeVerifier(), atMilliseconds: noonMilliseconds).name == refusal)
  }

  private func check(_ change: Change, part: String, original: String) throws {
    var request = try makeSigner().request()
    let at = try #require(original.range(of: change.from))
    request[part] = original.replacingCharacters(in: at, with: change.to)
    #expect(request.verify(with: try makeVerifier(), atMilliseconds: noonMilliseconds).name == change.refusal)
  }

  @Test func aFieldOfAnyLengthIsRefused() throws {
    for part in ["attest", "input", "signature"] {
      var request = try makeSigner().request()
      request[part] = String(repeating: "a", count: 10_000)
      #expect(request.verify(with: try makeVerifier(), atMilliseconds: noonMilliseconds).name.hasSuffix("-form"))
    }
  }
}
