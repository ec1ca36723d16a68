// The configuration after reading: plain values, every default filled in, every name resolved, nothing left to
// check but the files it names. ConfigReader makes it from YAML; Snapshot (Proxy) is built from it.
// docs/CONFIG.md is its manual. Times are milliseconds, sizes are bytes; 0 means no limit where it says so.

import Wire

/// One process's configuration.
package struct Config: Sendable, Equatable {
  /// The file it came from, as given.
  package var file = ""
  /// The files that it includes, and those that `${file:…}` refers to with where each is used first.
  package var included: [String] = []
  package var references: [String: Place] = [:]
  package var identity = Identity()
  package var listeners: [Listener] = []
  package var routes: [Route] = []
  /// What becomes of a path of which two readings lead to two routes.
  package var pathMismatch = PathMismatch.refuse
  package var headers = Headers()
  /// In the order of the file; names are unique.
  package var upstreams: [Upstream] = []
  package var timeouts = Timeouts()
  package var limits = Limits()
  package var log = Log()
  package var admin: Admin?
  /// Worker threads; nil is one for each processor that the process may use.
  package var workers: Int?
  /// Of answers of our own, where the route has none.
  package var errorPages: [ErrorPage] = []
  /// Such answers name their reason (RFC 9209).
  package var proxyStatus = false
  /// The hash of the one weakening of trust that a reload may bring into force; `WeakerHash`.
  package var acceptWeaker: String?
  /// Where each value stands in the file, by its path: `identity.keys`, `listeners[0].tls[1].certificate`,
  /// `upstreams.monitor.tls.ca`. For findings about what the configuration names.
  package var places: [String: Place] = [:]

  package init() {}

  /// The place of the value at `path`, or of the nearest one that holds it.
  package func place(of path: String) -> Place {
    var path = path[...]
    while true {
      if let place = places[String(path)] { return place }
      guard let end = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { return places[""] ?? .none }
      path = path[..<end]
    }
  }

  /// The same configuration without where it was read from: two files that say the same are equal by this.
  package var withoutPlaces: Config {
    var config = self
    config.file = ""
    config.included = []
    config.references = [:]
    config.places = [:]
    for i in config.routes.indices { config.routes[i].place = .none }
    for i in config.listeners.indices {
      for j in config.listeners[i].trust.indices { config.listeners[i].trust[j].place = .none }
      for j in config.listeners[i].checks.indices { config.listeners[i].checks[j].place = .none }
    }
    return config
  }

  /// Who signs, who verifies, and what can never be a client.
  package struct Identity: Sendable, Equatable {
    /// This edge's name in every attestation.
    package var edge: String?
    /// Path of the JWKS file, made absolute.
    package var keys: String?
    /// A group that may read the key file (mode 0640), by name; nil: none may.
    package var keysGroup: String?
    /// The `kid` that signs.
    package var signWith: String?
    /// This validator's name; with `evidence: attested`.
    package var audience: String?
    /// Edges whose attestations are taken; empty: any edge whose key is in the set.
    package var edges: [String] = []
    package var clockSkewMilliseconds = 2_000
    package var mode = Mode.enforce
    /// As written under `infrastructure`, without what is added by itself.
    package var infrastructure: [IPPrefix] = []
    /// Further names of request fields that speak of the client, folded (`FieldNames.fold`), each once.
    package var claims: [String] = []
    /// Bits of each replay window: a power of two, 2^10 to 2^24.
    package var replayWindowBits = 1 << 18

    package init() {}

    package enum Mode: String, Sendable, CaseIterable { case enforce, observe }
  }

  /// Where connections come in.
  package struct Listener: Sendable, Equatable {
    package var name: String
    package var address: Endpoint
    /// Empty: no TLS. The first is the default certificate.
    package var certificates: [Certificate] = []
    package var clientCertificates: ClientCertificates?
    package var tlsMinimum = TLSVersion.tls12
    /// Which protocols are spoken, as far as the file says.
    package var statedProtocols: [ApplicationProtocol] = []
    /// In the order in which they are preferred; never empty.
    package var protocols: [ApplicationProtocol] {
      if !statedProtocols.isEmpty { return statedProtocols }
      return certificates.isEmpty ? [.http1] : [.http2, .http1]
    }
    /// In the order of the file; the reader adds no default: an empty list means any → socket.
    package var trust: [TrustRule] = []
    /// A load balancer's own checks, which are answered here.
    package var checks: [BalancerCheck] = []
    /// What follows when its clients become one.
    package var onCollapse = OnCollapse.alarm
    /// The process is not ready while they are.
    package var isUnreadyOnCollapse = false
    /// Addresses that many clients share, which say nothing about it.
    package var sharedAddresses: [IPPrefix] = []

    package init(name: String, address: Endpoint) {
      self.name = name
      self.address = address
    }
  }

  package enum OnCollapse: String, Sendable, CaseIterable { case alarm, refuse }

  /// What is spoken on a connection: with TLS as ALPN names it; `h2c` is HTTP/2 without TLS, begun by prior knowledge.
  package enum ApplicationProtocol: String, Sendable, CaseIterable { case http2 = "h2", http1 = "http/1.1", h2c }

  package enum TLSVersion: String, Sendable, CaseIterable { case tls12 = "1.2", tls13 = "1.3" }

  package struct Certificate: Sendable, Equatable {
    package var certificate: String
    package var key: String
    package init(certificate: String, key: String) {
      self.certificate = certificate
      self.key = key
    }
  }

  package struct ClientCertificates: Sendable, Equatable {
    package var ca: String
    package var require: Bool
    package init(ca: String, require: Bool) {
      self.ca = ca
      self.require = require
    }
  }

  /// Whose connections are a load balancer's checks where they show no client, and which request among them is answered.
  package struct BalancerCheck: Sendable, Equatable {
    /// Never empty.
    package var from: [IPPrefix]
    /// Nil: only connections and PROXY headers without a client are taken for checks.
    package var path: String?
    package var place = Place.none

    package init(from: [IPPrefix], path: String?) {
      self.from = from
      self.path = path
    }
  }

  /// What a peer from `from` must show for the client's address to be known.
  package struct TrustRule: Sendable, Equatable {
    /// Empty means `any`.
    package var from: [IPPrefix] = []
    package var evidence: Evidence
    /// For `forwarded`, or `proxy-protocol` with `then: forwarded`: the field that is read, lower case:
    /// `x-forwarded-for` (the default) or `forwarded`.
    package var header = ForwardedHeader.xForwardedFor
    /// Addresses that may appear in that field as hops and are stepped over, from the right.
    package var hops: [IPPrefix] = []
    /// `proxy-protocol` only: a second step, over the client that the PROXY header names.
    package var thenForwarded = false
    /// Where the client's scheme comes from; not with `attested` and `refuse`.
    package var scheme = Scheme.evidence
    /// `attested` only: a PROXY v2 header with our attestation must come first.
    package var proxyProtocolRequired = false
    /// `proxy-protocol` only: until this time, in milliseconds since 1970, a peer that sends no header is the client itself.
    package var cutoverEndMilliseconds: UInt64?
    /// For `explain` and the log.
    package var place = Place.none

    package init(evidence: Evidence) { self.evidence = evidence }
  }

  package enum Evidence: String, Sendable, CaseIterable {
    case socket, proxyProtocol = "proxy-protocol", forwarded, attested, refuse
  }

  package enum Scheme: String, Sendable, CaseIterable { case evidence, http, https }

  package enum ForwardedHeader: String, Sendable, CaseIterable {
    case xForwardedFor = "x-forwarded-for", forwarded
  }

  package struct Upstream: Sendable, Equatable {
    package var name: String
    package var identity = UpstreamIdentity.plain
    package var audience: String?
    /// Several servers may have that audience: a message to one can be replayed at another.
    package var sharedAudience = false
    package var proxyProtocol = false
    /// What is spoken to its servers.
    package var serverProtocol = ServerProtocol.http1
    /// With `identity: plain`: the fields that tell of the client.
    package var plainFields = PlainFields.all
    package var servers: [Server] = []
    package var tls: UpstreamTLS?
    package var balance = Balance.roundRobin
    package var health: Health?
    /// Nil: what requests show of a server does not count.
    package var passive: Passive? = Passive()
    package var retries = Retries()
    package var queue = Queue()
    package var sticky: Sticky?
    /// For how long a server that is new, or has come back, gets less than its share; 0: not at all.
    package var slowStartMilliseconds = 0
    /// Idle connections kept for each server by each worker.
    package var idleConnections = 64
    /// Requests get the server's own name in Host, in place of what the client asked for.
    package var rewritesHost = false

    package init(name: String) { self.name = name }
  }

  /// Fields of `identity: plain`. Never none of them: that is `identity: none`.
  package struct PlainFields: OptionSet, Sendable, Equatable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let xForwardedFor = PlainFields(rawValue: 1)
    package static let xForwardedProto = PlainFields(rawValue: 2)
    package static let xForwardedHost = PlainFields(rawValue: 4)
    package static let xRealIP = PlainFields(rawValue: 8)
    package static let forwarded = PlainFields(rawValue: 16)
    package static let all: PlainFields = [.xForwardedFor, .xForwardedProto, .xForwardedHost, .xRealIP, .forwarded]

    /// In the order in which they are written.
    package static let named: [(name: String, field: PlainFields)] = [
      ("x-forwarded-for", .xForwardedFor), ("x-forwarded-proto", .xForwardedProto),
      ("x-forwarded-host", .xForwardedHost), ("x-real-ip", .xRealIP), ("forwarded", .forwarded),
    ]
  }

  package enum ServerProtocol: String, Sendable, CaseIterable { case http1, http2 }

  package enum UpstreamIdentity: String, Sendable, CaseIterable { case attest, plain, none }

  package struct UpstreamTLS: Sendable, Equatable {
    package var ca: String
    /// The name that the server's certificate must carry, also sent as SNI.
    package var name: String
    package var certificate: Certificate?
    package init(ca: String, name: String) {
      self.ca = ca
      self.name = name
    }
  }

  package struct Timeouts: Sendable, Equatable {
    package var handshakeMilliseconds = 5_000
    package var headMilliseconds = 10_000
    package var idleMilliseconds = 60_000
    package var upstreamConnectMilliseconds = 3_000
    package var upstreamResponseMilliseconds = 60_000
    package var tunnelMilliseconds = 3_600_000
    package var tunnelCloseMilliseconds = 10_000
    /// How long a process that was told to end still serves as before, while it says that it is not ready.
    package var drainDelayMilliseconds = 0
    package var drainMilliseconds = 30_000
    /// Nil: as long as `drainMilliseconds`.
    package var drainTunnelsMilliseconds: Int?
    package init() {}
  }

  package struct Limits: Sendable, Equatable {
    package var connections = 10_000
    package var connectionsPerClient = 0
    package var headBytes = 32 * 1024
    package var fields = 100
    package var bodyBytes = 0
    /// Requests under way at a time on one connection of HTTP/2.
    package var streams = 100
    package init() {}
  }

  package struct Log: Sendable, Equatable {
    package var access = Destination.stdout
    package var format = Format.json
    /// With `json`: members that lines have beside the usual ones.
    package var extra: [LogVariable] = []
    package var query = Query.full
    /// A line also when a tunnel begins.
    package var tellsTunnelBegin = false
    /// Of these the access log has digests, each as a member of its name.
    package var fields: [Field] = []
    /// Path of the key set whose one key makes the digests, made absolute; with `fields`.
    package var fieldsKey: String?
    package init() {}
    /// `syslog`: a datagram socket, by its path.
    package enum Destination: Sendable, Equatable { case off, stdout, file(String), syslog(String) }
    package enum Format: Sendable, Equatable { case json, combined, template(LogTemplate) }
    /// What is shown of a target's query: all, the names alone, or nothing.
    package enum Query: String, Sendable, CaseIterable { case full, names, none }

    package struct Field: Sendable, Equatable {
      /// The member's name in a line.
      package var name: String
      package var source: Source
      package init(name: String, source: Source) {
        self.name = name
        self.source = source
      }
      package enum Source: Sendable, Equatable { case header(String), cookie(String) }
    }
  }

  package struct Admin: Sendable, Equatable {
    package var address: Endpoint
    /// A unix socket for those who change something, where `address` is none.
    package var control: Endpoint?
    package init(address: Endpoint) { self.address = address }
  }

  /// Where to listen or to connect.
  package enum Endpoint: Sendable, Equatable, Hashable {
    /// A host name, resolved when a snapshot is built and again while that is in use; listeners take addresses only.
    case host(String, port: UInt16)
    /// A service, of which DNS knows the servers and their ports (RFC 2782); listeners take addresses only.
    case service(String)
    case address(IPAddress, port: UInt16)
    case unix(String)
  }
}
