// Which requests a route is for. Plain values, as the configuration's reader makes them; RouteTable compiles them. Two routes with equal
// matches are for the same requests.

import Platform
import Wire

extension Config {
  /// All that is given must hold; what is not given holds of every request.
  package struct RouteMatch: Sendable, Hashable {
    /// The names of listeners; empty: any.
    package var listeners: [String] = []
    package var host: Host?
    package var path: Path?
    /// Empty: any.
    package var methods: [String] = []
    package var headers: [Header] = []
    /// Ranges that the settled client is in; empty: any client.
    package var clients: [IPPrefix] = []
    /// The path is matched in its normal form (`NormalPath`).
    package var normalizes = false

    package init() {}

    /// Of the request's authority without its port, whatever its case.
    package enum Host: Sendable, Hashable {
      /// In lower case.
      case name(String)
      /// Every name below this one: `*.` and it. In lower case.
      case below(String)
      /// PCRE2, anchored at both ends.
      case pattern(String)
    }

    /// Of the path without the query.
    package enum Path: Sendable, Hashable {
      case exact(String)
      /// The path itself and all below it; where it ends in a slash, what is below it alone.
      case prefix(String)
      /// PCRE2, anchored at both ends.
      case pattern(String)
    }

    /// A field line of the request.
    package struct Header: Sendable, Hashable {
      package var name: String
      /// Nil: whatever it says.
      package var value: String?
      /// How the value is written where it comes from outside: that is what is shown of it.
      package var written: String?
      package init(name: String, value: String?, written: String? = nil) {
        self.name = name
        self.value = value
        self.written = written
      }

      package static func == (a: Header, b: Header) -> Bool { a.name == b.name && a.value == b.value }
      package func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(value)
      }
    }

    package var isEverything: Bool { self == RouteMatch() }

    /// The same without host and path.
    var rest: RouteMatch {
      var rest = self
      rest.host = nil
      rest.path = nil
      return rest
    }

    /// The same without the clients.
    var withoutClients: RouteMatch {
      var match = self
      match.clients = []
      return match
    }

    /// The requests of every path are among them, whatever their host; `*`, which an OPTIONS request may ask for, is left out.
    var takesEveryPath: Bool {
      let isAnyHost = host == nil || host == .pattern(".*")
      let isAnyPath = path == nil || path == .prefix("/") || path == .pattern(".*") || path == .pattern("/.*")
      return isAnyHost && isAnyPath && rest == RouteMatch()
    }

    /// What another process compares, to find the route that is for the same requests. The text does not tell values apart that come from
    /// outside and are not shown; here each has a digest. Names of listeners may be exchanged between the two configurations; here each
    /// is at its place.
    package func identity(at places: [String: String]) throws(CryptoError) -> String {
      var match = self
      match.listeners = listeners.map { places[$0] ?? $0 }.sorted()
      var identity = match.text
      for header in headers where header.written != nil {
        identity += " #" + (try SHA256.shortHex(Array((header.value ?? "").utf8).span))
      }
      return identity
    }

    /// For sentences.
    package var text: String {
      var parts: [String] = []
      if !listeners.isEmpty { parts.append("listener \(listeners.joined(separator: ", "))") }
      switch host {
      case .name(let name): parts.append("host \(name)")
      case .below(let name): parts.append("host *.\(name)")
      case .pattern(let pattern): parts.append("host_regex \(pattern)")
      case nil: break
      }
      switch path {
      case .exact(let path): parts.append("path \(path)")
      case .prefix(let path): parts.append("path_prefix \(path)")
      case .pattern(let pattern): parts.append("path_regex \(pattern)")
      case nil: break
      }
      if !methods.isEmpty { parts.append("method \(methods.joined(separator: ", "))") }
      for header in headers {
        parts.append("header \(header.name)\((header.written ?? header.value).map { ": \($0)" } ?? "")")
      }
      if !clients.isEmpty { parts.append("client \(clients.map { "\($0)" }.joined(separator: ", "))") }
      if normalizes { parts.append("normalize") }
      return parts.isEmpty ? "every request" : parts.joined(separator: ", ")
    }
  }
}
