// What the simulated clients ask for, and what is known of each request: who sent it, what its body is, which servers saw it.

import TestSupport

/// How a client proves, or fails to prove, who it is.
enum Sender: CaseIterable {
  /// It connects itself: its socket's address is the truth.
  case direct
  /// A balancer that must send a PROXY header.
  case balancer
  /// A proxy that must send X-Forwarded-For.
  case proxy
  /// A balancer of which some configurations demand a PROXY header, and others none.
  case switching

  var network: UInt32 {
    switch self {
    case .direct: 0xc633_6400  // 198.51.100.0/24
    case .balancer: 0x0a09_0100  // 10.9.1.0/24
    case .proxy: 0x0a09_0200  // 10.9.2.0/24
    case .switching: 0x0a09_0300  // 10.9.3.0/24
    }
  }
}

final class Request {
  enum Body { case none, length(Int), chunked(Int) }

  /// What is wrong with it.
  enum Flaw {
    case bothFramings, badChunk, noHost, foldedLine, doubledLength, bareLF
    /// Of HTTP/2 only. The length that is stated is not the one that comes.
    case wrongLength, upperCase, connectionField, doubledPath, lineEnd

    static let http1: [Flaw] = [.bothFramings, .badChunk, .noHost, .foldedLine, .doubledLength, .bareLF]
    static let http2: [Flaw] = [
      .wrongLength, .noHost, .doubledLength, .upperCase, .connectionField, .doubledPath, .lineEnd,
    ]
    /// It shows only in the body.
    var isLate: Bool { self == .badChunk || self == .wrongLength }
  }

  let id: Int
  unowned let client: Client
  let method: String
  let body: Body
  /// The only address that may be said to have sent it, and its port where one is known.
  let truth: Endpoint
  let asksWebSocket: Bool
  let expectsContinue: Bool
  let closes: Bool
  /// HTTP/1.0: no chunks either way, and one request a connection.
  let isOld: Bool
  let flaw: Flaw?
  /// Its client takes gzip.
  var takesGzip = false
  /// It went out with cookies.
  private(set) var hasCookie = false
  /// What Content-Length said of a body over HTTP/2, if it had one.
  private(set) var statedBytes: Int?
  /// Bytes of a field that makes its head a large one.
  var largeFieldBytes = 0
  var attempts: [Attempt] = []
  /// When its client began to send it.
  var begunStep = 0
  /// Lines about it in the edge's access log.
  var edgeLines = 0
  /// What its client writes in the tunnel that it asks for, where that is a WebSocket's frames.
  var socket: WebSocketEnd?
  /// Bytes that its client put into the tunnel that it asked for.
  var tunnelSent = 0
  /// Its client was told that nothing was done with it.
  var isRefused = false
  /// Its client got a server's whole response.
  var isServed = false
  /// Its client got the head of a final response.
  var isAnswered = false

  init(
    id: Int, client: Client, method: String, body: Body, truth: Endpoint, asksWebSocket: Bool = false,
    expectsContinue: Bool = false, closes: Bool = false, isOld: Bool = false, flaw: Flaw? = nil
  ) {
    self.id = id
    self.client = client
    self.method = method
    self.body = body
    self.truth = truth
    self.asksWebSocket = asksWebSocket
    self.expectsContinue = expectsContinue
    self.closes = closes
    self.isOld = isOld
    self.flaw = flaw
  }

  /// RFC 9110 section 9.2.2.
  var isIdempotent: Bool { method != "POST" }

  var bodyBytes: Int {
    switch body {
    case .none: 0
    case .length(let n), .chunked(let n): n
    }
  }

  /// An address that clients claim and that is never the truth.
  static let spoof = "203.0.113.66"

  private static let claims = [
    "X-Forwarded-For: \(spoof)", "Forwarded: for=\(spoof)", "X-Real-IP: \(spoof)", "X_Forwarded_For: \(spoof)",
    "client-attest: ip=\"\(spoof)\", port=1", "Client_Attest: ip=\"\(spoof)\"", "CF-Connecting-IP: \(spoof)",
    "Connection: x-forwarded-for, client-attest, signature", "Signature: cs=:AAAA:", "True-Client-IP: \(spoof)",
    "signature-input: cs=(\"@method\");created=1;tag=\"countersign\"",
  ]

  /// Fields that claim to be somebody, at times.
  private func claims(_ random: inout Seeded) -> [String] {
    guard random.oneIn(3) else { return [] }
    var lines = (0...random.below(2)).map { _ in Request.claims[random.below(Request.claims.count)] }
    if client.sender == .proxy {
      lines.removeAll { $0.hasPrefix("X-Forwarded-For") || $0.hasPrefix("X_Forwarded_For") }
      lines.removeAll { $0.hasPrefix("Connection: x-forwarded-for") }
    }
    return lines
  }

  /// What the client itself had claimed stands to the left.
  private func forwardedFor(_ random: inout Seeded) -> String {
    "\(random.oneIn(3) ? "\(Request.spoof), " : "")\(truth.addressText)"
  }

  /// The head as it goes out, and the body behind it.
  func wire(_ random: inout Seeded) -> (head: [UInt8], body: [UInt8]) {
    var lines = ["\(method) /r/\(id) HTTP/1.\(isOld ? 0 : 1)"]
    if flaw != .noHost { lines.append("Host: app.example.com") }
    lines += claims(&random)
    if client.sender == .proxy { lines.append("X-Forwarded-For: \(forwardedFor(&random))") }
    if asksWebSocket {
      lines += [
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
      ]
    } else if closes, !isOld {
      lines.append("Connection: close")
    }
    if expectsContinue { lines.append("Expect: 100-continue") }
    if takesGzip { lines.append("Accept-Encoding: br;q=0.5, gzip") }
    if largeFieldBytes > 0 { lines.append("X-Large: \(String(repeating: "a", count: largeFieldBytes))") }
    if flaw == .foldedLine { lines.append("X-Folded: a\r\n b") }
    var text: [UInt8] = []
    switch body {
    case .none: break
    case .length(let n):
      lines.append("Content-Length: \(n)")
      if flaw == .bothFramings { lines.append("Transfer-Encoding: chunked") }
      if flaw == .doubledLength { lines.append("Content-Length: \(n + 1)") }
      text = BodyText.bytes(of: id, from: 0, count: n)
    case .chunked(let n):
      lines.append("Transfer-Encoding: chunked")
      text = chunks(n, &random)
    }
    let end = flaw == .bareLF ? "\n" : "\r\n"
    return (Array((lines.joined(separator: end) + end + end).utf8), text)
  }

  /// The same for HTTP/2: the fields of its head, and its trailers.
  func fields(_ random: inout Seeded) -> (head: HTTP2End.Fields, trailers: HTTP2End.Fields) {
    var fields: HTTP2End.Fields = [(":method", method), (":scheme", "http"), (":path", "/r/\(id)")]
    if flaw != .noHost { fields.append((":authority", "app.example.com")) }
    if flaw == .doubledPath { fields.append((":path", "/r/\(id)")) }
    fields.shuffle(using: &random)
    for line in claims(&random) where !line.hasPrefix("Connection") {
      let parts = line.split(separator: ":", maxSplits: 1)
      fields.append((parts[0].lowercased(), parts[1].trimmed))
    }
    if client.sender == .proxy { fields.append(("x-forwarded-for", forwardedFor(&random))) }
    if random.oneIn(3) { for n in 0..<random.below(6) { fields.append(("cookie", "crumb\(n)=\(id)")) } }
    hasCookie = fields.contains { $0.name == "cookie" }
    if takesGzip { fields.append(("accept-encoding", "gzip")) }
    if expectsContinue { fields.append(("expect", "100-continue")) }
    if largeFieldBytes > 0 { fields.append(("x-large", String(repeating: "a", count: largeFieldBytes))) }
    if flaw == .upperCase { fields.append(("X-Upper", "a")) }
    if flaw == .connectionField { fields.append(("connection", "close")) }
    if flaw == .lineEnd { fields.append(("x-folded", "a\r\nx-forwarded-for: \(Request.spoof)")) }
    if case .length(let n) = body {
      let stated = flaw == .wrongLength ? (n > 0 && random.oneIn(2) ? n - 1 : n + 1) : n
      fields.append(("content-length", "\(stated)"))
      statedBytes = stated
      if flaw == .doubledLength { fields.append(("content-length", "\(n + 1)")) }
    }
    var trailers: HTTP2End.Fields = []
    if case .chunked = body {
      if random.oneIn(3) { trailers.append(("x-trailer", "\(id)")) }
      if random.oneIn(4) { trailers.append(("x-forwarded-for", Request.spoof)) }
    }
    return (fields, trailers)
  }

  private func chunks(_ count: Int, _ random: inout Seeded) -> [UInt8] {
    var text: [UInt8] = []
    var at = 0
    // More of them than an exchange has steps in a turn.
    let areTiny = count <= 3_000 && random.oneIn(3)
    while at < count {
      let most = areTiny ? 3 : random.oneIn(3) ? 20 : 20_000
      let n = min(count - at, 1 + random.below(most))
      text += Array("\(String(n, radix: 16))\(random.oneIn(5) ? ";extension=1" : "")\r\n".utf8)
      text += BodyText.bytes(of: id, from: at, count: n)
      text += flaw == .badChunk && random.oneIn(2) ? Array("x\r\n".utf8) : Array("\r\n".utf8)
      at += n
    }
    if flaw == .badChunk { return text + Array("0x\r\n\r\n".utf8) }
    text += Array("0\r\n".utf8)
    if random.oneIn(3) { text += Array("X-Trailer: \(id)\r\n".utf8) }
    if random.oneIn(4) { text += Array("X-Forwarded-For: \(Request.spoof)\r\n".utf8) }
    return text + Array("\r\n".utf8)
  }
}

/// One time that a server got a request.
final class Attempt: CustomStringConvertible {
  enum Ending {
    case whole
    /// The server ends or resets the connection in the middle of its response, or before it.
    case cut(reset: Bool)
    /// It never says any more.
    case stalled
    /// What comes is not HTTP.
    case garbage
  }

  enum Framing { case length, chunked, untilClose, none }

  unowned let request: Request
  /// Names its response's bytes.
  let number: Int
  var received = 0
  var isBodyWhole = false
  var status = 200
  var framing = Framing.length
  var length = 0
  var ending = Ending.whole
  /// It answers before it has the request's body.
  var isEarly = false
  var interims: [Int] = []
  var saysStarting = false
  var closesBehind = false
  /// Bytes that nobody asked for follow the response.
  var addsBytes = false
  /// Its body comes in more chunks than an exchange has steps in a turn, many of them at once.
  var hasTinyChunks = false
  /// Lines of the head end in a bare LF.
  var hasBareLF = false
  /// How long its trailer's value is, where it has one.
  var trailerBytes = 1
  /// It had one that is longer than may pass: the response cannot be taken.
  var hasSentTooMuch = false
  static let trailerBytesMax = 8_000
  /// Its server says that it is text.
  var isText = false
  /// Its server said that it did nothing with it.
  var isUnprocessed = false
  /// Of HTTP/2: the response ends with its head where it has no body.
  var endsWithHead = false
  /// Every byte of the response was handed over.
  var isResponseWhole = false
  /// What its server writes in a tunnel, where its client speaks WebSocket.
  var socket: WebSocketEnd?

  init(_ request: Request) {
    self.request = request
    number = request.id * 10 + min(request.attempts.count, 9)
  }

  /// Bytes of the response's body as the client is to get them.
  var bodyBytes: Int { request.method == "HEAD" || framing == .none ? 0 : length }

  var description: String {
    var text = "/r/\(request.id) with \(status), \(framing) of \(length)"
    if closesBehind { text += ", closes behind it" }
    if isEarly { text += ", early" }
    if hasBareLF { text += ", bare LF" }
    if addsBytes { text += ", with bytes behind it" }
    if case .whole = ending {} else { text += ", \(ending)" }
    return text
  }

  /// The value of its trailer, which goes out now.
  func takeTrailer() -> String {
    hasSentTooMuch = trailerBytes > Attempt.trailerBytesMax
    return String(repeating: "a", count: trailerBytes)
  }

  /// The head's fields for HTTP/2.
  func fields() -> HTTP2End.Fields {
    var fields: HTTP2End.Fields = [(":status", "\(status)"), ("x-sim", "\(request.id).\(number)")]
    if isText { fields.append(("content-type", "text/plain")) }
    if framing == .length { fields.append(("content-length", "\(length)")) }
    if saysStarting { fields.append(("countersign-refusal", "starting")) }
    return fields
  }

  func head() -> [UInt8] {
    var lines = ["HTTP/1.1 \(status) Some", "X-Sim: \(request.id).\(number)"]
    if isText { lines.append("Content-Type: text/plain") }
    switch framing {
    case .length: lines.append("Content-Length: \(length)")
    case .chunked: lines.append("Transfer-Encoding: chunked")
    case .untilClose, .none: break
    }
    if status == 101 { lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: AAAA"] }
    if saysStarting { lines += ["countersign-refusal: starting"] }
    if closesBehind { lines.append("Connection: close") }
    let end = hasBareLF ? "\n" : "\r\n"
    return Array((lines.joined(separator: end) + end + end).utf8)
  }
}

extension Substring {
  fileprivate var trimmed: String { String(drop { $0 == " " }) }
}

extension Request.Body {
  /// There are bytes of it.
  var isSent: Bool {
    switch self {
    case .none: false
    case .length(let n): n > 0
    case .chunked: true
    }
  }
}
