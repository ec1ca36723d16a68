// `${NAME}` and `${file:PATH}`: where they stand for something, what is said where they do not, and that nobody is shown what it is.

import Foundation
import Policy
import Testing
import Wire

@Suite struct ConfigReferenceTests {
  private static let environment: @Sendable (String) -> String? = { name in
    ["PORT": "8443", "HOST": "127.0.0.1", "EMPTY": "", "SECRET": "hunter2", "NAME": "app", "NET": "10.0.0.0/8"][name]
  }

  private func read(_ yaml: String, in directory: String = "/etc/countersign") -> ConfigResult {
    ConfigReader.read(text: yaml, path: "\(directory)/test.yaml", environment: Self.environment)
  }

  private func found(_ yaml: String) -> [String] {
    read(yaml).diagnostics.map { String($0.text(file: "").dropFirst()) }
  }

  private func minimal(listen: String = "127.0.0.1:1", server: String = "127.0.0.1:2", more: String = "") -> String {
    """
    listeners: [{ name: web, listen: "\(listen)" }]
    routes: [{ to: "${NAME}" }]
    upstreams: { app: { servers: ["\(server)"] } }
    \(more)
    """
  }

  @Test func variablesStandForTheirValues() throws {
    let config = try #require(
      read(
        minimal(
          listen: "${HOST}:${PORT}", server: "${BACKEND:-backend.internal}:${BACKEND_PORT:-80}",
          more: "identity: { infrastructure: [\"${NET}\"], keys: \"${KEYS:-a}/${NAME}.json\" }\nworkers: ${EMPTY:-4}\n"
            + "timeouts: { idle: \"${IDLE:-30s}\" }")
      ).config)
    #expect(config.listeners[0].address == .address(try #require(IPAddress("127.0.0.1")), port: 8443))
    #expect(config.upstreams[0].servers[0].endpoint == .host("backend.internal", port: 80))
    #expect(config.routes[0].to == "app" && config.workers == 4 && config.timeouts.idleMilliseconds == 30_000)
    #expect(config.identity.infrastructure.map(\.description) == ["10.0.0.0/8"])
    #expect(config.identity.keys == "/etc/countersign/a/app.json")
  }

  /// Where names have no case, and where a word stands for something else than a value.
  @Test func variablesStandForWordsWhereverOneMayStand() throws {
    let yaml = """
      identity: { keys: k.json, audience: me }
      listeners:
        - name: web
          listen: "127.0.0.1:1"
          trust:
            - { from: 10.0.0.1, evidence: forwarded, header: "${FIELD}" }
            - { from: "${ANY}", evidence: attested }
      routes: [{ to: app }]
      upstreams:
        app: { servers: ["127.0.0.1:2"], plain_fields: ["${FIELD}"], passive: "${OFF}", health: { path: /, tls: "${OFF}" } }
      workers: "${AUTO}"
      timeouts: { drain_tunnels: "${AUTO}" }
      """
    let result = ConfigReader.read(text: yaml, path: "/etc/countersign/test.yaml") { name in
      ["FIELD": "X-Forwarded-For", "ANY": "any", "OFF": "off", "AUTO": "auto"][name]
    }
    #expect(result.diagnostics == [])
    let config = try #require(result.config)
    #expect(config.listeners[0].trust.map(\.from.isEmpty) == [false, true])
    #expect(config.listeners[0].trust[0].header == .xForwardedFor)
    #expect(config.upstreams[0].plainFields == .xForwardedFor && config.upstreams[0].passive == nil)
    #expect(config.upstreams[0].health?.tls == .off)
    #expect(config.workers == nil && config.timeouts.drainTunnelsMilliseconds == nil)
  }

  /// Every address would be answered as if it were the balancers'.
  @Test func checksFromEverywhereAreRefusedInAnySpelling() {
    let yaml = minimal().replacing("name: web", with: "name: web, checks: [{ from: '${ALL:-any}' }]")
    #expect(
      found(yaml) == [
        "1:43: `checks` from everywhere would answer every client: name the load balancers' own addresses"
      ])
  }

  /// A `$` in a pattern is the end of a line, and `$${` a text.
  @Test func patternsAndDoubledDollarsAreLeftAlone() throws {
    let yaml = minimal().replacing("{ to: ", with: "{ host_regex: 'a${1}', path_regex: '/x${PORT}$', to: ")
    let route = try #require(read(yaml).config).routes[0]
    #expect(route.match.host == .pattern("a${1}") && route.match.path == .pattern("/x${PORT}$"))
    #expect(
      found(minimal(more: "identity: { edge: '$${PORT}' }")) == [
        "4:19: expected a name of 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` for `identity.edge`, found `$${PORT}`, "
          + "which stands for something else"
      ])
  }

  /// What is written out has no references, and reads back to the same where there are none to read.
  @Test func whatIsWrittenOutHasNoReferences() throws {
    let yaml = minimal(
      listen: "${HOST}:${PORT}",
      more: "log: { access: './$${PORT}.log' }\nidentity: { keys: 'a$${b', infrastructure: ['${NET}'] }")
    let config = try #require(read(yaml.replacing("{ to: ", with: "{ path_regex: '/x${PORT}$', to: ")).config)
    #expect(config.log.access == .file("/etc/countersign/${PORT}.log"))
    let again = ConfigReader.read(text: config.resolved(), path: "/x.yaml") { _ in nil }
    #expect(again.diagnostics.isEmpty)
    #expect(again.config?.withoutPlaces == config.withoutPlaces)
  }

  @Test(arguments: [
    ("${UNSET}", "the environment variable `UNSET` is not set"),
    ("${UNSET", "`${` without its `}`; `$${` is the text `${`"),
    ("${}", "expected `${NAME}`, `${NAME:-text}` or `${file:PATH}`, found `${}`"),
    ("${1X}", "expected `${NAME}`, `${NAME:-text}` or `${file:PATH}`, found `${1X}`"),
    ("${A B}", "expected `${NAME}`, `${NAME:-text}` or `${file:PATH}`, found `${A B}`"),
    ("${file:}", "expected the path of a file behind `${file:`"),
    ("${file:gone}", "/etc/countersign/gone: no such file"), ("${file:/etc}", "/etc: is a directory"),
  ])
  func whatStandsForNothingIsAnErrorAtItsPlace(reference: String, message: String) {
    #expect(found(minimal(listen: reference)) == ["1:34: `listeners[0].listen`: \(message)"])
  }

  @Test func nobodyIsShownWhatAReferenceStandsFor() {
    for yaml in [
      minimal(listen: "${SECRET}"), minimal(more: "workers: ${SECRET}"),
      minimal(more: "timeouts: { idle: '${SECRET}' }"),
      minimal(more: "identity: { mode: '${SECRET}', infrastructure: '${SECRET}', replay_window: '${SECRET}' }"),
      minimal(server: "${SECRET}"), minimal(more: "proxy_status: ${SECRET}"),
      minimal(more: "limits: { head: '1${SECRET}' }"),
    ] {
      let said = found(yaml)
      #expect(!said.isEmpty && said.allSatisfy { !$0.contains("hunter2") && $0.contains("${SECRET}") }, "\(said)")
    }
  }

  /// Values of fields may be keys: what is said of them, and what is printed, has the reference. A `$` of theirs is no variable.
  @Test func nobodyIsShownWhatAFieldHolds() throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "countersign-field-\(UUID())").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try Data("tok$en-7\n".utf8).write(to: URL(filePath: "\(directory)/token"))
    let route = { (fields: String) in
      self.minimal().replacing("{ to: ", with: "{ header: { name: X-Origin, value: '${SECRET}' }, \(fields), to: ")
    }
    let yaml = route(
      "request_headers: { set: { Authorization: 'Bearer ${file:token} $${x:-$client}' } }, "
        + "response_headers: { add: { X-A: '${UNSET:-$client}' } }"
    ).replacing("$${x:-", with: "$$${x")
    let config = try #require(read(yaml, in: directory).config, "\(read(yaml, in: directory).diagnostics)")
    let changes = config.routes[0].changes
    #expect(changes.request.set[0].value.parts.first == .text(Array("Bearer tok$en-7 ${x".utf8)))
    #expect(changes.response.add[0].value.parts == [.variable(.client)])
    #expect(config.routes[0].match.headers[0].value == "hunter2")
    #expect(!config.routes[0].match.text.contains("hunter2") && config.routes[0].match.text.contains("${SECRET}"))
    let shown = config.resolved(forPeople: true)
    #expect(!shown.contains("hunter2") && !shown.contains("en-7") && shown.contains("${file:\(directory)/token}"))
    #expect(read(shown, in: "/elsewhere").config?.withoutPlaces == config.withoutPlaces)
    // What a process hands over needs nothing from outside.
    let whole = ConfigReader.read(text: config.resolved(), path: "/x.yaml") { _ in nil }
    #expect(whole.config?.routes[0].match == config.routes[0].match)
    #expect(whole.config?.routes[0].changes.request.set[0].value == changes.request.set[0].value)
    let said = found(route("request_headers: { set: { X-A: '${SECRET} $nothing' } }"))
    #expect(said.count == 1 && !said[0].contains("hunter2"), "\(said)")
  }

  @Test func filesStandForTheirLine() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("reference-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    func write(_ name: String, _ bytes: [UInt8]) throws {
      try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }
    try write("address", Array("127.0.0.1:9\n".utf8))
    try write("two", Array("127.0.0.1:9\nx\n".utf8))
    try write("bytes", [0x31, 0xff])
    try write("large", [UInt8](repeating: 0x31, count: 65 << 10))
    let config = try #require(read(minimal(server: "${file:address}"), in: directory).config)
    #expect(config.upstreams[0].servers[0].endpoint == .address(try #require(IPAddress("127.0.0.1")), port: 9))
    for (name, message) in [
      ("two", "holds more than one line, or control characters"), ("bytes", "is not UTF-8"),
      ("large", "holds more than 64 KiB"),
    ] {
      let said = read(minimal(server: "${file:\(name)}"), in: directory).diagnostics.map(\.message)
      #expect(said == ["`upstreams.app.servers[0]`: \(directory)/\(name): \(message)"])
    }
  }
}
