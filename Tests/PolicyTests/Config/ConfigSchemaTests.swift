// The schema for editors says what the reader takes: the reader is asked about every mapping, word, bound and default of it, and
// its answers are compared with the schema in both directions. A key that only one of the two knows fails here.

import Foundation
import Policy
import Testing

@Suite struct ConfigSchemaTests {
  /// A key or word that nothing takes, and that is like none.
  private static let unknown = "zzzzqqqq"

  /// A place in the schema, such as `listeners[].trust[]`: the way to it, each step a key, a list's element or a chosen name.
  private enum Step: Equatable {
    case key(String), element, chosen
  }

  /// What else has to stand in a mapping so that all of it is read, by the mapping's place; the pairs are right by themselves.
  private static let beside: [String: [(key: String, value: String)]] = [
    "": [
      ("listeners", "[{ name: web, listen: \"127.0.0.1:8080\" }]"), ("routes", "[{ to: app }]"),
      ("upstreams", "{ app: { servers: [\"127.0.0.1:3000\"] } }"),
    ],
    "listeners[]": [("name", "web"), ("listen", "\"127.0.0.1:8080\"")],
    "listeners[].checks[]": [("from", "[192.0.2.1]")],
    "listeners[].client_certificates": [("ca", "ca.pem")],
    "listeners[].tls[]": [("certificate", "a.pem"), ("key", "a.key")],
    "listeners[].trust[]": [("from", "any"), ("evidence", "proxy-protocol")],
    "listeners[].trust[].cutover": [("also", "socket"), ("until", "\"2026-12-01T00:00:00Z\"")],
    "routes[]": [("to", "app")],
    "routes[].header": [("name", "X-A")],
    "routes[].header[]": [("name", "X-A")],
    "routes[].hsts": [("max_age", "1d")],
    "routes[].limits.rate": [("requests", "20/s")],
    "routes[].limits.rate.key": [("header", "X-Key")],
    "routes[].error_pages[]": [("status", "[502]"), ("html", "a.html")],
    "error_pages[]": [("status", "[502]"), ("html", "a.html")],
    "upstreams.*": [("servers", "[\"127.0.0.1:3000\"]")],
    "upstreams.*.servers[]": [("address", "\"127.0.0.1:3000\"")],
    "upstreams.*.health": [("path", "/")],
    "upstreams.*.tls": [("ca", "ca.pem"), ("name", "b")],
    "upstreams.*.health.tls": [("ca", "ca.pem"), ("name", "b")],
    "upstreams.*.sticky": [("cookie", "c"), ("key", "k.json")],
    "log.fields[]": [("name", "account"), ("header", "X-Account")],
    "admin": [("listen", "\"127.0.0.1:9901\"")],
  ]

  /// What a key needs beside it to be read, or to be right.
  private static let company: [String: [(key: String, value: String)]] = [
    "listeners[].tls_minimum": [("tls", "[{ certificate: a.pem, key: a.key }]")],
    "listeners[].client_certificates": [("tls", "[{ certificate: a.pem, key: a.key }]")],
    "listeners[].trust[].header": [("evidence", "forwarded"), ("from", "[192.0.2.1]")],
    "listeners[].trust[].hops": [("evidence", "forwarded"), ("from", "[192.0.2.1]")],
    "listeners[].trust[].proxy_protocol": [("evidence", "attested")],
    "routes[].access.realm": [("htpasswd", "h")],
    "routes[].normalize": [("path", "/a")],
    "routes[].redirect.status": [("scheme", "https")],
    "routes[].strip_prefix": [("path_prefix", "/a")],
    "routes[].files": [("path_prefix", "/a")],
    "routes[].access.pass_credentials": [("htpasswd", "h")],
    "upstreams.*.queue": [("servers", "[{ address: \"127.0.0.1:3000\", max_connections: 1 }]")],
  ]

  /// What cannot stand beside a key.
  private static let apart: [String: [String]] = [
    "routes[].redirect": ["to"], "routes[].respond": ["to"], "routes[].files": ["to"],
  ]

  private static func place(_ steps: [Step]) -> String {
    steps.reduce("") { text, step in
      switch step {
      case .key(let key): text.isEmpty ? key : "\(text).\(key)"
      case .element: "\(text)[]"
      case .chosen: "\(text).*"
      }
    }
  }

  /// As the reader names it.
  private static func path(_ steps: [Step]) -> String {
    place(steps).replacing("[]", with: "[0]").replacing(".*", with: ".app")
  }

  /// A document with `value` at a place, and what is needed around it.
  private static func document(_ steps: [Step], _ value: String) -> String {
    func text(_ at: Int) -> String {
      guard at < steps.count else { return value }
      switch steps[at] {
      case .element: return "[\(text(at + 1))]"
      case .chosen: return "{ app: \(text(at + 1)) }"
      case .key(let key):
        let here = place(Array(steps[..<at]))
        let company = company[place(Array(steps[...at]))] ?? []
        let apart = apart[place(Array(steps[...at]))] ?? []
        let others =
          (beside[here] ?? []).filter { pair in
            pair.key != key && !apart.contains(pair.key) && !company.contains { $0.key == pair.key }
          } + company
        // What attests is verified with keys.
        let keys: [(key: String, value: String)] =
          at == 0 && place(steps) == "listeners[].trust[].proxy_protocol"
          ? [("identity", "{ keys: k.json, audience: me }")] : []
        let pairs = (others + keys + [(key, text(at + 1))]).map { "\($0.key): \($0.value)" }
        return "{ \(pairs.joined(separator: ", ")) }"
      }
    }
    return text(0)
  }

  private static func messages(_ steps: [Step], _ value: String) -> [String] {
    ConfigReader.read(text: document(steps, value), path: "/etc/countersign/test.yaml").diagnostics.map(\.message)
  }

  /// The words between backquotes behind `start`.
  private static func words(in message: String, after start: String) -> [String]? {
    guard let range = message.range(of: start) else { return nil }
    let parts = message[range.upperBound...].split(separator: "`", omittingEmptySubsequences: false)
    return stride(from: 1, to: parts.count, by: 2).map { String(parts[$0]) }
  }

  /// Every value of the schema with the way to it.
  private static func each(
    _ value: SchemaValue, at steps: [Step], _ body: ([Step], SchemaValue, _ isAlone: Bool) -> Void
  ) {
    func visit(_ value: SchemaValue, isAlone: Bool) {
      body(steps, value, isAlone)
      switch value {
      case .mapping(let keys): for key in keys { each(key.value, at: steps + [.key(key.name)], body) }
      case .list(let element): each(element, at: steps + [.element], body)
      case .named(let element): each(element, at: steps + [.chosen], body)
      case .either(let values): for value in values { visit(value, isAlone: false) }
      default: break
      }
    }
    visit(value, isAlone: true)
  }

  @Test func theReaderAndTheSchemaKnowTheSameKeys() {
    var mappings = 0
    Self.each(ConfigSchema.root, at: []) { steps, value, _ in
      guard case .mapping(let keys) = value else { return }
      mappings += 1
      let others = (Self.beside[Self.place(steps)] ?? []).map { "\($0.key): \($0.value)" }
      let probe = "{ \((others + ["\(Self.unknown): 1"]).joined(separator: ", ")) }"
      let what = steps.isEmpty ? "the configuration" : "`\(Self.path(steps))`"
      let told = Self.messages(steps, probe).compactMap {
        Self.words(in: $0, after: "unknown key `\(Self.unknown)` in \(what); it takes ")
      }
      #expect(told.count == 1, "\(Self.path(steps)): \(Self.messages(steps, probe))")
      #expect(told.first.map(Set.init) == Set(keys.map(\.name)), "\(Self.path(steps))")
    }
    #expect(mappings > 20)
  }

  /// What the schema calls a plain value is no mapping, of which the schema would not know the keys.
  @Test func whatIsNoMappingInTheSchemaIsNoneForTheReader() {
    Self.each(ConfigSchema.root, at: []) { steps, value, isAlone in
      guard isAlone else { return }
      switch value {
      case .mapping, .named: return
      case .either(let values):
        let hasMapping = values.contains { if case .mapping = $0 { true } else { false } }
        if hasMapping { return }
      default: break
      }
      let messages = Self.messages(steps, "{ \(Self.unknown): 1 }")
      let path = Self.path(steps)
      // A list of one is told by its own name where a single value may stand in its place.
      let list = path.hasSuffix("[0]") ? String(path.dropLast(3)) : path
      let isTold = messages.contains { message in
        [path, list].contains { message.contains("`\($0)`") } && message.contains("found a mapping")
      }
      #expect(isTold, "\(path): \(messages)")
      #expect(!messages.contains { $0.contains("unknown key `\(Self.unknown)`") }, "\(path): \(messages)")
    }
  }

  @Test func theReaderTakesTheWordsOfTheSchemaAndNoOthers() {
    Self.each(ConfigSchema.root, at: []) { steps, value, isAlone in
      guard case .words(let words) = value else { return }
      let path = Self.path(steps)
      for word in words {
        let refused = Self.messages(steps, word).filter { $0.contains("for `\(path)`, found `\(word)`") }
        #expect(refused.isEmpty, "\(path): \(refused)")
      }
      guard isAlone else { return }
      let told = Self.messages(steps, Self.unknown).filter { $0.contains("for `\(path)`, found `\(Self.unknown)`") }
      #expect(told.count == 1, "\(path): \(told)")
      let known = told.first.flatMap { message in
        Self.words(
          in: String(message.prefix { _ in true }).components(separatedBy: " for `\(path)`")[0], after: "expected ")
      }
      #expect(known.map(Set.init) == Set(words), "\(path): \(told)")
    }
  }

  @Test func theReaderHasTheBoundsOfTheSchema() {
    Self.each(ConfigSchema.root, at: []) { steps, value, _ in
      let expected: String
      switch value {
      case .count(let bounds): expected = "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)"
      case .duration(let bounds): expected = "a duration from \(ConfigSchema.duration(bounds))"
      case .size(let bounds): expected = "a size from \(ConfigSchema.size(bounds))"
      case .percent: expected = "a share from 0% to 100%"
      default: return
      }
      let path = Self.path(steps)
      // Statuses have a message of their own.
      if path.hasSuffix(".status") || path.hasSuffix(".status[0]") { return }
      let told = Self.messages(steps, Self.unknown)
      #expect(told.contains { $0.contains(expected) && $0.contains("for `\(path)`") }, "\(path): \(told)")
    }
  }

  /// A key that is left out is as if its default were written.
  @Test func whatTheSchemaCallsTheDefaultIsTheDefault() throws {
    var count = 0
    func visit(_ value: SchemaValue, _ steps: [Step]) throws {
      switch value {
      case .list(let element): try visit(element, steps + [.element])
      case .named(let element): try visit(element, steps + [.chosen])
      case .either(let values): for value in values { try visit(value, steps) }
      case .mapping(let keys):
        for key in keys {
          let path = steps + [.key(key.name)]
          try visit(key.value, path)
          guard let standard = key.standard else { continue }
          let written = Self.document(path, standard)
          // The same document without that one pair.
          let pair = ", \(key.name): \(standard) }"
          let left =
            written.contains(pair)
            ? written.replacing(pair, with: " }") : written.replacing("{ \(key.name): \(standard) }", with: "{}")
          let one = ConfigReader.read(text: written, path: "/etc/countersign/test.yaml")
          let other = ConfigReader.read(text: left, path: "/etc/countersign/test.yaml")
          let place = Self.place(path)
          try #require(one.config != nil, "\(place): \(one.diagnostics.map(\.message)) in \(written)")
          try #require(other.config != nil, "\(place): \(other.diagnostics.map(\.message)) in \(left)")
          #expect(written != left && one.config?.withoutPlaces == other.config?.withoutPlaces, "\(place): \(standard)")
          count += 1
        }
      default: break
      }
    }
    try visit(ConfigSchema.root, [])
    #expect(count > 50)
  }

  @Test func whatIsRequiredInTheSchemaIsMissed() {
    Self.each(ConfigSchema.root, at: []) { steps, value, _ in
      guard case .mapping(let keys) = value else { return }
      let messages = Self.messages(steps, "{ \(Self.unknown): 1 }")
      let what = steps.isEmpty ? "the configuration" : "`\(Self.path(steps))`"
      for key in keys {
        let isMissed = messages.contains { $0.hasPrefix("\(what) lacks `\(key.name)`") }
        // Either `path` or `tcp` of a health check; what it needs beside another key is no rule of one mapping.
        if key.name == "path", Self.place(steps) == "upstreams.*.health" { continue }
        // Or what answers here.
        if key.name == "to", Self.place(steps) == "routes[]" { continue }
        #expect(isMissed == key.isRequired, "\(Self.path(steps)).\(key.name)")
      }
    }
  }

  @Test func theSchemaIsJSON() throws {
    let schema = try #require(
      try JSONSerialization.jsonObject(with: Data(ConfigSchema.json.utf8)) as? [String: Any])
    #expect(schema["$schema"] as? String == "http://json-schema.org/draft-07/schema#")
    #expect(schema["additionalProperties"] as? Bool == false)
    #expect((schema["required"] as? [String]) == ["listeners", "routes", "upstreams"])
    let properties = try #require(schema["properties"] as? [String: Any])
    let timeouts = try #require((properties["timeouts"] as? [String: Any])?["properties"] as? [String: Any])
    let handshake = try #require(timeouts["handshake"] as? [String: Any])
    let forms = try #require(handshake["anyOf"] as? [[String: Any]])
    #expect(forms.map { $0["pattern"] as? String } == ["^[1-9][0-9]*(ms|s|m|h)$", nil])
    #expect(forms.last?["$ref"] as? String == "#/definitions/reference")
    #expect(schema["definitions"] != nil)
    #expect(handshake["x-default"] as? String == "5s")
  }
}
