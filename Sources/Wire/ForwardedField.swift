// The values of X-Forwarded-For and Forwarded (RFC 7239), read from the right, one element at a time.
//
// The right end was written by the peer, who is trusted; how far to the left anything can be believed is the trust
// policy's to say, and it stops there. So an element is looked at only when it is asked for: what a client wrote further left
// can be neither misread nor the cause of a refusal. Invariant: an element is an address in one strict form or malformed, and
// quotes to the left of an element cannot change where it begins. Called by TrustPolicy.

/// An element's address.
public struct ForwardedNode: Equatable, Sendable {
  /// Unmapped.
  public let address: IPAddress
  /// 0 where none is written.
  public let port: UInt16
  /// What `proto` says of the client's scheme, in Forwarded; nil where it says nothing.
  public internal(set) var isSecure: Bool?
}

/// Walks the elements of one field line from the last to the first.
public struct ForwardedElements {
  public enum Syntax: Sendable { case xForwardedFor, forwarded }
  public enum Element: Equatable, Sendable {
    case node(ForwardedNode)
    /// Empty, obfuscated, unknown, or in no form that is taken.
    case malformed
    /// There are no more to the left.
    case end
  }

  private let start: Int
  /// One past the last byte that was not read yet; nil when the walk is over.
  private var end: Int?
  private let syntax: Syntax

  /// The elements of the field value at `value`. An empty value is one empty element.
  public init(_ value: ByteRange, syntax: Syntax) {
    start = value.lower
    end = value.upper
    self.syntax = syntax
  }

  /// The element to the left of the one before. After a malformed one the walk is over.
  public mutating func previous(_ bytes: Span<UInt8>) -> Element {
    guard let end else { return .end }
    let begin: Int?
    switch syntax {
    case .xForwardedFor: begin = Self.afterComma(bytes, from: start, before: end)
    case .forwarded: begin = Self.afterUnquotedComma(bytes, from: start, before: end)
    }
    guard let begin else {
      self.end = nil
      return .malformed
    }
    self.end = begin > start ? begin - 1 : nil
    var lower = begin
    var upper = end
    while lower < upper, Ascii.isBlank(bytes[lower]) { lower += 1 }
    while upper > lower, Ascii.isBlank(bytes[upper - 1]) { upper -= 1 }
    let node =
      switch syntax {
      case .xForwardedFor: ForwardedNode.parse(bytes.extracting(lower..<upper), bareV6: true)
      case .forwarded: Self.nodeOfElement(bytes, lower..<upper)
      }
    guard let node else {
      self.end = nil
      return .malformed
    }
    return .node(node)
  }

  // MARK: Where an element begins

  private static func afterComma(_ bytes: Span<UInt8>, from start: Int, before end: Int) -> Int {
    var at = end
    while at > start, bytes[at - 1] != Ascii.comma { at -= 1 }
    return at
  }

  /// As `afterComma`, stepping over quoted strings from their end to their beginning. A quote inside one has an odd
  /// number of backslashes before it, the opening quote has none, so a well-formed element is bounded the same from
  /// either side. Nil when a quote has no partner.
  private static func afterUnquotedComma(_ bytes: Span<UInt8>, from start: Int, before end: Int) -> Int? {
    var at = end
    while at > start, bytes[at - 1] != Ascii.comma {
      at -= 1
      guard bytes[at] == quote else { continue }
      var isOpen = false
      while at > start, !isOpen {
        at -= 1
        guard bytes[at] == quote else { continue }
        var before = at
        while before > start, bytes[before - 1] == backslash { before -= 1 }
        isOpen = (at - before) % 2 == 0
        if !isOpen { at = before }
      }
      guard isOpen else { return nil }
    }
    return at
  }

  private static let quote: UInt8 = 0x22
  private static let backslash: UInt8 = 0x5c
  private static let semicolon: UInt8 = 0x3b
  private static let equals: UInt8 = 0x3d
  private static let forName = PackedName("for")
  private static let protoName = PackedName("proto")

  // MARK: RFC 7239 section 4

  /// The one `for`, and the `proto` if there is one, of `[ pair ] *( ";" [ pair ] )`, each pair `token "=" ( token / quoted-string )`.
  private static func nodeOfElement(_ bytes: Span<UInt8>, _ range: Range<Int>) -> ForwardedNode? {
    var node: ForwardedNode?
    var isSecure: Bool?
    var at = range.lowerBound
    while at < range.upperBound {
      if bytes[at] == semicolon {
        at += 1
        continue
      }
      let nameStart = at
      while at < range.upperBound, Token.isTokenByte(bytes[at]) { at += 1 }
      let name = ByteRange(nameStart, at - nameStart)
      guard !name.isEmpty, at < range.upperBound, bytes[at] == equals else { return nil }
      at += 1
      guard at < range.upperBound else { return nil }
      let value: Range<Int>
      if bytes[at] == quote {
        at += 1
        let valueStart = at
        while at < range.upperBound, bytes[at] != quote { at += bytes[at] == backslash ? 2 : 1 }
        guard at < range.upperBound else { return nil }
        value = valueStart..<at
        at += 1
      } else {
        let valueStart = at
        while at < range.upperBound, Token.isTokenByte(bytes[at]) { at += 1 }
        guard at > valueStart else { return nil }
        value = valueStart..<at
      }
      guard at == range.upperBound || bytes[at] == semicolon else { return nil }
      if bytes.holds(protoName, at: name) {
        let scheme = ByteRange(value.lowerBound, value.count)
        guard isSecure == nil, let found = ForwardedScheme.isSecure(bytes, scheme) else { return nil }
        isSecure = found
        continue
      }
      guard bytes.holds(forName, at: name) else { continue }
      // A parameter may not occur twice in an element. IPv6 is bracketed here; an escape inside an address has no use but
      // to be read differently by different readers, and is in no form that parses.
      guard node == nil, let found = ForwardedNode.parse(bytes.extracting(value), bareV6: false) else { return nil }
      node = found
    }
    node?.isSecure = isSecure
    return node
  }
}

extension ForwardedNode {
  /// `192.0.2.7`, `192.0.2.7:51324`, `[2001:db8::7]` or `[2001:db8::7]:51324`, and with `bareV6` `2001:db8::7`. A port is 1 to
  /// 65535 without leading zeros. Obfuscated and unknown nodes (RFC 7239 sections 6.2 and 6.3) name nobody: nil.
  static func parse(_ text: Span<UInt8>, bareV6: Bool) -> ForwardedNode? {
    guard text.count > 0 else { return nil }
    if text[0] == 0x5b {
      var close = 1
      while close < text.count, text[close] != 0x5d { close += 1 }
      guard close < text.count, let address = IPAddress.parse(text.extracting(1..<close)), address.family == .v6,
        let port = parsePort(text.extracting((close + 1)..<text.count))
      else { return nil }
      return ForwardedNode(address: address.unmapped, port: port)
    }
    if let address = IPAddress.parse(text) {
      guard address.family == .v4 || bareV6 else { return nil }
      return ForwardedNode(address: address.unmapped, port: 0)
    }
    var colon = 0
    while colon < text.count, text[colon] != Ascii.colon { colon += 1 }
    guard colon < text.count, let address = IPAddress.parse(text.extracting(0..<colon)), address.family == .v4,
      let port = parsePort(text.extracting(colon..<text.count))
    else { return nil }
    return ForwardedNode(address: address, port: port)
  }

  /// Nothing, or a colon and a port.
  private static func parsePort(_ text: Span<UInt8>) -> UInt16? {
    guard text.count > 0 else { return 0 }
    guard text[0] == Ascii.colon, let port = DecimalText.parse(text.extracting(1..<text.count), max: 65535), port > 0
    else { return nil }
    return UInt16(truncatingIfNeeded: port)
  }
}
