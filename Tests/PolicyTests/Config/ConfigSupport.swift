// How the tests of the configuration are written: a document, and what the reader says of it, word for word.

import Foundation
import Policy
import Testing

/// What reading `yaml` finds: `line:column: message`, warnings marked as such.
func findings(_ yaml: String) -> [String] {
  ConfigReader.read(text: yaml, path: "/etc/countersign/test.yaml").diagnostics.map { finding in
    String(finding.text(file: "").dropFirst())
  }
}

/// The configuration of a document that must read without a finding.
func config(_ yaml: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> Config {
  let result = ConfigReader.read(text: yaml, path: "/etc/countersign/test.yaml")
  #expect(result.diagnostics == [], sourceLocation: sourceLocation)
  return try #require(result.config, sourceLocation: sourceLocation)
}

/// The least that a configuration needs; `more` is put after it.
func minimal(_ more: String = "") -> String {
  """
  listeners: [{ name: web, listen: "127.0.0.1:8080" }]
  routes: [{ to: app }]
  upstreams: { app: { servers: ["127.0.0.1:3000"] } }

  """ + more
}
