// WebSocket frames (RFC 6455, section 5.2) as the tests' own clients and servers write and read them. Written apart from the
// product's own reader on purpose: it must not share its mistakes.

struct WebSocketFrame: Equatable, Sendable {
  /// FIN, RSV and opcode.
  var first: UInt8
  var payload: [UInt8]
  var isMasked = false

  init(_ first: UInt8, _ payload: [UInt8], isMasked: Bool = false) {
    self.first = first
    self.payload = payload
    self.isMasked = isMasked
  }

  func bytes(masked: Bool) -> [UInt8] {
    let mark: UInt8 = masked ? 0x80 : 0
    var bytes = [first]
    switch payload.count {
    case ..<126: bytes.append(mark | UInt8(payload.count))
    case ...0xffff: bytes += [mark | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    default: bytes += [mark | 127] + (0..<8).map { UInt8(payload.count >> (56 - 8 * $0) & 255) }
    }
    guard masked else { return bytes + payload }
    let key: [UInt8] = [0x11, 0x22, 0x33, 0x44]
    return bytes + key + payload.enumerated().map { $1 ^ key[$0 & 3] }
  }
}

extension Connection {
  /// The next frame, unmasked; nil when the stream ends before its first byte.
  func readFrame() throws -> WebSocketFrame? {
    if heldCount == 0, try !fill() { return nil }
    let head = try read(2)
    var count = Int(head[1] & 0x7f)
    if count > 125 {
      let least = count == 126 ? 126 : 0x10000
      count = try read(count == 126 ? 2 : 8).reduce(0) { $0 << 8 | Int($1) }
      guard count >= least else { throw Trouble("a frame's length has more bytes than it needs") }
    }
    let isMasked = head[1] & 0x80 != 0
    let key = isMasked ? try read(4) : [0, 0, 0, 0]
    let payload = try read(count).enumerated().map { $1 ^ key[$0 & 3] }
    return WebSocketFrame(head[0], payload, isMasked: isMasked)
  }
}
