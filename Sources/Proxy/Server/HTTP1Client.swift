// The server's leg of an exchange, as HTTP/1.1 (RFC 9112): requests are written to the connection, heads and bodies of responses
// are read from it. Where the server is asked by a stream of HTTP/2 each of these functions has a branch for it, into HTTP2ServerStream.

import Platform
import Wire

extension Upstream {
  // MARK: Reading

  /// The head of the next response, interim or final: parsed into the worker's `responseHead`, its bytes still in front of `input`.
  func nextHead(of x: Exchange, _ worker: Worker) -> Piece {
    if let stream {
      guard stream.fault == .none else { return bad(stream.fault, of: x) }
      if stream.isUnprocessed, input.isEmpty { return .fault(.unprocessed) }
    }
    while true {
      if input.count > headSeen {
        var limits = worker.plan.responseLimits(of: x.group)
        limits.headBytes = min(limits.headBytes, input.capacity - Worker.headGrowthBytes)
        let outcome = input.withReadable {
          worker.responseHead.parse(
            $0, limits: limits, requestWasHead: x.method == .head, isFirst: served == 0, seen: headSeen)
        }
        switch outcome {
        case .complete(let length): return .head(length)
        case .refused: return bad(worker.responseHead.fault, of: x)
        case .incomplete: headSeen = input.count
        }
      }
      switch receive() {
      // That is no progress: the whole head is to come in time, however many bytes of it come, and whatever interim ones before it.
      case .bytes: break
      case .blocked: return .blocked
      case .ended, .failed: return .fault(.closedBeforeResponse)
      }
    }
  }

  /// What came cannot be taken. The log says what it was.
  func bad(_ what: ResponseFault, of x: Exchange) -> Piece {
    x.detail = .text(what.text)
    return .fault(.response(what))
  }

  /// The next piece of the response's body.
  func nextPiece(of x: Exchange, _ worker: Worker) -> Piece {
    if let stream {
      guard stream.fault == .none else { return bad(stream.fault, of: x) }
      // What lies in front are trailers for which there was no room, and no body.
      if stream.trailersAreOffered { return endPiece(stream, of: x) }
    }
    while true {
      var decoder = x.response.decoder
      let step = input.withReadable { decoder.step($0) }
      x.response.decoder = decoder
      switch step {
      case .refused(.framingChunk): return bad(.chunk, of: x)
      case .refused: return bad(.trailers, of: x)
      case .data(let skip, let count):
        input.consume(skip)
        return .data(count)
      case .trailers(let skip, let count):
        input.consume(skip)
        return .trailers(count)
      case .end(let skip):
        input.consume(skip)
        if let stream { return endPiece(stream, of: x) }
        return .end
      case .incomplete(let skip):
        input.consume(skip)
        switch receive() {
        case .bytes: x.upstreamProgressMilliseconds = worker.nowMilliseconds
        case .blocked: return .blocked
        case .ended where x.response.framing == .untilClose:
          if let stream { return endPiece(stream, of: x) }
          return .end
        case .ended, .failed: return .fault(.truncatedResponse)
        }
      }
    }
  }

  /// `n` bytes of payload, or of trailers, were passed on.
  func useBody(_ n: Int, of x: Exchange) {
    if let stream, stream.trailersAreOffered {
      useStream(n, stream)
      return
    }
    var decoder = x.response.decoder
    decoder.consumed(n)
    x.response.decoder = decoder
    if let stream { useStream(n, stream) } else { input.consume(n) }
  }

  // MARK: Writing

  /// Writes up to `count` payload bytes at the front of the request's body. Large pieces are written from where they lie; small
  /// ones are gathered so that a head and its body leave together.
  func writeBody(_ count: Int, of x: Exchange, _ worker: Worker) -> Written {
    if let stream { return writeStreamBody(count, of: x, stream, worker) }
    if x.request.goesInChunks {
      guard makeRoom(Downstream.chunkOverheadBytes + 1, worker) else { return .blocked }
      let n = min(count, output.room - Downstream.chunkOverheadBytes)
      output.append(hex: UInt64(n))
      output.append("\r\n")
      x.withBody { output.append($0.extracting(first: n)) }
      output.append("\r\n")
      return .took(n)
    }
    if count >= Downstream.directBytesMin {
      // A head that waits goes first, so that the body is not copied behind it.
      flush(hasMore: true, worker)
      guard output.isEmpty, !x.upstreamDeaf else { return .blocked }
      let sent = transport.sentBytes
      let moved = x.withBody { transport.write($0.extracting(first: count)) }
      let isTaken = if case .bytes = moved { true } else { false }
      if isTaken || transport.sentBytes != sent { noteSent(x, worker) }
      switch moved {
      case .bytes(let n): return .took(n)
      case .blocked: return .blocked
      case .ended, .failed:
        x.upstreamDeaf = true
        transport.noteReadable()
        return .blocked
      }
    }
    guard makeRoom(1, worker) else { return .blocked }
    let n = min(count, output.room)
    x.withBody { output.append($0.extracting(first: n)) }
    if output.count >= Downstream.gatherBytes { flush(worker) }
    return .took(n)
  }

  /// The request is over.
  func writeEnd(of x: Exchange, _ worker: Worker) -> Bool {
    if let stream {
      endStreamOutput(stream)
      return true
    }
    guard x.request.goesInChunks, !x.request.trailersSent else { return true }
    guard makeRoom(5, worker) else { return false }
    output.append("0\r\n\r\n")
    return true
  }

  /// Writes the trailers that may pass, from the first `count` bytes of the request's body. There is room. False: they are more than the
  /// server takes.
  func write(_ trailers: TrailerSection, _ count: Int, of x: Exchange) -> Bool {
    if let stream { return writeStreamTrailers(trailers, count, of: x, stream) }
    x.withBody {
      TrailerWriter.write($0.extracting(first: count), trailers, without: x.route?.requestEdit, into: output)
    }
    return true
  }

  private func noteSent(_ x: Exchange, _ worker: Worker) {
    x.machine.noteSent()
    x.upstreamProgressMilliseconds = worker.nowMilliseconds
  }
}
