// A small public-key world made with the openssl program, once for the whole run: one authority that everyone trusts,
// one that nobody does, server certificates of both key kinds with several names, and client certificates.

import Foundation

struct Certificate: Sendable {
  let certificate: String
  let key: String

  /// SHA-256 of the DER form, base64: what the `cert` member of an attestation holds.
  var digest: String {
    get throws {
      let command =
        "openssl x509 -in \(certificate) -outform DER | openssl dgst -sha256 -binary | base64"
      return try ChildProcess.succeed(["/bin/sh", "-c", command]).trimmingCharacters(in: .whitespacesAndNewlines)
    }
  }
}

struct Certificates: Sendable {
  let ca: String
  let strangerCA: String
  /// ECDSA, for app.example.com and localhost: what a listener shows by default.
  let app: Certificate
  /// RSA, for *.wild.example.com.
  let wild: Certificate
  /// ECDSA, for app.example.com too, from the same authority, to be swapped in by a reload.
  let renewed: Certificate
  /// The validator's, for monitor-1.internal.
  let monitor: Certificate
  /// A client of ours, and one signed by nobody we know.
  let client: Certificate
  let stranger: Certificate

  private static let shared = Result { try Certificates(in: Shared.workspace.get()) }
  static var standard: Certificates { get throws { try shared.get() } }

  private init(in workspace: Workspace) throws {
    func authority(_ name: String) throws -> Certificate {
      let pair = Certificate(certificate: workspace.file("\(name).pem"), key: workspace.file("\(name).key"))
      try ChildProcess.succeed([
        try Programs.openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2",
        "-subj", "/CN=\(name)", "-keyout", pair.key, "-out", pair.certificate,
      ])
      return pair
    }
    func leaf(_ name: String, by authority: Certificate, names: String? = nil, rsa: Bool = false) throws -> Certificate
    {
      let pair = Certificate(certificate: workspace.file("\(name).pem"), key: workspace.file("\(name).key"))
      let kind = rsa ? ["-newkey", "rsa:2048"] : ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
      let extensions =
        (names.map { ["-addext", "subjectAltName=\($0)"] } ?? [])
        + ["-addext", "basicConstraints=critical,CA:FALSE"]
      try ChildProcess.succeed(
        [try Programs.openssl, "req", "-x509"] + kind + extensions + [
          "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-CA", authority.certificate, "-CAkey", authority.key,
          "-keyout", pair.key, "-out", pair.certificate,
        ])
      return pair
    }
    let root = try authority("ca")
    let other = try authority("stranger-ca")
    ca = root.certificate
    strangerCA = other.certificate
    app = try leaf("app", by: root, names: "DNS:app.example.com,DNS:localhost")
    wild = try leaf("wild", by: root, names: "DNS:*.wild.example.com", rsa: true)
    renewed = try leaf("renewed", by: root, names: "DNS:app.example.com,DNS:localhost")
    monitor = try leaf("monitor-1", by: root, names: "DNS:monitor-1.internal")
    client = try leaf("client", by: root)
    stranger = try leaf("stranger", by: other)
  }
}
