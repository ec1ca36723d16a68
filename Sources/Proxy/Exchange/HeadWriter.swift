// Heads as they go out. What the client said about itself, what was meant for the hop before us, and framing are left
// out and written anew; everything else is copied in runs, byte for byte. Identity comes last, so nothing that the
// client nominated or spelled can stand after it or take it away.
// Fields that we write have their usual case, for there are servers and devices that look for just that (RFC 9110 section 5.1
// has names without case); the signed ones are lower case, as docs/IDENTITY.md has them.
// Callers: the worker, with the parsed head and the bytes that it was parsed from.

import Platform
import Policy
import Wire

package enum HeadWriter {
  /// What a response head may grow by: date, framing, connection, and three bytes a line that is written anew.
  static let responseGrowthBytes =
    256 + ResponseCoding.bytesMax + RateNotice.bytesMax + StickyCookie.lineBytesMax + 3
    * (Plan.responseFieldsMax + HeadGrowth.fields)

  /// Kinds that never pass from a request to the next hop as they came.
  private static let requestDropped: UInt64 =
    FieldKind.identityBits | FieldKind.claim.bit | FieldKind.earlyData.bit | FieldKind.host.bit
    | FieldKind.contentLength.bit
    | FieldKind.transferEncoding.bit | FieldKind.connection.bit | FieldKind.keepAlive.bit
    | FieldKind.proxyConnection.bit | FieldKind.te.bit | FieldKind.upgrade.bit | FieldKind.expect.bit
    | FieldKind.proxyAuthenticate.bit | FieldKind.proxyAuthorization.bit | FieldKind.trailer.bit

  private static let responseDropped: UInt64 =
    FieldKind.contentLength.bit | FieldKind.transferEncoding.bit | FieldKind.connection.bit | FieldKind.keepAlive.bit
    | FieldKind.proxyConnection.bit | FieldKind.te.bit | FieldKind.upgrade.bit | FieldKind.trailer.bit
    | FieldKind.proxyAuthenticate.bit

  /// The request line, Host, the client's own fields and framing; identity and the empty line are the caller's.
  /// - Parameters:
  ///   - line: the text that has the request line and the host, at `target`; `bytes`, or what they were changed to.
  ///   - edit: what the route changes about the fields, with `values` for the request.
  @inline(__always) package static func writeRequest(
    _ bytes: Span<UInt8>, head: RequestHead, line: Span<UInt8>, _ target: RequestTarget, framing: BodyFraming,
    webSocket: Bool, expectsContinue: Bool, edit: HeadEdit?, _ values: FieldValues, into out: Buffer
  ) {
    out.append(line.extracting(target.method.range))
    out.append(0x20)
    out.append(line.extracting(target.path.range))
    if !target.query.isEmpty { out.append(line.extracting(target.query.range)) }
    out.append(" HTTP/1.1\r\nHost: ")
    out.append(line.extracting(target.authority.range))
    out.append("\r\n")
    writeFields(bytes, head: head, edit, values, into: out)
    switch framing {
    case .none, .untilClose: break
    case .length(let length): writeLength(length, into: out)
    case .chunked: out.append("Transfer-Encoding: chunked\r\n")
    }
    if expectsContinue { out.append("Expect: 100-continue\r\n") }
    if webSocket { out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n") }
  }

  /// The same for a stream of HTTP/2, whose end is its own (RFC 9113 section 8.3.1).
  static func writeStreamRequest(
    _ bytes: Span<UInt8>, head: RequestHead, line: Span<UInt8>, _ target: RequestTarget, framing: BodyFraming,
    isSecure: Bool, expectsContinue: Bool, edit: HeadEdit?, _ values: FieldValues, into out: Buffer
  ) {
    out.append(":method: ")
    out.append(line.extracting(target.method.range))
    out.append(isSecure ? "\r\n:scheme: https\r\n:authority: " : "\r\n:scheme: http\r\n:authority: ")
    out.append(line.extracting(target.authority.range))
    out.append("\r\n:path: ")
    out.append(line.extracting(target.path.range))
    if !target.query.isEmpty { out.append(line.extracting(target.query.range)) }
    out.append("\r\n")
    writeFields(bytes, head: head, edit, values, into: out)
    if case .length(let length) = framing { writeLength(length, into: out) }
    // gRPC's servers ask for it, and we pass trailers on.
    if head.has(.te) { out.append("te: trailers\r\n") }
    if expectsContinue { out.append("Expect: 100-continue\r\n") }
  }

  /// The client's own fields, as far as they may pass, with what the route changes.
  @inline(__always)
  private static func writeFields(
    _ bytes: Span<UInt8>, head: RequestHead, _ edit: HeadEdit?, _ values: FieldValues, into out: Buffer
  ) {
    // Lines lie one behind the other: those that stay are copied in runs.
    let count = head.fieldCount
    var runStart = -1
    for i in 0..<count {
      let dropped =
        head.kind(i).bit & requestDropped != 0 || head.isNominated(i) || edit?.drops(bytes, head.name(i)) ?? false
      if dropped {
        if runStart >= 0 { out.append(bytes.extracting(runStart..<head.name(i).lower)) }
        runStart = -1
      } else if runStart < 0 {
        runStart = head.name(i).lower
      }
    }
    // The last run ends where the empty line begins.
    if runStart >= 0 { out.append(bytes.extracting(runStart..<head.length - 2)) }
    edit?.lines.write(values, bytes, head, into: out)
  }

  /// Who the client is, in plain words, for a backend that trusts us: each of `fields` once.
  package static func writePlainIdentity(
    _ identity: ClientIdentity, host: Span<UInt8>, fields: Config.PlainFields = .all, into out: Buffer
  ) {
    // Written once, and copied.
    let address = identity.address.text
    let proto: StaticString = identity.secure ? "https" : "http"
    if fields.contains(.xForwardedFor) {
      out.append("X-Forwarded-For: ")
      address.withBytes { out.append($0) }
      out.append("\r\n")
    }
    if fields.contains(.xForwardedProto) {
      out.append("X-Forwarded-Proto: ")
      out.append(proto)
      out.append("\r\n")
    }
    if fields.contains(.xForwardedHost) {
      out.append("X-Forwarded-Host: ")
      out.append(host)
      out.append("\r\n")
    }
    if fields.contains(.xRealIP) {
      out.append("X-Real-IP: ")
      address.withBytes { out.append($0) }
      out.append("\r\n")
    }
    guard fields.contains(.forwarded) else { return }
    // RFC 7239 sections 4 and 6: an IPv6 address stands in brackets, and then in quotes.
    out.append("Forwarded: for=")
    if identity.address.family == .v6 {
      out.append("\"[")
      address.withBytes { out.append($0) }
      out.append("]\"")
    } else {
      address.withBytes { out.append($0) }
    }
    out.append(";host=\"")
    out.append(host)
    out.append("\";proto=")
    out.append(proto)
    out.append("\r\n")
  }

  /// How a response's end is told to the client. `unsent`: there is no content, and a length that is stated is that of
  /// the content which a GET would have had (RFC 9110 section 8.6), so it passes as it came.
  package enum ResponseFraming: Equatable {
    case none, unsent, length(UInt64), chunked, close

    /// How the response that `head` begins goes on to the client that asked.
    package init(_ head: ResponseHead, requestWasHead: Bool, clientMinorVersion: Int) {
      switch head.framing {
      // RFC 9110 section 8.6: 1xx and 204 tell no length, also to HEAD, not even the 0 that the parser lets pass.
      case .none:
        self = head.status == 304 || (requestWasHead && head.status >= 200 && head.status != 204) ? .unsent : .none
      case .length(let length): self = .length(length)
      // A client of HTTP/1.0 knows no chunks: the connection's end is the content's.
      case .chunked, .untilClose: self = clientMinorVersion > 0 ? .chunked : .close
      }
    }
  }

  /// A whole response head for the client, with the empty line. `mark`: what a validator says to its edge. `isGRPCAnswer`: it is a
  /// validator's own to a call of gRPC (`GRPCAnswer`). `edit`: what the route changes about the fields, of which `addLines` appends
  /// those that it adds. `coding`: what compressing changes about them.
  package static func writeResponse(
    _ bytes: Span<UInt8>, head: ResponseHead, length: Int, framing: ResponseFraming,
    coding: ResponseCoding = .asIs, keepAlive: Bool, clientMinorVersion: Int, isTunnel: Bool, isStream: Bool = false,
    isGRPCAnswer: Bool = false,
    mark: ValidatorMark = .none, cookieLine: [UInt8] = [], edit: HeadEdit? = nil,
    addLines: (HeadEdit) -> Void = { _ in }, date: Span<UInt8>,
    rate: RateNotice = .none, rateOfRoute: RouteRate? = nil, into out: Buffer
  ) {
    if isStream {
      // RFC 8441 section 5.1: what 101 says in HTTP/1.1.
      writeStatusField(isTunnel || isGRPCAnswer ? 200 : head.status, into: out)
    } else {
      out.append("HTTP/1.1 ")
      out.append(decimal: UInt64(head.status))
      out.append(0x20)
      if !head.reason.isEmpty { out.append(bytes.extracting(head.reason.range)) }
      out.append("\r\n")
    }
    let count = head.fieldCount
    var runStart = -1
    var droppedKinds = responseDropped
    let goesInRuns = !head.hasBareLF
    if case .unsent = framing, head.repeatedLength == nil { droppedKinds &= ~FieldKind.contentLength.bit }
    for i in 0..<count {
      let kind = head.kind(i)
      let dropped =
        kind.bit & droppedKinds != 0 || head.isNominated(i) || ValidatorMark.isOne(bytes, head, i, kind)
        || (isStream && isTunnel && bytes.extracting(head.name(i).range).equalsIgnoringCase("sec-websocket-accept"))
        || edit?.drops(bytes, head.name(i)) ?? false
      if dropped {
        if runStart >= 0 { out.append(bytes.extracting(runStart..<head.name(i).lower)) }
        runStart = -1
      } else if goesInRuns {
        if runStart < 0 { runStart = head.name(i).lower }
      } else {
        writeLine(bytes, name: head.name(i), value: head.value(i), into: out)
      }
    }
    if runStart >= 0 { out.append(bytes.extracting(runStart..<length - 2)) }
    // RFC 9110 section 6.6.1: whoever forwards a response without a date adds one.
    if head.status >= 200, !head.has(.date) {
      out.append("Date: ")
      out.append(date)
      out.append("\r\n")
    }
    switch framing {
    case .none, .close: break
    case .unsent: if let length = head.repeatedLength { writeLength(length, into: out) }
    case .length(let length): writeLength(length, into: out)
    case .chunked: if !isStream { out.append("Transfer-Encoding: chunked\r\n") }
    }
    if isStream {
      // A stream's end is its own (RFC 9113 section 8.1), and so is its connection's.
    } else if isTunnel {
      out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n")
    } else if head.status >= 200 {
      if !keepAlive {
        out.append("Connection: close\r\n")
      } else if clientMinorVersion == 0 {
        out.append("Connection: keep-alive\r\n")
      }
    }
    out.append(mark.line)
    if !cookieLine.isEmpty { out.append(cookieLine.span) }
    if let edit { addLines(edit) }
    if coding.changesHead { coding.write(bytes, into: out) }
    if let rateOfRoute { rate.write(rateOfRoute, into: out) }
    if !isStream { out.append("\r\n") }
  }

  @inline(__always) static func writeStatusField(_ status: Int, into out: Buffer) {
    out.append(":status: ")
    out.append(decimal: UInt64(status))
    out.append("\r\n")
  }

  @inline(__always) private static func writeLength(_ length: UInt64, into out: Buffer) {
    out.append("Content-Length: ")
    out.append(decimal: length)
    out.append("\r\n")
  }

  /// One field line anew, where it cannot go on as it came: of a head that is not how it should be, and of every trailer.
  @inline(never) static func writeLine(_ bytes: Span<UInt8>, name: ByteRange, value: ByteRange, into out: Buffer) {
    out.append(bytes.extracting(name.range))
    out.append(": ")
    out.append(bytes.extracting(value.range))
    out.append("\r\n")
  }

  /// How many bytes `writeAnswerContent` appends.
  package static func answerBytes(
    _ reason: StaticString, _ sentence: StaticString, _ parts: AnswerParts = AnswerParts()
  ) -> Int {
    if let page = parts.page { return page.bytes.count }
    let sentenceBytes = sentence.utf8CodeUnitCount
    return reason.utf8CodeUnitCount + 5 + (sentenceBytes > 0 ? sentenceBytes + 1 : 0)
  }

  /// An answer of our own: small, without internals. `sentence` says more to whoever reads it, and may be empty.
  package static func writeAnswerContent(
    status: Int, _ reason: StaticString, _ sentence: StaticString, _ parts: AnswerParts = AnswerParts(),
    into out: Buffer
  ) {
    if let page = parts.page {
      out.append(page.bytes.span)
      return
    }
    out.append(decimal: UInt64(status))
    out.append(0x20)
    out.append(reason)
    out.append(0x0a)
    guard sentence.utf8CodeUnitCount > 0 else { return }
    out.append(sentence)
    out.append(0x0a)
  }

  /// The head of an answer of our own, with the empty line; `contentBytes` of text follow it. `isStorable`: caches may keep it.
  package static func writeAnswerHead(
    status: Int, reason: StaticString, contentBytes: Int, keepAlive: Bool, isStream: Bool = false, mark: ValidatorMark,
    isStorable: Bool = true, retryAfterSeconds: Int = 1, parts: AnswerParts = AnswerParts(),
    date: Span<UInt8>, into out: Buffer
  ) {
    if isStream {
      writeStatusField(status, into: out)
    } else {
      out.append("HTTP/1.1 ")
      out.append(decimal: UInt64(status))
      out.append(0x20)
      out.append(reason)
      out.append("\r\n")
    }
    out.append("Date: ")
    out.append(date)
    out.append("\r\nContent-Type: ")
    out.append(parts.page?.contentType ?? "text/plain")
    out.append("\r\nContent-Length: ")
    out.append(decimal: UInt64(contentBytes))
    out.append("\r\n")
    if !isStorable { out.append("Cache-Control: no-store\r\n") }
    if status == 405 { out.append("Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n") }
    if status == 503 || status == 429 {
      out.append("Retry-After: ")
      out.append(decimal: UInt64(retryAfterSeconds))
      out.append("\r\n")
    }
    parts.writeFields(into: out)
    out.append(mark.line)
    guard !isStream else { return }
    out.append(keepAlive ? "\r\n" : "Connection: close\r\n\r\n")
  }

  /// The words for a status that we send.
  package static func reason(_ status: Int) -> StaticString {
    let phrase = ReasonPhrase.of(status)
    return phrase.utf8CodeUnitCount > 0 ? phrase : "Error"
  }
}

extension Span<UInt8> {
  /// Whether these bytes are an ASCII word, whatever their case; `word` is lower case.
  func equalsIgnoringCase(_ word: StaticString) -> Bool {
    guard count == word.utf8CodeUnitCount else { return false }
    return AsciiWord.matches(self, word)
  }
}

extension Span<UInt8> {
  /// Whether these bytes are the others, whatever the case of their ASCII letters.
  func equalsIgnoringCase(_ other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for i in 0..<count where self[i].asciiLowercased != other[i].asciiLowercased { return false }
    return true
  }
}

extension String {
  /// The bytes with ASCII letters in lower case.
  init(lowercasing bytes: Span<UInt8>) {
    var lower: [UInt8] = []
    lower.reserveCapacity(bytes.count)
    for i in 0..<bytes.count { lower.append(bytes[i].asciiLowercased) }
    self = String(decoding: lower, as: UTF8.self)
  }
}
