// Client certificates that were good once: what has expired or was revoked brings nobody in, also not by a session that began before.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct ClientCertificates {
    /// A session is carried on by tickets, and each gives the next one: none outlives the certificate.
    @Test(arguments: ["-tls1_2", "-tls1_3"])
    func aSessionEndsWithItsCertificate(_ version: String) throws {
      let certificates = try Certificates.standard
      let workspace = try Workspace()
      // The certificates are good for two days from now; the host's clock is half an hour before that.
      let clock = try SettableClock(aheadSeconds: 48 * 3_600 - 1_800, in: workspace)
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].certificates = [certificates.app]
      configuration.listeners[0].clientCertificates = "ca: \"\(certificates.ca)\", require: true"
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
      try clock.set(aheadSeconds: 48 * 3_600 + 1_800)
      for session in [first, second] where FileManager.default.fileExists(atPath: session) {
        let isServed = try ask("/expired", ["-sess_in", session])
        #expect(!isServed)
      }
      #expect(!backend.saw("/expired"))
      let entry = try edge.access.wait(refusal: "tls-handshake")
      #expect(entry.detail?.contains("expired") == true, "\(entry.detail ?? "")")
    }

    /// The file of authorities may hold their revocation lists.
    @Test func aRevokedCertificateIsRefused() throws {
      let certificates = try Certificates.standard
      let workspace = try Workspace()
      let (ca, key) = (certificates.ca, certificates.ca.replacing(".pem", with: ".key"))
      let configuration = try workspace.write(
        "ca.conf",
        "[ca]\ndefault_ca = d\n[d]\ndatabase = \(workspace.file("index"))\ndefault_md = sha256\ndefault_crl_days = 1\n")
      try workspace.write("index", "")
      func authority(_ options: String...) throws {
        try ChildProcess.succeed(
          [try Programs.openssl, "ca", "-config", configuration, "-cert", ca, "-keyfile", key] + options)
      }
      let list = workspace.file("crl.pem")
      func fileOfAuthorities() throws {
        try authority("-gencrl", "-out", list)
        let text = try [ca, list].map { try String(contentsOfFile: $0, encoding: .utf8) }.joined()
        try workspace.write("clients.pem", text)
      }
      try fileOfAuthorities()
      let site = try Site(
        .bound, tls: true,
        edge: { $0.listeners[0].clientCertificates = "ca: \"\(workspace.file("clients.pem"))\", require: true" })
      func connect(_ pair: Certificate) throws -> Connection {
        try site.connectTLS(options: ["-cert", pair.certificate, "-key", pair.key])
      }
      #expect(try connect(certificates.client).get("/before").status == 200)
      try authority("-revoke", certificates.client.certificate)
      try fileOfAuthorities()
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
  }
}
