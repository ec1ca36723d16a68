// The servers of an upstream, as its configuration and the answers to its names have them.

import Platform
import Policy
import Wire

package enum ServerList {
  /// As many as a configuration may list.
  package static let serversMax = Config.serversMax

  /// - Parameter answer: what a name came to last; nil where nothing is known: it is no server then.
  package static func make(_ upstream: Config.Upstream, answer: (ServerName) -> NameAnswer?) -> [Snapshot.Server] {
    var servers: [Snapshot.Server] = []
    var addresses: Set<SocketAddress> = []
    for entry in upstream.servers {
      // What two of them come to is one server.
      for server in make(entry, answer) where addresses.insert(server.address).inserted { servers.append(server) }
    }
    return Array(servers.prefix(serversMax))
  }

  private static func make(_ entry: Config.Server, _ answer: (ServerName) -> NameAnswer?) -> [Snapshot.Server] {
    switch entry.endpoint {
    case .address(let address, let port):
      return [Snapshot.Server(address, port: port, config: entry)]
    case .unix(let path): return [Snapshot.Server(address: .unix(path: path), text: "unix:\(path)", config: entry)]
    case .host(let host, let port):
      return (answer(.host(host))?.places ?? []).map { Snapshot.Server($0.address, port: port, config: entry) }
    case .service(let name):
      let places = answer(.service(name))?.places ?? []
      let first = places.map(\.priority).min()
      return places.map { place in
        var config = entry
        // Weight 0 is for a server that is to have next to nothing (RFC 2782).
        config.weight = max(1, Int(place.weight))
        if place.priority != first { config.isBackup = true }
        return Snapshot.Server(place.address, port: place.port ?? 0, config: config)
      }
    }
  }

  /// What is wrong with the servers that a name has come to; nil: nothing. Each validator remembers by itself what it has taken: a
  /// name that leads to several places of one family leads to several validators; of two families, mostly to one. Several entries
  /// are an error of the file's.
  package static func audienceProblem(_ upstream: Config.Upstream, _ servers: [Snapshot.Server]) -> String? {
    guard upstream.identity == .attest, !upstream.sharedAudience, let audience = upstream.audience else { return nil }
    let names = upstream.servers.compactMap { ServerName($0.endpoint) }
    guard let name = names.first else { return nil }
    func count(_ family: IPAddress.Family) -> Int { servers.count { $0.address.ip?.family == family } }
    let most = max(count(.v4), count(.v6))
    return most > 1 ? Config.sharesAudience(audience, "\(most) addresses of \(name)") : nil
  }
}
