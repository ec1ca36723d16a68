// Reading a request head of HTTP/1: an optional empty line, the request line, the fields, and then what they say together.
// Byte rules are judged in order of appearance, so a prefix of a bad head is refused as the whole is; what takes the
// whole head (framing, host, expectation, method) is judged after, in that order. RequestHeadFields has the head that comes
// as fields; it calls the same functions.

extension RequestHead {
  /// Parses the head at the front of `bytes`. `seen`: how many of these bytes an earlier call for the same head found
  /// incomplete; while no line has ended since, nothing is read twice.
  ///
  /// With `.methodRefused` the head was read whole: `length`, `framing` and `keepAlive` hold, so the connection can go
  /// on with what follows. After any other refusal only the request line's parts may be there, for the log.
  public func parse(_ bytes: Span<UInt8>, limits: HeadLimits, seen: Int = 0) -> HeadOutcome {
    let end = min(bytes.count, limits.headBytes)
    line = RequestLine()
    facts = RequestFacts()
    table.removeAll()
    var scan = Scan.incomplete
    if bytes.endsLine(after: seen, before: end) {
      var line = RequestLine()
      scan = line.scan(bytes, end: end)
      self.line = line
      if case .next(let start) = scan {
        scan = table.scan(bytes, from: start, end: end, limits: limits)
      }
    }
    switch scan {
    case .incomplete: return bytes.count >= limits.headBytes ? .refused(.headTooLarge) : .incomplete
    case .refused(let refusal): return .refused(refusal)
    case .next(let length):
      if let refusal = conclude(bytes, length: length) { return .refused(refusal) }
      return .complete(length: length)
    }
  }

  private static let hundredContinue = PackedName("100-continue")

  /// What takes the whole head, whichever way it came.
  func conclude(_ bytes: Span<UInt8>, length: Int) -> Refusal? {
    // RFC 9112 section 6.3.
    switch table.framing(bytes, minorVersion: line.minorVersion) {
    case .stated(let framing): facts.framing = framing
    case .refused(let refusal): return refusal
    }

    var options = FieldTable.ConnectionOptions()
    if let refusal = table.readConnection(bytes, into: &options) { return refusal }
    facts.nominatesProtected = options.nominatesProtected
    // RFC 9112 section 9.3.
    facts.keepAlive = !options.close && (line.minorVersion == 1 || options.keepAlive)

    if let refusal = readAuthority(bytes) { return refusal }

    guard let trailerNamesIdentity = table.trailerNamesIdentity(bytes) else { return .valueInvalid }
    facts.trailerNamesIdentity = trailerNamesIdentity

    // RFC 9110 section 10.1.1: an HTTP/1.0 expectation is ignored.
    if table.has(.expect), line.minorVersion == 1 {
      guard table.repeated & FieldKind.expect.bit == 0, bytes.holds(Self.hundredContinue, at: table.firstValue(.expect))
      else { return .expectation }
      facts.expectsContinue = true
    }

    if options.upgrade, line.minorVersion == 1, line.method == .get, table.has(.upgrade),
      facts.framing == .none || facts.framing == .length(0)
    {
      facts.wantsWebSocket =
        table.repeated & FieldKind.upgrade.bit == 0 && bytes.holds(.websocket, at: table.firstValue(.upgrade))
    }

    facts.length = length
    if line.isMethodRefused {
      // A client may send tunnelled bytes right after CONNECT; they must not be read as a request.
      if line.isConnect { facts.keepAlive = false }
      return .methodRefused
    }
    return nil
  }

  @inline(__always) private func readAuthority(_ bytes: Span<UInt8>) -> Refusal? {
    guard table.has(.host) else {
      // `:authority` stands for Host (RFC 9113 section 8.3.1); an absolute form does not (RFC 9112 section 3.2). HTTP/1.0 may do
      // without Host, but the identity is signed over an authority.
      guard let authority = line.targetAuthority, !line.isAbsoluteForm else { return .hostMissing }
      facts.authority = authority
      return Authority.isValid(bytes, authority) ? nil : .hostInvalid
    }
    guard table.repeated & FieldKind.host.bit == 0 else { return .hostMultiple }
    facts.authority = table.firstValue(.host)
    guard Authority.isValid(bytes, facts.authority) else { return .hostInvalid }
    // The target's authority wins (RFC 9112 section 3.2.2, RFC 9113 section 8.3.1); so that nobody has to know that, they must
    // agree.
    guard let authority = line.targetAuthority, !line.isConnect,
      !bytes.equalsIgnoringCase(authority, facts.authority)
    else { return nil }
    return line.isAbsoluteForm ? .absoluteForm : .hostMultiple
  }
}

extension RequestLine {
  static let methodBytesMax = 32

  /// `METHOD SP target SP HTTP/1.x CRLF` (RFC 9112 section 3), after at most one empty line (section 2.2).
  mutating func scan(_ bytes: Span<UInt8>, end: Int) -> Scan {
    var at = 0
    guard end > 0 else { return .incomplete }
    if bytes[0] == Ascii.cr {
      let scan = Scan.lineEnd(bytes, 0, end)
      guard case .next(let next) = scan else { return scan }
      at = next
    }

    let methodStart = at
    at = Token.end(bytes, at, end)
    guard at &- methodStart <= Self.methodBytesMax else { return .refused(.requestLine) }
    guard at < end else { return .incomplete }
    guard bytes[at] == Ascii.space, at > methodStart else { return .notALine(bytes, at, end) }
    methodRange = ByteRange(methodStart, at &- methodStart)
    at &+= 1

    let targetStart = at
    var queryStart = -1
    at = Self.targetEnd(bytes, targetStart, end, queryStart: &queryStart)
    guard at < end else { return .incomplete }
    guard bytes[at] == Ascii.space else { return targetStop(bytes, at, end) }
    guard at > targetStart else { return .refused(.requestLine) }
    target = ByteRange(targetStart, at &- targetStart)
    let scan = version(bytes, at &+ 1, end)
    guard case .next = scan else { return scan }

    readMethod(bytes)
    if let refusal = readTarget(bytes, queryStart: queryStart < 0 ? at : queryStart, mayBeAbsolute: true) {
      return .refused(refusal)
    }
    return scan
  }

  private mutating func version(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Scan {
    let scan = Scan.version(bytes, start, end, minor: &minorVersion)
    guard case .next(let at) = scan else { return scan }
    guard at < end else { return .incomplete }
    guard bytes[at] == Ascii.cr else { return .notALine(bytes, at, end) }
    return Scan.lineEnd(bytes, at, end)
  }

  /// Which bytes a target may hold: whatever a URL parser of the WHATWG URL standard leaves unescaped, and what RFC 3986
  /// excludes but divides nothing (`"<>[]^{|}` and the backtick).
  ///
  /// - A `%` without two hexadecimal digits: neither the path nor the query percent-encode set (section 1.3) has `%`, so
  ///   the path and the query state (section 4.4) report it and leave it.
  /// - `\`: not in the query percent-encode set, so it stays in a query. In the path of an http(s) URL the path state takes it
  ///   for a slash, so no browser sends one, and servers differ on what it is: refused there.
  /// - Never in either: controls, space, bytes that are not ASCII (the C0 control percent-encode set and the space) and `#`,
  ///   which ends both.
  ///
  /// The bytes are routed, signed and sent on as they came.
  @inline(__always) private static func isTargetByte(_ byte: UInt8, inQuery: Bool) -> Bool {
    byte > 0x20 && byte < 0x7f && byte != 0x23 && (byte != 0x5c || inQuery)
  }

  /// The first byte from `start` that may not stand in a target, or `end`. `queryStart`: where its first `?` is, set when
  /// there is one.
  @inline(__always) static func targetEnd(
    _ bytes: Span<UInt8>, _ start: Int, _ end: Int, queryStart: inout Int
  ) -> Int {
    var at = start
    while true {
      while end &- at >= 8 {
        let found = Word.targetSpecial(bytes.word(at: at))
        guard found == 0 else {
          at &+= Word.firstIndex(found)
          break
        }
        at &+= 8
      }
      guard at < end else { return at }
      let byte = bytes[at]
      guard isTargetByte(byte, inQuery: queryStart >= 0) else { return at }
      if byte == 0x3f, queryStart < 0 { queryStart = at }  // ?
      at &+= 1
    }
  }

  private mutating func targetStop(_ bytes: Span<UInt8>, _ at: Int, _ end: Int) -> Scan {
    if bytes[at] == Ascii.cr || bytes[at] == Ascii.lf { return .notALine(bytes, at, end) }
    targetFault = TargetFault(stop: bytes[at])
    return .refused(.targetForm)
  }

  mutating func readMethod(_ bytes: Span<UInt8>) {
    guard methodRange.count <= 8 else { return }
    var word: UInt64 = 0
    for at in methodRange.range { word = word << 8 | UInt64(bytes[at]) }
    switch word {
    case 0x474554: method = .get
    case 0x48454144: method = .head
    case 0x504f5354: method = .post
    case 0x505554: method = .put
    case 0x44454c455445: method = .delete
    case 0x4f5054494f4e53: method = .options
    case 0x5041544348: method = .patch
    case 0x434f4e4e454354:  // CONNECT
      isMethodRefused = true
      isConnect = true
    case 0x5452414345: isMethodRefused = true  // TRACE
    default: break
    }
  }

  /// The four forms of RFC 9112 section 3.2, of which a pseudo-field has no absolute one. The path is never normalised: it is
  /// routed, signed and sent as it came.
  mutating func readTarget(_ bytes: Span<UInt8>, queryStart: Int, mayBeAbsolute: Bool) -> Refusal? {
    query = ByteRange(queryStart, target.upper &- queryStart)
    if isConnect {
      if Authority.isValid(bytes, target) { return nil }
      targetFault = .connect
      return .targetForm
    }
    if readPath(bytes, queryStart) || mayBeAbsolute && readAbsolute(bytes, queryStart) { return nil }
    targetFault = .form
    return .targetForm
  }

  private mutating func readPath(_ bytes: Span<UInt8>, _ queryStart: Int) -> Bool {
    switch bytes[target.lower] {
    case 0x2f:  // /
      path = ByteRange(target.lower, queryStart &- target.lower)
      return true
    case 0x2a:  // *
      path = target
      return target.count == 1 && method == .options
    default: return false
    }
  }

  private mutating func readAbsolute(_ bytes: Span<UInt8>, _ queryStart: Int) -> Bool {
    guard let authorityStart = Self.afterScheme(bytes, target) else { return false }
    isAbsoluteForm = true
    var at = authorityStart
    while at < queryStart, bytes[at] != 0x2f { at &+= 1 }
    targetAuthority = ByteRange(authorityStart, at &- authorityStart)
    if at < queryStart {
      path = ByteRange(at, queryStart &- at)
      return true
    }
    // No path means `/` (RFC 9110 section 4.2.3), and there is one: the second slash of the scheme's. For OPTIONS it
    // would mean `*` (RFC 9112 section 3.2.4), which nobody sends; refused.
    path = ByteRange(authorityStart &- 1, 1)
    return method != .options
  }

  /// Where the authority of an absolute `http` or `https` URI begins.
  private static func afterScheme(_ bytes: Span<UInt8>, _ target: ByteRange) -> Int? {
    var at = target.lower
    while at < target.upper, Token.isAlphanumeric(bytes[at]) { at &+= 1 }
    guard target.upper &- at > 3, isScheme(bytes, ByteRange(target.lower, at &- target.lower)),
      bytes[at] == Ascii.colon, bytes[at &+ 1] == 0x2f, bytes[at &+ 2] == 0x2f
    else { return nil }
    return at &+ 3
  }

  private static let http = PackedName("http")
  private static let https = PackedName("https")

  /// A scheme of HTTP, in either case (RFC 3986 section 3.1).
  static func isScheme(_ bytes: Span<UInt8>, _ range: ByteRange) -> Bool {
    bytes.holds(http, at: range) || bytes.holds(https, at: range)
  }
}
