// `log.fields`: what is taken, and what is refused; and the key that makes their digests.

import Foundation
import Platform
import Policy
import Testing

@Suite struct ConfigLogTests {
  private func log(_ fields: String, key: String = ", fields_key: log.json") -> String {
    minimal("log: { fields: [\(fields)]\(key) }\n")
  }

  @Test func fieldsAreRead() throws {
    let read = try config(log("{ name: account, header: X-Account }, { name: s_1, cookie: sid }")).log
    #expect(
      read.fields == [
        Config.Log.Field(name: "account", source: .header("X-Account")),
        Config.Log.Field(name: "s_1", source: .cookie("sid")),
      ])
    #expect(read.fieldsKey == "/etc/countersign/log.json")
  }

  @Test(arguments: [
    ("{ header: X-A }", "4:17: `log.fields[0]` lacks `name`: the name of the member in the log, such as `account`"),
    ("{ name: a }", "4:17: expected either `header` or `cookie` in `log.fields[0]`"),
    ("{ name: a, header: X-A, cookie: b }", "4:17: expected either `header` or `cookie` in `log.fields[0]`"),
    (
      "{ name: Account, header: X-A }",
      "4:25: expected a name of 1 to 32 of `a-z`, `0-9` and `_`, a letter first for `log.fields[0].name`, found `Account`"
    ),
    (
      "{ name: 1a, header: X-A }",
      "4:25: expected a name of 1 to 32 of `a-z`, `0-9` and `_`, a letter first for `log.fields[0].name`, found `1a`"
    ),
    (
      "{ name: client, header: X-A }",
      "4:25: expected a name that lines of the log do not have already for `log.fields[0].name`, found `client`"
    ),
    (
      "{ name: a, header: X A }",
      "4:36: expected the name of a request field, such as `X-Account`, of at most 64 bytes for `log.fields[0].header`, "
        + "found `X A`"
    ),
    (
      "{ name: a, cookie: 'a=b' }",
      "4:36: expected the name of a cookie, of at most 64 bytes for `log.fields[0].cookie`, found `a=b`"
    ),
    ("{ name: a, header: X }, { name: a, cookie: c }", "4:41: the name `a` is given twice"),
  ])
  func whatIsRefused(fields: String, message: String) {
    #expect(findings(log(fields)) == [message])
  }

  @Test func eightAreTheMost() throws {
    func many(_ count: Int) -> String {
      (0..<count).map { "{ name: f\($0), header: X-\($0) }" }.joined(separator: ", ")
    }
    #expect(try config(log(many(8))).log.fields.count == 8)
    #expect(findings(log(many(9))) == ["4:16: expected at most 8 fields in `log.fields`, found 9"])
  }

  @Test func fieldsAndTheirKeyComeTogether() {
    #expect(
      findings(log("{ name: a, header: X }", key: "")) == [
        "4:16: `log.fields` needs `fields_key`: the path of a key set of its own, made with `countersign keys new`"
      ])
    #expect(findings(minimal("log: { fields_key: k }\n")) == ["4:20: `fields_key` is only used with `fields`"])
  }

  @Test func theKeyIsNotTheOneThatSigns() {
    let yaml = "identity: { keys: ./log.json }\n" + log("{ name: a, header: X }")
    #expect(
      findings(yaml) == [
        "5:54: `log.fields_key` must be a key set of its own, not `identity.keys`: make one with `countersign keys new`"
      ])
  }

  @Test func aGroupMayReadTheKeyOfTheLogAlone() throws {
    let yaml = "identity: { keys_group: proxy }\n" + log("{ name: a, header: X }")
    #expect(try config(yaml).identity.keysGroup == "proxy")
  }

  // MARK: The key

  private static func temporary() throws -> String {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("log-\(UUID().uuidString)").path
    try PrivateFile.makeDirectory(directory)
    return directory
  }

  private func load(_ path: String, _ names: [String] = ["account"], identity: KeySet? = nil) throws -> LogFieldKeys {
    let fields = names.map { Config.Log.Field(name: $0, source: .cookie("c")) }
    return try LogFieldKeys.load(path: path, group: nil, fields: fields, identity: identity)
  }

  @Test func oneFileAndNameAlwaysGiveOneKeyAndNoOtherDoes() throws {
    let directory = try Self.temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try KeySetStore.add(id: "log", algorithm: .hmac, to: "\(directory)/a")
    _ = try KeySetStore.add(id: "log", algorithm: .hmac, to: "\(directory)/b")
    let keys = try load("\(directory)/a", ["account", "session"])
    #expect(try load("\(directory)/a").secrets[0].isSame(as: keys.secrets[0]))
    #expect(try load("\(directory)/a", ["session"]).secrets[0].isSame(as: keys.secrets[1]))
    #expect(!keys.secrets[0].isSame(as: keys.secrets[1]))
    #expect(try !load("\(directory)/b").secrets[0].isSame(as: keys.secrets[0]))
    // The secret itself makes nothing.
    guard case .secret(let secret) = try KeySet.load(path: "\(directory)/a").keys[0].material else {
      Issue.record("no secret")
      return
    }
    #expect(!keys.secrets[0].isSame(as: secret) && keys.secrets[0].count == 32)
  }

  @Test func whatIsNoKeyOfTheLogIsRefused() throws {
    let directory = try Self.temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    func problem(_ name: String, identity: KeySet? = nil) -> String {
      do {
        _ = try load("\(directory)/\(name)", identity: identity)
        return "none"
      } catch {
        return "\(error)".replacing(directory, with: "")
      }
    }
    let signing = try KeySetStore.add(id: "k1", algorithm: .hmac, to: "\(directory)/signing")
    #expect(problem("signing") == "none")
    #expect(
      problem("signing", identity: signing)
        == "/signing: holds the secret of the key \"k1\", which signs; make another one with: countersign keys new")
    #expect(problem("missing") == "/missing: no such file")
    _ = try KeySetStore.add(id: "k2", algorithm: .hmac, to: "\(directory)/signing")
    let one = "must hold one HMAC key and no other; make one with: countersign keys new"
    #expect(problem("signing") == "/signing: \(one)")
    _ = try KeySetStore.add(id: "e", algorithm: .ed25519, to: "\(directory)/public")
    #expect(problem("public") == "/public: \(one)")
    _ = try KeySetStore.add(id: "log", algorithm: .hmac, to: "\(directory)/open")
    chmod("\(directory)/open", 0o644)
    #expect(problem("open").hasPrefix("/open: has mode 0644"))
  }
}
