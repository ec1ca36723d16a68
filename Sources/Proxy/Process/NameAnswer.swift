// A name among the servers of a configuration, and what it came to. Asking may hang, so it is only for threads that have nothing else
// to do (LoadNames, NameResolver).

import Platform
import Policy
import Wire

package enum ServerName: Hashable, Sendable, CustomStringConvertible {
  case host(String)
  /// SRV records (RFC 2782).
  case service(String)

  package init?(_ endpoint: Config.Endpoint) {
    switch endpoint {
    case .host(let name, _): self = .host(name)
    case .service(let name): self = .service(name)
    case .address, .unix: return nil
    }
  }

  /// As the configuration writes it, but for the port.
  package var description: String {
    switch self {
    case .host(let name): name
    case .service(let name): "srv:\(name)"
    }
  }
}

package struct NameAnswer: Sendable, Equatable {
  package struct Place: Hashable, Sendable {
    package let address: IPAddress
    /// Nil: that of the configuration.
    package let port: UInt16?
    /// Of the record; the lower, the sooner.
    package let priority: UInt16
    package let weight: UInt16

    package init(_ address: IPAddress, port: UInt16? = nil, priority: UInt16 = 0, weight: UInt16 = 1) {
      self.address = address
      self.port = port
      self.priority = priority
      self.weight = weight
    }

    var text: String { port.map { Snapshot.endpointText(address, $0) } ?? "\(address)" }
  }

  /// Never empty, and in one order, whatever the order of the answer, which name servers change each time.
  package let places: [Place]
  /// There were more.
  package let isCut: Bool
  /// How long it holds, by DNS; nil where DNS does not say.
  package let ttlSeconds: UInt32?

  /// What one name may come to.
  package static let placesMax = 64

  /// - Parameter places: not empty.
  package init(_ places: [Place], ttlSeconds: UInt32?) {
    let all = Set(places).sorted { NameAnswer.isBefore($0, $1) }
    self.places = Array(all.prefix(NameAnswer.placesMax))
    isCut = all.count > NameAnswer.placesMax
    self.ttlSeconds = ttlSeconds
  }

  private static func isBefore(_ a: Place, _ b: Place) -> Bool {
    if a.priority != b.priority { return a.priority < b.priority }
    if a.address.family != b.address.family { return a.address.family == .v4 }
    if a.address != b.address { return (a.address.high, a.address.low) < (b.address.high, b.address.low) }
    return (a.port ?? 0, a.weight) < (b.port ?? 0, b.weight)
  }

  /// Asks the system. Blocks.
  /// - Parameter wantsTTL: also ask for how long it holds, which takes longer.
  package static func ask(_ name: ServerName, wantsTTL: Bool) throws(NameLookup.Failure) -> NameAnswer {
    switch name {
    case .host(let host):
      // The TTL first: what comes after it is newer, and looked at again no later than it must be.
      let ttl = wantsTTL ? NameLookup.ttlSeconds(of: host) : nil
      return NameAnswer(try addresses(of: host).map { Place($0) }, ttlSeconds: ttl)
    case .service(let service):
      let answer = try NameLookup.services(of: service)
      var ttl = answer.ttlSeconds
      var places: [Place] = []
      var failure: NameLookup.Failure?
      for server in answer.services.sorted(by: { $0.priority < $1.priority }) {
        // A target of which nothing is known is one server less, and asked for again soon.
        do {
          if wantsTTL, let its = NameLookup.ttlSeconds(of: server.target) { ttl = min(ttl, its) }
          places += try addresses(of: server.target).map {
            Place($0, port: server.port, priority: server.priority, weight: server.weight)
          }
        } catch {
          failure = NameLookup.Failure("its server \(server.target) cannot be resolved: \(error.reason)")
        }
        if places.count > placesMax { break }
      }
      guard !places.isEmpty else { throw failure ?? NameLookup.Failure("no server") }
      return NameAnswer(places, ttlSeconds: failure == nil ? ttl : 1)
    }
  }

  /// Those that a server can have: connecting to 0.0.0.0, which some name servers answer for what they block, leads to this host.
  private static func addresses(of host: String) throws(NameLookup.Failure) -> [IPAddress] {
    let found = try NameLookup.addresses(of: host)
    let usable = found.filter(\.isPossibleClient)
    guard !usable.isEmpty else {
      throw NameLookup.Failure("the answer is \(found[0]), at which there can be no server")
    }
    return usable
  }
}
