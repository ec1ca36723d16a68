// What a refusal about trust means to whoever set the proxy up, and what to do. For `countersign explain`; the names
// themselves are Wire's.

import Wire

extension Refusal {
  /// Why, and what to do about it; nil for refusals that no trust rule makes.
  package var advice: (why: String, suggestion: String)? {
    switch self {
    case .peerRefused:
      (
        "the rule for this peer turns it away",
        "give the peer a rule of its own in `trust`; the longest prefix wins"
      )
    case .clientInfrastructure:
      (
        "the address belongs to our own machinery (`identity.infrastructure`, a `from` range whose word is taken, or a "
          + "listener's address), so it cannot be a client's: something in front does not pass the client's address on",
        "make the proxy in front send it (PROXY protocol, or the field that the rule reads) and give that proxy such a "
          + "rule; or take the address out of `identity.infrastructure`. Where programs on this "
          + "host are clients, name their address in a rule: `{ from: [127.0.0.1], evidence: socket }`"
      )
    case .clientUnknown:
      (
        "no address of a client is known: a unix socket has none, or the address is none that a client can have",
        "for a unix socket, let the peer say it: a rule `{ from: any, evidence: proxy-protocol }` or `forwarded`"
      )
    case .proxyMissing:
      (
        "the rule demands a PROXY header, and the peer sent none",
        "switch it on at the load balancer (try `--proxy-source IP:PORT` here), or give the peer another rule"
      )
    case .proxyAddress, .proxyMalformed, .proxyFamily:
      ("the PROXY header names no address that a client can have", "look at what the load balancer sends")
    case .proxyLocal:
      (
        "the PROXY header says that the load balancer speaks for itself",
        "list its address in `checks` of the listener, with the `path` that it asks for"
      )
    case .forwardedMissing:
      (
        "the rule reads a field that the request does not have",
        "make the proxy in front send it (try `-H 'X-Forwarded-For: 203.0.113.7'` here), or name the field that it "
          + "does send in `header`"
      )
    case .forwardedInvalid:
      (
        "an element of the field, read from the right, is not an address of a client, or the scheme beside it (`proto`, or "
          + "X-Forwarded-Proto, with one value or as many as X-Forwarded-For) is not one",
        "look at what the proxy in front writes; nothing is skipped, for what cannot be read could hide anything. A "
          + "scheme that the proxy does not write itself can be stated in the rule: `scheme: https`"
      )
    case .forwardedExhausted:
      (
        "every address in the field is a listed hop, so none is the client's",
        "take out of `hops` what is not a proxy of yours, or make the first proxy append its peer"
      )
    default: nil
    }
  }
}
