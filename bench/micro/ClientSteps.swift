// Settling who the client is by the evidence of an edge's listener: the socket, a forwarded field, a PROXY header.

import Policy
import Wire

enum ClientSteps {
  static var all: [Step] {
    [socket, forwarded(prefixCount: 10), forwarded(prefixCount: 100_000), balancersHeader, edgesHeader]
  }

  private static var socket: Step {
    Step("client: from the socket") {
      let policy = TrustPolicy(rules: [], infrastructure: Infrastructure(Config()))
      let client = Samples.client
      let local = Samples.local
      return Operation { _ in
        guard policy[policy.rule(for: client.address)].evidence == .socket else { return false }
        let settlement = policy.settleSocket(
          rule: policy.rule(for: client.address), peer: client.address, peerPort: client.port, local: local)
        guard case .settled(let address, let port, .socket, _) = settlement else { return false }
        return address == client.address && port == client.port
      }
    }
  }

  /// The rule is found among as many prefixes as there are hops, as in the bench's row `prefixes`: one hop is stepped over.
  private static func forwarded(prefixCount: Int) -> Step {
    Step("client: by X-Forwarded-For, \(prefixCount) prefixes") {
      let (listed, hop) = prefixes(prefixCount)
      var hops = Config.TrustRule(evidence: .forwarded)
      hops.from = [IPPrefix(host: IPAddress(v4: 0x7f00_0001))]
      hops.hops = listed
      var refused = Config.TrustRule(evidence: .refuse)
      refused.from = listed
      let policy = TrustPolicy(rules: [refused, hops], infrastructure: Infrastructure(Config()))

      let peer = IPAddress(v4: 0x7f00_0001)
      let client = Samples.client.address
      let local = Samples.local
      let bytes = Samples.head([
        "GET / HTTP/1.1", "Host: printers.example.com", "X-Forwarded-For: 192.0.2.1, \(client), \(hop)",
      ])
      let head = try Samples.parsed(bytes)
      return Operation { _ in
        let settlement = policy.settleForwarded(
          rule: policy.rule(for: peer), from: peer, fromPort: 40_000, version: 0, bytes: bytes.span, head: head,
          local: local)
        guard case .settled(let address, _, .forwarded, _) = settlement else { return false }
        return address == client
      }
    }
  }

  /// So many networks of 256 addresses, scattered over IPv4 the same way in every run, and an address in the last of
  /// them. The step of the walk is odd, so it meets no network twice; where clients and peers are, it lists none.
  private static func prefixes(_ count: Int) -> (listed: [IPPrefix], hop: IPAddress) {
    var listed: [IPPrefix] = []
    var network: UInt32 = 1 << 16
    while listed.count < count {
      network = (network &+ 0x9e_3779) & 0xff_ffff
      let first = network >> 16
      guard first > 0, first < 223, first != 127, first != 192, first != 198,
        let prefix = IPPrefix(IPAddress(v4: network << 8), length: 24)
      else { continue }
      listed.append(prefix)
    }
    return (listed, IPAddress(v4: UInt32(truncatingIfNeeded: listed[count - 1].address.low) | 7))
  }

  private static var balancersHeader: Step {
    Step("client: PROXY v2 header of a load balancer, decode") {
      var draft = ProxyHeaderDraft(
        source: Samples.client.address, sourcePort: Samples.client.port, destination: Samples.local,
        destinationPort: 443)
      guard draft.seal() else { throw NotASample() }
      return decoding(draft, .balancer)
    }
  }

  private static var edgesHeader: Step {
    Step("client: PROXY v2 header of an edge, decode") {
      let signer = try Samples.signer(Samples.keys(.hmac))
      guard let draft = SignSteps.proxyHeader(signer) else { throw NotASample() }
      return decoding(draft, .attested)
    }
  }

  private static func decoding(_ draft: ProxyHeaderDraft, _ rules: ProxyRules) -> Operation {
    let bytes = draft.withBytes { span in span.indices.map { span[$0] } }
    let client = Samples.client.address
    return Operation { _ in
      guard case .complete(let header) = ProxyHeader.decode(bytes.span, rules: rules) else { return false }
      return header.length == bytes.count && header.source == client
    }
  }
}
