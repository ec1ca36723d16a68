// What a route changes about the fields of a head: lines that are left out, and lines that are written from templates. Made with a plan;
// immutable. A head for which nothing is changed has none of this. HeadWriter asks what to leave out, and writes the lines before
// framing and identity, which no change can touch (ConfigRouteChanges).

import Platform
import Policy
import Wire

/// What the log, the upstream and the configured fields call a request by.
enum RequestID {
  /// Nobody asks for it.
  case none
  /// The connection that it came by, and its number there.
  case made(ConnectionID, UInt64)
  /// The client's own, within the head.
  case kept(ByteRange)

  static let fieldName = Array("x-request-id".utf8)
  /// One that a client sends is not longer.
  static let bytesMax = 128

  /// Settles it, for a route whose changes need it.
  static func settle(_ x: Exchange, _ mode: Config.RequestIDMode) -> RequestID {
    if mode != .make {
      if let sent = x.headText.withReadable({ sentValue($0, x.head) }) { return .kept(sent) }
    }
    return .made(x.downstream.connection, UInt64(x.timing.number))
  }

  /// The value of the only X-Request-Id, where it is one that can stand in any log.
  private static func sentValue(_ bytes: Span<UInt8>, _ head: RequestHead) -> ByteRange? {
    var found: ByteRange?
    for i in 0..<head.fieldCount {
      let line = head.field(i)
      guard !line.isNominated, bytes.extracting(line.name.range).equalsIgnoringCase(lowercase: fieldName.span) else {
        continue
      }
      guard found == nil, isPlain(bytes.extracting(line.value.range)) else { return nil }
      found = line.value
    }
    return found
  }

  private static func isPlain(_ text: Span<UInt8>) -> Bool {
    guard text.count > 0, text.count <= bytesMax else { return false }
    for i in text.indices {
      switch text[i] {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x3a, 0x2b, 0x2f, 0x3d: continue
      default: return false
      }
    }
    return true
  }

  func write(_ bytes: Span<UInt8>, to out: Buffer) {
    switch self {
    case .none: break
    case .made(let connection, let number):
      connection.write(hex: out)
      out.append(0x2d)
      out.append(decimal: number)
    case .kept(let range): out.append(bytes.extracting(range.range))
    }
  }
}

/// What the variables of templates come to for one request.
package struct FieldValues {
  var requestID = RequestID.none
  var client: IPAddress?
  var isSecure = false
  var tlsVersion: StaticString = ""
  /// Of the message that is passed on, as it came (RFC 9110 section 7.6.3).
  var receivedVersion: StaticString = "1.1"

  package init() {}

  init(_ x: Exchange) {
    requestID = x.requestID
    client = x.identity?.address
    isSecure = x.isSecure
    tlsVersion = x.downstream.tlsVersion
    noteReceived(isStream: x.downstream.isStream, minorVersion: x.minorVersion)
  }

  mutating func noteReceived(isStream: Bool, minorVersion: Int) {
    receivedVersion = isStream ? "2.0" : minorVersion == 0 ? "1.0" : "1.1"
  }
}

/// Field lines, each with its line end.
struct FieldLines: Sendable {
  private struct Line {
    /// `Name: `
    let start: [UInt8]
    let parts: ContiguousArray<FieldTemplate.Part>
    /// Only for clients that used TLS.
    var isForSecure = false
    /// Its value begins with the version of the message.
    var isVersioned = false
  }

  private var lines: ContiguousArray<Line> = []
  private var fixedBytes = 0
  private var hostUses = 0
  private(set) var usesRequestID = false

  init() {}

  init(_ values: [Config.FieldValue]) {
    for value in values { add(value.name, value.value) }
  }

  var isEmpty: Bool { lines.isEmpty }

  mutating func add(_ name: String, _ value: FieldTemplate, isForSecure: Bool = false) {
    add(name, value.parts, isForSecure: isForSecure)
  }

  mutating func add(_ name: String, text: String, isForSecure: Bool = false) {
    add(name, [.text(Array(text.utf8))], isForSecure: isForSecure)
  }

  mutating func add(_ name: String, variable: FieldTemplate.Variable) { add(name, [.variable(variable)]) }

  /// Adds a line that names us as one who passed the message on.
  mutating func addVia(_ name: String) { add("Via", [.text(Array(" \(name)".utf8))], isVersioned: true) }

  private mutating func add(
    _ name: String, _ parts: [FieldTemplate.Part], isForSecure: Bool = false, isVersioned: Bool = false
  ) {
    lines.append(
      Line(
        start: Array("\(name): ".utf8), parts: ContiguousArray(parts), isForSecure: isForSecure,
        isVersioned: isVersioned))
    fixedBytes += name.utf8.count + 4 + (isVersioned ? 3 : 0)
    for part in parts {
      switch part {
      case .text(let text): fixedBytes += text.count
      case .variable(.host): hostUses += 1
      case .variable(.requestID):
        usesRequestID = true
        fixedBytes += RequestID.bytesMax
      // An address is at most 45 bytes.
      case .variable, .group: fixedBytes += 48
      }
    }
  }

  /// The most that they come to.
  func bytesMax(hostBytes: Int) -> Int { fixedBytes + hostUses * hostBytes }

  /// Appends them, for the request whose head `bytes` begin with.
  func write(_ values: FieldValues, _ bytes: Span<UInt8>, _ head: RequestHead, into out: Buffer) {
    var i = 0
    while i < lines.count {
      if !lines[i].isForSecure || values.isSecure {
        let line = lines[i]
        out.append(line.start.span)
        if line.isVersioned { out.append(values.receivedVersion) }
        var j = 0
        while j < line.parts.count {
          switch line.parts[j] {
          case .text(let text): out.append(text.span)
          case .variable(.requestID): values.requestID.write(bytes, to: out)
          case .variable(.client): values.client?.write(to: out)
          case .variable(.host): out.append(bytes.extracting(head.authority.range))
          case .variable(.scheme): out.append(values.isSecure ? "https" : "http")
          case .variable(.tlsVersion): out.append(values.tlsVersion)
          case .group: break
          }
          j += 1
        }
        out.append("\r\n")
      }
      i += 1
    }
  }
}

/// What is changed about one head.
package final class HeadEdit: Sendable {
  /// Folded (`FieldNames.fold`): every spelling of a name is that name, for a backend may take it so.
  private let dropped: ContiguousArray<[UInt8]>
  /// Of the fields of our own answers; a bit each.
  private let droppedOwn: UInt8
  let lines: FieldLines
  /// Of a response: what it writes says that the content is another one for other Accept-Encoding.
  let varies: Bool

  private init(dropped: [String], lines: FieldLines, varies: Bool = false) {
    self.varies = varies
    let names = dropped.compactMap { FieldNames.fold($0) }
    self.dropped = ContiguousArray(names.map { Array($0.utf8) })
    droppedOwn = OwnField.allCases.filter { names.contains($0.folded) }.reduce(0) { $0 | $1.bit }
    self.lines = lines
  }

  /// Nil where nothing is changed.
  static func request(_ changes: Config.FieldChanges, _ headers: Config.Headers) -> HeadEdit? {
    var dropped = changes.remove + changes.set.map(\.name)
    var lines = FieldLines(changes.set + changes.add)
    if headers.requestID != .pass, !changes.concern("X-Request-Id") {
      dropped.append("X-Request-Id")
      lines.add("X-Request-Id", variable: .requestID)
    }
    if let via = headers.via { lines.addVia(via) }
    return dropped.isEmpty && lines.isEmpty ? nil : HeadEdit(dropped: dropped, lines: lines)
  }

  /// Nil where nothing is changed. What a route says of a field comes before what `headers` says of it.
  /// - Parameter own: fields that the route's own answer has.
  package static func response(
    _ changes: Config.RouteChanges, _ headers: Config.Headers, own: [Config.FieldValue] = []
  ) -> HeadEdit? {
    var dropped = changes.response.remove + changes.response.set.map(\.name)
    var lines = FieldLines(changes.response.set + changes.response.add)
    if !changes.response.concern("Server"), !own.contains(where: { FieldNames.fold($0.name) == "server" }) {
      switch headers.server {
      case .pass: break
      case .remove: dropped.append("Server")
      case .name(let name):
        dropped.append("Server")
        lines.add("Server", text: name)
      }
    }
    if let hsts = changes.hsts {
      dropped.append("Strict-Transport-Security")
      lines.add("Strict-Transport-Security", text: hsts.text, isForSecure: true)
    }
    if let via = headers.via { lines.addVia(via) }
    let varies = (changes.response.set + changes.response.add).contains { value in
      value.name.lowercased() == "vary" && ResponseCoding.coversCoding(value.value.source.utf8.span)
    }
    return dropped.isEmpty && lines.isEmpty ? nil : HeadEdit(dropped: dropped, lines: lines, varies: varies)
  }

  /// Whether a line of this name is left out.
  func drops(_ bytes: Span<UInt8>, _ name: ByteRange) -> Bool {
    var i = 0
    while i < dropped.count {
      if FieldNames.isSpelling(bytes.extracting(name.range), of: dropped[i]) { return true }
      i += 1
    }
    return false
  }

  /// The same of a line that we would write.
  func drops(_ field: OwnField) -> Bool { droppedOwn & field.bit != 0 }

  /// The same of a configured field.
  func drops(_ name: String) -> Bool {
    let folded = Array((FieldNames.fold(name) ?? name).utf8)
    return dropped.contains { $0 == folded }
  }
}

/// Fields that answers of a route have by themselves, and that its changes may take away.
enum OwnField: UInt8, CaseIterable {
  case contentType, contentTypeOptions, lastModified, entityTag, location, allow, vary

  var bit: UInt8 { 1 << rawValue }

  /// With the colon.
  var start: StaticString {
    switch self {
    case .contentType: "Content-Type: "
    case .contentTypeOptions: "X-Content-Type-Options: "
    case .lastModified: "Last-Modified: "
    case .entityTag: "ETag: "
    case .location: "Location: "
    case .allow: "Allow: "
    case .vary: "Vary: "
    }
  }

  /// As `FieldNames.fold` gives it.
  fileprivate var folded: String { "\(start)".dropLast(2).lowercased() }
}

/// Writes such fields.
struct OwnFields {
  let out: Buffer
  let edit: HeadEdit?

  func write(_ field: OwnField, _ value: StaticString) {
    write(field) { $0.append(value) }
  }

  func write(_ field: OwnField, _ value: Span<UInt8>) {
    guard begin(field) else { return }
    out.append(value)
    out.append("\r\n")
  }

  func write(_ field: OwnField, _ value: (Buffer) -> Void) {
    guard begin(field) else { return }
    value(out)
    out.append("\r\n")
  }

  private func begin(_ field: OwnField) -> Bool {
    if edit?.drops(field) ?? false { return false }
    out.append(field.start)
    return true
  }
}

extension Config.FieldChanges {
  /// They say something of this field, in whatever spelling.
  fileprivate func concern(_ name: String) -> Bool {
    let folded = FieldNames.fold(name)
    return (set.map(\.name) + add.map(\.name) + remove).contains { FieldNames.fold($0) == folded }
  }
}

extension Config.HSTS {
  /// RFC 6797 section 6.1.
  var text: String {
    "max-age=\(seconds)\(includesSubdomains ? "; includeSubDomains" : "")\(isPreloaded ? "; preload" : "")"
  }
}
