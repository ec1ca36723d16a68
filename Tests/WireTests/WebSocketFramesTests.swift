// Where a WebSocket's frames end, as the follower knows it, whatever the pieces in which they come; and that it takes nothing else
// for a WebSocket.

import TestSupport
import Testing
import Wire

@Suite struct WebSocketFramesTests {
  /// A frame as its sender would write it.
  struct Frame: Sendable {
    var first: UInt8
    var count: Int
    /// How many bytes the length takes behind its first one; nil: as few as possible.
    var lengthBytes: Int?

    func bytes(masked: Bool) -> [UInt8] {
      let least = count < 126 ? 0 : count <= 0xffff ? 2 : 8
      let n = lengthBytes ?? least
      let short = n == 0 ? UInt8(count) : n == 2 ? 126 : 127
      var bytes = [first, short | (masked ? 0x80 : 0)]
      for i in 0..<n { bytes.append(UInt8(truncatingIfNeeded: count >> (8 * (n - 1 - i)))) }
      if masked { bytes += [0x88, 0x00, 0x81, 0xff] }
      // Payload that looks like headers: who loses count takes it for some.
      return bytes + (0..<count).map { [0x88, 0x02, 0x03, 0xe9][$0 % 4] }
    }
  }

  static let senders: [WebSocketFrames.Sender] = [.client, .server]

  /// Messages whole and in fragments, with control frames between those, a Close frame at the end.
  static let frames = [
    Frame(first: 0x81, count: 5), Frame(first: 0x82, count: 0), Frame(first: 0x01, count: 3),
    Frame(first: 0x89, count: 0), Frame(first: 0x00, count: 125), Frame(first: 0x8a, count: 125),
    Frame(first: 0x80, count: 126), Frame(first: 0xc1, count: 127), Frame(first: 0x42, count: 1),
    Frame(first: 0x80, count: 0), Frame(first: 0x82, count: 0x1_0000), Frame(first: 0x81, count: 0xffff),
    Frame(first: 0x88, count: 2),
  ]

  private static func follow(_ frames: inout WebSocketFrames, _ bytes: ArraySlice<UInt8>) {
    let copy = Array(bytes)
    frames.follow(copy.span)
  }

  private static func following(_ bytes: [UInt8], from sender: WebSocketFrames.Sender) -> WebSocketFrames {
    var follower = WebSocketFrames(from: sender)
    follower.follow(bytes.span)
    return follower
  }

  @Test(arguments: senders) func eachFrameEndsWhereItEnds(_ sender: WebSocketFrames.Sender) {
    var bytes: [UInt8] = []
    var ends: Set<Int> = [0]
    for frame in Self.frames {
      bytes += frame.bytes(masked: sender == .client)
      ends.insert(bytes.count)
    }
    var single = WebSocketFrames(from: sender)
    for at in 0..<bytes.count {
      #expect(single.isBetweenFrames == ends.contains(at), "at \(at)")
      Self.follow(&single, bytes[at...at])
    }
    #expect(single.hasClosed && !single.isBetweenFrames && !single.isBroken)
  }

  /// Every place at which a stream can be cut in two, with all kinds of headers on either side of it.
  @Test(arguments: senders) func whereItIsCutMakesNoDifference(_ sender: WebSocketFrames.Sender) {
    let short = Self.frames.filter { $0.count < 200 }
    let bytes = short.flatMap { $0.bytes(masked: sender == .client) }
    for cut in 0...bytes.count {
      var follower = WebSocketFrames(from: sender)
      Self.follow(&follower, bytes[..<cut])
      let whole = Self.following(Array(bytes[..<cut]), from: sender)
      #expect(follower == whole, "\(cut)")
      Self.follow(&follower, bytes[cut...])
      #expect(follower.hasClosed, "\(cut)")
    }
  }

  @Test(arguments: senders) func oneFrameIsFollowedToItsEnd(_ sender: WebSocketFrames.Sender) {
    let lengths = Self.frames.map { $0.bytes(masked: sender == .client).count }
    let bytes = Self.frames.flatMap { $0.bytes(masked: sender == .client) }
    var follower = WebSocketFrames(from: sender)
    var at = 0
    for length in lengths {
      #expect(follower.followFrame(bytes.span, from: at) == length)
      at += length
    }
    #expect(follower.hasClosed)
    #expect(follower.followFrame([1, 2, 3].span) == 0, "nothing is followed behind a Close frame")
  }

  @Test func chanceCutsAndMixes() {
    for seed in 1...300 as ClosedRange<UInt64> {
      var random = Seeded(seed)
      let sender = Self.senders[Int.random(in: 0..<2, using: &random)]
      var bytes: [UInt8] = []
      var ends: Set<Int> = [0]
      var isInMessage = false
      for _ in 0...Int.random(in: 0..<12, using: &random) {
        var frame = Frame(
          first: 0,
          count: Int.random(in: 0..<3, using: &random) == 0
            ? Int.random(in: 0..<300, using: &random) : Int.random(in: 0..<8, using: &random))
        if (Int.random(in: 0..<3, using: &random) == 0) {
          frame = Frame(
            first: [0x89, 0x8a][Int.random(in: 0..<2, using: &random)], count: Int.random(in: 0..<126, using: &random))
        } else {
          let isLast = (Int.random(in: 0..<2, using: &random) == 0)
          frame.first = (isLast ? 0x80 : 0) | (isInMessage ? 0 : UInt8(1 + Int.random(in: 0..<2, using: &random)))
          isInMessage = !isLast
        }
        bytes += frame.bytes(masked: sender == .client)
        ends.insert(bytes.count)
      }
      var follower = WebSocketFrames(from: sender)
      var at = 0
      while at < bytes.count {
        let n = min(bytes.count - at, 1 + Int.random(in: 0..<40, using: &random))
        Self.follow(&follower, bytes[at..<at + n])
        at += n
        #expect(follower.isBetweenFrames == ends.contains(at), "seed \(seed) at \(at)")
      }
    }
  }

  /// The largest frame that there can be is passed over by its count.
  @Test func aLengthOfSixtyThreeBits() {
    var follower = WebSocketFrames(from: .server)
    follower.follow(([0x82, 0x7f, 0x7f] + [UInt8](repeating: 0xff, count: 7)).span)
    let payload = [UInt8](repeating: 0x88, count: 1 << 16)
    for _ in 0..<16 { follower.follow(payload.span) }
    #expect(!follower.isBroken && !follower.isBetweenFrames && !follower.hasClosed)
  }

  struct Breach: Sendable, CustomTestStringConvertible {
    let what: String
    let sender: WebSocketFrames.Sender
    let bytes: [UInt8]
    var testDescription: String { what }
  }

  static let breaches = [
    Breach(what: "a client's frame without a mask", sender: .client, bytes: [0x81, 0x01, 0x61]),
    Breach(what: "a server's frame with a mask", sender: .server, bytes: [0x81, 0x81, 1, 2, 3, 4, 0x61]),
    Breach(what: "opcode 3", sender: .server, bytes: [0x83, 0x00]),
    Breach(what: "opcode 7", sender: .server, bytes: [0x87, 0x00]),
    Breach(what: "opcode 11", sender: .server, bytes: [0x8b, 0x00]),
    Breach(what: "opcode 15", sender: .server, bytes: [0x8f, 0x00]),
    Breach(what: "RSV2", sender: .server, bytes: [0xa1, 0x00]),
    Breach(what: "RSV3", sender: .server, bytes: [0x91, 0x00]),
    Breach(what: "RSV1 of a control frame", sender: .server, bytes: [0xc9, 0x00]),
    Breach(what: "RSV1 of a continuation", sender: .server, bytes: [0x01, 0x00, 0xc0, 0x00]),
    Breach(what: "a Ping in fragments", sender: .server, bytes: [0x09, 0x00]),
    Breach(what: "a Ping of 126 bytes", sender: .server, bytes: [0x89, 0x7e, 0x00, 0x7e]),
    Breach(what: "a Close frame of one byte", sender: .server, bytes: [0x88, 0x01, 0x03]),
    Breach(what: "a continuation of nothing", sender: .server, bytes: [0x80, 0x00]),
    Breach(what: "a message in a message", sender: .server, bytes: [0x01, 0x00, 0x81, 0x00]),
    Breach(what: "two bytes for a length of 125", sender: .server, bytes: [0x82, 0x7e, 0x00, 0x7d]),
    Breach(
      what: "eight bytes for a length of 65535", sender: .server, bytes: [0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
    Breach(what: "a length of 64 bits", sender: .server, bytes: [0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    Breach(
      what: "eight masked bytes for a length of 200", sender: .client,
      bytes: [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 200, 1, 2, 3, 4]),
    Breach(what: "HTTP", sender: .server, bytes: Array("HTTP/1.1 200 OK\r\n".utf8)),
    Breach(what: "text of a client", sender: .client, bytes: Array("still here".utf8)),
  ]

  @Test(arguments: breaches) func whatIsNoWebSocketIsNotTakenForOne(_ breach: Breach) {
    for cut in 0..<breach.bytes.count {
      var follower = WebSocketFrames(from: breach.sender)
      Self.follow(&follower, breach.bytes[..<cut])
      Self.follow(&follower, breach.bytes[cut...])
      #expect(follower.isBroken, "cut at \(cut)")
      Self.follow(&follower, [0x81, 0x00, 0x88, 0x00])
      #expect(follower.isBroken && !follower.isBetweenFrames && !follower.hasClosed, "for good")
    }
  }

  @Test func aCloseFrameIsTheLast() {
    for close in [Frame(first: 0x88, count: 0), Frame(first: 0x88, count: 2), Frame(first: 0x88, count: 125)] {
      var follower = WebSocketFrames(from: .server)
      follower.follow((close.bytes(masked: false) + [0xff, 0xff, 0xff]).span)
      #expect(follower.hasClosed && !follower.isBroken && !follower.isBetweenFrames)
    }
  }

  private static func close(mask: UInt32?) -> [UInt8] {
    let sink = Sink()
    WebSocketClose.append(WebSocketClose.goingAway, mask: mask, to: sink)
    return sink.bytes
  }

  private final class Sink: ByteSink {
    var bytes: [UInt8] = []
    func append(_ byte: UInt8) { bytes.append(byte) }
    func append(_ span: Span<UInt8>) { for i in span.indices { bytes.append(span[i]) } }
    func append(_ literal: StaticString) { bytes += Array(literal.description.utf8) }
  }

  @Test func aCloseFrameSaysGoingAway() {
    #expect(Self.close(mask: nil) == [0x88, 0x02, 0x03, 0xe9])
    let masked = Self.close(mask: 0x0102_0304)
    #expect(masked == [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2])
    #expect(Self.following(Self.close(mask: nil), from: .server).hasClosed)
    #expect(Self.following(masked, from: .client).hasClosed)
  }
}
