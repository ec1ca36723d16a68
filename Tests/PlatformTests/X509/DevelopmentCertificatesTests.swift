// The throw-away certificates, as OpenSSL's own program and our TLS contexts see them.

import Foundation
import Platform
import TestSupport
import Testing

@Suite struct DevelopmentCertificatesTests {
  let directory = FileManager.default.temporaryDirectory.appendingPathComponent("certs-\(UUID().uuidString)").path

  /// What `openssl` prints, and its exit code.
  func openssl(_ arguments: [String]) throws -> (output: String, code: Int32) {
    try Program.run(["openssl"] + arguments)
  }

  func mode(_ name: String) throws -> Int? {
    try FileManager.default.attributesOfItem(atPath: "\(directory)/\(name)")[.posixPermissions] as? Int
  }

  @Test func theyVerifyForTheirNamesAndForNothingElse() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try DevelopmentCertificates.write(to: directory, hosts: ["monitor-1.internal", "App.example.com", "192.0.2.9"])
    let server = "\(directory)/server.pem"
    let verify = ["verify", "-x509_strict", "-CAfile", "\(directory)/ca.pem", "-purpose"]
    func code(_ arguments: [String]) throws -> Int32 { try openssl(verify + arguments).code }
    for host in ["monitor-1.internal", "app.example.com", "localhost"] {
      #expect(try code(["sslserver", "-verify_hostname", host, server]) == 0, "\(host)")
    }
    for address in ["127.0.0.1", "127.0.0.2", "::1", "192.0.2.9"] {
      #expect(try code(["sslserver", "-verify_ip", address, server]) == 0, "\(address)")
    }
    #expect(try code(["sslserver", "-verify_hostname", "elsewhere.example", server]) != 0)
    #expect(try code(["sslserver", "-verify_ip", "127.0.0.3", server]) != 0)
    #expect(try code(["sslclient", server]) != 0)
    #expect(try code(["sslclient", "\(directory)/client.pem"]) == 0)
    #expect(try code(["sslserver", "\(directory)/client.pem"]) != 0)
  }

  @Test func theyLastThirtyDaysAndAreECDSA() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try DevelopmentCertificates.write(to: directory, hosts: [])
    for name in ["ca", "server", "client"] {
      let file = "\(directory)/\(name).pem"
      #expect(try openssl(["x509", "-in", file, "-noout", "-checkend", "\(29 * 86_400)"]).code == 0)
      #expect(try openssl(["x509", "-in", file, "-noout", "-checkend", "\(31 * 86_400)"]).code == 1)
      let text = try openssl(["x509", "-in", file, "-noout", "-text"]).output
      #expect(text.contains("NIST CURVE: P-256"))
      #expect(text.contains("Signature Algorithm: ecdsa-with-SHA256"))
      #expect(text.contains("X509v3 Basic Constraints: critical"))
      #expect(text.contains("Version: 3"))
    }
    let names = try openssl(["x509", "-in", "\(directory)/server.pem", "-noout", "-ext", "subjectAltName"]).output
    #expect(
      names.contains(
        "DNS:localhost, DNS:*.localhost, IP Address:127.0.0.1, IP Address:127.0.0.2, IP Address:0:0:0:0:0:0:0:1\n"))
  }

  @Test func ourTLSContextsLoadThem() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try DevelopmentCertificates.write(to: directory, hosts: [])
    let server = try TLSServerContext(
      certificates: [CertificateFiles(certificate: "\(directory)/server.pem", key: "\(directory)/server.key")],
      clientAuthorities: "\(directory)/clients.pem", requireClientCertificate: true, minimumTLS13: false,
      sessionContext: [], tickets: TicketKeys())
    #expect(server.warnings == [])
    _ = try TLSClientContext(
      authorities: "\(directory)/ca.pem", name: "localhost",
      certificate: CertificateFiles(certificate: "\(directory)/client.pem", key: "\(directory)/client.key"))
  }

  @Test func secretsAreForTheOwnerAlone() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let files = try DevelopmentCertificates.write(to: directory, hosts: [])
    #expect(files.count == 7)
    #expect(try mode("") == 0o700)
    for name in ["ca.key", "server.key", "client.key"] { #expect(try mode(name) == 0o600) }
  }

  @Test func runningItAgainMakesThemAnew() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try DevelopmentCertificates.write(to: directory, hosts: [])
    let first = try Data(contentsOf: URL(fileURLWithPath: "\(directory)/server.pem"))
    _ = try DevelopmentCertificates.write(to: directory, hosts: [])
    #expect(try Data(contentsOf: URL(fileURLWithPath: "\(directory)/server.pem")) != first)
    #expect(try openssl(["verify", "-CAfile", "\(directory)/ca.pem", "\(directory)/server.pem"]).code == 0)
  }

  @Test func filesOfOthersAreLeftAlone() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let theirs = URL(fileURLWithPath: "\(directory)/server.key")
    try Data("theirs".utf8).write(to: theirs)
    #expect {
      try DevelopmentCertificates.write(to: directory, hosts: [])
    } throws: { error in
      "\(error)".contains("holds server.key, which this command did not make")
    }
    #expect(try Data(contentsOf: theirs) == Data("theirs".utf8))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["server.key"])
  }

  @Test(arguments: ["a b", "", "-a", "a..b", "a,DNS:b", "a\n", "ä", "*.", "a.*.b", String(repeating: "a", count: 65)])
  func whatIsNoNameIsRefusedBeforeAnythingIsMade(host: String) {
    #expect(throws: CertificateError.self) { try DevelopmentCertificates.write(to: directory, hosts: [host]) }
    #expect(!FileManager.default.fileExists(atPath: directory))
  }
}
