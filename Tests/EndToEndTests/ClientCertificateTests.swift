// Client certificates that were good once: what has expired or was revoked brings nobody in, also not by a session that began before.

import Foundation
import Testing

/// The authority of the standard certificates, which can revoke them. Its lists are good for a day.
private struct Authority {
  let certificate: String
  /// Its certificate and its list.
  let file: String
  private let workspace: Workspace
  private let list: String

  init(_ certificates: Certificates, in workspace: Workspace) throws {
    self.workspace = workspace
    certificate = certificates.ca
    (file, list) = (workspace.file("clients.pem"), workspace.file("crl.pem"))
    try workspace.write(
      "ca.conf",
      "[ca]\ndefault_ca = d\n[d]\ndatabase = \(workspace.file("index"))\ndefault_md = sha256\ndefault_crl_days = 1\n")
    try workspace.write("index", "")
  }

  private func run(_ options: [String]) throws {
    let key = certificate.replacing(".pem", with: ".key")
    try ChildProcess.succeed(
      [try Programs.openssl, "ca", "-config", workspace.file("ca.conf"), "-cert", certificate, "-keyfile", key]
        + options)
  }

  func revoke(_ certificate: String) throws { try run(["-revoke", certificate]) }

  /// - Parameter made: when the list says that it was made; nil: now.
  func writeFile(made: String? = nil) throws {
    let times = made.map { ["-crl_lastupdate", $0, "-crl_nextupdate", "20991231235959Z"] } ?? []
    try run(["-gencrl", "-out", list] + times)
    let text = try [certificate, list].map { try String(contentsOfFile: $0, encoding: .utf8) }.joined()
    try workspace.write("clients.pem", text)
  }

  /// When the list ends, in seconds since 1970.
  func listEnd() throws -> Int? {
    let command = "date -d \"$(openssl crl -in \(list) -noout -nextupdate | cut -d= -f2)\" +%s"
    return Int(try ChildProcess.succeed(["/bin/sh", "-c", command]).trimmingCharacters(in: .whitespacesAndNewlines))
  }
}

extension EndToEnd {
  @Suite struct ClientCertificates {
    /// What a client has to be believed.
    enum Evidence: Int, CaseIterable {
      /// Good for so many hours from now.
      case certificate = 48
      case revocationList = 24
    }

    /// A session is carried on by tickets, and each gives the next one: none outlives the certificate, or the list of what was revoked.
    @Test(arguments: ["-tls1_2", "-tls1_3"], Evidence.allCases)
    func aSessionEndsWithItsEvidence(_ version: String, _ evidence: Evidence) throws {
      let certificates = try Certificates.standard
      let workspace = try Workspace()
      var authorities = certificates.ca
      if evidence == .revocationList {
        let authority = try Authority(certificates, in: workspace)
        try authority.writeFile()
        authorities = authority.file
      }
      // The host's clock is half an hour before the end.
      let end = Double(evidence.rawValue) * 3_600
      let clock = try SettableClock(aheadSeconds: end - 1_800, in: workspace)
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].certificates = [certificates.app]
      configuration.listeners[0].clientCertificates = "ca: \"\(authorities)\", require: true"
      let edge = try Countersign(configuration, in: workspace, environment: clock.environment)
      let (first, second) = (workspace.file("first"), workspace.file("second"))
      func ask(_ path: String, _ session: [String]) throws -> Bool {
        let request = try workspace.write("request", Text.request(path, fields: ["Connection: close"]))
        let address = try edge["public"]
        let command = [
          try Programs.openssl, "s_client", "-connect", "\(address)", "-bind", "\(Peer.client()):0", version, "-cert",
          certificates.client.certificate, "-key", certificates.client.key, "-ign_eof",
        ]
        let line = (command + session).joined(separator: " ")
        let outcome = try ChildProcess.run(["/bin/sh", "-c", "\(line) < \(request)"])
        if !session.contains("-sess_in") { return outcome.output.contains("HTTP/1.1 200 OK") }
        #expect(outcome.output.contains("Reused, ") == outcome.output.contains("HTTP/1.1 200 OK"), "\(outcome.output)")
        return outcome.output.contains("HTTP/1.1 200 OK")
      }
      #expect(try ask("/new", ["-sess_out", first]))
      #expect(try ask("/resumed", ["-sess_in", first, "-sess_out", second]))
      try clock.set(aheadSeconds: end + 1_800)
      for session in [first, second] where FileManager.default.fileExists(atPath: session) {
        let isServed = try ask("/expired", ["-sess_in", session])
        #expect(!isServed)
      }
      #expect(!backend.saw("/expired"))
      let entry = try edge.access.wait(refusal: "tls-handshake")
      #expect(entry.detail?.contains("has expired") == true, "\(entry.detail ?? "")")
    }

    /// The file of authorities may hold their revocation lists.
    @Test func aRevokedCertificateIsRefused() throws {
      let certificates = try Certificates.standard
      let workspace = try Workspace()
      let authority = try Authority(certificates, in: workspace)
      try authority.writeFile()
      let site = try Site(
        .bound, tls: true,
        edge: {
          $0.listeners[0].clientCertificates = "ca: \"\(authority.file)\", require: true"
          $0.hasAdmin = true
        })
      func connect(_ pair: Certificate) throws -> Connection {
        try site.connectTLS(options: ["-cert", pair.certificate, "-key", pair.key])
      }
      #expect(try connect(certificates.client).get("/before").status == 200)
      let metric = "countersign_revocation_list_expiry_timestamp_seconds{file=\"\(authority.file)\"}"
      #expect(try site.edge.metric(metric) == authority.listEnd())
      #expect(site.edge.process.standardError.text.contains("a revocation list expires in 2"))
      try authority.revoke(certificates.client.certificate)
      try authority.writeFile()
      try site.edge.reloadAccepting(site.edgeConfiguration)
      try eventually("the reload is in force") {
        (try? connect(certificates.client).get("/probe").status) != 200
      }
      #expect(throws: (any Error).self) { try connect(certificates.client).get("/revoked") }
      #expect(!site.backend.saw("/revoked"))
      let entry = try site.edge.access.wait(refusal: "tls-handshake")
      #expect(entry.detail?.contains("revoked") == true, "\(entry.detail ?? "")")
      #expect(try connect(certificates.monitor).get("/another").status == 200)
    }

    /// A list from before does not know what was revoked since.
    @Test func anOlderRevocationListIsRefusedByAnUpgradeAndByAReload() throws {
      let workspace = try Workspace()
      let authority = try Authority(try Certificates.standard, in: workspace)
      func write(day: Int) throws { try authority.writeFile(made: "2026010\(day)000000Z") }
      try write(day: 2)
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].certificates = [try Certificates.standard.app]
      configuration.listeners[0].clientCertificates = "ca: \"\(authority.file)\", require: true"
      let service = try Upgradable(configuration, in: workspace)
      try service.upgrade()
      try write(day: 3)
      let pid = try service.upgrade()
      try write(day: 2)
      let why = "a revocation list is gone, or is replaced by one that is not later"
      let outcome = try service.command()
      #expect(!outcome.succeeded && outcome.error.contains(why), "\(outcome)")
      let start = service.errors.count
      kill(pid, SIGHUP)
      try service.first.said("reload refused", from: start)
      #expect(service.errors.lines[start...].contains { $0.contains(why) })
      try write(day: 4)
      kill(pid, SIGHUP)
      try service.first.said("reloaded generation=4", from: start)
    }
  }
}
