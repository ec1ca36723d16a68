// Names of hosts and services, asked of the system. Every call may hang for as long as the resolver likes: never on a thread that has
// anything else to do.
//
// Addresses come from getaddrinfo, so that /etc/hosts and nsswitch.conf hold. It does not say for how long they do: that is asked of
// the name servers.

import CLinux
import Glibc
import Wire

package enum NameLookup {
  /// Why there is no answer.
  package struct Failure: Error, Sendable {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
  }

  /// The addresses of a host, in the resolver's order.
  package static func addresses(of host: String) throws(Failure) -> [IPAddress] {
    do { return try SocketAddress.resolve(host, port: 0).compactMap(\.ip) } catch { throw Failure(error.reason) }
  }

  /// For how long the addresses of a host hold, by DNS; nil where DNS does not know the name, or does not answer.
  package static func ttlSeconds(of host: String) -> UInt32? {
    // Never asked of name servers (RFC 6761 section 6.3).
    if host == "localhost" || host.hasSuffix(".localhost") { return nil }
    var least: UInt32?
    for kind in [DNSAnswer.Kind.a, .aaaa] {
      switch ask(host, kind) {
      case .answer(let answer): least = min(least ?? .max, answer.ttlSeconds)
      case .none: continue
      // Asking for the other kind would take as long.
      case .failed: return least
      }
    }
    return least
  }

  /// Which servers offer a service.
  package static func services(of name: String) throws(Failure) -> DNSAnswer {
    switch ask(name, .service) {
    case .answer(let answer):
      guard !answer.services.isEmpty else { throw Failure("the answer is that there is no such service") }
      return answer
    case .none: throw Failure("no SRV record that can be read")
    case .failed(let why): throw Failure(why)
    }
  }

  private enum Asked {
    case answer(DNSAnswer)
    /// The name servers know none.
    case none
    case failed(String)
  }

  /// More than any answer has.
  private static let answerBytesMax = 65_536

  private static func ask(_ name: String, _ kind: DNSAnswer.Kind) -> Asked {
    var error: Int32 = 0
    var count: Int32 = 0
    // SAFETY: the call writes at most `capacity` bytes of the array, which says how many it has; what it did not write is not read,
    // for the array has as many bytes as it returns. The name is a NUL-terminated copy.
    let answer = unsafe [UInt8](unsafeUninitializedCapacity: answerBytesMax) { buffer, initialized in
      count = unsafe cs_dns_search(
        name, Int32(kind.rawValue), buffer.baseAddress, Int32(answerBytesMax), &error)
      initialized = min(max(0, Int(count)), answerBytesMax)
    }
    guard count < 0 else {
      // An alias of a name without such a record is an answer too.
      return DNSAnswer(answer.span, kind).map { .answer($0) } ?? .none
    }
    switch error {
    case HOST_NOT_FOUND, NO_DATA: return .none
    case TRY_AGAIN: return .failed("no name server answers, or it failed")
    default: return .failed("the name servers do not answer the question")
    }
  }
}
