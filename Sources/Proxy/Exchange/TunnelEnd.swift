// One end of a tunnel, as `Tunnel` reads and writes it: a socket, or a stream of HTTP/2 that an extended CONNECT has opened (RFC 8441).

import Platform
import Wire

enum TunnelEnd {
  case socket(Transport)
  case stream(Downstream, StreamState)

  /// Moves what has come into `input`.
  func read(into input: Buffer) -> IOResult {
    switch self {
    case .socket(let transport): return transport.read(into: input)
    case .stream(let d, let stream):
      if stream.isReset { return .failed }
      let n = min(stream.arriving.count, input.room)
      guard n > 0 else { return stream.arriving.isEmpty && stream.inputEnded ? .ended : .blocked }
      input.append(first: n, of: stream.arriving)
      stream.arriving.consume(n)
      stream.arriving.releaseIfEmpty()
      // Here and nowhere else: `HTTP2Server.over` gives back what is still `arriving`.
      d.noteUsed(n, stream)
      return .bytes(n)
    }
  }

  /// Sends what `buffer` holds, as far as it is taken. `.bytes` says how much was.
  func flush(_ buffer: Buffer) -> IOResult {
    switch self {
    case .socket(let transport): return transport.flush(buffer)
    case .stream(let d, let stream):
      if stream.isReset || stream.isClosed { return .failed }
      guard buffer !== d.output else {
        stream.server.pull(d)
        return d.output.isEmpty ? .bytes(0) : .blocked
      }
      if d.output.room == 0 { stream.server.pull(d) }
      let n = min(buffer.count, d.output.room)
      guard n > 0 else { return buffer.isEmpty ? .bytes(0) : .blocked }
      d.output.append(first: n, of: buffer)
      buffer.consume(n)
      stream.server.session.resume(stream: stream.id)
      stream.server.pull(d)
      return .bytes(n)
    }
  }

  /// What was given to `flush` is not all on its way.
  var hasUnsent: Bool {
    switch self {
    case .socket(let transport): transport.hasUnsent
    // The head that opened it is a stream's to send, too.
    case .stream(let d, let stream): !d.output.isEmpty || stream.headsWaiting > 0
    }
  }

  /// Nothing more is written to it.
  func finish() {
    switch self {
    case .socket(let transport): transport.finish()
    case .stream(let d, let stream):
      d.endStreamOutput(stream)
      stream.server.pull(d)
    }
  }

  func noteReadable() { if case .socket(let transport) = self { transport.noteReadable() } }
}
