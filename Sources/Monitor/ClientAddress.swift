// Who the client is, as a backend of this kind settles it: the first address of X-Forwarded-For if the field is there,
// else the peer of the socket. That is exactly as true as whatever stands in front: with nothing in front, any client
// can name any address. The monitor does it this way on purpose, because it is what such backends do.

import Glibc

/// An IP address in one canonical spelling; an IPv4-mapped IPv6 address is the IPv4 address it carries.
package struct NetworkAddress: Hashable, Sendable, CustomStringConvertible {
  /// The kind of address.
  package enum Family: Hashable, Sendable { case v4, v6 }

  package let family: Family
  private let bytes: [UInt8]

  /// Reads a dotted quad or an IPv6 address without brackets, port or zone; nil for anything else.
  package init?(_ text: String) {
    guard !text.utf8.contains(0) else { return nil }
    var four = [UInt8](repeating: 0, count: 4)
    var sixteen = [UInt8](repeating: 0, count: 16)
    if inet_pton(AF_INET, text, &four) == 1 {
      (family, bytes) = (.v4, four)
    } else if inet_pton(AF_INET6, text, &sixteen) == 1 {
      let isMapped = sixteen[..<10].allSatisfy { $0 == 0 } && sixteen[10] == 0xff && sixteen[11] == 0xff
      (family, bytes) = isMapped ? (.v4, Array(sixteen[12...])) : (.v6, sixteen)
    } else {
      return nil
    }
  }

  private init(family: Family, bytes: [UInt8]) {
    self.family = family
    self.bytes = bytes
  }

  package var description: String {
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard inet_ntop(family == .v4 ? AF_INET : AF_INET6, bytes, &buffer, socklen_t(buffer.count)) != nil else {
      preconditionFailure("an address of a known family and length always has a text")
    }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// What printers and owners behind one router share: the IPv4 address itself, or the /64 of an IPv6 address, since
  /// there every device has an address of its own.
  package var network: String {
    switch family {
    case .v4: description
    case .v6: Self(family: .v6, bytes: bytes[..<8] + [UInt8](repeating: 0, count: 8)).description + "/64"
    }
  }
}

/// The client's address and where the monitor has it from.
package struct ClientClaim: Sendable {
  /// Where the address came from.
  package enum Source: String, Sendable {
    case forwardedFor = "x-forwarded-for"
    case socket
    case none
  }

  /// Nil when the field is there but does not begin with an address, or when there is neither field nor IP peer.
  package let address: NetworkAddress?
  package let source: Source

  package init(forwardedFor: [String], peer: String?) {
    if let first = forwardedFor.first {
      let entry = first.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)[0]
      address = NetworkAddress(entry.trimmingSpaces)
      source = .forwardedFor
    } else if let peer {
      address = NetworkAddress(peer)
      source = .socket
    } else {
      address = nil
      source = .none
    }
  }
}

extension StringProtocol {
  /// Without the spaces and tabs around it.
  var trimmingSpaces: String {
    let isSpace = { (character: Character) in character == " " || character == "\t" }
    guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) }) else {
      return ""
    }
    return String(self[first...last])
  }
}
