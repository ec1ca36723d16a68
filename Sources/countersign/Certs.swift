// `countersign certs`: certificates for trying things out.

import ArgumentParser
import Platform

struct Certs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make throw-away certificates.", subcommands: [Dev.self])

  struct Dev: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "A throw-away authority, a server certificate and a client certificate.",
      discussion: """
        For trying things out on one machine, never for production. ECDSA P-256, valid for 30 days; keys have mode \
        0600, a directory that is made has 0700.

          countersign certs dev --out certs/dev --name app.example.com --name monitor-1.internal
          curl --cacert certs/dev/ca.pem https://localhost:8443/

        ca.pem, ca.key: the authority. server.pem, server.key: for the names given, localhost, *.localhost, 127.0.0.1, \
        127.0.0.2 and ::1. client.pem, client.key: a client. clients.pem: who may sign clients. Running it again makes \
        all of them anew; files of these names that it did not make are left alone.
        """)

    @Option(help: ArgumentHelp("The directory.", valueName: "dir"))
    var out: String

    @Option(
      name: .customLong("name"),
      help: ArgumentHelp("A host name or address of the server; may be repeated.", valueName: "host"))
    var names: [String] = []

    func run() throws {
      try attempt {
        for path in try DevelopmentCertificates.write(to: out, hosts: names) { print(path) }
      }
    }
  }
}
