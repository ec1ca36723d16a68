// libyaml's event parser: one event at a time, each with its position. No document is composed, so an alias is an event and not
// a copy, and memory is proportional to the text. Used by YAMLDocument (Policy).

import CYAML

/// A position in a YAML text. Both numbers count from 1; the column counts characters.
package struct YAMLMark: Equatable, Sendable {
  package let line: Int
  package let column: Int

  fileprivate init(_ mark: yaml_mark_t) {
    line = Int(mark.line) + 1
    column = Int(mark.column) + 1
  }
}

/// One event of a YAML text.
package struct YAMLEvent: Sendable {
  package enum Kind: Equatable, Sendable {
    case documentStart, documentEnd, streamEnd
    case sequenceStart, sequenceEnd
    case mappingStart, mappingEnd
    case alias
    /// `plain`: without quotes, and not in block style.
    case scalar(String, plain: Bool)
  }

  package let kind: Kind
  package let mark: YAMLMark
  /// It has an anchor (`&name`).
  package let isAnchored: Bool
  /// It has a tag (`!name`).
  package let isTagged: Bool
}

/// Why a text is not valid YAML.
package struct YAMLSyntaxError: Error, Sendable {
  package let problem: String
  package let mark: YAMLMark
  /// What was being parsed, and the line where that begins, if libyaml says so.
  package let context: (text: String, line: Int)?
}

@safe package final class YAMLParser {
  // SAFETY: both are made in init, freed in deinit, the parser first, and never lent. The parser keeps a pointer to the input,
  // which is not changed meanwhile. YAMLParser is not Sendable: one thread uses it.
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let input: UnsafeMutableBufferPointer<UInt8>

  package init(text: String) {
    // SAFETY: the input has room for the text's UTF-8 and is initialized with it; yaml_parser_initialize initializes the
    // parser before anything else uses it.
    unsafe input = .allocate(capacity: text.utf8.count)
    _ = unsafe input.initialize(from: text.utf8)
    unsafe parser = .allocate(capacity: 1)
    // As with every other allocation, memory that cannot be had ends the process.
    guard unsafe yaml_parser_initialize(parser) == 1 else { preconditionFailure("out of memory") }
    unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    unsafe yaml_parser_set_input_string(parser, input.baseAddress, input.count)
  }

  deinit {
    // SAFETY: what init made, each freed once, the input after the parser that points to it.
    unsafe yaml_parser_delete(parser)
    unsafe parser.deallocate()
    unsafe input.deallocate()
  }

  /// The next event. Not to be called again after the end of the stream or an error.
  package func next() throws(YAMLSyntaxError) -> YAMLEvent {
    while true {
      var event = unsafe yaml_event_t()
      // SAFETY: libyaml fills the local and owns what it points to until yaml_event_delete, before which it is copied. It
      // allows a call after the end or an error, and then gives an event without a type.
      guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw failure() }
      defer { unsafe yaml_event_delete(&event) }
      let mark = unsafe YAMLMark(event.start_mark)
      func made(_ kind: YAMLEvent.Kind, anchored: Bool = false, tagged: Bool = false) -> YAMLEvent {
        YAMLEvent(kind: kind, mark: mark, isAnchored: anchored, isTagged: tagged)
      }
      // SAFETY: of the union, each case reads the member that belongs to the event's type.
      switch unsafe event.type {
      case YAML_DOCUMENT_START_EVENT: return made(.documentStart)
      case YAML_DOCUMENT_END_EVENT: return made(.documentEnd)
      case YAML_STREAM_END_EVENT, YAML_NO_EVENT: return made(.streamEnd)
      case YAML_SEQUENCE_END_EVENT: return made(.sequenceEnd)
      case YAML_MAPPING_END_EVENT: return made(.mappingEnd)
      case YAML_ALIAS_EVENT: return made(.alias)
      case YAML_SEQUENCE_START_EVENT:
        let start = unsafe event.data.sequence_start
        return unsafe made(.sequenceStart, anchored: start.anchor != nil, tagged: start.tag != nil)
      case YAML_MAPPING_START_EVENT:
        let start = unsafe event.data.mapping_start
        return unsafe made(.mappingStart, anchored: start.anchor != nil, tagged: start.tag != nil)
      case YAML_SCALAR_EVENT:
        let scalar = unsafe event.data.scalar
        // SAFETY: value points to length bytes that the event owns; they are copied here.
        let text = unsafe String(
          decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
        return unsafe made(
          .scalar(text, plain: scalar.style == YAML_PLAIN_SCALAR_STYLE), anchored: scalar.anchor != nil,
          tagged: scalar.tag != nil)
      default: continue
      }
    }
  }

  private func failure() -> YAMLSyntaxError {
    // SAFETY: the texts are constants of libyaml, NUL-terminated, or NULL; they are copied here.
    let problem = unsafe parser.pointee.problem.map { unsafe String(cString: $0) }
    let context = unsafe parser.pointee.context.map { unsafe String(cString: $0) }
    return unsafe YAMLSyntaxError(
      problem: problem ?? "out of memory", mark: YAMLMark(parser.pointee.problem_mark),
      context: context.map { unsafe ($0, Int(parser.pointee.context_mark.line) + 1) })
  }
}
