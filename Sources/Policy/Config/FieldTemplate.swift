// Text with variables, of which requests get values: for fields (`$request_id`), and for paths (`$1`, a group of `path_regex`). A dollar
// sign by itself is written `$$`. Read with the configuration; Proxy writes it out for each request, without allocating.

package struct FieldTemplate: Sendable, Equatable {
  package enum Part: Sendable, Equatable {
    case text([UInt8])
    case variable(Variable)
    /// A group of the route's `path_regex`; 0 is all of it.
    case group(Int)
  }

  package enum Variable: String, Sendable, CaseIterable {
    case requestID = "request_id"
    case client
    case host
    case scheme
    case tlsVersion = "tls_version"
  }

  /// As it is written.
  package let source: String
  package let parts: [Part]

  /// The highest group that is used; -1: none.
  package var lastGroup: Int {
    parts.reduce(-1) { last, part in
      if case .group(let number) = part { max(last, number) } else { last }
    }
  }

  package enum Kind { case field, path }

  /// What is wrong with a text.
  package struct Fault: Error {
    package let message: String
  }

  package init(_ source: String, _ kind: Kind) throws(Fault) {
    self.source = source
    let bytes = Array(source.utf8)
    var parts: [Part] = []
    var text: [UInt8] = []
    var at = 0
    func end() {
      if !text.isEmpty { parts.append(.text(text)) }
      text = []
    }
    while at < bytes.count {
      let byte = bytes[at]
      at += 1
      guard byte == UInt8(ascii: "$") else {
        text.append(byte)
        continue
      }
      guard at < bytes.count else { throw Fault(message: "a `$` at the end; write `$$` for a dollar sign") }
      if bytes[at] == UInt8(ascii: "$") {
        text.append(bytes[at])
        at += 1
        continue
      }
      let nameEnd = bytes[at...].firstIndex { !Self.isNameByte($0) } ?? bytes.count
      let name = String(decoding: bytes[at..<nameEnd], as: UTF8.self)
      switch kind {
      case .path:
        guard let digit = name.utf8.first, (0x30...0x39).contains(digit) else {
          throw Fault(
            message: "`$\(name)`, which is no group of `path_regex`; `$1` to `$9` are, and `$$` is a dollar sign")
        }
        end()
        parts.append(.group(Int(digit - 0x30)))
        at += 1
      case .field:
        guard let variable = Variable(rawValue: name) else {
          let suggestion = Spelling.nearest(to: name, among: Variable.allCases.map(\.rawValue))
          let known = Variable.allCases.map { "`$\($0.rawValue)`" }.joined(separator: ", ")
          throw Fault(
            message: "`$\(name)`, which is no variable"
              + (suggestion.map { "; did you mean `$\($0)`?" } ?? "; there is \(known)")
              + (name.isEmpty ? ", and `$$` is a dollar sign" : ""))
        }
        end()
        parts.append(.variable(variable))
        at = nameEnd
      }
    }
    end()
    self.parts = parts
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
    default: false
    }
  }
}
