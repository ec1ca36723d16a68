// What a validator answers by itself: a request below `/.well-known/countersign-probe/` that an edge signed, with the client that the
// signature names (docs/IDENTITY.md section 5). Three ask: `countersign doctor`, from two addresses through
// the real load balancer; the self-test, before a configuration goes live (LiveValidators); and health checks. It tells whoever asks no
// more than who he is himself, and reaches no upstream.

import Platform
import Policy
import Wire

enum ValidatorProbe {
  /// Below this, every path is one.
  static let prefix = "/.well-known/countersign-probe/"
  private static let path = Array(prefix.utf8)

  /// Whether a request that was verified is a probe.
  static func asks(_ x: Exchange) -> Bool {
    guard x.isVerified, x.method == .get, x.head.path.count >= path.count else { return false }
    return x.headText.withReadable { bytes in
      ByteComparison.isEqual(bytes.extracting(x.head.path.range).extracting(first: path.count), path.span)
    }
  }

  /// Appends what is said of a client: `client=192.0.2.7 port=51324 proto=https via=proxy-v2`, or `client=unknown`, which only observe
  /// mode can say.
  private static func write(_ identity: ClientIdentity?, into body: Buffer) {
    body.append("client=")
    guard let identity else {
      body.append("unknown")
      return
    }
    identity.address.write(to: body)
    body.append(" port=")
    body.append(decimal: UInt64(identity.port))
    body.append(identity.secure ? " proto=https via=" : " proto=http via=")
    body.append(identity.via.text)
  }

  /// The line that is answered, without its end.
  static func line(about identity: ClientIdentity?) -> String {
    let line = Buffer(capacity: 256)
    write(identity, into: line)
    return String(decoding: line.copyBytes(), as: UTF8.self)
  }

  /// Answers with that line.
  static func answer(_ x: Exchange, _ worker: Worker) -> Step {
    let body = Buffer(capacity: 256)
    write(x.identity, into: body)
    if let identity = x.identity { x.downstream.probedBy = identity.connection }
    body.append(0x0a)
    let keep = x.machine.keepsDownstream && !worker.isDraining
    x.status = 200
    x.bytesOut += UInt64(
      x.downstream.writeAnswer(
        status: 200, contentBytes: body.count, keepAlive: keep, isHead: false, mark: ValidatorMark.own(x, worker),
        isStorable: false,
        worker
      ) { $0.append(first: body.count, of: body) })
    x.machine.answered(keepAlive: keep)
    return .moved
  }
}
