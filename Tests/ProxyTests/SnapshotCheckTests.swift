// What `check` finds in the files that a configuration names, beside what is wrong with the configuration itself.

import Foundation
import Platform
import Policy
import Proxy
import Testing

@Suite struct SnapshotCheckTests {
  private let directory: String

  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
    try PrivateFile.makeDirectory(directory)
    let authority = try CertificateAuthority(commonName: "test", days: 30)
    try PrivateFile.write(authority.issued.certificate, to: "\(directory)/ca.pem", existing: .refuse)
    for (name, days) in [("good", 22), ("soon", 20), ("over", -1)] {
      let issuer = try CertificateAuthority(commonName: "test", days: days)
      let pair = try issuer.issue(.server(names: ["\(name).test"], addresses: []), commonName: name)
      try PrivateFile.write(pair.certificate, to: "\(directory)/\(name).pem", existing: .refuse)
      try PrivateFile.write(pair.key, to: "\(directory)/\(name).key", existing: .refuse)
    }
    try PrivateFile.write(Array("nothing".utf8), to: "\(directory)/none.pem", existing: .refuse)
  }

  /// The findings as `check` prints them, with the directory left out.
  private func findings(_ yaml: String) -> [String] {
    let path = "\(directory)/c.yaml"
    let found = Snapshot.check(ConfigReader.read(text: yaml, path: path))
    return found.map { $0.text(file: "c").replacing(directory + "/", with: "").replacing(directory, with: "DIR") }
  }

  private func removeFiles() { try? FileManager.default.removeItem(atPath: directory) }

  /// Schema errors do not hide what is wrong with files and patterns, nor one bad file the next.
  @Test func filesAndPatternsAreReportedTogetherWithSchemaErrors() {
    defer { removeFiles() }
    let yaml = """
      identity: { edge: e, keys: gone.jwks.json, sign_with: k1 }
      listeners:
        - name: web
          lisen: "127.0.0.1:8443"
          tls:
            - { certificate: gone.pem, key: good.key }
            - { certificate: good.pem, key: . }
          client_certificates: { ca: nobody.pem }
        - { name: two, listen: "127.0.0.1:8444", tls: [{ certificate: none.pem, key: good.key }] }
        - name: three
          listen: "127.0.0.1:8445"
          tls: [{ certificate: good.pem, key: soon.key }, { certificate: none.pem, key: good.key }]
      routes:
        - { path_regex: "(", to: app }
        - { path: /a, to: nowhere }
      upstreams:
        app: { servers: ["127.0.0.1:1"], tls: { ca: none.pem, name: a.test } }
        other: { servers: ["127.0.0.1:2"], tls: { ca: ca.pem, name: a.test, certificate: lost.pem, key: lost.key } }
      """
    #expect(
      findings(yaml) == [
        "c:1:28: gone.jwks.json: no such file",
        "c:4:5: unknown key `lisen` in `listeners[0]`: did you mean `listen`?",
        "c:6:24: gone.pem: no such file",
        "c:7:39: DIR: is a directory",
        "c:8:32: nobody.pem: no such file",
        "c:9:65: listener two: none.pem: cannot be read as a certificate chain (PEM, the leaf first): no start line",
        "c:12:41: listener three: soon.key: is not the private key of good.pem; use the key that it was made for",
        "c:12:68: listener three: none.pem: cannot be read as a certificate chain (PEM, the leaf first): no start line",
        "c:14:19: route path_regex: the pattern is not valid at byte 1: missing closing parenthesis",
        "c:15:21: there is no upstream `nowhere`; there is `app`, `other`",
        "c:17:47: upstream app: none.pem: cannot be read as certificates of authorities (PEM): no certificate or crl found",
        "c:18:84: lost.pem: no such file",
        "c:18:99: lost.key: no such file",
      ])
  }

  @Test func aCertificateThatExpiresWithinThreeWeeksIsAWarning() {
    defer { removeFiles() }
    func yaml(_ name: String) -> String {
      """
      listeners:
        - { name: web, listen: "127.0.0.1:8443", tls: [{ certificate: \(name).pem, key: \(name).key }] }
      routes: [{ to: app }]
      upstreams:
        app: { servers: ["127.0.0.1:1"] }
      """
    }
    #expect(findings(yaml("good")) == [])
    let soon = findings(yaml("soon"))
    #expect(soon.count == 1)
    // 20 days less what the test has taken.
    #expect(
      soon.first?.prefixMatch(of: /c:2:65: warning: soon.pem: the certificate expires in (19|20) days, at 20/) != nil,
      "\(soon)")
    let over = findings(yaml("over"))
    #expect(over.count == 1)
    #expect(over.first?.hasPrefix("c:2:65: warning: over.pem: the certificate has expired, at 20") == true, "\(over)")
  }

  /// TEST-NET-1: no host has it.
  @Test func anAddressThatThisHostDoesNotHaveIsAWarning() {
    defer { removeFiles() }
    let yaml = """
      listeners:
        - { name: web, listen: "192.0.2.1:8443" }
        - { name: any, listen: "0.0.0.0:8444" }
        - { name: own, listen: "127.0.0.1:8445" }
      routes: [{ to: app }]
      upstreams:
        app: { servers: ["127.0.0.1:1"] }
      admin: { listen: "[2001:db8::1]:9901" }
      """
    #expect(
      findings(yaml) == [
        "c:2:26: warning: this host does not have the address 192.0.2.1, so it cannot listen there",
        "c:8:18: warning: the admin listener asks nobody who they are; bind it to loopback or to a unix socket",
        "c:8:18: warning: this host does not have the address 2001:db8::1, so it cannot listen there",
      ])
  }

  /// Of which `run` opens one.
  @Test func everyAddressBesideOneOfItsPortIsAWarning() {
    defer { removeFiles() }
    let yaml = """
      listeners:
        - { name: one, listen: "127.0.0.1:8080" }
        - { name: six, listen: "[::]:8080" }
        - { name: all, listen: "0.0.0.0:8080" }
        - { name: other, listen: "0.0.0.0:8081" }
        - { name: local, listen: "[::1]:8080" }
        - { name: free, listen: "0.0.0.0:0" }
        - { name: chosen, listen: "127.0.0.1:0" }
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"] } }
      admin: { listen: "127.0.0.1:8081" }
      """
    let end = "name each address, or leave one listener out"
    #expect(
      findings(yaml) == [
        "c:4:26: warning: port 8080 is taken in line 2 already: 0.0.0.0 is every address, 127.0.0.1 among them; \(end)",
        "c:6:28: warning: port 8080 is taken in line 3 already: :: is every address, ::1 among them; \(end)",
        "c:11:18: warning: port 8081 is taken in line 5 already: 0.0.0.0 is every address, 127.0.0.1 among them; \(end)",
      ])
  }

  /// What `run` would come to only when it opens them.
  @Test func whereNothingCanBeMadeIsTold() throws {
    defer { removeFiles() }
    try PrivateFile.makeDirectory("\(directory)/folder")
    let yaml = """
      listeners:
        - { name: a, listen: "unix:gone/a.sock", trust: [{ from: any, evidence: forwarded }] }
        - { name: b, listen: "unix:good.key", trust: [{ from: any, evidence: forwarded }] }
        - { name: c, listen: "unix:good.key/c.sock", trust: [{ from: any, evidence: forwarded }] }
        - { name: d, listen: "unix:folder/d.sock", trust: [{ from: any, evidence: forwarded }] }
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:1"] } }
      """
    #expect(
      findings(yaml + "\nlog: { access: ./gone/access.log }\nadmin: { listen: 'unix:gone/admin.sock' }") == [
        "c:2:24: warning: gone is not there, or closed to this user, so it cannot listen there",
        "c:3:24: good.key: is no socket, and is not replaced by one",
        "c:4:24: good.key: is not a directory",
        "c:8:16: warning: gone is not there, or closed to this user, so the access log cannot be written",
        "c:9:18: warning: gone is not there, or closed to this user, so it cannot listen there",
      ])
    // A service's own directories are made when it starts.
    let ofSystemd =
      "\nlog: { access: /var/log/not-there-yet/a.log }\nadmin: { listen: 'unix:/run/not-there-yet/a.sock' }"
    #expect(findings(yaml + ofSystemd).allSatisfy { !$0.hasPrefix("c:8") && !$0.hasPrefix("c:9") })
    #expect(
      findings(yaml.replacing(": \"unix:g", with: ": \"unix:folder/g") + "\nlog: { access: ./folder }").last
        == "c:8:16: folder: is a directory")
  }

  /// Where the exception of decision 3 holds, and nowhere else.
  @Test func anOwnAddressAsAClientIsAWarning() {
    defer { removeFiles() }
    func warnings(_ listen: String, _ from: String, infrastructure: String = "[]") -> [String] {
      findings(
        """
        identity: { infrastructure: \(infrastructure) }
        listeners:
          - name: web
            listen: "\(listen)"
            trust: [{ from: \(from), evidence: socket }]
        routes: [{ to: app }]
        upstreams: { app: { servers: ["127.0.0.1:1"] } }
        """)
    }
    let warning =
      "c:5:22: warning: every program on this host that connects from 127.0.0.1 is taken for a client with that address, "
      + "also a proxy that does not pass its client on; good for trying things out"
    #expect(warnings("127.0.0.1:8080", "[127.0.0.1]") == [warning])
    // On every address: any of this host's is its own, and those of others are not.
    #expect(warnings("0.0.0.0:8080", "[127.0.0.1]") == [warning])
    #expect(warnings("0.0.0.0:8080", "[192.0.2.7]") == [])
    #expect(warnings("127.0.0.2:8080", "[127.0.0.1]") == [])
    #expect(warnings("127.0.0.1:8080", "[127.0.0.0/8]") == [])
    // It stays refused there.
    #expect(
      warnings("127.0.0.1:8080", "[127.0.0.1]", infrastructure: "[127.0.0.1]") == [
        "c:5:22: warning: 127.0.0.1 is infrastructure by identity.infrastructure, so it is never a client, whatever this rule "
          + "says"
      ])
  }

  /// It would refuse every request.
  @Test(arguments: [
    ("", ["2:28: warning: REFUSED"]),
    (", trust: []", ["2:52: warning: REFUSED"]),
    (
      ", trust: [{ from: any, evidence: socket }]",
      ["2:53: warning: REFUSED"]
    ),
    (
      ", trust: [{ from: [10.0.0.0/8], evidence: forwarded }]",
      [
        "2:52: warning: REFUSED",
        "2:61: warning: this rule is for nobody: peers of a unix socket have no address, and come under the rule for `any`",
      ]
    ),
    (", trust: [{ from: any, evidence: forwarded }]", []), (", trust: [{ from: any, evidence: proxy-protocol }]", []),
    (", trust: [{ from: any, evidence: refuse }]", []),
  ]) func aUnixSocketWhosePeersAreNoClientsIsAWarning(_ trust: String, _ expected: [String]) {
    defer { removeFiles() }
    let found = findings(
      """
      listeners:
        - { name: local, listen: "unix:./a.sock"\(trust) }
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:1"] } }
      """)
    let refused =
      "every request at local is refused (client-unknown): peers of a unix socket have no address, and `socket` asks for nothing "
      + "else; where a proxy connects, write `{ from: any, evidence: proxy-protocol }` or `forwarded`"
    #expect(found == expected.map { "c:" + $0.replacing("REFUSED", with: refused) })
  }

  /// Nobody would end the wait.
  @Test func aNamedPipeIsNotWaitedFor() throws {
    defer { removeFiles() }
    #expect(mkfifo("\(directory)/pipe.pem", 0o600) == 0)
    #expect(
      findings(
        """
        listeners: [{ name: web, listen: "127.0.0.1:8443", tls: [{ certificate: pipe.pem, key: good.key }] }]
        routes: [{ to: app }]
        upstreams: { app: { servers: ["127.0.0.1:1"] } }
        """) == ["c:1:73: pipe.pem: is a named pipe"])
  }

  /// One mistake is one finding.
  @Test func serversThatShareAnAudienceAreToldOnce() {
    defer { removeFiles() }
    let found = findings(
      """
      identity: { edge: e, keys: none.pem, sign_with: k1 }
      listeners: [{ name: web, listen: "127.0.0.1:8443" }]
      routes: [{ to: app }]
      upstreams: { app: { identity: attest, audience: w, servers: ["127.0.0.1:1", "127.0.0.4:1"] } }
      """)
    #expect(found.count { $0.contains("share the audience") } == 1, "\(found)")
  }
}
