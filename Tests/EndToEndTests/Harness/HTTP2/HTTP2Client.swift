// A client's end of one HTTP/2 connection, frame by frame: it sends any frame it is told to, good or not, and keeps what the
// server's frames come to. By itself it acknowledges SETTINGS and PING and gives windows back, each unless told not to.
// Used by one thread at a time; each wait has a deadline.

import TestSupport

/// What came on one stream.
struct HTTP2Stream: Sendable {
  /// Every header block, in order: interim responses, the response, trailers.
  var blocks: [[HPACKField]] = []
  var body: [UInt8] = []
  /// The payloads of its DATA frames, padding included.
  var dataFrameCounts: [Int] = []
  /// END_STREAM was seen.
  var hasEnded = false
  /// The code of its RST_STREAM.
  var reset: UInt32?
  /// How much of a body the server takes now.
  var sendWindow: Int

  /// Nothing more is due on it.
  var isOver: Bool { hasEnded || reset != nil }
}

struct HTTP2GoAway: Sendable, Equatable {
  var lastStream: UInt32
  var code: UInt32
  var debug: [UInt8]
}

final class HTTP2Client: @unchecked Sendable {
  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
  static let windowUsual = 65_535

  let connection: Connection
  /// What it says in `:scheme`.
  let scheme: String

  /// Acknowledges the server's SETTINGS and PING.
  var acknowledges = true
  /// Gives back what DATA took of the windows.
  var givesWindowsBack = true

  private(set) var streams: [UInt32: HTTP2Stream] = [:]
  /// The streams of DATA frames, in the order in which they came.
  private(set) var dataOrder: [UInt32] = []
  /// The server's settings, what it did not say left out.
  private(set) var settings: [HTTP2Setting: UInt32] = [:]
  private(set) var hasSettings = false
  /// How many of our SETTINGS were acknowledged.
  private(set) var settingsAckCount = 0
  /// The payloads of acknowledged PINGs.
  private(set) var pongs: [[UInt8]] = []
  /// The last one; a server that drains sends two.
  private(set) var goAway: HTTP2GoAway?
  private(set) var goAwayCount = 0
  /// The connection's end was seen, as an end or as a reset.
  private(set) var hasEnded = false
  /// How much the server takes on the whole connection now.
  private(set) var sendWindow = windowUsual
  var nextStream: UInt32 = 1
  private var decoder = HPACKDecoder()
  /// A header block that is not whole: its stream, what came of it, and whether the stream ends with it.
  private var pending: (stream: UInt32, block: [UInt8], ends: Bool)?

  /// Over a connection that is made, and TLS if any. It sends nothing yet.
  init(over connection: Connection, scheme: String) {
    self.connection = connection
    self.scheme = scheme
  }

  /// To a cleartext listener, with prior knowledge (RFC 9113 section 3.3).
  static func cleartext(
    to address: Address, from source: String = Peer.client(), settings: [(HTTP2Setting, UInt32)] = [],
    receiveBufferBytes: Int32? = nil
  ) throws -> HTTP2Client {
    let connection = try Connection(to: address, from: source, receiveBufferBytes: receiveBufferBytes)
    let client = HTTP2Client(over: connection, scheme: "http")
    try client.begin(settings)
    return client
  }

  /// By TLS, with ALPN (section 3.2).
  static func tls(
    to address: Address, from source: String = Peer.client(), name: String = Site.host,
    settings: [(HTTP2Setting, UInt32)] = [], options: [String] = []
  ) throws -> HTTP2Client {
    let connection = try Connection.tls(to: address, from: source, name: name, options: ["-alpn", "h2"] + options)
    let client = HTTP2Client(over: connection, scheme: "https")
    try client.begin(settings)
    return client
  }

  /// Sends the connection preface, and waits for the server's.
  func begin(_ settings: [(HTTP2Setting, UInt32)] = []) throws {
    try send(Self.preface + HTTP2Frame.settings(settings).bytes)
    try wait(for: "the server's SETTINGS") { $0.hasSettings && $0.settingsAckCount > 0 }
  }

  /// The window that a stream begins with, as the server says.
  var streamWindow: Int { settings[.initialWindowSize].map(Int.init) ?? Self.windowUsual }
  var frameSizeMax: Int { settings[.maxFrameSize].map(Int.init) ?? 16_384 }

  // MARK: Sending

  func send(_ bytes: [UInt8]) throws { try connection.send(bytes) }

  func send(_ frames: HTTP2Frame...) throws { try send(frames) }

  func send(_ frames: [HTTP2Frame]) throws {
    for frame in frames { note(frame) }
    try send(frames.flatMap(\.bytes))
  }

  /// What is sent opens streams, and takes of the windows.
  func note(_ frame: HTTP2Frame) {
    switch frame.kind {
    case .headers:
      if streams[frame.stream] == nil { streams[frame.stream] = HTTP2Stream(sendWindow: streamWindow) }
      if frame.stream % 2 == 1, frame.stream >= nextStream { nextStream = frame.stream + 2 }
    case .data:
      sendWindow -= frame.payload.count
      streams[frame.stream]?.sendWindow -= frame.payload.count
    default: break
    }
  }

  /// Sends what a frame of the server asks for. A server that ends the connection meanwhile takes it no more, which reading shows.
  private func reply(_ frames: HTTP2Frame...) { reply(frames) }

  private func reply(_ frames: [HTTP2Frame]) { try? send(frames) }

  /// Opens the next stream with this header block, in as many frames as it needs.
  @discardableResult
  func open(_ block: [UInt8], ends: Bool = true) throws -> UInt32 {
    let (stream, most) = (nextStream, frameSizeMax)
    var frames: [HTTP2Frame] = [
      .headers(stream, Array(block.prefix(most)), ends: ends, isWhole: block.count <= most)
    ]
    for at in stride(from: most, to: block.count, by: most) {
      let end = min(block.count, at + most)
      frames.append(.continuation(stream, Array(block[at..<end]), isWhole: end == block.count))
    }
    try send(frames)
    return stream
  }

  /// A body as far as the windows go, and further as the server opens them.
  func send(body: [UInt8], on stream: UInt32, ends: Bool = true) throws {
    var rest = body[...]
    repeat {
      try wait(for: "a window on stream \(stream)") {
        guard let state = $0.streams[stream] else { return false }
        return state.isOver || rest.isEmpty || min($0.sendWindow, state.sendWindow) > 0
      }
      // Whoever has answered need not take the rest.
      guard let state = streams[stream], !state.isOver else { return }
      let piece = rest.prefix(min(sendWindow, state.sendWindow, frameSizeMax))
      rest = rest.dropFirst(piece.count)
      try send(.data(stream, Array(piece), ends: ends && rest.isEmpty))
    } while !rest.isEmpty
  }

  // MARK: Receiving

  /// The next frame, whatever it is; nil at the end of the connection. What it means is kept.
  func nextFrame(by deadline: Deadline = .usual) throws -> HTTP2Frame? {
    guard try hasFrame(by: deadline) else {
      guard hasEnded else { throw Trouble("no frame came in time; \(summary)") }
      return nil
    }
    let held = connection.held
    let count = HTTP2Frame.payloadCount(held.prefix(3))
    let frame = HTTP2Frame(head: connection.take(HTTP2Frame.headBytes), payload: connection.take(count))
    try take(frame)
    return frame
  }

  /// Whether a whole frame has come by then; false also at the connection's end.
  func hasFrame(by deadline: Deadline) throws -> Bool {
    while !hasEnded {
      let held = connection.held
      if held.count >= HTTP2Frame.headBytes,
        held.count >= HTTP2Frame.headBytes + HTTP2Frame.payloadCount(held.prefix(3))
      {
        return true
      }
      do {
        guard let more = try connection.fill(withinSeconds: deadline.secondsLeft) else { return false }
        if !more { hasEnded = true }
      } catch is ConnectionReset {
        hasEnded = true
      }
    }
    return false
  }

  private func take(_ frame: HTTP2Frame) throws {
    if let pending, frame.kind != .continuation || frame.stream != pending.stream {
      throw Trouble("type \(frame.type) within a header block of stream \(pending.stream)")
    }
    switch frame.kind {
    case .data: try takeData(frame)
    case .headers: try takeHeaders(frame)
    case .continuation:
      guard let before = pending else { throw Trouble("CONTINUATION of nothing") }
      try takeBlock(frame, before.block + frame.payload, ends: before.ends)
    case .reset: streams[frame.stream]?.reset = HTTP2Frame.number(frame.payload)
    case .settings: try takeSettings(frame)
    case .pushPromise: throw Trouble("the server pushes")
    case .ping:
      if frame.has(HTTP2Frame.ack) {
        pongs.append(frame.payload)
      } else if acknowledges {
        reply(.ping(frame.payload, isAck: true))
      }
    case .goAway:
      goAway = HTTP2GoAway(
        lastStream: HTTP2Frame.number(frame.payload) & 0x7fff_ffff, code: HTTP2Frame.number(frame.payload.dropFirst(4)),
        debug: Array(frame.payload.dropFirst(8)))
      goAwayCount += 1
    case .windowUpdate:
      let increment = Int(HTTP2Frame.number(frame.payload))
      guard increment > 0 else { throw Trouble("WINDOW_UPDATE by nothing") }
      if frame.stream == 0 { sendWindow += increment } else { streams[frame.stream]?.sendWindow += increment }
    case .priority, nil: break
    }
  }

  private func takeData(_ frame: HTTP2Frame) throws {
    guard let state = streams[frame.stream], !state.hasEnded, state.blocks.contains(where: { !$0.isInterim }) else {
      throw Trouble("DATA on stream \(frame.stream), where none is due; \(summary)")
    }
    dataOrder.append(frame.stream)
    streams[frame.stream]?.dataFrameCounts.append(frame.payload.count)
    streams[frame.stream]?.body += try Self.unpadded(frame, front: 0)
    streams[frame.stream]?.hasEnded = frame.has(HTTP2Frame.endStream)
    guard givesWindowsBack, !frame.payload.isEmpty else { return }
    var updates: [HTTP2Frame] = [.windowUpdate(0, by: UInt32(frame.payload.count))]
    if !frame.has(HTTP2Frame.endStream) {
      updates.append(.windowUpdate(frame.stream, by: UInt32(frame.payload.count)))
    }
    reply(updates)
  }

  private func takeHeaders(_ frame: HTTP2Frame) throws {
    let front = frame.has(HTTP2Frame.prioritised) ? 5 : 0
    try takeBlock(frame, try Self.unpadded(frame, front: front), ends: frame.has(HTTP2Frame.endStream))
  }

  private func takeBlock(_ frame: HTTP2Frame, _ block: [UInt8], ends: Bool) throws {
    guard frame.has(HTTP2Frame.endHeaders) else {
      pending = (frame.stream, block, ends)
      return
    }
    pending = nil
    let fields = try decoder.decode(block)
    guard let state = streams[frame.stream], !state.hasEnded else {
      throw Trouble("HEADERS on stream \(frame.stream), where none are due; \(summary)")
    }
    streams[frame.stream]?.blocks.append(fields)
    if ends { streams[frame.stream]?.hasEnded = true }
  }

  private func takeSettings(_ frame: HTTP2Frame) throws {
    guard frame.stream == 0, frame.payload.count % 6 == 0 else { throw Trouble("no SETTINGS: \(frame)") }
    if frame.has(HTTP2Frame.ack) {
      settingsAckCount += 1
      return
    }
    let windowBefore = streamWindow
    for start in stride(from: 0, to: frame.payload.count, by: 6) {
      let name = UInt16(frame.payload[start]) << 8 | UInt16(frame.payload[start + 1])
      settings[HTTP2Setting(rawValue: name)] = HTTP2Frame.number(frame.payload[(start + 2)...])
    }
    // RFC 9113 section 6.9.2.
    for stream in streams.keys { streams[stream]?.sendWindow += streamWindow - windowBefore }
    hasSettings = true
    if acknowledges { reply(.settingsAck) }
  }

  /// The payload without padding, and without what stands in front of it.
  private static func unpadded(_ frame: HTTP2Frame, front: Int) throws -> [UInt8] {
    guard frame.has(HTTP2Frame.padded) else { return Array(frame.payload.dropFirst(front)) }
    guard let count = frame.payload.first, frame.payload.count > Int(count) + front else {
      throw Trouble("more padding than payload")
    }
    return Array(frame.payload.dropFirst(1 + front).dropLast(Int(count)))
  }

  // MARK: Waiting

  /// Reads frames until it is so; not so at the connection's end is trouble.
  func wait(for what: String, by deadline: Deadline = .usual, until isSo: (HTTP2Client) throws -> Bool) throws {
    while try !isSo(self) {
      guard try nextFrame(by: deadline) != nil else {
        throw Trouble("the connection ended before \(what); \(summary)")
      }
    }
  }

  /// Reads frames until the server ends the connection.
  func waitForEnd(by deadline: Deadline = .usual) throws {
    while try nextFrame(by: deadline) != nil {}
  }

  /// That everything sent so far was taken: a PING comes back behind it.
  func settle(by deadline: Deadline = .usual) throws {
    let payload = Array("settle\(UInt8.random(in: 10...99))".utf8)
    let before = pongs.count
    try send(.ping(payload))
    try wait(for: "a PING that comes back", by: deadline) { $0.pongs.dropFirst(before).contains(payload) }
  }

  /// What was seen, for a failure's text.
  var summary: String {
    let known = streams.sorted { $0.key < $1.key }.suffix(8).map { id, stream in
      let blocks = stream.blocks.map { "\($0)" }.joined(separator: " / ")
      let reset = stream.reset.map { ", reset \(Self.name($0))" } ?? ""
      return "\(id): \(blocks), \(stream.body.count) bytes\(stream.hasEnded ? ", ended" : "")\(reset)"
    }
    let goAway = goAway.map { "GOAWAY \(Self.name($0.code))" } ?? "no GOAWAY"
    return "\(goAway), the connection \(hasEnded ? "ended" : "goes on"); streams \(known)"
  }

  static func name(_ code: UInt32) -> String { HTTP2Code(rawValue: code)?.description ?? "\(code)" }
}

extension [HPACKField] {
  /// The values of every field of this name.
  func all(_ name: String) -> [String] { filter { $0.nameText == name }.map(\.valueText) }

  var status: Int { all(":status").first.flatMap { Int($0) } ?? 0 }
  var isInterim: Bool { (100..<200).contains(status) }
}
