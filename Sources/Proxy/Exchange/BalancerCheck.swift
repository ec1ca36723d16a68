// A load balancer's check: a request for the path that the listener's `checks` name, from an address that they name, which shows
// no client. It is answered here with this process's readiness. Invariant: it has no identity and reaches no upstream.

import Platform
import Policy
import Wire

enum BalancerCheck {
  /// Whether a request is a check. One that shows the client which the trust rule asks for is that client's.
  static func asks(_ d: Downstream, _ head: RequestHead, in text: Buffer) -> Bool {
    guard let check = d.check, let listener = d.listener, d.announcement == nil else { return false }
    guard head.method == .get || head.method == .head || head.method == .options else { return false }
    let rule = listener.trust[d.rule]
    switch rule.evidence {
    case .forwarded: if head.has(rule.header == .forwarded ? .forwarded : .xForwardedFor) { return false }
    case .attested: if head.has(.clientAttest) { return false }
    case .socket, .proxyProtocol, .refuse: break
    }
    return text.withReadable { listener.checks.answers(check, path: $0.extracting(head.path.range)) }
  }

  /// Answers 200, or 503 with the reason.
  static func answer(_ x: Exchange, _ worker: Worker) -> Step {
    x.isCheck = true
    // Beside a process that serves alike nobody has to be sent elsewhere.
    let reason: ServiceReadiness.Reason? =
      worker.closesKept ? .draining : worker.shared.readiness.reason(worker.clock)
    worker.counters.add(reason == nil ? .checksReady : .checksUnready)
    x.status = reason == nil ? 200 : 503
    // Whether a body follows that its sender holds back until it is told to go on, nobody knows.
    let keep = x.machine.keepsDownstream && !x.mayNotSend && !worker.isDraining
    x.bytesOut += UInt64(
      x.downstream.writeAnswer(
        status: x.status, sentence: reason?.text ?? "", keepAlive: keep, isHead: x.method == .head, worker))
    x.machine.answered(keepAlive: keep)
    return .moved
  }
}
