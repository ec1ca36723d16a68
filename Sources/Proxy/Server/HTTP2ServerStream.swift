// The server's leg of an exchange, as a stream of HTTP/2 (RFC 9113 section 8.1). The functions of HTTP1Client and Upstream call these
// where the connection is a stream.

import Platform
import Policy
import Wire

/// What a stream to a server has that a connection has not. Made once for a slot of the table of such streams, and used again and again.
final class ServerStream: StreamFrames {
  /// Nil while no stream has the slot.
  private(set) var client: HTTP2Client!
  /// The server has said that it did nothing with the request.
  var isUnprocessed = false
  /// Why what came is no message.
  private(set) var fault = ResponseFault.none
  var hasFinalHead = false
  /// The response ended with its head: it has no body, and no trailers but what the head says (as gRPC's Trailers-Only).
  var endedWithHead = false
  /// The server has sent all that it had stated, but not the end, and nothing more is waited for.
  var endIsOverdue = false
  /// The body as it came. There is room for the whole window.
  let arriving: Buffer
  /// The trailers as they came, with their empty line. They are not counted in windows, so they have room of their own.
  let arrivingTrailers: Buffer
  var trailerBytes = 0
  /// The trailers lie in front of the input.
  var trailersAreOffered = false
  /// Bytes of the body for which the window was not given back.
  var unconsumed = 0

  init(_ worker: Worker) {
    arriving = Buffer(pool: worker.pool, small: worker.smallPool)
    arrivingTrailers = Buffer(pool: worker.pool, small: worker.smallPool)
    super.init(pool: worker.pool, small: worker.smallPool)
  }

  func begin(_ client: HTTP2Client, position: Int) {
    self.client = client
    self.position = position
  }

  func noteFault(_ what: ResponseFault) { if fault == .none { fault = what } }

  /// Forgets the stream that is over.
  func clear() {
    clearFrames()
    client = nil
    isUnprocessed = false
    fault = .none
    endIsOverdue = false
    hasFinalHead = false
    endedWithHead = false
    arriving.reset()
    if !arrivingTrailers.isEmpty || arrivingTrailers.overflowed { arrivingTrailers.reset() }
    trailerBytes = 0
    trailersAreOffered = false
    unconsumed = 0
  }
}

extension Upstream {
  var isStream: Bool { stream != nil }

  /// The connection that it is a stream of, or itself.
  var carrier: Upstream { stream?.client.connection ?? self }

  /// Reads what has come of the response, as far as there is room.
  func receive() -> IOResult {
    guard let stream else { return transport.read(into: input) }
    let n = min(stream.arriving.count, input.room)
    guard n > 0 else { return stream.inputEnded ? .ended : stream.isReset ? .failed : .blocked }
    input.append(first: n, of: stream.arriving)
    stream.arriving.consume(n)
    stream.arriving.releaseIfEmpty()
    return .bytes(n)
  }

  /// The end of a body, behind which a stream may have trailers, and nothing else.
  func endPiece(_ stream: ServerStream, of x: Exchange) -> Piece {
    if !stream.trailersAreOffered {
      guard input.isEmpty, stream.arriving.isEmpty else { return bad(.excess, of: x) }
      if stream.trailerBytes > 0 {
        guard input.room >= stream.trailerBytes else { return bad(.trailers, of: x) }
        input.append(first: stream.trailerBytes, of: stream.arrivingTrailers)
        stream.arrivingTrailers.reset()
        stream.trailersAreOffered = true
      }
    }
    if stream.trailersAreOffered, stream.trailerBytes > 0 { return .trailers(stream.trailerBytes) }
    return stream.inputEnded || stream.isReset || stream.endIsOverdue ? .end : .blocked
  }

  /// The server has had the whole request, all of the content that it had stated has come, and only the end of its stream is still to
  /// come. Not of gRPC, whose calls have their status behind it.
  func owesOnlyEnd(of x: Exchange) -> Bool {
    guard let stream else { return false }
    return stream.isEndOut && x.machine.request == .done && x.machine.response == .body && x.response.decoder.isEnded
      && !x.isGRPC
  }

  /// `n` bytes of the body, or of the trailers, were passed on.
  func useStream(_ n: Int, _ stream: ServerStream) {
    input.consume(n)
    guard !stream.trailersAreOffered else {
      stream.trailerBytes = 0
      return
    }
    stream.unconsumed -= n
    if stream.isClosed {
      stream.client.session.consumedConnection(n)
    } else {
      stream.client.session.consumed(stream: stream.id, n)
    }
    stream.client.worker.flushLater(stream.client)
  }

  /// Writes payload from the request's body, as far as there is room.
  func writeStreamBody(_ count: Int, of x: Exchange, _ stream: ServerStream, _ worker: Worker) -> Written {
    guard makeRoom(1, worker) else { return .blocked }
    let n = min(count, output.room)
    x.withBody { output.append($0.extracting(first: n)) }
    stream.client.session.resume(stream: stream.id)
    return .took(n)
  }

  /// Fetches what was written into frames.
  func flushStream(_ stream: ServerStream) -> Flushed {
    guard stream.client.connection.phase == .ready, stream.id > 0 else { return .sent }
    if stream.isReset || stream.isClosed {
      output.removeAll()
      output.releaseIfEmpty()
      return .failed
    }
    stream.client.pull(self)
    exchange?.machine.noteSent()
    return .sent
  }

  /// The request is over.
  func endStreamOutput(_ stream: ServerStream) {
    stream.outputEnded = true
    stream.client.session.resume(stream: stream.id)
  }

  /// Writes the trailers that may pass, from the first `count` bytes of the request's body. False: they are more than the server takes.
  func writeStreamTrailers(_ trailers: TrailerSection, _ count: Int, of x: Exchange, _ stream: ServerStream) -> Bool {
    x.withBody {
      TrailerWriter.writeFields(
        $0.extracting(first: count), trailers, without: x.route?.requestEdit, into: stream.trailers)
    }
    stream.hasTrailers = !stream.trailers.isEmpty
    guard stream.hasTrailers else { return true }
    return stream.trailers.withReadable { stream.client.session.mayCarry(stream.client.worker.http2Lines, $0) }
  }
}
