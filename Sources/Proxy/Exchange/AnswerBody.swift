// The body of a route's own answer, on its way: bytes that the snapshot holds, or an open file. An exchange has at most one; it is taken
// when the head is written, and given back with the exchange, whatever ends that. Reading a file may wait for a disk, as nothing else on
// a worker's way does; one step reads no more than a buffer.

import Platform
import Wire

struct AnswerBody {
  private enum Source {
    case none
    case bytes([UInt8])
    case file(OpenFile)
  }

  private var source = Source.none
  private var offset: UInt64 = 0
  private(set) var left: UInt64 = 0

  init() {}

  /// There is one, whole or in part, or already read.
  var isGiven: Bool { if case .none = source { false } else { true } }

  init(_ bytes: [UInt8]) {
    source = .bytes(bytes)
    left = UInt64(bytes.count)
  }

  init(_ file: OpenFile) {
    source = .file(file)
    left = file.bytes
  }

  /// Appends what there is room for. Nothing where a file is shorter than it was when it was opened.
  mutating func read(into out: Buffer) -> Int {
    let n: Int
    switch source {
    case .none: n = 0
    case .bytes(let bytes):
      n = min(out.room, Int(left))
      out.append(bytes.span.extracting(Int(offset)..<Int(offset) + n))
    case .file(let file): n = file.read(at: offset, most: left, into: out)
    }
    offset += UInt64(n)
    left -= UInt64(n)
    return n
  }

  /// Closes what is open; to be called once.
  mutating func close() {
    switch source {
    case .none: return
    case .bytes: break
    case .file(let file): file.close()
    }
    self = AnswerBody()
  }

  // MARK: Its way to the client

  /// One step of an answer of a route: more of its body, while what comes of the request is read and dropped.
  static func relay(_ x: Exchange, _ worker: Worker) -> Step {
    var request = Step.blocked
    if x.machine.request == .body { request = x.discardRequest(worker) }
    if x.answerBody.left == 0 {
      guard x.downstream.writeEnd(of: x) else { return request }
      x.machine.responseEnded()
      return .moved
    }
    switch write(to: x.downstream, of: x) {
    case .took: return .moved
    case .blocked: return request
    case .fault(let fault): return .fault(fault)
    }
  }

  /// Writes what there is room for of the exchange's own body.
  private static func write(to d: Downstream, of x: Exchange) -> Written {
    if d.stream?.isReset ?? false { return .fault(.clientGone) }
    guard d.makeRoom(1) else { return .blocked }
    var body = x.answerBody
    let n = body.read(into: d.output)
    x.answerBody = body
    guard n > 0 else { return .fault(.answerCut) }
    x.bytesOut += UInt64(n)
    if let stream = d.stream {
      stream.server.session.resume(stream: stream.id)
    } else if d.output.count >= Downstream.gatherBytes {
      guard d.flush() else { return .fault(.clientGone) }
    }
    return .took(n)
  }
}
