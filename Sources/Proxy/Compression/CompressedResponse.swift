// A response that is compressed, between the pieces that its server's leg offers and the bytes that its client's leg takes:
//
//   server's leg ─► Compressor ─► its output ─► client's leg
//
// The output is passed on before anything else is compressed, so there is at most a buffer of it: a client that takes nothing stops the
// server, as with any other response. When the server has nothing more at hand, what was compressed is flushed: each piece that it sends
// can be read by the client before it sends the next. Only at the end of the content does gzip's end go out; a response that is cut has
// neither that nor a last chunk.

import Platform
import Policy
import Wire

enum CompressedResponse {
  /// Decides whether the response whose head lies in front of the server's input is compressed, and takes what does it.
  /// `outgoing` becomes what that comes to.
  static func choose(
    _ x: Exchange, _ rule: CompressionRule, _ head: ResponseHead, _ u: Upstream,
    _ outgoing: inout HeadWriter.ResponseFraming, _ worker: Worker
  ) -> ResponseCoding {
    var asker = CompressionRule.Asker()
    asker.isPlain = x.minorVersion > 0 && !x.wantsWebSocket && x.downstream.stream?.isGRPC != true
    // One that the PROXY header tells of may be that of a proxy in front: then less is compressed than could be.
    asker.hasCertificate =
      x.identity?.certificate != nil || x.downstream.certificate != nil
      || x.downstream.announced?.sslCertificate == true
    var contentBytes: UInt64?
    switch outgoing {
    case .length(let length): contentBytes = length
    // A length that is told without content is that of what was asked for by HEAD.
    case .unsent: contentBytes = head.statedLength
    case .none: contentBytes = 0
    case .chunked, .close: break
    }
    return u.input.withReadable { bytes in
      var verdict = x.headText.withReadable {
        rule.judge($0, x.head, asker, bytes, head, contentBytes: contentBytes, setsCookie: x.setsCookie)
      }
      if verdict == .gzip, x.method != .head {
        x.compressor = worker.compressors.take(level: rule.level, worker.streamPool)
        if x.compressor != nil {
          worker.counters.add(.compressedResponses)
        } else {
          worker.counters.add(.compressionsSkipped)
          verdict = .identity
        }
      }
      switch verdict {
      // Its length is known when it is over; that of the answer to HEAD never.
      case .gzip: outgoing = x.method == .head ? .none : .chunked
      case .notModified: outgoing = .none
      case .identity, .untouched: break
      }
      return ResponseCoding(verdict, bytes, head, x.route?.responseEdit)
    }
  }

  /// One step of a compressed response. Nil once all of its content is on its way to the client: what is left, trailers and the end, goes
  /// as with any other.
  static func relay(_ x: Exchange, _ c: Compressor, _ u: Upstream, _ worker: Worker) -> Step? {
    guard c.output.isEmpty else {
      switch x.downstream.writeBody(c.output.count, from: c.output, for: x) {
      case .took(let n):
        worker.counters.add(.compressedBytesOut, UInt64(n))
        c.output.consume(n)
        return .moved
      case .blocked: return .blocked
      case .fault(let fault): return .fault(fault)
      }
    }
    if c.isFinished {
      giveBack(x, worker)
      return nil
    }
    if c.isFlushing {
      c.flush()
      return .moved
    }
    switch u.nextPiece(of: x, worker) {
    case .data(let count):
      let most = min(count, worker.compressionTurn.bytesLeft)
      guard most > 0 else {
        worker.compressionTurn.wait(x.downstream)
        return .blocked
      }
      let n = c.compress(first: most, of: u.input)
      if n > 0 {
        worker.compressionTurn.take(n)
        worker.counters.add(.compressedBytesIn, UInt64(n))
        u.useBody(n, of: x)
      }
      return .moved
    case .trailers, .end:
      c.finish()
      return .moved
    case .head, .blocked:
      guard c.hasUnflushed else {
        c.output.releaseIfEmpty()
        return .blocked
      }
      c.flush()
      return .moved
    case .fault(let fault): return .fault(fault)
    }
  }

  /// The response is compressed no further, whatever ends it.
  static func giveBack(_ x: Exchange, _ worker: Worker) {
    guard let c = x.compressor else { return }
    worker.compressors.give(c)
    x.compressor = nil
  }
}
