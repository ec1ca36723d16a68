import Foundation
import Monitor
import Testing

@Suite struct StoreTests {
  private static let home = NetworkAddress("192.0.2.7")!
  private static let elsewhere = NetworkAddress("198.51.100.9")!
  private static let longAgo = Instant(milliseconds: 0)

  private func withPath(_ body: (String) async throws -> Void) async throws {
    let directory = try Fixture.temporaryDirectory()
    defer { try? FileManager.default.removeItem(at: directory) }
    try await body(directory.appending(path: "store.sqlite").path)
  }

  private func addPrinter(_ store: Store, _ address: NetworkAddress = home) async throws -> (Printer, Token) {
    let token = Token.make(prefix: "printer")
    return (try await store.addPrinter(name: "P1", model: "M1", token: token, address: address), token)
  }

  @Test func remembersEverythingAcrossARestart() async throws {
    try await withPath { path in
      let ownerToken = Token.make(prefix: "owner")
      let before = try Store(path: path)
      let owner = try await before.addOwner(name: "Ada", token: ownerToken)
      let (printer, printerToken) = try await addPrinter(before)
      _ = try await before.link(printer: printer.id, to: owner.id, from: Self.home, since: Self.longAgo)
      let status = PrinterStatus(state: .printing, file: "benchy.gcode", progress: 0.25, toolCelsius: 215)
      _ = try await before.setStatus(status, of: printer.id)
      let picture = Data((0..<10_000).map { UInt8(truncatingIfNeeded: $0) })
      let tag = try await before.setSnapshot(picture, contentType: "image/jpeg", of: printer.id).entityTag
      _ = try await before.addCommand(.pause, file: nil, to: printer.id, by: owner.id)
      try before.close()

      let after = try Store(path: path)
      #expect(try await after.principal(of: ownerToken) == .owner(id: owner.id))
      #expect(try await after.principal(of: printerToken) == .printer(id: printer.id))
      let found = try #require(try await after.printers(of: owner.id).first)
      #expect(found.status == status)
      #expect(found.linked)
      let snapshot = try #require(try await after.snapshot(of: printer.id))
      #expect(snapshot.bytes == picture)
      #expect(snapshot.entityTag == tag)
      #expect(try await after.commands(of: printer.id).map(\.kind) == [.pause])
      try after.close()
    }
  }

  @Test func keepsNoTokenThatCouldBeStolen() async throws {
    try await withPath { path in
      let store = try Store(path: path)
      let token = Token.make(prefix: "owner")
      _ = try await store.addOwner(name: "Ada", token: token)
      try store.close()
      let file = try Data(contentsOf: URL(filePath: path))
      #expect(file.firstRange(of: token.digest) != nil)
      #expect(file.firstRange(of: Data(token.text.utf8)) == nil)
    }
  }

  @Test func aDigestIsSHA256() {
    // FIPS 180-2, example B.1.
    let digest = Token(text: "abc").digest.map { String($0, radix: 16) }.joined(separator: " ")
    #expect(
      digest == "ba 78 16 bf 8f 1 cf ea 41 41 40 de 5d ae 22 23 b0 3 61 a3 96 17 7a 9c b4 10 ff 61 f2 0 15 ad")
  }

  @Test func textIsNeverSQL() async throws {
    try await withPath { path in
      let store = try Store(path: path)
      let name = "'); DROP TABLE printer; --\u{1F5A8}"
      let owner = try await store.addOwner(name: name, token: .make(prefix: "owner"))
      let printer = try await store.addPrinter(
        name: name, model: name, token: .make(prefix: "printer"), address: Self.home)
      let outcome = try await store.link(printer: printer.id, to: owner.id, from: Self.home, since: Self.longAgo)
      guard case .linked(let linked) = outcome else {
        Issue.record("not linked")
        return
      }
      #expect(linked.name == name)
      #expect(try await store.printer(id: "' OR 1=1 --", visibleTo: .owner(id: owner.id)) == nil)
      try store.close()
    }
  }

  @Test func exactlyOneOfManyLinksAPrinter() async throws {
    try await withPath { path in
      let store = try Store(path: path)
      let (printer, _) = try await addPrinter(store)
      let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
        for index in 0..<20 {
          group.addTask {
            let owner = try await store.addOwner(name: "Owner \(index)", token: .make(prefix: "owner"))
            let outcome = try await store.link(
              printer: printer.id, to: owner.id, from: Self.home, since: Self.longAgo)
            if case .linked = outcome { return true }
            return false
          }
        }
        return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(winners == 1)
      try store.close()
    }
  }

  @Test func whatCannotBeDiscoveredCannotBeLinked() async throws {
    try await withPath { path in
      let store = try Store(path: path)
      let owner = try await store.addOwner(name: "Ada", token: .make(prefix: "owner"))
      let (printer, _) = try await addPrinter(store)
      let later = Instant(milliseconds: Instant.now.milliseconds + 60_000)
      for (address, since) in [(Self.elsewhere, Self.longAgo), (Self.home, later)] {
        #expect(try await store.discoverable(from: address, since: since).isEmpty)
        let outcome = try await store.link(printer: printer.id, to: owner.id, from: address, since: since)
        guard case .notFound = outcome else {
          Issue.record("linked from \(address) since \(since)")
          continue
        }
      }
      #expect(try await store.discoverable(from: Self.home, since: Self.longAgo).map(\.id) == [printer.id])
      // The printer moves, and with it the place it can be found from.
      _ = try await store.announce(id: printer.id, name: "P1", model: "M1", address: Self.elsewhere)
      #expect(try await store.discoverable(from: Self.home, since: Self.longAgo).isEmpty)
      #expect(try await store.discoverable(from: Self.elsewhere, since: Self.longAgo).map(\.id) == [printer.id])
      try store.close()
    }
  }

  @Test func theNextOwnerSeesNothingOfTheLast() async throws {
    try await withPath { path in
      let store = try Store(path: path)
      let first = try await store.addOwner(name: "Ada", token: .make(prefix: "owner"))
      let (printer, _) = try await addPrinter(store)
      _ = try await store.link(printer: printer.id, to: first.id, from: Self.home, since: Self.longAgo)
      _ = try await store.setSnapshot(Data([1, 2, 3]), contentType: "image/png", of: printer.id)
      _ = try await store.addCommand(.start, file: "secret.gcode", to: printer.id, by: first.id)
      #expect(try await store.unlink(printer: printer.id, from: "somebody else") == false)
      #expect(try await store.unlink(printer: printer.id, from: first.id))
      #expect(try await store.snapshot(of: printer.id) == nil)
      #expect(try await store.commands(of: printer.id).isEmpty)
      #expect(try await store.printer(id: printer.id, visibleTo: .owner(id: first.id)) == nil)
      #expect(try await store.addCommand(.start, file: "x", to: printer.id, by: first.id) == nil)
      try store.close()
    }
  }
}
