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
  /// Of a service: what its targets came to.
  private let targets: [String: [IPAddress]]
  /// Its records whose targets cannot be resolved.
  private let missing: [Missing]

  package struct Missing: Sendable, Equatable {
    package let target: String
    package let port: UInt16
    package let priority: UInt16
    package let weight: UInt16
    package let why: String

    package init(target: String, port: UInt16, priority: UInt16, weight: UInt16, why: String) {
      (self.target, self.port, self.priority, self.weight, self.why) = (target, port, priority, weight, why)
    }
  }

  /// What one name may come to.
  package static let placesMax = 64

  /// - Parameter places: not empty.
  package init(
    _ places: [Place], ttlSeconds: UInt32?, targets: [String: [IPAddress]] = [:], missing: [Missing] = []
  ) {
    self.targets = targets
    self.missing = missing
    let all = Set(places).sorted { NameAnswer.isBefore($0, $1) }
    self.places = Array(all.prefix(NameAnswer.placesMax))
    isCut = all.count > NameAnswer.placesMax
    self.ttlSeconds = ttlSeconds
  }

  /// With what those of its targets came to last that cannot be resolved now.
  package func completed(by last: NameAnswer?) -> NameAnswer {
    guard let last, !missing.isEmpty else { return self }
    var (places, targets) = (places, targets)
    for record in missing {
      guard let known = last.targets[record.target] else { continue }
      targets[record.target] = known
      places += known.map { Place($0, port: record.port, priority: record.priority, weight: record.weight) }
    }
    return NameAnswer(places, ttlSeconds: ttlSeconds, targets: targets, missing: missing)
  }

  /// Why it is not whole, if it is not.
  package var shortfall: String? {
    guard let first = missing.first else { return nil }
    let rest = targets[first.target] == nil ? "it is one server less" : "the addresses that it had before stay in use"
    return "its server \(first.target) cannot be resolved: \(first.why); \(rest)"
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
      var targets: [String: [IPAddress]] = [:]
      var missing: [Missing] = []
      for server in answer.services.sorted(by: { $0.priority < $1.priority }) {
        // What is known of it from before is put in by `completed`; it is asked for again soon.
        do {
          if wantsTTL, let its = NameLookup.ttlSeconds(of: server.target) { ttl = min(ttl, its) }
          let found = try addresses(of: server.target)
          targets[server.target] = found
          places += found.map {
            Place($0, port: server.port, priority: server.priority, weight: server.weight)
          }
        } catch {
          missing.append(
            Missing(
              target: server.target, port: server.port, priority: server.priority, weight: server.weight,
              why: error.reason))
        }
        if places.count > placesMax { break }
      }
      guard !places.isEmpty else {
        throw NameLookup.Failure(
          missing.first.map { "its server \($0.target) cannot be resolved: \($0.why)" } ?? "no server")
      }
      return NameAnswer(places, ttlSeconds: missing.isEmpty ? ttl : 1, targets: targets, missing: missing)
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
