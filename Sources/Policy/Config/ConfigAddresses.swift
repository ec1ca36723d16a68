// Addresses in a configuration: ranges and endpoints. One address has one spelling here: an IPv4 address is
// never written in its IPv6-mapped form, and a range has no bits past its length.

import Wire

extension Reading {
  // MARK: Ranges

  /// A bare address is the range of itself alone.
  mutating func prefix(_ node: YAMLNode, _ path: String) -> IPPrefix? {
    let expected = "an address or a range such as `10.0.0.0/8`"
    guard let text = text(node, path, expected: expected) else { return nil }
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, let address = IPAddress(String(parts[0])) else {
      return wrong(node, path, expected: expected)
    }
    let width = address.family == .v4 ? 32 : 128
    var length = width
    if parts.count == 2 {
      guard let (number, rest) = Unit.split(String(parts[1])), rest.isEmpty, number <= width else {
        return wrong(node, path, expected: "a prefix length from 0 to \(width) in the range")
      }
      length = number
    }
    if address.unmapped != address {
      guard length >= 96, let suggestion = Self.masked(address.unmapped, length - 96) else {
        return wrong(node, path, expected: "a range that is not of IPv4-mapped addresses (peers are never seen so)")
      }
      return wrong(node, path, expected: "an IPv4 range written as IPv4", suggestion: suggestion.description)
    }
    guard let prefix = IPPrefix(address, length: length) else {
      let suggestion = Self.masked(address, length)?.description
      return wrong(node, path, expected: "a range with no bits set past its length", suggestion: suggestion)
    }
    return prefix
  }

  private static func masked(_ address: IPAddress, _ length: Int) -> IPPrefix? {
    switch address.family {
    case .v4:
      let mask = length == 0 ? 0 : UInt32.max << UInt32(32 - length)
      return IPPrefix(IPAddress(v4: UInt32(truncatingIfNeeded: address.low) & mask), length: length)
    case .v6:
      let high = length == 0 ? 0 : UInt64.max << UInt64(max(0, 64 - length))
      let low = length <= 64 ? 0 : UInt64.max << UInt64(128 - length)
      return IPPrefix(IPAddress(v6High: address.high & high, v6Low: address.low & low), length: length)
    }
  }

  /// A list of ranges, or one.
  mutating func prefixes(_ node: YAMLNode, _ path: String) -> [(prefix: IPPrefix, place: Place)]? {
    guard let nodes = elements(node, path, of: "addresses and ranges", orOne: true) else { return nil }
    var ranges: [(prefix: IPPrefix, place: Place)] = []
    for (index, node) in nodes.enumerated() {
      guard let prefix = prefix(node, nodes.count == 1 ? path : "\(path)[\(index)]") else {
        faulty.insert(path)
        continue
      }
      ranges.append((prefix, node.place))
    }
    return ranges
  }

  // MARK: Endpoints

  /// Where to listen: an address and a port (0 picks a free one), or a unix socket.
  mutating func listenAddress(_ node: YAMLNode, _ path: String) -> Config.Endpoint? {
    let expected = "`ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`"
    switch endpoint(node, path, expected: expected, ports: 0...65_535) {
    case .host(let host, let port)?:
      let suggestion = host == "localhost" ? "127.0.0.1:\(port)" : host.isEmpty || host == "*" ? "0.0.0.0:\(port)" : nil
      return wrong(node, path, expected: "an address, not a host name (\(expected))", suggestion: suggestion)
    case .service?: return wrong(node, path, expected: "an address, not a service (\(expected))")
    case .address(let address, let port)? where address.unmapped != address:
      return wrong(
        node, path, expected: "an IPv4 address written as IPv4",
        suggestion: "\(address.unmapped):\(port)")
    case let endpoint: return endpoint
    }
  }

  /// A server: as above, or a host name, or a service.
  mutating func serverAddress(_ node: YAMLNode, _ path: String) -> Config.Endpoint? {
    let expected = "`HOST:PORT`, `[IPV6]:PORT`, `srv:_SERVICE._tcp.NAME` or `unix:PATH`"
    let endpoint = endpoint(node, path, expected: expected, ports: 1...65_535)
    switch endpoint {
    case .host(let host, let port)? where !Self.isHostName(host):
      return wrong(node, path, expected: expected, suggestion: host.isEmpty ? "127.0.0.1:\(port)" : nil)
    case .address(let address, _)? where address.unmapped != address:
      return wrong(node, path, expected: "an IPv4 address written as IPv4")
    default: return endpoint
    }
  }

  private mutating func endpoint(
    _ node: YAMLNode, _ path: String, expected: String, ports: ClosedRange<Int>
  ) -> Config.Endpoint? {
    guard let text = text(node, path, expected: expected) else { return nil }
    if text.hasPrefix("unix:") { return unixSocket(text, node, path, expected: expected) }
    if text.hasPrefix("srv:") { return service(text, node, path) }
    if text.hasPrefix("/") || text.hasPrefix("./") || text.hasPrefix("../") {
      return wrong(node, path, expected: expected, suggestion: "unix:\(text)")
    }
    for scheme in ["http://", "https://", "tcp://"] where text.hasPrefix(scheme) {
      return wrong(
        node, path, expected: "\(expected), without a scheme", suggestion: String(text.dropFirst(scheme.count)))
    }
    let host: String
    let rest: Substring
    if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
      host = String(text[text.index(after: text.startIndex)..<end])
      rest = text[text.index(after: end)...]
      guard let address = IPAddress(host), address.family == .v6 else {
        return wrong(node, path, expected: "an IPv6 address within the brackets")
      }
    } else if let colon = text.lastIndex(of: ":") {
      host = String(text[..<colon])
      rest = text[colon...]
      if host.contains(":") {
        let suggestion = IPAddress(host) != nil ? "[\(host)]\(rest)" : nil
        return wrong(node, path, expected: "\(expected) (IPv6 in brackets)", suggestion: suggestion)
      }
    } else {
      return wrong(node, path, expected: "\(expected), with a port")
    }
    guard rest.first == ":", let (port, unit) = Unit.split(String(rest.dropFirst())), unit.isEmpty,
      ports.contains(port)
    else {
      return wrong(node, path, expected: "a port from \(ports.lowerBound) to \(ports.upperBound) after the last colon")
    }
    if let address = IPAddress(host) { return .address(address, port: UInt16(port)) }
    return .host(host, port: UInt16(port))
  }

  /// RFC 2782: `_service._proto.name`. The ports come from DNS.
  private mutating func service(_ text: String, _ node: YAMLNode, _ path: String) -> Config.Endpoint? {
    let expected = "a service such as `srv:_http._tcp.example.internal`, without a port"
    let name = text.dropFirst("srv:".count)
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    if let colon = name.lastIndex(of: ":") {
      return wrong(node, path, expected: expected, suggestion: "srv:\(name[..<colon])")
    }
    guard labels.count >= 3, labels[0].count > 1, labels[0].hasPrefix("_"), labels[1] == "_tcp",
      Self.isHostName(String(name))
    else { return wrong(node, path, expected: expected) }
    return .service(String(name))
  }

  private mutating func unixSocket(
    _ text: String, _ node: YAMLNode, _ path: String, expected: String
  ) -> Config.Endpoint? {
    let name = String(text.dropFirst("unix:".count))
    guard !name.isEmpty, !name.hasSuffix("/"), !name.utf8.contains(0) else {
      return wrong(node, path, expected: expected)
    }
    let socket = absolute(name, from: node.place)
    // sun_path holds 108 bytes, one of them the end.
    guard socket.utf8.count <= 107 else {
      return wrong(node, path, expected: "a socket path of at most 107 bytes when absolute")
    }
    return .unix(socket)
  }

  /// A name or an address as it stands in Host, with a port or without.
  static func isAuthority(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    let nameBytes = RouteTable.hostNameBytes(bytes.span)
    let name = String(decoding: bytes.prefix(nameBytes), as: UTF8.self)
    var isRight = isHostName(name) || IPAddress(name)?.family == .v4
    if name.hasPrefix("["), name.hasSuffix("]") {
      isRight = IPAddress(String(name.dropFirst().dropLast()))?.family == .v6
    }
    if nameBytes < bytes.count {
      let port = String(decoding: bytes.dropFirst(nameBytes + 1), as: UTF8.self)
      isRight = isRight && (Unit.split(port).map { $0.unit.isEmpty && (1...65_535).contains($0.number) } ?? false)
    }
    return isRight
  }

  /// The name in what was written as a URL; nil where it is none.
  static func hostOfURL(_ text: String) -> String? {
    for scheme in ["http://", "https://"] where text.lowercased().hasPrefix(scheme) {
      let name = String(text.dropFirst(scheme.count).prefix { $0 != "/" && $0 != ":" })
      return isHostName(name) ? name : nil
    }
    return nil
  }

  /// Letters, digits, `-` and `_` between dots (RFC 1123 section 2.1, and `_` as containers use it). What ends
  /// in a number is an address that was written wrong.
  static func isHostName(_ text: String) -> Bool {
    let labels = text.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...253).contains(text.utf8.count), let last = labels.last, !last.allSatisfy(\.isNumber) else {
      return false
    }
    return labels.allSatisfy { label in
      (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
        && label.utf8.allSatisfy { byte in
          switch byte {
          case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
          default: false
          }
        }
    }
  }
}
