// A line of the access log as a template says (`log.format: combined`, `template`): each variable of what is recorded, a `-` for one
// that says nothing. ExchangeRecord decides what is recorded, and writes JSON.

import Platform
import Policy
import Wire

/// What a line is about: an exchange, a connection that never came to one, or one that was turned away at the door.
struct TextRecord {
  private var exchange: Exchange?
  private var downstream: Downstream?
  private var listener: ListenerPlan?
  private var client: ClientIdentity?
  private var schemeSource = ClientScheme.Source.connection
  private var peer: IPAddress?
  private var peerPort: UInt16 = 0
  private var status = 0
  private var refusal: Refusal?
  private var detail = RefusalDetail.none
  private var isBegin = false
  private var startedMicroseconds: UInt64?

  static func of(_ x: Exchange, _ d: Downstream, isBegin: Bool = false) -> TextRecord {
    var record = TextRecord.of(d)
    record.exchange = x
    record.client = x.identity ?? d.client
    record.schemeSource = x.schemeSource
    record.status = x.status
    record.refusal = x.refusal
    record.detail = x.loggedDetail
    record.isBegin = isBegin
    record.startedMicroseconds = isBegin ? nil : x.startedMicroseconds
    return record
  }

  private static func of(_ d: Downstream) -> TextRecord {
    var record = TextRecord()
    record.downstream = d
    record.listener = d.listener
    record.client = d.client
    record.schemeSource = d.scheme.source
    record.peer = d.peer
    record.peerPort = d.peerPort
    return record
  }

  static func of(_ d: Downstream, _ refusal: Refusal, _ detail: RefusalDetail) -> TextRecord {
    var record = TextRecord.of(d)
    record.status = refusal == .plainHttp ? Int(refusal.status) : 0
    record.refusal = refusal
    record.detail = detail
    record.startedMicroseconds = d.acceptedMilliseconds * 1_000
    return record
  }

  static func of(_ refusal: Refusal, _ listener: ListenerPlan, peer: SocketAddress) -> TextRecord {
    var record = TextRecord()
    record.listener = listener
    record.peer = peer.ip
    record.peerPort = peer.port
    record.refusal = refusal
    return record
  }

  /// Appends the line, without its line feed.
  func write(
    _ template: LogTemplate, query: Config.Log.Query, date: DateField, nowMicroseconds: UInt64, into line: Buffer
  ) {
    for piece in template.pieces {
      switch piece {
      case .literal(let bytes): line.append(bytes.span)
      case .variable(let variable, let isQuoted):
        let before = line.count
        write(variable, isQuoted ? .quoted : .between(template.separators), query, date, nowMicroseconds, into: line)
        // An empty text would shift the columns behind it.
        if line.count == before { line.append(0x2d) }
      }
    }
  }

  private func write(
    _ variable: LogVariable, _ escape: TextEscape, _ query: Config.Log.Query, _ date: DateField, _ now: UInt64,
    into line: Buffer
  ) {
    let text = { (bytes: [UInt8]) in line.append(bytes.span, most: .max, escape) }
    switch variable {
    case .time: line.append(date.rfc3339.span)
    case .timeCLF: TextRecord.writeCLF(date, into: line)
    case .event: if isBegin { line.append("tunnel-begin") }
    case .listener: if let listener { text(listener.nameBytes) }
    case .client: client?.address.write(to: line)
    case .clientPort: if let client { line.append(decimal: UInt64(client.port)) }
    case .via: if let client { line.append(client.via.text) }
    case .scheme: if let client { line.append(client.secure ? "https" : "http") }
    case .schemeSource: if client != nil { line.append(schemeSource.text) }
    case .rule: if let listener, let downstream { text(listener.record.ruleNames[downstream.rule]) }
    case .evidence: if let listener, let downstream { text(listener.record.evidences[downstream.rule]) }
    case .config: if let listener { text(listener.record.digest) }
    case .generation: if let listener { line.append(decimal: listener.record.generation) }
    case .peer: line.append(peer: peer, port: peerPort)
    case .connection: if let connection { connection.write(hex: line) }
    case .cutover: if exchange?.isInCutover == true { line.append("true") }
    case .status: line.append(decimal: UInt64(status))
    case .refusal: if let refusal { line.append(refusal.name) }
    case .detail: detail.write(to: line, escape)
    case .duration:
      if let startedMicroseconds { line.append(microseconds: now - min(now, startedMicroseconds)) }
    case .tls: if let downstream { line.append(downstream.tlsVersion) }
    case .sni: downstream?.connectionTransport.withServerName { line.append($0, most: LogVariable.sniBytesMax, escape) }
    case .alpn:
      downstream?.connectionTransport.withApplicationProtocol {
        line.append($0, most: LogVariable.alpnBytesMax, escape)
      }
    default: if let exchange { write(variable, of: exchange, escape, query, now, into: line) }
    }
  }

  /// What only a request has.
  private func write(
    _ variable: LogVariable, of x: Exchange, _ escape: TextEscape, _ query: Config.Log.Query, _ now: UInt64,
    into line: Buffer
  ) {
    switch variable {
    case .edge:
      x.headText.withReadable { line.append($0.extracting(x.edge.range), most: AccessLog.edgeBytesMax, escape) }
    case .route: if let route = x.route { put(route.nameBytes, escape, into: line) }
    case .request, .method, .host, .path, .version: writeRequest(variable, x, escape, query, into: line)
    case .bytesIn: if !isBegin { line.append(decimal: x.bytesIn) }
    case .bytesOut: if !isBegin { line.append(decimal: x.bytesOut) }
    case .waiting: line.append(microseconds: x.timing.waitedMicroseconds)
    case .connecting: if let time = RecordExtras.connectMicroseconds(x) { line.append(microseconds: time) }
    case .upstreamTime: if let time = RecordExtras.upstreamMicroseconds(x) { line.append(microseconds: time) }
    case .responding:
      if !isBegin, let time = RecordExtras.responseMicroseconds(x, now: now) { line.append(microseconds: time) }
    case .upstream:
      if x.upstreamStartedMicroseconds > 0, let group = x.group { put(group.name, escape, into: line) }
    case .server: if let server = x.server { put(server.text, escape, into: line) }
    case .retries: line.append(decimal: UInt64(x.timing.retries))
    case .verified: if let verified = x.verified { line.append(verified.name) }
    case .user: RecordExtras.withUser(of: x) { line.append($0, most: LogVariable.userBytesMax, escape) }
    case .userAgent:
      _ = RecordExtras.withUserAgent(of: x) { line.append($0, most: LogVariable.userAgentBytesMax, escape) }
    case .referer:
      _ = RecordExtras.withReferer(of: x) {
        line.append($0, most: LogVariable.refererBytesMax, query: query, escape)
      }
    case .requestID: if let connection { RecordExtras.appendRequestID(of: x, connection, to: line) }
    default: break
    }
  }

  private static let blank: [UInt8] = [0x20]

  /// A text of the configuration's.
  private func put(_ bytes: [UInt8], _ escape: TextEscape, into line: Buffer) {
    line.append(bytes.span, most: .max, escape)
  }

  private func writeRequest(
    _ variable: LogVariable, _ x: Exchange, _ escape: TextEscape, _ query: Config.Log.Query, into line: Buffer
  ) {
    guard x.hasRequestLine else { return }
    x.headText.withReadable { bytes in
      let method = bytes.extracting(x.head.methodRange.range)
      let target = bytes.extracting(x.head.target.range)
      switch variable {
      case .method: line.append(method, most: LogVariable.methodBytesMax, escape)
      case .host: line.append(bytes.extracting(x.head.authority.range), most: LogVariable.hostBytesMax, escape)
      case .path: line.append(target, most: LogVariable.pathBytesMax, query: query, escape)
      case .version: line.append(RecordExtras.versionName(x).span, most: .max, escape)
      default:
        line.append(method, most: LogVariable.methodBytesMax, escape)
        line.append(TextRecord.blank.span, most: 1, escape)
        line.append(target, most: LogVariable.pathBytesMax, query: query, escape)
        line.append(TextRecord.blank.span, most: 1, escape)
        line.append(RecordExtras.versionName(x).span, most: .max, escape)
      }
    }
  }

  /// The signed one, where it is: then every log on the way names one connection.
  private var connection: ConnectionID? { client?.connection ?? downstream?.connection }

  /// «28/Nov/2026:10:00:00 +0000», of «Sat, 28 Nov 2026 10:00:00 GMT».
  private static func writeCLF(_ date: DateField, into line: Buffer) {
    let imf = date.imf
    func put(_ range: Range<Int>) { for i in range { line.append(imf[i]) } }
    put(5..<7)
    line.append(0x2f)
    put(8..<11)
    line.append(0x2f)
    put(12..<16)
    line.append(0x3a)
    put(17..<25)
    line.append(" +0000")
  }
}

extension AccessLog {
  /// Writes a line as the template says.
  func text(_ record: TextRecord, _ worker: Worker) {
    guard let template else { return }
    line(nowMilliseconds: worker.nowMilliseconds) { line in
      record.write(template, query: query, date: worker.date, nowMicroseconds: worker.nowMicroseconds, into: line)
    }
  }
}
