// A request head that a codec has taken from fields, as HTTP/2 has it (RFC 9113 section 8.3): the codec writes the head's text into the
// exchange's buffer, and says where the pseudo-fields' values lie. The lines, and what all say together, go through the functions
// that `parse` calls, so that neither way takes what the other refuses. What only HTTP/2 forbids (upper case in names, fields of
// the connection, pseudo-fields twice, late or unknown, what would end a line) is for the codec to refuse.

/// What a request says where HTTP/1 has its request line (RFC 9113 section 8.3.1): where the values of its pseudo-fields lie in
/// the head's text, in any order. Nil: not sent.
public struct RequestPseudoFields: Sendable {
  public var method: ByteRange?
  public var scheme: ByteRange?
  public var authority: ByteRange?
  public var path: ByteRange?

  public init(
    method: ByteRange? = nil, scheme: ByteRange? = nil, authority: ByteRange? = nil, path: ByteRange? = nil
  ) {
    self.method = method
    self.scheme = scheme
    self.authority = authority
    self.path = path
  }
}

extension RequestHead {
  /// Reads a head that a codec has written, which `text` is the whole of: the values of its pseudo-fields, in the first `linesStart`
  /// bytes; then a line for each field, `name: value` and CRLF; and the empty line. The codec has seen to it that no name and no value ends
  /// a line (`FieldBytes`). `limits` are those of the whole head, in bytes of its text.
  ///
  /// Never `.incomplete`. Of the pseudo-fields `.requestLine` is refused for a method that is no token or longer than 32 bytes, and where
  /// one is missing or `:path` is empty; `.targetForm`, with `targetFault`, for a path that is no target or a scheme that is not of HTTP.
  /// What else is refused, and what holds after which refusal, is as with the other `parse`.
  public func parse(
    _ text: Span<UInt8>, _ fields: RequestPseudoFields, linesStart: Int, limits: HeadLimits
  ) -> HeadOutcome {
    facts = RequestFacts()
    table.removeAll()
    var line = RequestLine()
    let refusal = line.read(text.extracting(first: linesStart), fields, headBytesMax: limits.headBytes)
    self.line = line
    if let refusal { return .refused(refusal) }
    guard linesStart < limits.headBytes else { return .refused(.headTooLarge) }
    switch table.scan(text, from: linesStart, end: min(text.count, limits.headBytes), limits: limits) {
    case .incomplete: return .refused(.headTooLarge)
    case .refused(let refusal): return .refused(refusal)
    case .next(let length):
      // A codec that writes an empty line into a value is at fault; what stands behind it is no part of the head.
      guard length == text.count else { return .refused(.lineEnding) }
      if let refusal = conclude(text, length: length) { return .refused(refusal) }
      return .complete(length: length)
    }
  }
}

extension RequestLine {
  /// The request line's parts from pseudo-fields. What is past the limit is not looked at, as in `scan`.
  mutating func read(_ bytes: Span<UInt8>, _ fields: RequestPseudoFields, headBytesMax: Int) -> Refusal? {
    guard let method = fields.method else { return .requestLine }
    let methodEnd = method.end(before: headBytesMax)
    guard !method.isEmpty, methodEnd &- method.lower <= Self.methodBytesMax,
      Token.end(bytes, method.lower, methodEnd) == methodEnd
    else { return .requestLine }
    methodRange = method
    readMethod(bytes)

    // RFC 9113 section 8.5: CONNECT has no scheme and no path, every other request has both.
    if isConnect {
      guard let authority = fields.authority, fields.scheme == nil, fields.path == nil else { return .requestLine }
      target = authority
    } else {
      guard let path = fields.path, fields.scheme != nil else { return .requestLine }
      target = path
    }
    let targetEnd = target.end(before: headBytesMax)
    var queryStart = -1
    let stop = Self.targetEnd(bytes, target.lower, targetEnd, queryStart: &queryStart)
    guard stop == targetEnd else {
      targetFault = TargetFault(stop: bytes[stop])
      return .targetForm
    }
    guard !target.isEmpty else { return .requestLine }
    guard bytes.count <= headBytesMax else { return .headTooLarge }

    if let scheme = fields.scheme, !Self.isScheme(bytes, scheme) {
      targetFault = .form
      return .targetForm
    }
    targetAuthority = fields.authority
    return readTarget(bytes, queryStart: queryStart < 0 ? target.upper : queryStart, mayBeAbsolute: false)
  }
}
