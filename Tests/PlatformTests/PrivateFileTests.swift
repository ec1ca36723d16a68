// Files of secrets: whole, narrow, and never through a link.

import Foundation
import Glibc
import Platform
import Testing

@Suite final class PrivateFileTests {
  let directory = FileManager.default.temporaryDirectory.appendingPathComponent("private-\(UUID().uuidString)").path
  var path: String { "\(directory)/secret" }

  init() throws { try PrivateFile.makeDirectory(directory) }
  deinit { try? FileManager.default.removeItem(atPath: directory) }

  func mode(_ path: String) throws -> Int? {
    try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
  }

  @Test func aNewFileIsForItsOwnerAlone() throws {
    try PrivateFile.write(Array("one".utf8), to: path, existing: .refuse)
    #expect(try mode(path) == 0o600)
    #expect(try mode(directory) == 0o700)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "one")
  }

  @Test func anExistingFileIsRefusedOrReplacedWhole() throws {
    try PrivateFile.write(Array("one, and longer".utf8), to: path, existing: .refuse)
    #expect(throws: SystemError.self) { try PrivateFile.write(Array("two".utf8), to: path, existing: .refuse) }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "one, and longer")
    try PrivateFile.write(Array("two".utf8), to: path, existing: .replace)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "two")
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["secret"])
  }

  @Test func aLinkIsReplacedAndNotFollowed() throws {
    try PrivateFile.write(Array("theirs".utf8), to: "\(directory)/target", existing: .refuse)
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "\(directory)/target")
    #expect(throws: SystemError.self) { try PrivateFile.write(Array("x".utf8), to: path, existing: .refuse) }
    try PrivateFile.write(Array("ours".utf8), to: path, existing: .replace)
    #expect(try String(contentsOfFile: "\(directory)/target", encoding: .utf8) == "theirs")
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "ours")
  }

  @Test func aDanglingLinkExists() throws {
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/nowhere")
    #expect(PrivateFile.exists(path))
    #expect(throws: SystemError.self) { try PrivateFile.write([], to: path, existing: .refuse) }
  }

  @Test func whatItsGroupCouldReadStaysSoAndNoWider() throws {
    try PrivateFile.write(Array("one".utf8), to: path, existing: .refuse)
    #expect(chmod(path, 0o640) == 0)
    try PrivateFile.write(Array("two".utf8), to: path, existing: .replace)
    #expect(try mode(path) == 0o640)
    #expect(chmod(path, 0o604) == 0)
    try PrivateFile.write(Array("three".utf8), to: path, existing: .replace)
    #expect(try mode(path) == 0o600)
  }

  /// Root may rotate a service's keys without taking them from it. Who is not root keeps what is its own.
  @Test func whatBelongedToAnotherStaysItsOwn() throws {
    try PrivateFile.write(Array("one".utf8), to: path, existing: .refuse)
    let owner: uid_t = geteuid() == 0 ? 65_534 : geteuid()
    #expect(chown(path, owner, gid_t.max) == 0)
    try PrivateFile.write(Array("two".utf8), to: path, existing: .replace)
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect((attributes[.ownerAccountID] as? NSNumber)?.uint32Value == owner)
    #expect(try mode(path) == 0o600)
  }

  @Test func aFailureLeavesNothingBehind() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    #expect(throws: SystemError.self) { try PrivateFile.write(Array("x".utf8), to: path, existing: .replace) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["secret"])
    #expect(throws: SystemError.self) { try PrivateFile.write([], to: "\(directory)/none/x", existing: .refuse) }
  }

  @Test func directoriesAreMadeWithTheirParentsAndExistingOnesKept() throws {
    try PrivateFile.makeDirectory("\(directory)/a/b/c")
    #expect(try mode("\(directory)/a/b/c") == 0o700)
    #expect(chmod("\(directory)/a", 0o755) == 0)
    try PrivateFile.makeDirectory("\(directory)/a")
    #expect(try mode("\(directory)/a") == 0o755)
    try PrivateFile.write([], to: path, existing: .refuse)
    #expect(throws: SystemError.self) { try PrivateFile.makeDirectory(path) }
  }
}
