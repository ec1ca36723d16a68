// What a validator answers by itself: a request below `/.well-known/countersign-probe/` that an edge signed, with the client that the
// signature names (docs/IDENTITY.md section 5). `countersign doctor` asks for it, from two addresses through the real load balancer.
// It tells whoever asks no more than who he is himself, and reaches no upstream.

import Platform
import Policy
import Wire

enum ValidatorProbe {
  private static let path = Array("/.well-known/countersign-probe/".utf8)

  /// Whether a request that was verified is a probe.
  static func asks(_ x: Exchange) -> Bool {
    guard x.isVerified, x.method == .get, x.head.path.count >= path.count else { return false }
    return x.headText.withReadable { bytes in
      ByteComparison.isEqual(bytes.extracting(x.head.path.range).extracting(first: path.count), path.span)
    }
  }

  /// One line: `client=192.0.2.7 port=51324 proto=https via=proxy-v2`, or `client=unknown` in observe mode.
  static func answer(_ x: Exchange, _ worker: Worker) -> Step {
    let d = x.downstream!
    let body = Buffer(capacity: 256)
    body.append("client=")
    if let identity = x.identity {
      d.probedBy = identity.connection
      identity.address.write(to: body)
      body.append(" port=")
      body.append(decimal: UInt64(identity.port))
      body.append(identity.secure ? " proto=https via=" : " proto=http via=")
      body.append(identity.via.text)
    } else {
      body.append("unknown")
    }
    body.append(0x0a)
    let keep = x.machine.keepsDownstream && !worker.isDraining
    let before = d.output.count
    HeadWriter.writeAnswerHead(
      status: 200, reason: HeadWriter.reason(200), contentBytes: body.count, keepAlive: keep, mark: x.mark(worker),
      isStorable: false, date: worker.date.imf.span, into: d.output)
    d.output.append(first: body.count, of: body)
    x.status = 200
    x.bytesOut += UInt64(d.output.count - before)
    x.machine.answered(keepAlive: keep)
    return .moved
  }
}
