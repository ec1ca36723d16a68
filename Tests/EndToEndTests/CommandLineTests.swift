// The other commands: what they make works, and what they print is what would happen.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct CommandLine {
    @Test func keysAreMadePrivateAndNeverOverwritten() throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "")
      for file in [keys.edge, keys.validator] {
        let attributes = try FileManager.default.attributesOfItem(atPath: file)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
      }
      let before = try String(contentsOfFile: keys.edge, encoding: .utf8)
      let again = try Countersign.command("keys", "new", "--kid", "k1", "--out", keys.edge)
      #expect(!again.exit.isSuccess)
      #expect(try String(contentsOfFile: keys.edge, encoding: .utf8) == before)
    }

    /// Not the whole program's.
    @Test(arguments: [
      ["route", "close", "a", "--for", "3", "--admin", "unix:/x"], ["route", "list", "--admin", "x"],
      ["status", "--admin", "x"],
      ["explain", "-n", "3", "-c", "x", "--listener", "a", "--peer", "192.0.2.1"],
      ["explain", "--live", "-n", "0", "--admin", "unix:/x"],
      ["explain", "--live", "--for", "1", "--admin", "unix:/x"],
      ["doctor", "http://127.0.0.1:1", "--from", "127.0.0.1", "--from", "127.0.0.2", "--validator", "x"],
    ]) func aWrongArgumentIsToldWithTheCommandsUsage(_ arguments: [String]) throws {
      let outcome = try ChildProcess.run([try Programs.countersign] + arguments)
      #expect(outcome.exit == .code(2))
      #expect(outcome.error.contains("Usage: countersign \(arguments[0]) "), "\(outcome.error)")
    }

    /// A rotation without a hand-edited file: from k1 to k2, with requests served all along, and k1 refused at the end.
    @Test(arguments: Site.Mode.allCases)
    func keysAreRotatedWithTheCommandsAlone(_ mode: Site.Mode) throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "")
      let site = try Site(
        mode, validator: { $0.identity[0] = "keys: \"\(keys.validator)\"" },
        edge: { $0.identity[1] = "keys: \"\(keys.edge)\"" })
      let connection = try site.connect()
      func served() throws { #expect(try connection.get("/served").status == 200) }
      func command(_ arguments: String...) throws {
        try ChildProcess.succeed([try Programs.countersign, "keys"] + arguments)
      }
      func reload(_ process: Countersign, _ text: String) throws {
        let start = process.process.standardError.count
        try process.reload(text)
        let line = process.process.standardError.wait(from: start) { $0.contains("reload") ? $0 : nil }
        #expect(line?.contains("reloaded") == true, "\(line ?? "nothing said")")
      }
      try served()
      try command("new", "--kid", "k2", "--out", keys.edge)
      try command("export", "--audience", Keys.audience, "--in", keys.edge, "--out", keys.validator)
      try reload(site.validator, site.validatorConfiguration.text)
      try served()
      var next = site.edgeConfiguration
      next.identity[2] = "sign_with: k2"
      try reload(site.edge, next.text)
      try served()
      // Nothing is signed with it now.
      try command("retire", "--kid", "k1", keys.edge)
      try command("retire", "--kid", "k1", keys.validator)
      try reload(site.edge, next.text)
      try reload(site.validator, site.validatorConfiguration.text)
      try eventually("the connection goes on under k2") { try site.connect().get("/after").status == 200 }
      for file in [keys.edge, keys.validator] {
        let listed = try Countersign.command("keys", "list", file).output
        #expect(listed.contains("k2") && !listed.contains("k1"))
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? NSNumber
        #expect(mode?.intValue == 0o600)
      }
    }

    @Test func aKeyThatIsNotThereOrIsTheLastIsNotRetired() throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "")
      for (kid, word) in [("k9", "\"k1\""), ("k1", "only one")] {
        for file in [keys.edge, keys.validator] {
          let before = try String(contentsOfFile: file, encoding: .utf8)
          let outcome = try Countersign.command("keys", "retire", "--kid", kid, file)
          #expect(outcome.exit == .code(1) && outcome.error.contains(word), "\(outcome.error)")
          #expect(try String(contentsOfFile: file, encoding: .utf8) == before)
        }
      }
      withExtendedLifetime(workspace) {}
    }

    /// A validator's set is derived from the edge's secret and does not hold it.
    @Test func anExportedSetCannotForgeForAnother() throws {
      struct Set: Decodable {
        struct Key: Decodable { var k: String, cs_purpose: String?, cs_aud: String? }
        var keys: [Key]
      }
      func set(_ path: String) throws -> Set {
        try JSONDecoder().decode(Set.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
      }
      let keys = try Keys.standard
      let secret = try #require(set(keys.edge).keys.first?.k)
      let exported = try set(keys.validator).keys
      #expect(!exported.contains { $0.k == secret })
      #expect(exported.compactMap(\.cs_purpose).sorted() == ["http", "pp2"])
      #expect(exported.allSatisfy { $0.cs_aud == Keys.audience })
      for key in exported {
        let info = Array((key.cs_purpose ?? "").utf8) + [0] + Array(Keys.audience.utf8)
        #expect(Forger.base64url(key.k) == Digest.hkdf(Forger.base64url(secret)!, salt: "countersign/v1", info: info))
      }
    }

    @Test func aListOfKeysShowsNoSecret() throws {
      let keys = try Keys.standard
      let outcome = try Countersign.command("keys", "list", keys.edge)
      #expect(outcome.exit == .code(0))
      #expect(outcome.output.contains(Keys.kid))
      let object =
        try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: keys.edge))) as? [String: Any]
      let secrets = (object?["keys"] as? [[String: Any]] ?? []).compactMap { $0["k"] as? String }
      #expect(!secrets.isEmpty && secrets.allSatisfy { !outcome.output.contains($0) })
    }

    /// Ed25519: the validator holds the public half only, and everything works the same.
    @Test(arguments: Site.Mode.allCases)
    func edgeAndValidatorAgreeOnPublicKeysToo(_ mode: Site.Mode) throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "", algorithm: "ed25519")
      #expect(try !String(contentsOfFile: keys.validator, encoding: .utf8).contains("\"d\""))
      let site = try Site(
        mode, validator: { $0.identity[0] = "keys: \"\(keys.validator)\"" },
        edge: { $0.identity[1] = "keys: \"\(keys.edge)\"" })
      let connection = try site.connect(from: Peer.client(3))
      for _ in 0..<20 { #expect(try connection.get("/ed25519").text == Peer.client(3)) }
    }

    @Test func certificatesForTryingThingsOutWork() throws {
      let workspace = try Workspace()
      let directory = workspace.file("certs")
      let outcome = try Countersign.command(
        "certs", "dev", "--out", directory, "--name", Site.host, "--name", "monitor-1.internal")
      #expect(outcome.exit == .code(0), "\(outcome.error)")
      let pair = Certificate(certificate: "\(directory)/server.pem", key: "\(directory)/server.key")
      let mode = try FileManager.default.attributesOfItem(atPath: pair.key)[.posixPermissions] as? NSNumber
      #expect(mode?.intValue == 0o600)
      let site = try Site(.bound, edge: { $0.listeners[0].certificates = [pair] })
      let answer = try site.curl.fetch(site.url("/", scheme: "https"), ["--cacert", "\(directory)/ca.pem"])
      #expect(answer.status == 200, "\(answer.error)")
      #expect(answer.body == Peer.client())
      let verified = try ChildProcess.run([
        try Programs.openssl, "verify", "-x509_strict", "-CAfile", "\(directory)/ca.pem", pair.certificate,
      ])
      #expect(verified.succeeded, "\(verified.error)")
    }

    @Test func explainSaysWhoTheClientWouldBe() throws {
      let workspace = try Workspace()
      var configuration = Configuration.edge(keys: try Keys.standard, to: ["127.0.0.1:9"], bound: true)
      configuration.listeners[0].trust = [
        "from: [10.0.0.0/24], evidence: proxy-protocol",
        "from: [10.0.1.0/24], evidence: forwarded, header: x-forwarded-for, hops: [192.0.2.0/24]",
        "from: any, evidence: socket",
      ]
      let file = try workspace.write("edge.yaml", configuration.text)
      let line =
        try #require(
          configuration.text.split(separator: "\n", omittingEmptySubsequences: false).firstIndex {
            $0.contains("proxy-protocol")
          }) + 1
      func explain(_ arguments: String...) throws -> String {
        let outcome = try ChildProcess.run(
          [try Programs.countersign, "explain", "-c", file, "--listener", "public"] + arguments)
        return outcome.output + outcome.error
      }
      let socket = try explain("--peer", "198.51.100.9", "-H", "X-Forwarded-For: \(Peer.claimed)")
      #expect(socket.contains("198.51.100.9") && socket.contains("socket"))
      let proxied = try explain("--peer", "10.0.0.5", "--proxy-source", "203.0.113.7:4711")
      #expect(proxied.contains("203.0.113.7") && proxied.contains("\(line)"))
      #expect(try explain("--peer", "10.0.0.5").contains("proxy-missing"))
      let forwarded = try explain(
        "--peer", "10.0.1.5", "-H", "X-Forwarded-For: \(Peer.claimed), 198.51.100.4, 192.0.2.8")
      #expect(forwarded.contains("198.51.100.4"))
      #expect(try explain("--peer", "10.0.1.5").contains("forwarded-missing"))
    }

    @Test func theHelpTeaches() throws {
      for arguments in [
        ["--help"], ["run", "--help"], ["check", "--help"], ["keys", "--help"], ["certs", "dev", "--help"],
        ["explain", "--help"],
      ] {
        let outcome = try ChildProcess.run([try Programs.countersign] + arguments)
        #expect(outcome.exit == .code(0))
        #expect(outcome.output.contains("USAGE"))
      }
      #expect(try !Countersign.command("rnu").exit.isSuccess)
    }
  }
}

extension ChildProcess.Exit {
  var isSuccess: Bool { self == .code(0) }
}
