import Policy
import Testing
import Wire

/// Facts for trust decisions in the words of the configuration, and what came of them as one line.
enum TrustFacts {
  /// Rules as one line each: `10.0.0.0/24 proxy-protocol then x-forwarded-for hops 192.0.2.0/24`.
  static func rules(_ text: String) throws -> [Config.TrustRule] {
    try text.split(separator: "\n").enumerated().map { index, line in
      var words = line.split(separator: " ").map(String.init)[...]
      let from = words.removeFirst()
      var rule = Config.TrustRule(evidence: try #require(Config.Evidence(rawValue: words.removeFirst())))
      if from != "any" { rule.from = try from.split(separator: ",").map { try #require(IPPrefix(String($0))) } }
      rule.place.line = index + 1
      while let word = words.popFirst() {
        switch word {
        case "then": rule.thenForwarded = true
        case "scheme": rule.scheme = try #require(Config.Scheme(rawValue: words.removeFirst()))
        case "hops":
          rule.hops = try words.removeFirst().split(separator: ",").map { try #require(IPPrefix(String($0))) }
        default: rule.header = try #require(Config.ForwardedHeader(rawValue: word))
        }
      }
      return rule
    }
  }

  static func address(_ text: String) throws -> IPAddress? {
    guard text != "unix" else { return nil }
    let address: IPAddress = try #require(IPAddress(text))
    return address
  }

  /// A head with these lines, and its bytes.
  static func head(_ lines: [String]) throws -> (head: RequestHead, bytes: [UInt8]) {
    let bytes = Array((["GET / HTTP/1.1", "Host: a"] + lines + ["", ""]).joined(separator: "\r\n").utf8)
    let head = RequestHead(fieldsMax: 100)
    guard case .complete = head.parse(bytes.span, limits: HeadLimits(headBytes: 32_768, fields: 100)) else {
      throw NotAHead()
    }
    return (head, bytes)
  }

  struct NotAHead: Error {}

  /// A PROXY header from a load balancer: `v1 192.0.2.7 51324`, or `v2 192.0.2.7 51324 tls` (or `plain`) with an SSL TLV.
  static func proxy(_ text: String) throws -> ProxyHeader? {
    guard text != "" else { return nil }
    let words = text.split(separator: " ").map(String.init)
    let source = try #require(IPAddress(words[1]))
    let destination = source.unmapped.family == .v4 ? "203.0.113.80" : "2001:db8:ffff::80"
    let port = try #require(UInt16(words[2]))
    var bytes = Array(
      "PROXY TCP\(source.unmapped.family == .v4 ? 4 : 6) \(source.unmapped) \(destination) \(port) 443\r\n".utf8)
    if words[0] == "v2" {
      var draft = ProxyHeaderDraft(
        source: source, sourcePort: port, destination: try #require(IPAddress(destination)), destinationPort: 443)
      let unnamed: [UInt8] = []
      if words.count > 3 {
        draft.addTLS(version: unnamed.span, cipher: unnamed.span, client: words[3] == "tls" ? 1 : 0)
      }
      let sealed = draft.seal()
      try #require(sealed)
      bytes = draft.withBytes { span in (0..<span.count).map { span[$0] } }
    }
    guard case .complete(let header) = ProxyHeader.decode(bytes.span, rules: .balancer) else { throw NotAHead() }
    return header
  }

  static func scheme(_ settlement: Settlement) -> String {
    switch settlement {
    case .settled(_, _, _, let scheme): "\(scheme.text) \(scheme.source.text)"
    case .refused(let refusal): "refused \(refusal.name)"
    case .infrastructure: "refused client-infrastructure"
    }
  }

  static func describe(_ settlement: Settlement) -> String {
    switch settlement {
    case .settled(let address, let port, let via, _): "\(address) \(port) \(via.text)"
    case .refused(let refusal): "refused \(refusal.name)"
    case .infrastructure: "refused client-infrastructure"
    }
  }
}
