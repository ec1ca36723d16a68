// A route's `files` publishes no directory in which the configuration keeps what is its own.

import Foundation
import Platform
import Policy
import Proxy
import Testing

@Suite struct PublishedFilesTests {
  private let directory: String

  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
    for name in ["www/deep", "keys", "site"] { try PrivateFile.makeDirectory("\(directory)/\(name)") }
    let issuer = try CertificateAuthority(commonName: "test", days: 30)
    let pair = try issuer.issue(.server(names: ["a.test"], addresses: []), commonName: "a")
    for folder in ["www/deep", "keys"] {
      try PrivateFile.write(pair.certificate, to: "\(directory)/\(folder)/a.pem", existing: .refuse)
      try PrivateFile.write(pair.key, to: "\(directory)/\(folder)/a.key", existing: .refuse)
    }
    try PrivateFile.write(Array("secret\n".utf8), to: "\(directory)/www/token", existing: .refuse)
    try PrivateFile.write(Array("routes: [{ to: app }]\n".utf8), to: "\(directory)/www/part.yaml", existing: .refuse)
  }

  private func removeFiles() { try? FileManager.default.removeItem(atPath: directory) }

  /// What `check` says of a configuration with a route of these files; `more` is beside it.
  private func found(
    _ files: String, key: String = "keys/a.key", more: String = "", file: String = "c.yaml"
  ) throws -> [String] {
    let yaml = """
      listeners:
        - { name: web, listen: "127.0.0.1:0", tls: [{ certificate: keys/a.pem, key: \(key) }] }
      routes: [{ path_prefix: /x/, files: \(files) }, { to: app }]
      upstreams: { app: { servers: ["127.0.0.1:1"] } }
      \(more)
      """
    try Data(yaml.utf8).write(to: URL(fileURLWithPath: "\(directory)/\(file)"))
    defer { try? FileManager.default.removeItem(atPath: "\(directory)/\(file)") }
    return Snapshot.check(ConfigReader.read(path: "\(directory)/\(file)"))
      .map { $0.text(file: "c").replacing(directory, with: "DIR") }
      .filter { !$0.contains("never reached") }
  }

  private let why =
    ", which this configuration needs for itself: give it a directory that holds only what anybody may read"

  @Test func aDirectoryWithNothingOfOursIsServed() throws {
    defer { removeFiles() }
    #expect(try found("site") == [])
    #expect(try found("www") == [])
  }

  /// As a variable that is set to nothing would have it.
  @Test(arguments: ["\"\"", "''", "\"${NOTHING_IS_SET:-}\""]) func noPathIsNoDirectory(files: String) throws {
    defer { removeFiles() }
    let found = try found(files)
    #expect(
      found.count == 1 && found[0].hasPrefix("c:3:37: expected the path of a directory for `routes[0].files`"),
      "\(found)")
  }

  @Test(arguments: [".", "../", "/", "www/.."]) func theConfigurationIsNotPublished(files: String) throws {
    defer { removeFiles() }
    let found = try found(files)
    #expect(
      found.count == 1
        && found[0].contains(
          "`files` would publish DIR/keys/a.key (`listeners[0].tls[0].key`) and another file like it")
        && found[0].hasSuffix(why), "\(found)")
  }

  @Test(arguments: [
    ("keys/a.key", "", "`listeners[0].tls[0].key`", "deep/a.key"),
    ("", "identity: { keys: www/k.json }", "`identity.keys`", "k.json"),
    ("", "log: { access: ./www/access.log }", "`log.access`", "access.log"),
    ("", "headers: { server: \"${file:www/token}\" }", "`${file:…}` in line 5", "token"),
    ("", "include: www/part.yaml", "`include`", "part.yaml"),
  ]) func whatTheConfigurationNamesIsNotPublished(_ key: String, _ more: String, _ what: String, _ file: String) throws
  {
    defer { removeFiles() }
    let found = try found("www", key: key.isEmpty ? "keys/a.key" : "www/deep/a.key", more: more)
    #expect(found.contains("c:3:37: DIR/www: `files` would publish DIR/www/\(file) (\(what))\(why)"), "\(found)")
  }

  /// By whatever name: of the directory, of the file, or of one on the way to it.
  @Test func noLinkLeadsAroundIt() throws {
    defer { removeFiles() }
    func link(_ name: String, to target: String) throws {
      try FileManager.default.createSymbolicLink(
        atPath: "\(directory)/\(name)", withDestinationPath: "\(directory)/\(target)")
    }
    try link("web", to: "keys")
    #expect(try found("web").first?.contains("DIR/web: `files` would publish DIR/keys/a.key") == true)
    try link("other.key", to: "www/deep/a.key")
    #expect(try found("www", key: "other.key").first?.contains("DIR/www: `files` would publish DIR/other.key") == true)
    try link("way", to: "www/deep")
    #expect(try found("www", key: "way/a.key").first?.contains("DIR/www: `files` would publish DIR/way/a.key") == true)
    // A link in the directory is replaced by a file sooner or later.
    try link("site/b.key", to: "keys/a.key")
    #expect(
      try found("site", key: "site/b.key").first?.contains("DIR/site: `files` would publish DIR/site/b.key") == true)
  }

  /// An error says why, not only that something is wrong with it.
  @Test(arguments: [
    ("identity: { keys: '' }", "expected the path of a key set (JWKS) for `identity.keys`, found ``"),
    (
      "log: { access: '' }",
      "expected `stdout`, `off`, `syslog` or the path of a file for `log.access`, found ``"
    ),
  ]) func anEmptyPathIsAnErrorForEveryKey(_ more: String, _ message: String) throws {
    defer { removeFiles() }
    let found = try found("site", more: more)
    #expect(found.contains { $0.hasSuffix(message) }, "\(found)")
  }
}
