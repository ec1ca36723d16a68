// What a configuration may hold, as a table: for editors (`countersign check --schema`, JSON Schema draft 7) and for the manual page
// countersign.yaml(5), which is made from that output. ConfigReader decides; this only describes, and ConfigSchemaTests asks the
// reader about every key, word and bound here, in both directions. The table is in ConfigSchemaKeys.

import Wire

/// What a value may be.
package indirect enum SchemaValue: Sendable {
  /// One of a few words.
  case words([String])
  case truth
  case count(ClosedRange<Int>)
  /// In milliseconds.
  case duration(ClosedRange<Int>)
  /// In bytes.
  case size(ClosedRange<Int>)
  case percent
  /// A text: what it is, and a pattern that it matches where one says more.
  case text(String, pattern: String? = nil)
  case list(SchemaValue)
  case mapping([SchemaKey])
  /// A mapping from names that the file chooses.
  case named(SchemaValue)
  case either([SchemaValue])
}

/// A key of a mapping.
package struct SchemaKey: Sendable {
  package let name: String
  package let value: SchemaValue
  package let isRequired: Bool
  /// As it would be written.
  package let standard: String?
  /// One or two sentences.
  package let text: String

  init(_ name: String, _ value: SchemaValue, _ text: String, required: Bool = false, standard: String? = nil) {
    self.name = name
    self.value = value
    self.text = text
    isRequired = required
    self.standard = standard
  }
}

package enum ConfigSchema {
  package static let root = SchemaValue.mapping(keys)

  /// The whole schema, indented, with a line feed at its end.
  package static var json: String {
    var out = Writer()
    out.open("{")
    out.member("$schema", JSONText.quote("http://json-schema.org/draft-07/schema#"))
    out.member("title", JSONText.quote("Countersign's configuration"))
    // An environment variable, or what a file holds (ConfigReferences).
    out.open("{", as: "definitions")
    out.open("{", as: "reference")
    out.member("type", "\"string\"")
    out.member("pattern", JSONText.quote("\\$\\{"))
    out.close("}")
    out.close("}")
    out.value(root)
    out.close("}")
    return out.text + "\n"
  }

  /// JSON, indented.
  private struct Writer {
    private(set) var text = ""
    private var depth = 0
    private var isFirst = true

    private mutating func item(_ start: String) {
      if !isFirst { text += "," }
      if depth > 0 { text += "\n" + String(repeating: "  ", count: depth) }
      text += start
      isFirst = false
    }

    mutating func open(_ bracket: String, as name: String? = nil) {
      item((name.map { JSONText.quote($0) + ": " } ?? "") + bracket)
      depth += 1
      isFirst = true
    }

    mutating func close(_ bracket: String) {
      depth -= 1
      text += "\n" + String(repeating: "  ", count: depth) + bracket
      isFirst = false
    }

    mutating func member(_ name: String, _ json: String) { item("\(JSONText.quote(name)): \(json)") }

    /// The keywords that describe a value, as members of the object that is open. Where more is said of a text than that it is one,
    /// a reference to something outside may stand in its place.
    mutating func value(_ value: SchemaValue) {
      switch value {
      case .words(let words):
        orReference { $0.member("enum", "[\(ConfigSchema.spellings(words).joined(separator: ", "))]") }
      case .truth: orReference { $0.member("type", "\"boolean\"") }
      case .count(let bounds):
        orReference {
          $0.member("type", "\"integer\"")
          $0.member("minimum", "\(bounds.lowerBound)")
          $0.member("maximum", "\(bounds.upperBound)")
        }
      case .duration(let bounds):
        measure(bounds, "ms|s|m|h", "a duration from \(ConfigSchema.duration(bounds))")
      case .size(let bounds): measure(bounds, "B|KiB|MiB|GiB", "a size from \(ConfigSchema.size(bounds))")
      case .percent: string("a share from 0% to 100%", "^(0|[1-9][0-9]?|100)%$")
      case .text(let what, let pattern): string(what, pattern)
      case .list(let element):
        member("type", "\"array\"")
        open("{", as: "items")
        self.value(element)
        close("}")
      case .mapping(let keys):
        member("type", "\"object\"")
        member("additionalProperties", "false")
        let required = keys.filter(\.isRequired).map { JSONText.quote($0.name) }
        if !required.isEmpty { member("required", "[\(required.joined(separator: ", "))]") }
        open("{", as: "properties")
        for key in keys {
          open("{", as: key.name)
          member("description", JSONText.quote(key.text))
          if let standard = key.standard { member("x-default", JSONText.quote(standard)) }
          self.value(key.value)
          close("}")
        }
        close("}")
      case .named(let element):
        member("type", "\"object\"")
        open("{", as: "propertyNames")
        member("pattern", JSONText.quote(ConfigSchema.namePattern))
        close("}")
        open("{", as: "additionalProperties")
        self.value(element)
        close("}")
      case .either(let values):
        open("[", as: "anyOf")
        for each in values {
          open("{")
          self.value(each)
          close("}")
        }
        close("]")
      }
    }

    private mutating func orReference(_ body: (inout Writer) -> Void) {
      open("[", as: "anyOf")
      open("{")
      body(&self)
      close("}")
      open("{")
      member("$ref", JSONText.quote("#/definitions/reference"))
      close("}")
      close("]")
    }

    private mutating func string(_ what: String, _ pattern: String?) {
      member("title", JSONText.quote(what))
      guard let pattern else { return member("type", "\"string\"") }
      orReference {
        $0.member("type", "\"string\"")
        $0.member("pattern", JSONText.quote(pattern))
      }
    }

    /// A number with a unit; `0` alone where the bounds begin with it.
    private mutating func measure(_ bounds: ClosedRange<Int>, _ units: String, _ what: String) {
      let number = bounds.lowerBound == 0 ? "^(0|[1-9][0-9]*)(\(units))$" : "^[1-9][0-9]*(\(units))$"
      guard bounds.lowerBound == 0 else { return string(what, number) }
      member("title", JSONText.quote(what))
      orReference {
        $0.open("[", as: "anyOf")
        $0.open("{")
        $0.member("const", "0")
        $0.close("}")
        $0.open("{")
        $0.member("type", "\"string\"")
        $0.member("pattern", JSONText.quote(number))
        $0.close("}")
        $0.close("]")
      }
    }
  }

  /// Editors read a word such as `1.2` or `503` as a number where it has no quotes; here both are that word.
  private static func spellings(_ words: [String]) -> [String] {
    words.map { JSONText.quote($0) } + words.filter { Double($0) != nil }
  }

  package static func duration(_ bounds: ClosedRange<Int>) -> String {
    "\(Unit.duration(bounds.lowerBound)) to \(Unit.duration(bounds.upperBound))"
  }

  package static func size(_ bounds: ClosedRange<Int>) -> String {
    "\(Unit.size(bounds.lowerBound)) to \(Unit.size(bounds.upperBound))"
  }

  static let namePattern = "^[A-Za-z0-9._-]{1,64}$"
}
