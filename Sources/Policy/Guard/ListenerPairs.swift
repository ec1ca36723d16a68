// Which listener of the old configuration and which of the new one a client meets that connects to one address and port. Names decide
// nothing where the address is known: what is called A may be called B afterwards, and the other way round.
//
// An address belongs to the listener that has exactly this one; else to the one on every address of its family with the same port. (Only sockets
// that systemd opened can overlap so.) A port that the system chooses is no address: such a listener goes by its name.
// Called by TrustDiff, for all that it says of listeners, and of routes by the listeners that they ask for; and by Proxy, for what is known
// of a listener's clients.

import Wire

package struct ListenerPairs {
  /// Indices into the lists of listeners.
  package struct Pair: Hashable {
    package let was: Int
    package let now: Int
  }

  /// One listener before and after: at the same address, or, where the address is new, under the same name.
  package private(set) var same: [Pair] = []
  /// Two listeners: who connects to an address of the first comes to the second.
  private(set) var taken: [Pair] = []
  /// The new configuration's listeners that are no old one.
  private(set) var added: [Int] = []
  /// The old configuration's listeners that are no new one.
  private(set) var removed: [Int] = []

  package init(_ old: [Config.Listener], _ new: [Config.Listener]) {
    var left = Array(old.indices)
    var unmatched: [Int] = []
    for now in new.indices {
      let address = new[now].address
      if !address.isChosenBySystem, let at = left.firstIndex(where: { old[$0].address == address }) {
        same.append(Pair(was: left.remove(at: at), now: now))
      } else {
        unmatched.append(now)
      }
    }
    for now in unmatched {
      if let at = left.firstIndex(where: { old[$0].name == new[now].name }) {
        same.append(Pair(was: left.remove(at: at), now: now))
      } else {
        added.append(now)
      }
    }
    removed = left
    for address in (old + new).map(\.address) {
      guard let was = Self.met(address, old), let now = Self.met(address, new) else { continue }
      let pair = Pair(was: was, now: now)
      if !same.contains(pair), !taken.contains(pair) { taken.append(pair) }
    }
  }

  /// The listener to which a connection to this address comes.
  static func met(_ address: Config.Endpoint, _ listeners: [Config.Listener]) -> Int? {
    guard !address.isChosenBySystem else { return nil }
    return listeners.firstIndex { $0.address == address }
      ?? listeners.firstIndex { $0.address.isEveryAddress(of: address) }
  }
}

extension Config.Listener {
  /// By what two processes know it: what clients connect to, or its name where the system chooses the port.
  package var place: String { address.isChosenBySystem ? "\(name) at \(address.text)" : address.text }
}

extension Config {
  /// Each listener's, by its name.
  package var listenerPlaces: [String: String] {
    listeners.reduce(into: [:]) { $0[$1.name] = $1.place }
  }
}

extension Config.Endpoint {
  var isChosenBySystem: Bool {
    if case .address(_, port: 0) = self { true } else { false }
  }

  /// It is every address of the other's family, with the same port.
  fileprivate func isEveryAddress(of other: Config.Endpoint) -> Bool {
    guard case .address(let its, let port) = self, case .address(let address, let otherPort) = other else {
      return false
    }
    return its.isUnspecified && its.family == address.family && port == otherPort
  }
}
