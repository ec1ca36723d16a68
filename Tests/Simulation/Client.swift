// A simulated client, balancer or proxy at the other end of one of the edge's connections, whichever way it speaks.

import Proxy
import TestSupport

class Client {
  unowned let world: World
  let stream: Stream
  let sender: Sender
  /// Where it presented a PROXY header: the source that it named.
  let announced: Endpoint?
  /// It presented nothing, and at some time in its life a configuration took it so.
  final var mayComeBare: Bool
  final private(set) var requests: [Request] = []
  final private(set) var isOver = false
  /// It neither sends nor reads any more, and does not leave.
  final var isSilent = false

  init(world: World, stream: Stream, sender: Sender, announced: Endpoint?, mayComeBare: Bool) {
    self.world = world
    self.stream = stream
    self.sender = sender
    self.announced = announced
    self.mayComeBare = mayComeBare
  }

  final func add(_ request: Request) { requests.append(request) }

  /// Does one thing that a client may do now.
  func act() {}

  /// All its requests were answered.
  var hasAll: Bool { true }

  /// The request that it waits for.
  var awaited: Request? { nil }

  /// All its requests were answered, or it is gone, or the edge has given it up.
  final var isDone: Bool { isOver || (isSilent ? isGivenUp : hasAll) }

  /// The edge has closed its end of a silent client's connection.
  final var isGivenUp: Bool { isSilent && stream.peer?.isClosed != false }

  final func leave(reset: Bool) {
    isOver = true
    stream.close(reset: reset)
  }

  /// What reads the content of a response that is compressed; nil where it comes as it is. It may be where its request asked for it and its
  /// server said that it is text.
  final func unpacker(of head: Head, _ request: Request, _ attempt: Attempt) -> Gunzip? {
    let codings = head.values("content-encoding")
    guard !codings.isEmpty else { return nil }
    guard codings == ["gzip"], request.takesGzip, !request.hasCookie, attempt.isText,
      (200..<300).contains(attempt.status)
    else {
      world.violate("/r/\(request.id) is compressed, which nobody asked for: \(head.fields)")
      return nil
    }
    if !head.values("content-length").isEmpty || head.values("vary") != ["Accept-Encoding"] {
      world.violate("/r/\(request.id) is compressed, and its head is wrong: \(head.fields)")
    }
    world.note(.compressed)
    return request.method == "HEAD" ? nil : Gunzip()
  }

  /// What a piece of a response holds.
  final func unpack(_ bytes: [UInt8], _ unpacker: Gunzip?, _ request: Request) -> [UInt8] {
    guard let unpacker else { return bytes }
    do { return try unpacker.feed(bytes) } catch {
      world.violate("the response to /r/\(request.id) cannot be unpacked: \(error)")
      return []
    }
  }

  /// The answer to a request is not a server's.
  final func noteRefused(_ request: Request, _ head: Head) {
    // A WebSocket cannot go to a server that speaks HTTP/2.
    if request.asksWebSocket, head.status == 501, world.hasHadHTTP2Servers { return }
    if !world.hasFaults { world.violate("/r/\(request.id) was refused without a fault: \(head.startLine)") }
  }

  /// A PROXY header that names this source.
  static func preamble(_ source: Endpoint, _ random: inout Seeded) -> [UInt8] {
    let to = Configurations.edgeAddress
    if random.oneIn(2) {
      return Array("PROXY TCP4 \(source.addressText) \(to.addressText) \(source.port) \(to.port)\r\n".utf8)
    }
    var bytes: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0, 12]
    for address in [source.address, to.address] { bytes += (0..<4).map { UInt8(address >> (24 - $0 * 8) & 255) } }
    for port in [source.port, to.port] { bytes += [UInt8(port >> 8), UInt8(port & 255)] }
    return bytes
  }
}

extension World {
  /// Clients take gzip and servers send text, at times: where the configuration says so responses are compressed. Told by the seed, so that
  /// the other runs are the ones that they were.
  var compresses: Bool { seed % 4 == 1 }

  /// With what it may compress in one turn, told likewise.
  static func edge(_ snapshot: Snapshot, _ seed: UInt64) throws -> Process {
    try Process(
      snapshot, listeners: [("public", Configurations.edgeAddress)],
      compressedBytesMax: [64 << 10, 2_000, 100][Int(seed / 4 % 3)])
  }
}
