// The `keys` commands: what they write, and what they never overwrite.

import Foundation
import Platform
import Policy
import Testing

@Suite final class ConfigKeySetStoreTests {
  let directory = FileManager.default.temporaryDirectory.appendingPathComponent("keys-\(UUID().uuidString)").path
  var edge: String { "\(directory)/edge.jwks.json" }
  var validator: String { "\(directory)/monitor-1.jwks.json" }

  init() throws { try PrivateFile.makeDirectory(directory) }
  deinit { try? FileManager.default.removeItem(atPath: directory) }

  func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

  @Test func keysAreAddedToASet() throws {
    #expect(try KeySetStore.add(id: "k1", algorithm: .hmac, to: edge).keys.count == 1)
    let first = try KeySet.load(path: edge)
    #expect(try KeySetStore.add(id: "k2", algorithm: .ed25519, to: edge).keys.count == 2)
    let second = try KeySet.load(path: edge)
    #expect(second.keys.map { "\($0.id)" } == ["k1", "k2"])
    #expect(second.keys.map(\.algorithm) == [.hmac, .ed25519])
    // The first key is the same as before.
    #expect(try second.keys[0].fingerprint() == first.keys[0].fingerprint())
    #expect(try FileManager.default.attributesOfItem(atPath: edge)[.posixPermissions] as? Int == 0o600)
  }

  @Test func aNameThatIsTakenLeavesTheFileAsItWas() throws {
    _ = try KeySetStore.add(id: "k1", algorithm: .hmac, to: edge)
    let before = try text(edge)
    let error = #expect(throws: KeySetError.self) { try KeySetStore.add(id: "k1", algorithm: .ed25519, to: edge) }
    #expect(
      error?.description.hasPrefix("\(edge): the set has a key k1 already; give the new one another name") == true)
    #expect(throws: KeySetError.self) { try KeySetStore.add(id: "k 2", algorithm: .hmac, to: edge) }
    #expect(try text(edge) == before)
  }

  @Test func eachNewKeyIsAnother() throws {
    _ = try KeySetStore.add(id: "k1", algorithm: .hmac, to: edge)
    _ = try KeySetStore.add(id: "k2", algorithm: .hmac, to: edge)
    let fingerprints = try KeySet.load(path: edge).keys.map { try $0.fingerprint() }
    #expect(Set(fingerprints).count == 2)
    #expect(fingerprints.allSatisfy { $0.count == 16 })
  }

  @Test func anExportHoldsNoSecretOfTheEdge() throws {
    _ = try KeySetStore.add(id: "k1", algorithm: .hmac, to: edge)
    _ = try KeySetStore.add(id: "k2", algorithm: .ed25519, to: edge)
    let exported = try KeySetStore.export(audience: "monitor-1", from: edge, to: validator)
    #expect(exported.keys.map(\.use) == ["http at monitor-1", "pp2 at monitor-1", "verifies"])
    let members = try JSONDecoder().decode([String: [[String: String]]].self, from: Data(text(edge).utf8))
    let written = try text(validator)
    for key in try #require(members["keys"]) {
      for secret in [key["k"], key["d"]].compactMap({ $0 }) { #expect(!written.contains(secret)) }
      if let x = key["x"] { #expect(written.contains(x)) }
    }
    #expect(!written.contains("\"d\""))
    // Both halves of the Ed25519 key have one fingerprint.
    #expect(try KeySet.load(path: validator).keys[2].fingerprint() == KeySet.load(path: edge).keys[1].fingerprint())
  }

  @Test func derivedKeysDifferByAudience() throws {
    _ = try KeySetStore.add(id: "k1", algorithm: .hmac, to: edge)
    _ = try KeySetStore.export(audience: "monitor-1", from: edge, to: validator)
    let other = "\(directory)/monitor-2.jwks.json"
    _ = try KeySetStore.export(audience: "monitor-2", from: edge, to: other)
    let fingerprints = try (KeySet.load(path: validator).keys + KeySet.load(path: other).keys).map {
      try $0.fingerprint()
    }
    #expect(Set(fingerprints).count == 4)
  }

  @Test func anExportIsRenewedButNothingElseIsOverwritten() throws {
    _ = try KeySetStore.add(id: "k1", algorithm: .hmac, to: edge)
    _ = try KeySetStore.export(audience: "monitor-1", from: edge, to: validator)
    _ = try KeySetStore.add(id: "k2", algorithm: .hmac, to: edge)
    #expect(try KeySetStore.export(audience: "monitor-1", from: edge, to: validator).keys.count == 4)
    let before = (try text(edge), try text(validator))
    #expect(throws: KeySetError.self) { try KeySetStore.export(audience: "monitor-1", from: edge, to: edge) }
    #expect(throws: KeySetError.self) { try KeySetStore.export(audience: "monitor-2", from: edge, to: validator) }
    #expect(throws: KeySetError.self) { try KeySetStore.add(id: "k3", algorithm: .hmac, to: validator) }
    let strange = "\(directory)/strange"
    try PrivateFile.write(Array("notes".utf8), to: strange, existing: .refuse)
    #expect(throws: KeySetError.self) { try KeySetStore.export(audience: "monitor-1", from: edge, to: strange) }
    #expect(throws: KeySetError.self) { try KeySetStore.add(id: "k3", algorithm: .hmac, to: strange) }
    #expect(try text(strange) == "notes")
    #expect(try (text(edge), text(validator)) == before)
  }

  @Test func keysAddedAtTheSameTimeAreAllThere() async throws {
    let edge = edge
    try await withThrowingTaskGroup(of: Void.self) { group in
      for i in 0..<8 {
        group.addTask { _ = try KeySetStore.add(id: "k\(i)", algorithm: .hmac, to: edge) }
      }
      try await group.waitForAll()
    }
    #expect(Set(try KeySet.load(path: edge).keys.map { "\($0.id)" }) == Set((0..<8).map { "k\($0)" }))
  }

  @Test func aFileThatOthersCanReadIsNotUsed() throws {
    _ = try KeySetStore.add(id: "k1", algorithm: .hmac, to: edge)
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: edge)
    #expect(throws: KeySetError.self) { try KeySetStore.add(id: "k2", algorithm: .hmac, to: edge) }
    #expect(throws: KeySetError.self) { try KeySetStore.export(audience: "monitor-1", from: edge, to: validator) }
  }
}
