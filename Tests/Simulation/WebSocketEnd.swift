// One end of a tunnel that speaks WebSocket (RFC 6455): it writes frames, and what it gets it compares with what the other end wrote.
// Nothing may come but those bytes, and in place of the rest of them one Close frame, at the end of a frame, of a process that drains.

import TestSupport

final class WebSocketEnd {
  /// A client's end.
  private let masks: Bool
  /// It goes on as before when it is told to close.
  let ignoresClose: Bool
  /// All that it has written.
  private(set) var wire: [UInt8] = []
  /// Where its frames end, in order.
  private var ends = [0]
  private(set) var hasClosed = false
  private var isInMessage = false

  /// How many of the other end's bytes have come.
  private(set) var gotCount = 0
  /// A Close frame that the other end did not write, as far as it has come.
  private var told: [UInt8] = []

  init(masks: Bool, ignoresClose: Bool) {
    self.masks = masks
    self.ignoresClose = ignoresClose
  }

  /// An end that has written nothing.
  static var silent: WebSocketEnd { WebSocketEnd(masks: false, ignoresClose: true) }

  // MARK: Writing

  /// Data as frames, with what may stand between them.
  func frames(of bytes: [UInt8], _ random: inout Seeded) -> [UInt8] {
    let start = wire.count
    var at = 0
    while at < bytes.count {
      if random.oneIn(4) { frame(0x89, Array("ping".utf8.prefix(random.below(5))), &random) }
      let n = random.oneIn(2) ? bytes.count - at : min(bytes.count - at, 1 + random.below(300))
      let isLast = random.oneIn(2)
      frame((isLast ? 0x80 : 0) | (isInMessage ? 0 : 2), Array(bytes[at..<at + n]), &random)
      isInMessage = !isLast
      at += n
    }
    return Array(wire[start...])
  }

  func close(_ status: Int, _ random: inout Seeded) -> [UInt8] {
    let start = wire.count
    hasClosed = true
    frame(0x88, [UInt8(status >> 8), UInt8(status & 255)], &random)
    return Array(wire[start...])
  }

  private func frame(_ first: UInt8, _ payload: [UInt8], _ random: inout Seeded) {
    wire.append(first)
    let mark: UInt8 = masks ? 0x80 : 0
    if payload.count < 126 {
      wire.append(mark | UInt8(payload.count))
    } else if payload.count < 0x1_0000 {
      wire += [mark | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    } else {
      wire += [mark | 127] + (0..<8).map { UInt8(payload.count >> (56 - 8 * $0) & 255) }
    }
    let key: [UInt8] = masks ? random.bytes(4) : [0, 0, 0, 0]
    if masks { wire += key }
    for (i, byte) in payload.enumerated() { wire.append(byte ^ key[i & 3]) }
    ends.append(wire.count)
  }

  // MARK: Reading

  /// It was told to close, by a process between it and the other end.
  var isTold: Bool { !told.isEmpty && told.count == closeCount }
  private var closeCount: Int { masks ? 4 : 8 }

  /// Takes bytes that came.
  /// - Returns: what is wrong with them.
  func take(_ bytes: ArraySlice<UInt8>, from other: WebSocketEnd) -> String? {
    for byte in bytes {
      if told.isEmpty, gotCount < other.wire.count, other.wire[gotCount] == byte {
        gotCount += 1
        continue
      }
      if told.isEmpty {
        // What looked like the beginning of the next frame was that of the Close frame.
        let end = other.ends.last { $0 <= gotCount } ?? 0
        told = Array(other.wire[end..<gotCount])
        gotCount = end
        if other.hasClosed, end == other.wire.count { return "bytes came behind the other end's Close frame" }
      }
      told.append(byte)
      guard isCloseSoFar else { return "at \(gotCount) came \(told.prefix(12)), which the other end did not write" }
    }
    return nil
  }

  var wasToldAnything: Bool { !told.isEmpty }

  /// What it was told is a Close frame with status 1001, or the front of one.
  private var isCloseSoFar: Bool {
    guard told.count <= closeCount else { return false }
    var wanted: [UInt8] = [0x88, 0x02, 0x03, 0xe9]
    if !masks {
      let key = told.dropFirst(2).prefix(4)
      wanted = [0x88, 0x82] + key
      if key.count == 4 { wanted += [0x03 ^ told[2], 0xe9 ^ told[3]] }
    }
    return told.elementsEqual(wanted.prefix(told.count))
  }
}
