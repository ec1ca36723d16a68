// YAML as it is taken: documents, and what is said of them.

import Policy
import Testing

@Suite struct ConfigDocumentTests {
  @Test func everythingIsReportedAtOnceInTheOrderOfTheFile() {
    let yaml = """
      listners: []
      routes:
        - { to: monitr, hots: x }
        - { host: a, path: [a] }
      upstreams:
        monitor:
          identity: atest
          proxy_protocol: false
          health: { path: healthz, interval: 5, timeout: 3sec, rise: 0 }
      timeouts: { idle: 60, drain: off }
      workers: many
      """
    #expect(
      findings(yaml) == [
        "1:1: unknown key `listners` in the configuration: did you mean `listeners`?",
        "3:11: there is no upstream `monitr`: did you mean `monitor`?",
        "3:19: unknown key `hots` in `routes[0]`: did you mean `host`?",
        "4:5: `routes[1]` lacks `to`: the name of an upstream; or `redirect`, `respond`, `files`, which answer here",
        "4:22: expected a path such as `/api/`, of at most 1024 visible ASCII characters, taken literally for `routes[1].path`, found a list",
        "7:5: `upstreams.monitor` lacks `servers`: a list such as `[\"127.0.0.1:3334\"]`",
        "7:15: expected one of `attest`, `plain`, `none` for `upstreams.monitor.identity`, found `atest`: did you mean `attest`?",
        "8:21: expected one of `off`, `v2` for `upstreams.monitor.proxy_protocol`, found `false`: did you mean `off`?",
        "9:21: expected a path such as `/healthz`, at most 1024 visible ASCII characters for `upstreams.monitor.health.path`, found `healthz`: did you mean `/healthz`?",
        "9:40: expected a duration from 10ms to 1h, with a unit (`ms`, `s`, `m`, `h`) for `upstreams.monitor.health.interval`, found `5`: did you mean `5s`?",
        "9:52: expected a duration from 1ms to 10m, in `ms`, `s`, `m`, `h` for `upstreams.monitor.health.timeout`, found `3sec`: did you mean `3s`?",
        "9:64: expected a whole number from 1 to 100 for `upstreams.monitor.health.rise`, found `0`",
        "10:19: expected a duration from 1ms to 24h, with a unit (`ms`, `s`, `m`, `h`) for `timeouts.idle`, found `60`: did you mean `60s`?",
        "10:30: expected a duration from 0 to 24h for `timeouts.drain`, found `off`",
        "11:10: expected `auto` or a whole number from 1 to 256 for `workers`, found `many`",
      ])
  }

  // MARK: Duplicate keys

  @Test func everyDuplicateKeyIsFoundWhereverItStands() {
    let yaml = """
      listeners: [{ name: a, listen: "127.0.0.1:80", name: b, listen: "127.0.0.1:81", name: c }]
      routes: [{ to: app, to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"] } }
      limits:
        head: 8KiB
        "head": 9KiB
        'head': 10KiB
      log: {}
      limits: {}
      log: {}
      """
    #expect(
      findings(yaml) == [
        "1:48: duplicate key `name`: it was given in line 1 already",
        "1:57: duplicate key `listen`: it was given in line 1 already",
        "1:81: duplicate key `name`: it was given in line 1 already",
        "2:21: duplicate key `to`: it was given in line 2 already",
        "6:3: duplicate key `head`: it was given in line 5 already",
        "7:3: duplicate key `head`: it was given in line 5 already",
        "9:1: duplicate key `limits`: it was given in line 4 already",
        "10:1: duplicate key `log`: it was given in line 8 already",
      ])
  }

  @Test func whatFollowsADuplicateInItsLineKeepsItsColumn() {
    let yaml = minimal("limits: { head: 8KiB, head: 9KiB, fields: x, fields: 3, bod: 1 }\n")
    #expect(
      findings(yaml) == [
        "4:23: duplicate key `head`: it was given in line 4 already",
        "4:43: expected a whole number from 1 to 1000 for `limits.fields`, found `x`",
        "4:46: duplicate key `fields`: it was given in line 4 already",
        "4:57: unknown key `bod` in `limits`: did you mean `body`?",
      ])
  }

  @Test func aHundredDuplicatesAreAHundredFindings() {
    let yaml = minimal("log:\n" + (0..<50).map { "  k\($0): 1\n  k\($0): 2\n" }.joined())
    let duplicates = findings(yaml).filter { $0.contains("duplicate key") }
    #expect(duplicates.count == 50)
    #expect(duplicates.first == "6:3: duplicate key `k0`: it was given in line 5 already")
    #expect(duplicates.last == "104:3: duplicate key `k49`: it was given in line 103 already")
  }

  // MARK: Words that YAML would read otherwise

  @Test func offIsAWordAndNotAFalsehood() throws {
    let text = minimal("log: { access: off }\n")
    #expect(try config(text).log.access == .off)
    let quoted = minimal("log: { access: \"off\" }\n")
    #expect(try config(quoted).log.access == .off)
    #expect(
      findings(minimal("log: { access: no }\n")) == [
        "4:16: expected `stdout`, `off`, `syslog` or the path of a file for `log.access`, found `no`: did you mean `off`?"
      ])
  }

  @Test func wordsLikeYesAndNullNameThingsWithoutBecomingTruths() throws {
    let read = try config(
      """
      listeners: [{ name: yes, listen: "127.0.0.1:8080" }, { name: null, listen: "127.0.0.1:8081" }]
      routes: [{ to: on }, ]
      upstreams: { on: { servers: ["127.0.0.1:3000"] } }
      """)
    #expect(read.listeners.map(\.name) == ["yes", "null"])
    #expect(read.routes.map(\.to) == ["on"])
    #expect(read.upstreams.map(\.name) == ["on"])
  }

  @Test(arguments: ["yes": "true", "on": "true", "no": "false", "off": "false", "True": "true"])
  func truthIsSpeltTrueOrFalse(word: String, suggestion: String) {
    let yaml = """
      listeners:
        - name: web
          listen: "127.0.0.1:8443"
          tls: [{ certificate: a.pem, key: a.key }]
          client_certificates: { ca: ca.pem, require: \(word) }
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"] } }
      """
    #expect(
      findings(yaml) == [
        "5:49: expected one of `false`, `true` for `listeners[0].client_certificates.require`, found `\(word)`: did you mean `\(suggestion)`?"
      ])
  }

  // MARK: Syntax

  static let faulty: [(yaml: String, findings: [String])] = [
    ("", ["1:1: the file is empty; a configuration has at least `listeners`, `routes` and `upstreams`"]),
    ("# nothing\n", ["1:1: the file is empty; a configuration has at least `listeners`, `routes` and `upstreams`"]),
    (
      "- a",
      [
        "1:1: expected the configuration to be a mapping of `identity`, `listeners`, `routes`, `upstreams`, `timeouts`, `limits`, `log`, `admin`, `workers`, `accept_weaker`, `error_pages`, `proxy_status`, `include`, `path_mismatch`, `headers`, found a list"
      ]
    ),
    (
      "log: [1\nworkers: 2",
      ["2:8: YAML syntax: did not find expected ',' or ']', parsing a flow sequence that starts in line 1"]
    ),
    (
      "log:\n\taccess: off",
      [
        "2:1: YAML syntax: this character cannot start a value: indent with spaces, not tabs, and quote a text that starts with `%`, `@` or a backquote"
      ]
    ),
    (
      "log: \"b\n", ["2:1: YAML syntax: found unexpected end of stream, scanning a quoted scalar that starts in line 1"]
    ),
    (
      "log: b: c",
      ["1:7: YAML syntax: a `:` that cannot be here: check the indentation, and quote a value that holds `: `"]
    ),
    ("log: {}\n---\nlog: {}\n", ["2:1: a second document: one file holds one configuration"]),
    ("log: {}\n\u{7}", ["2:1: the character U+0007 has no place in a configuration"]),
    ("workers: \u{E000}", ["1:10: the character U+E000 has no place in a configuration"]),
    (minimal("? [a]\n: 3\n"), ["4:3: a key must be a word"]),
    (minimal("limits: !map {}\n"), ["4:9: YAML tags (`!…`) are not taken here: write the bare value"]),
    (minimal("workers: !!int 3\n"), ["4:10: YAML tags (`!…`) are not taken here: write the bare value"]),
    (
      minimal("limits: &l { head: 8KiB }\nlog: *l\n"),
      [
        "4:9: anchors and aliases (`&`, `*`) are not taken here: write the value out where it is used; quote a pattern that starts with `*` or `&`",
        "5:6: anchors and aliases (`&`, `*`) are not taken here: write the value out where it is used; quote a pattern that starts with `*` or `&`",
      ]
    ),
    (
      minimal("log: *l\n"),
      [
        "4:6: anchors and aliases (`&`, `*`) are not taken here: write the value out where it is used; quote a pattern that starts with `*` or `&`"
      ]
    ),
    (
      minimal("<<: { workers: 3 }\n"),
      [
        "4:1: unknown key `<<` in the configuration; it takes `identity`, `listeners`, `routes`, `upstreams`, `timeouts`, `limits`, `log`, `admin`, `workers`, `accept_weaker`, `error_pages`, `proxy_status`, `include`, `path_mismatch`, `headers`"
      ]
    ),
  ]

  @Test(arguments: faulty)
  func faultyDocument(yaml: String, expected: [String]) {
    #expect(findings(yaml) == expected)
  }

  @Test func deepNestingIsRefusedAndNotFollowed() {
    for yaml in [
      "log: " + String(repeating: "[", count: 900) + String(repeating: "]", count: 900),
      "log: " + String(repeating: "[", count: 100_000),
    ] {
      #expect(
        findings(minimal(yaml)) == [
          "4:6: expected `log` to be a mapping of `access`, `format`, `template`, `extra`, `query`, `tunnels`, `fields`, `fields_key`, found a list",
          "4:21: nested more than 16 deep",
        ])
    }
  }

  /// Nine aliases of nine aliases of …: composed they would be more than memory holds.
  @Test func aliasesThatMultiplyAreRefusedAtOnce() {
    var yaml = "a: &a x\n"
    for (one, next) in zip("abcdefghijkl", "bcdefghijklm") {
      yaml += "\(next): &\(next) [\(Array(repeating: "*\(one)", count: 9).joined(separator: ", "))]\n"
    }
    yaml += "? *m\n: 1\n? *m\n: 2\n"
    let message =
      "anchors and aliases (`&`, `*`) are not taken here: write the value out where it is used; quote a pattern that "
      + "starts with `*` or `&`"
    // Reading ends after a few.
    #expect(findings(yaml) == ["1:4: \(message)", "2:4: \(message)", "3:4: \(message)"])
  }

  @Test func starsInPatternsAndCommentsAreNoAliases() throws {
    let routes = (0..<40).map { "  - { path_regex: \"/\($0) .*, *x\", to: app } # *this* is *no* alias\n" }.joined()
    let read = try config(
      "listeners: [{ name: web, listen: \"127.0.0.1:8080\" }]\nupstreams: { app: { servers: [\"127.0.0.1:3000\"] } }\n"
        + "routes:\n" + routes)
    #expect(read.routes.count == 40)
    #expect(read.routes[3].match.path == .pattern("/3 .*, *x"))
  }

  // MARK: Line ends and encodings

  @Test func linesMayEndInCarriageReturnAndLineFeed() throws {
    let yaml = minimal("limits:\n  head: 8KiB\n  fields: x\n").replacing("\n", with: "\r\n")
    #expect(findings(yaml) == ["6:11: expected a whole number from 1 to 1000 for `limits.fields`, found `x`"])
    let right = minimal("limits:\n  head: 8KiB\n  fields: 9\n").replacing("\n", with: "\r\n")
    #expect(try config(right).limits.headBytes == 8192)
    let duplicates = minimal("log:\n  access: off\n  access: off\n").replacing("\n", with: "\r\n")
    #expect(findings(duplicates) == ["6:3: duplicate key `access`: it was given in line 5 already"])
  }

  @Test func aByteOrderMarkIsNoCharacterOfTheFirstLine() throws {
    #expect(try config("\u{FEFF}" + minimal()).listeners.count == 1)
    #expect(
      findings("\u{FEFF}lisners: []").first
        == "1:1: unknown key `lisners` in the configuration: did you mean `listeners`?")
  }

  @Test func columnsCountCharactersNotBytes() {
    #expect(
      findings(minimal("log: { access: \"./größe\", fromat: json }\n")) == [
        "4:27: unknown key `fromat` in `log`: did you mean `format`?"
      ])
  }

  @Test func controlCharactersDoNotReachTheTerminal() {
    #expect(
      findings(minimal("workers: \"\\e[31m\"\n")) == [
        "4:10: expected `auto` or a whole number from 1 to 256 for `workers`, found `\u{FFFD}[31m`"
      ])
  }

  /// Or no process of an older version could be upgraded: it hands over what it runs with.
  @Test func whatAnOlderVersionTookIsStillComparedWith() throws {
    let yaml = """
      listeners:
        - { name: web, listen: "127.0.0.1:1", trust: [{ from: 10.0.0.1, evidence: proxy-protocol, then: forwarded, hops: [] }] }
      routes: [{ to: app, limits: { rate: { requests: 1/s, key: { header: X-Real-IP } } }, error_pages: [{ status: [], html: a }] }]
      upstreams:
        app: { servers: ["127.0.0.1:2"], balance: client-hash, slow_start: 5s, health: { tcp: true, protocol: http1 } }
        other: { servers: ["127.0.0.1:3"], health: { path: /, host: "https://a" } }
      headers: { server: "off" }
      """
    #expect(ConfigReader.read(text: yaml, path: "f").diagnostics.count { $0.severity == .error } == 7)
    let config = try #require(ConfigReader.read(text: yaml, path: "f", isRunning: true).config)
    #expect(config.listeners[0].trust[0].thenForwarded && config.listeners[0].trust[0].hops.isEmpty)
  }

  // MARK: Files

  @Test func filesThatCannotBeReadSayWhy() throws {
    let missing = ConfigReader.read(path: "/nowhere/at/all.yaml")
    #expect(missing.config == nil)
    #expect(missing.diagnostics.map { $0.text(file: "f") } == ["f: no such file"])
    #expect(
      ConfigReader.read(path: "/").diagnostics.map { $0.text(file: "f") } == [
        "f: is a directory; the configuration is one file"
      ])
  }

  @Test func aFileOfMoreThanFourMebibytesIsNotRead() {
    let yaml = minimal() + String(repeating: "#\n", count: 2 << 20)
    #expect(
      ConfigReader.read(text: yaml, path: "f").diagnostics.map { $0.text(file: "f") } == ["f: is larger than 4 MiB"])
  }

  /// In an upgrade the old process says with which one it runs, with every default written out.
  @Test func whatAProcessRunsWithMayBeLargerThanAFile() {
    let yaml = minimal("#" + String(repeating: " ", count: 5 << 20) + "\n")
    #expect(ConfigReader.read(text: yaml, path: "f").config == nil)
    #expect(ConfigReader.read(text: yaml, path: "f", isRunning: true).config != nil)
  }
}
