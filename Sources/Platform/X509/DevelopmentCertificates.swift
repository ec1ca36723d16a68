// The files of `certs dev`: a throw-away authority, a server certificate for given names, and a client certificate.
// Files of the same names that this command did not make are never overwritten; a marker file in the directory says that it
// made them.

import Wire

package enum DevelopmentCertificates {
  package static let days = 30
  /// In every server certificate, besides the names that were asked for.
  package static let names = ["localhost", "*.localhost"]
  package static let addresses = ["127.0.0.1", "127.0.0.2", "::1"].compactMap { IPAddress($0) }

  private static let mark = ".made-by-countersign-certs-dev"
  private static let markText =
    "The certificates in this directory are throw-away: countersign certs dev made them, and "
    + "makes them anew.\n"
  private static let files = [
    "ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key", "clients.pem",
  ]

  /// Makes the files in `directory` and returns their paths. `hosts` are names or addresses.
  package static func write(to directory: String, hosts: [String]) throws -> [String] {
    var names = self.names
    var addresses = self.addresses
    for host in hosts {
      if let address = IPAddress(host) {
        if !addresses.contains(address) { addresses.append(address) }
      } else if isName(host) {
        if !names.contains(host.lowercased()) { names.append(host.lowercased()) }
      } else {
        throw CertificateError(description: "\"\(host)\" is neither a host name nor an address")
      }
    }
    try PrivateFile.makeDirectory(directory)
    if !PrivateFile.exists("\(directory)/\(mark)") {
      let foreign = files.filter { PrivateFile.exists("\(directory)/\($0)") }
      guard foreign.isEmpty else {
        throw CertificateError(
          description: "\(directory) holds \(foreign.joined(separator: ", ")), which this command did not make; "
            + "name another directory, or move them away")
      }
      try PrivateFile.write(Array(markText.utf8), to: "\(directory)/\(mark)", existing: .refuse)
    }
    let authority = try CertificateAuthority(commonName: "Countersign throw-away authority", days: days)
    let server = try authority.issue(
      .server(names: names, addresses: addresses), commonName: hosts.first { isName($0) } ?? "localhost")
    let client = try authority.issue(.client, commonName: "countersign-dev-client")
    // clients.pem has the authorities for client certificates: here it is the same one.
    let contents = [
      authority.issued.certificate, authority.issued.key, server.certificate, server.key, client.certificate,
      client.key, authority.issued.certificate,
    ]
    return try zip(files, contents).map { name, bytes in
      let path = "\(directory)/\(name)"
      try PrivateFile.write(bytes, to: path, existing: .replace)
      return path
    }
  }

  /// Checks a host name. This also keeps it from containing syntax of the configuration text that OpenSSL makes extensions from.
  static func isName(_ text: String) -> Bool {
    var labels = text.split(separator: ".", omittingEmptySubsequences: false)
    if labels.count > 1, labels[0] == "*" { labels.removeFirst() }
    // The subject's name holds 64 characters (RFC 5280 appendix A.1, ub-common-name).
    return text.utf8.count <= 64
      && labels.allSatisfy { label in
        (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
          && label.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
              UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
              true
            default: false
            }
          }
      }
  }
}
