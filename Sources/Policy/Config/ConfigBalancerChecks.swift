// `listeners[].checks`: where a load balancer's own checks come from, and the path that they ask for.

import Wire

extension Reading {
  /// A longer path is none that a balancer asks for.
  private static let checkPathBytesMax = 256

  mutating func checks(_ node: YAMLNode, _ path: String, isUnix: Bool) -> [Config.BalancerCheck] {
    guard let nodes = elements(node, path, of: "checks such as `{ from: [10.0.0.0/24], path: /healthz }`") else {
      return []
    }
    if isUnix { error(node.place, "a unix socket's peers have no address, so `checks` finds none of them") }
    var checks: [Config.BalancerCheck] = []
    var taken: [IPPrefix: Place] = [:]
    for (index, node) in nodes.enumerated() {
      let path = "\(path)[\(index)]"
      let required = [(key: "from", what: "the load balancer's own addresses, such as `[10.0.0.0/24]`")]
      guard let fields = fields(node, path, keys: ["from", "path"], required: required), let from = fields["from"]
      else {
        continue
      }
      var check = Config.BalancerCheck(from: [], path: fields["path"].flatMap { checkPath($0, "\(path).path") })
      check.place = node.place
      if isWord(from, "any") {
        error(from.place, "`checks` from everywhere would answer every client: name the load balancers' own addresses")
        continue
      }
      guard let ranges = prefixes(from, "\(path).from") else { continue }
      if ranges.isEmpty, !faulty.contains("\(path).from") {
        error(from.place, "expected `\(path).from` to hold at least one range")
      }
      for (prefix, place) in ranges {
        if prefix.length == 0 {
          error(place, "`checks` from everywhere would answer every client: name the load balancers' own addresses")
        }
        if let earlier = taken.updateValue(place, forKey: prefix) {
          error(place, "`\(prefix)` has a check in \(spot(earlier, from: place)) already; one range has one check")
        }
      }
      check.from = ranges.map(\.prefix)
      if !check.from.isEmpty { checks.append(check) }
    }
    return checks
  }

  /// Taken literally, and compared byte for byte with the path of a request.
  private mutating func checkPath(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "a path such as `/healthz`, of at most \(Self.checkPathBytesMax) bytes and without a query"
    guard let text = text(node, path, expected: expected) else { return nil }
    let isPath = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
    guard isPath, text.utf8.count <= Self.checkPathBytesMax else { return wrong(node, path, expected: expected) }
    guard text.hasPrefix("/") else { return wrong(node, path, expected: expected, suggestion: "/\(text)") }
    return text
  }
}
