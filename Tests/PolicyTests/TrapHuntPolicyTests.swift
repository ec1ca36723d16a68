// No request, no header and no file ends the process: each reader is given a great many inputs (TestSupport's Mutator), and what it says
// of them is mostly not looked at.

import Foundation
import Platform
import Policy
import TestSupport
import Testing
import Wire

@Suite struct TrapHuntPolicyTests {
  private static let rounds = 1_500

  // MARK: Who the client is

  @Test func signedRequests() throws {
    let verifier = try makeVerifier()
    let good = try (0..<4).map { _ in try makeSigner().request() }
    var inputs = (0..<3).map { i in
      Mutator(
        UInt64(21 + i), samples: good.map { $0.parts[4 + i] },
        fragments: ["\"", ":", "=", "==", ";created=", ";expires=1767268830", ".", "\", port=", "cs=:", ", cert=:"],
        bytesMax: 400)
    }
    var dice = Seeded(24)
    for round in 0..<Self.rounds {
      var request = good[round % good.count]
      for part in 0..<3 where dice.next() % 2 == 0 { request.parts[4 + part] = inputs[part].next() }
      if dice.next() % 4 == 0 { request["input"] = Self.withTimes(request["input"], &dice) }
      let now = noonMilliseconds &+ dice.next() % 3 &* 30_000
      _ = request.verify(with: verifier, atMilliseconds: dice.next() % 20 == 0 ? dice.next() : now)
      _ = verifier.timeFault
    }
  }

  /// Times and numbers at which something might overflow.
  private static func withTimes(_ input: String, _ dice: inout Seeded) -> String {
    let edges: [UInt64] = [0, 1, 1_767_268_800, 1_767_268_830, 999_999_999_999_999, 18_446_744_073_709_551, .max]
    func number(_ dice: inout Seeded) -> String { "\(edges[Int(dice.next() % UInt64(edges.count))])" }
    return input.replacing("1767268800", with: number(&dice)).replacing("1767268830", with: number(&dice))
      .replacing(".1\"", with: ".\(number(&dice))\"")
  }

  @Test func attestedHeaders() throws {
    let verifier = try makeVerifier()
    let signer = try makeSigner()
    let local = try #require(IPAddress("198.51.100.1"))
    let samples: [[UInt8]] = try (0..<4).map { i in
      var identity = someone
      if i % 2 == 1 { identity.address = try #require(IPAddress("2001:db8::7")) }
      let made = signer.makeProxyHeader(
        identity, destination: local, destinationPort: 443, alpn: "h2".utf8.span, authority: "a.example".utf8.span,
        tlsVersion: "TLSv1.3".utf8.span, tlsCipher: "X".utf8.span, nowMilliseconds: noonMilliseconds)
      let draft = try #require(made)
      return draft.withBytes { bytes in bytes.indices.map { bytes[$0] } }
    }
    var inputs = Mutator(25, samples: samples)
    for _ in 0..<Self.rounds {
      var bytes = inputs.next()
      // Bytes of the attestation itself, with a sum that is right.
      if inputs.below(2) == 0 {
        bytes = inputs.pick(samples)
        let at = bytes.count - 1 - inputs.below(110)
        bytes[at] = UInt8(inputs.below(256))
        Self.mendChecksum(&bytes)
      }
      guard case .complete(let header) = ProxyHeader.decode(bytes.span, rules: .attested) else { continue }
      _ = verifier.verifyProxy(bytes.span, header: header, at: steady(inputs.pick([0, noonMilliseconds, .max])))
    }
  }

  private static func mendChecksum(_ bytes: inout [UInt8]) {
    for at in 16..<max(16, bytes.count - 7) where Array(bytes[at..<at + 3]) == [3, 0, 4] {
      let sum = CRC32C.checksum(bytes.span, zeroing: at + 3..<at + 7)
      for i in 0..<4 { bytes[at + 3 + i] = UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * i)) }
      return
    }
  }

  @Test func forwardedFields() throws {
    var config = Config()
    var listener = Config.Listener(name: "public", address: .address(try #require(IPAddress("203.0.113.80")), port: 1))
    listener.trust = try TrustFacts.rules(TrustTests.rules)
    config.listeners = [listener]
    let policy = TrustPolicy(listener, infrastructure: Infrastructure(config))
    let peers = ["10.0.0.1", "10.0.1.1", "10.0.2.1", "10.0.4.1", "203.0.113.9"].compactMap { IPAddress($0) }
    let samples = [
      "X-Forwarded-For: 203.0.113.9, 192.0.2.1\r\nX-Forwarded-Proto: https, http\r\n",
      "Forwarded: for=203.0.113.9;proto=https, for=192.0.2.1;by=\"_x\\\"y\"\r\n",
      "X-Forwarded-For: [2001:db8::1]:1\r\nX-Forwarded-For: 192.0.2.1:5\r\nX-Forwarded-Proto: ws\r\n",
    ]
    var inputs = Mutator(26, texts: samples, fragments: [",", "\"", ";", "for=", "proto=", "\\", "192.0.2.1", "\r\n"])
    let head = RequestHead(fieldsMax: 20)
    let limits = HeadLimits(headBytes: 4_096, fields: 20)
    for _ in 0..<Self.rounds {
      let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\n".utf8) + inputs.next() + Array("\r\n".utf8)
      guard case .complete = head.parse(bytes.span, limits: limits) else { continue }
      for peer in peers {
        let rule = policy.rule(for: peer)
        let settled = policy.settle(
          rule: rule, peer: peer, peerPort: 1, local: nil, proxy: nil, bytes: bytes.span, head: head, nowMilliseconds: 0
        )
        _ = TrustWalk(policy, rule: rule, proxy: nil, bytes: bytes.span, head: head, settlement: settled)
      }
    }
  }

  // MARK: Routes

  @Test func paths() throws {
    var match = Config.RouteMatch()
    match.path = .pattern("/a/(.*)/b")
    var prefix = Config.RouteMatch()
    prefix.path = .prefix("/api/")
    prefix.host = .pattern(".*\\.example")
    let table = try RouteTable([match, prefix, Config.RouteMatch()])
    let samples = [
      "/a/../b//./c%2f%2e%2e/", "/api/x", "/%61/%2561", "/..", "//", "/a/x/b", "*", "a.example:80", "[::1]:8",
    ]
    var inputs = Mutator(27, texts: samples, fragments: ["/..", "/.", "//", "%2e", "%2F", "%", "?", "\u{0}", "."])
    for _ in 0..<Self.rounds * 2 {
      let (path, host) = (inputs.next(), inputs.next())
      let small = Buffer(capacity: 1 + inputs.below(40))
      NormalPath.write(path.span, into: small)
      let name = host.span.extracting(first: RouteTable.hostNameBytes(host.span))
      _ = table.find(host: name, path: path.span)
    }
  }

  @Test func patterns() {
    let samples = [
      "/api/(?:v[1-9]|x{2,3})/.*", "[^/]+\\.example", "(?i)\\Q.\\E(a|b)*c?",
      "a{1,9}{2}[[:alpha:]]\\x{41}\\d(?<n>x)\\k<n>",
      "((((((a))))))|[\\]a-]", "\\", "[", "(?#x)(?=y)$^",
    ]
    var inputs = Mutator(
      28, texts: samples, fragments: ["(", ")", "[", "]", "{", "}", "\\", "|", "?", "*", "+", "{9999}"])
    let subject = Array("/api/v1/x".utf8)
    for _ in 0..<Self.rounds / 4 {
      let text = inputs.nextText()
      _ = LiteralPrefix(of: text)
      for proposal in PatternExample.proposals(for: text) { #expect(proposal.count < 1 << 20) }
      if text.utf8.count < 200, let pattern = try? Pattern(text) { _ = pattern.match(subject.span) }
    }
  }

  // MARK: Files

  @Test func configurations() throws {
    let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    var samples: [[UInt8]] = []
    for name in ["edge", "validator"] {
      samples.append(Array(try Data(contentsOf: repository.appendingPathComponent("conf/\(name).yaml"))))
    }
    let manual = String(
      decoding: try Data(contentsOf: repository.appendingPathComponent("docs/CONFIG.md")), as: UTF8.self)
    for part in manual.split(separator: "```yaml\n").dropFirst() {
      samples.append(Array(part.prefix { $0 != "`" }.utf8) + Array(minimal().utf8))
    }
    var inputs = Mutator(
      29, samples: samples,
      fragments: [": ", "- ", "[", "]", "{", "}", "&a ", "*a", "!!x ", "|\n", "${X}", "$1", "\n  "],
      bytesMax: 20_000)
    for _ in 0..<Self.rounds / 5 {
      let result = ConfigReader.read(text: inputs.nextText(), path: "/etc/countersign/x.yaml") { _ in "1" }
      #expect(result.config != nil || !result.diagnostics.isEmpty)
      if let config = result.config { #expect(!config.resolved().isEmpty) }
    }
  }

  @Test func valuesInConfigurations() {
    let samples = [
      "10s", "250ms", "4h", "1GiB", "srv:_http._tcp.a", "127.0.0.1:80", "[::1]:443", "unix:/run/x", "10.0.0.0/8",
      "2026-12-01T00:00:00.123Z", "$client - \"$request\" ${status}$$", "/x/$1?$2$$", "https://$host:1/",
    ]
    var inputs = Mutator(30, texts: samples, fragments: ["$", "${", "}", ":", "/", ".", "T", "Z", "h"], bytesMax: 300)
    for _ in 0..<Self.rounds * 2 {
      let text = inputs.nextText()
      _ = DurationText.milliseconds(text)
      _ = Timestamp.milliseconds(text)
      _ = ConfigReader.endpoint(text)
      _ = ConfigReader.range(text)
      _ = LogTemplate.parse(text)
      _ = try? FieldTemplate(text, .path)
      _ = try? FieldTemplate(text, .field)
      _ = Timestamp.text(milliseconds: inputs.dice.next())
      _ = Timestamp.span(milliseconds: inputs.dice.next())
    }
  }

  @Test func filesOfUsersAndKeys() {
    let users =
      "# x\na:$2y$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234567\r\n"
      + "b:$5$rounds=5000$salt$\(String(repeating: "a", count: 43))\nc:$6$s$\(String(repeating: "b", count: 86))\n"
    let keys =
      "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k1\",\"alg\":\"HS256\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\","
      + "\"nbf\":1,\"exp\":18446744073709551615},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"e\",\"x\":\"AAECAwQ\"}]}"
    var lines = Mutator(31, texts: [users], fragments: ["$", ":", "\n", "$2y$", "rounds=", "$5$"])
    var sets = Mutator(32, texts: [keys], fragments: ["[", "{", "\"", ",", "null", "\\u0000"], bytesMax: 1_000)
    for _ in 0..<Self.rounds / 3 {
      _ = try? UserFile.parse(lines.next(), path: "users")
      _ = try? KeySet(json: SecretBytes(sets.next().span), source: "keys", allowsPublishedKeys: true)
    }
  }

  // MARK: Counts

  @Test func countsOfClients() throws {
    var dice = Seeded(33)
    var detector = CollapseDetector()
    for _ in 0..<Self.rounds {
      var sketch = ClientSketch()
      let clients = 1 + dice.next() % 60
      for _ in 0..<dice.next() % 200 {
        sketch.observe(dice.next() % clients &* 0x9e37_79b9_7f4a_7c15 | 1, isPrivate: dice.next() % 3 == 0)
      }
      _ = detector.take(sketch)
    }
    let table = try #require(ReplayTable(windowBits: 1 << 10, epochsMax: 4))
    let edges: [UInt64] = [0, 1, 2, 3, 1_023, 1_024, 1 << 58, UInt64(Int64.max), .max]
    for _ in 0..<Self.rounds {
      func number() -> UInt64 { edges[Int(dice.next() % UInt64(edges.count))] &+ dice.next() % 3 }
      let (epoch, sequence, now) = (number(), number(), dice.next() % 1 << 40)
      _ = table.peek(epoch: epoch, sequence: sequence)
      _ = table.mark(
        epoch: epoch, sequence: sequence, expiresMilliseconds: now &+ dice.next() % 30_000, nowMilliseconds: now)
    }
    let rate = try #require(RateTable(lines: 2, key0: 1, key1: 2, nowMicroseconds: dice.next()))
    let limit = RateLimit(Config.Rate(requests: 10, period: .second, burst: 20))
    for _ in 0..<Self.rounds {
      _ = rate.take(dice.next() % 64 &* 0x0400_0000_0000_0001, limit, nowMicroseconds: dice.next())
    }
  }
}
