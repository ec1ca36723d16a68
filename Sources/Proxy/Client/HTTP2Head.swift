// A header block of a request, or its trailers, as it comes field by field: what only HTTP/2 forbids is found here (RFC 9113
// sections 8.2 and 8.3), and then the head is written as text and judged by the functions that judge HTTP/1's. One for each
// connection, for there header blocks come one after the other; they may come in pieces.
//
//   begin ─► add … ─► write ─► RequestHead
//
// Invariants: `fields` has at most the bytes of the limit, whatever came; `listBytes` counts everything that came.

import Platform
import Policy
import Wire

package final class HTTP2Head {
  private(set) var isTrailer = false
  /// The first thing that was wrong.
  package var refusal: Refusal? { fault }
  private var fault: Refusal?
  /// The header block is not over.
  private(set) var isOpen = false
  /// `:protocol` asks for a WebSocket (RFC 8441).
  private(set) var wantsWebSocket = false
  /// Its content is gRPC's.
  private(set) var isGRPC = false
  /// How urgent its response is (RFC 9218).
  private(set) var priority: HTTP2Priority?

  /// The fields that are neither pseudo-fields nor Cookie, as their lines; then the values of the others.
  private var lines: Buffer
  private var pseudo: Buffer
  private var cookie: Buffer
  private var method = ByteRange.empty
  private var scheme = ByteRange.empty
  private var authority = ByteRange.empty
  private var path = ByteRange.empty
  private var seen: UInt8 = 0
  private var hasRegular = false
  private var fieldCount = 0
  /// As RFC 9113 section 6.5.2 counts them: names, values, and 32 for each field.
  private var listBytes = 0
  private var limits = HeadLimits(headBytes: 0, fields: 0)
  private var listBytesMax = 0

  private static let methodBit: UInt8 = 1
  private static let schemeBit: UInt8 = 2
  private static let authorityBit: UInt8 = 4
  private static let pathBit: UInt8 = 8
  private static let protocolBit: UInt8 = 16
  /// A head of more than so many times what is allowed ends the connection: decompressing it is work, too.
  private static let excess = 4
  /// An edge, or another proxy, may be allowed more than we are, and must not lose its connection, and with it the requests of others, for what
  /// one of its clients sends. An edge has no larger heads than this: 128 KiB (`HTTP2Lines.listBytesMax`), with 32 bytes for each of 1,000 fields, and what
  /// it adds.
  private static let bytesOfManyMax = 192 * 1024

  /// How large its text is, or a little less.
  var textBytes: Int { pseudo.count + lines.count + cookie.count }

  package init(pool: BufferPool, small: BufferPool) {
    lines = Buffer(pool: pool, small: small)
    pseudo = Buffer(pool: pool, small: small)
    cookie = Buffer(pool: pool, small: small)
  }

  /// - Parameter pool: the worker's present one. A reload that allows larger heads brings larger buffers, here for the next head.
  package func begin(
    isTrailer: Bool, limits: HeadLimits, isOfMany: Bool = false, pool: BufferPool, small: BufferPool
  ) {
    clear()
    if lines.capacity != pool.chunkBytes {
      lines = Buffer(pool: pool, small: small)
      pseudo = Buffer(pool: pool, small: small)
      cookie = Buffer(pool: pool, small: small)
    }
    self.isTrailer = isTrailer
    self.limits = limits
    listBytesMax = max(limits.headBytes * HTTP2Head.excess, isOfMany ? HTTP2Head.bytesOfManyMax : 0)
    isOpen = true
  }

  /// Forgets the head, and gives its memory back.
  func clear() {
    lines.reset()
    pseudo.reset()
    cookie.reset()
    fault = nil
    isOpen = false
    wantsWebSocket = false
    priority = nil
    isGRPC = false
    seen = 0
    hasRegular = false
    fieldCount = 0
    listBytes = 0
    method = .empty
    scheme = .empty
    authority = .empty
    path = .empty
  }

  /// Takes a field. False when there has been so much that the connection is to end.
  package func add(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
    listBytes += name.count + value.count + 32
    guard listBytes <= limits.headBytes else {
      refuse(.headTooLarge)
      return listBytes <= listBytesMax
    }
    if name.count > 0, name[0] == 0x3a {
      addPseudo(name, value)
      return true
    }
    hasRegular = true
    let isCookie = name.equals("cookie")
    if !isCookie { fieldCount += 1 }
    if fieldCount > limits.fields { refuse(.tooManyFields) }
    if let found = HTTP2Head.check(name, value) { refuse(found) }
    guard fault == nil else { return true }
    if name.equals("content-type") { isGRPC = GRPCAnswer.isType(value) }
    if name.equals("priority") { priority = HTTP2Priority.read(value) }
    // It is ours to make where there is a WebSocket upstream (RFC 8441 section 5).
    if wantsWebSocket, name.equals("sec-websocket-key") { return true }
    // RFC 9113 section 8.2.3: crumbs are one line again before anybody else sees them.
    if isCookie, !isTrailer {
      let cookie = cookie
      if cookie.isEmpty { cookie.append("cookie: ") } else { cookie.append("; ") }
      cookie.append(value)
    } else {
      let lines = lines
      lines.append(name)
      lines.append(": ")
      lines.append(value)
      lines.append("\r\n")
    }
    return true
  }

  private func refuse(_ refusal: Refusal) { if fault == nil { fault = refusal } }

  /// RFC 9113 sections 8.2.1 and 8.2.2.
  static func check(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Refusal? {
    if let refusal = FieldBytes.refusal(ofName: name) { return refusal }
    if isOfConnection(name, value) { return .http2ConnectionField }
    return FieldBytes.refusal(ofValue: value)
  }

  private static func isOfConnection(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    switch name.count {
    case 2: name.equals("te") && !value.equals("trailers")
    case 7: name.equals("upgrade")
    case 10: name.equals("connection") || name.equals("keep-alive")
    case 16: name.equals("proxy-connection")
    case 17: name.equals("transfer-encoding")
    default: false
    }
  }

  /// RFC 9113 section 8.3: each once, before all other fields, and no unknown one; none in trailers (section 8.1).
  private func addPseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) {
    let bit: UInt8 =
      if name.equals(":method") {
        HTTP2Head.methodBit
      } else if name.equals(":path") {
        HTTP2Head.pathBit
      } else if name.equals(":scheme") {
        HTTP2Head.schemeBit
      } else if name.equals(":authority") {
        HTTP2Head.authorityBit
      } else if name.equals(":protocol") {
        HTTP2Head.protocolBit
      } else {
        0
      }
    guard bit != 0, !isTrailer, !hasRegular, seen & bit == 0 else { return refuse(.http2PseudoField) }
    seen |= bit
    guard fault == nil else { return }
    let pseudo = pseudo
    let range = ByteRange(pseudo.count, value.count)
    pseudo.append(value)
    // A value that did not fit is not there at all, and has no place to be read from.
    guard !pseudo.overflowed else { return refuse(.headTooLarge) }
    switch bit {
    case HTTP2Head.methodBit: method = range
    case HTTP2Head.pathBit: path = range
    case HTTP2Head.schemeBit: scheme = range
    case HTTP2Head.authorityBit: authority = range
    // Another protocol than WebSocket is none that we could join to anything.
    default: if value.equals("websocket") { wantsWebSocket = true } else { refuse(.http2PseudoField) }
    }
  }

  // MARK: The whole

  /// Writes the head to `out`, which is empty, and reads it into `head`. After `.complete` it is all that `out` holds.
  package func write(_ head: RequestHead, into out: Buffer) -> HeadOutcome {
    isOpen = false
    if let fault { return .refused(fault) }
    let isConnect = pseudo.withReadable { $0.extracting(method.range).equals("CONNECT") }
    guard seen & HTTP2Head.methodBit != 0, !wantsWebSocket || isConnect else { return .refused(.http2PseudoField) }
    // RFC 9113 section 8.5; with `:protocol` it has all of them (RFC 8441 section 4).
    let wanted = HTTP2Head.schemeBit | HTTP2Head.pathBit
    let needsAll = !isConnect || wantsWebSocket
    if needsAll ? seen & wanted != wanted : (seen & wanted != 0 || seen & HTTP2Head.authorityBit == 0) {
      return .refused(.http2PseudoField)
    }
    if needsAll, path.isEmpty { return .refused(.http2PseudoField) }
    if wantsWebSocket, seen & HTTP2Head.authorityBit == 0 { return .refused(.http2PseudoField) }
    return writeText(head, into: out)
  }

  private func writeText(_ head: RequestHead, into out: Buffer) -> HeadOutcome {
    let (pseudo, lines, cookie) = (pseudo, lines, cookie)
    var fields = RequestPseudoFields()
    func put(_ range: ByteRange, _ bit: UInt8) -> ByteRange? {
      guard seen & bit != 0 else { return nil }
      let at = out.count
      pseudo.withReadable { out.append($0.extracting(range.range)) }
      return ByteRange(at, Int(range.count))
    }
    if wantsWebSocket {
      // What it is upstream (RFC 6455 section 4.1), and therefore what is signed.
      fields.method = ByteRange(out.count, 3)
      out.append("GET")
    } else {
      fields.method = put(method, HTTP2Head.methodBit)
    }
    fields.scheme = put(scheme, HTTP2Head.schemeBit)
    fields.authority = put(authority, HTTP2Head.authorityBit)
    fields.path = put(path, HTTP2Head.pathBit)
    if !cookie.isEmpty {
      cookie.append("\r\n")
      lines.append(first: cookie.count, of: cookie)
    }
    let linesStart = out.count
    out.append(first: lines.count, of: lines)
    out.append("\r\n")
    guard !lines.overflowed, !cookie.overflowed, !out.overflowed else { return .refused(.headTooLarge) }
    let textLimits = HeadLimits(headBytes: limits.headBytes, fields: limits.fields + 1)
    return out.withReadable { head.parse($0, fields, linesStart: linesStart, limits: textLimits) }
  }

  /// Writes trailers to `out`, behind what it holds, and reads them into `trailers`; with the empty line.
  package func write(_ trailers: TrailerSection, into out: Buffer) -> HeadOutcome {
    isOpen = false
    if let fault { return .refused(fault) }
    lines.append("\r\n")
    guard !lines.overflowed else { return .refused(.headTooLarge) }
    let outcome = lines.withReadable { trailers.parse($0, limits: limits) }
    if case .complete = outcome { out.append(first: lines.count, of: lines) }
    return out.overflowed ? .refused(.headTooLarge) : outcome
  }
}

extension Span<UInt8> {
  /// Whether these bytes are that word, in that case.
  func equals(_ word: StaticString) -> Bool {
    guard count == word.utf8CodeUnitCount else { return false }
    return AsciiWord.isEqual(self, word)
  }
}
