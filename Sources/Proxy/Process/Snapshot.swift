// A configuration made real: certificates and keys loaded, names resolved, trust compiled. Built and checked whole before
// anything uses it; immutable; shared by the workers, each of which makes its own Plan from it.

import Platform
import Policy
import Wire

package final class Snapshot: Sendable {
  package let config: Config
  /// Counts the snapshots of this process.
  package let generation: UInt64
  /// The first eight bytes of SHA-256 over the resolved configuration, in hexadecimal.
  let digest: String
  let keys: KeySet?
  /// What the next configuration is compared with.
  package let boundary: TrustBoundary
  let logFieldKeys: LogFieldKeys?
  /// What the names of a request's fields are, `identity.claims` among them.
  let fieldNames: FieldNames
  let listeners: [Listener]
  /// In the order of the config's upstreams.
  let upstreams: [Upstream]
  /// What each of the config's routes answers with, where that was loaded.
  let routes: [RouteContent?]
  let routeFiles: RouteFiles
  /// What the servers' names came to when it was built.
  let names: LoadedNames
  /// Until when its certificates are valid, each file once.
  let expiries: [CertificateExpiry]

  /// The key that signs, where one is named.
  var signingKey: KeySet.Key? {
    guard let id = config.identity.signWith.flatMap({ KeyID($0) }) else { return nil }
    return keys?.keys.first { $0.id == id }
  }

  struct Listener: Sendable {
    let config: Config.Listener
    let tls: TLSServerContext?
    let clientDemand: ClientDemand?
    let trust: TrustPolicy
  }

  /// What a listener asks of clients' certificates. Two are equal only if a certificate that the one took is taken by
  /// the other: the authorities count by what is in their file.
  struct ClientDemand: Sendable, Equatable {
    /// SHA-256 of the file.
    let authorities: [UInt8]
    let isRequired: Bool
  }

  struct Upstream: Sendable {
    let config: Config.Upstream
    let tls: TLSClientContext?
    /// How its servers are reached by health checks.
    let healthTLS: TLSClientContext?
    /// As its names were resolved then; none for a name that could not be.
    let servers: [Server]
    let sticky: StickyCookie?
  }

  package struct Server: Sendable, Equatable {
    package let address: SocketAddress
    /// As the log shows it.
    package let text: String
    /// The entry of the configuration that it comes from; of what SRV records name, with their weight, and as a backup where they say so.
    package let config: Config.Server

    package init(address: SocketAddress, text: String, config: Config.Server) {
      self.address = address
      self.text = text
      self.config = config
    }

    init(_ address: IPAddress, port: UInt16, config: Config.Server) {
      self.init(address: .ip(address, port: port), text: Snapshot.endpointText(address, port), config: config)
    }
  }

  private init(
    config: Config, boundary: TrustBoundary, generation: UInt64, digest: String, keys: KeySet?,
    logFieldKeys: LogFieldKeys?, listeners: [Listener], upstreams: [Upstream], routes: [RouteContent?],
    routeFiles: RouteFiles,
    names: LoadedNames, expiries: [CertificateExpiry]
  ) {
    self.config = config
    self.boundary = boundary
    self.generation = generation
    self.digest = digest
    self.keys = keys
    self.logFieldKeys = logFieldKeys
    fieldNames = FieldNames(claims: config.identity.claims)
    self.listeners = listeners
    self.upstreams = upstreams
    self.routes = routes
    self.routeFiles = routeFiles
    self.names = names
    self.expiries = expiries
  }

  /// Loads everything that a config names. The snapshot is nil exactly when a diagnostic is an error.
  /// - Parameter ownAddresses: addresses of listeners whose port or address the system chose; none at load.
  /// - Parameter lastKnown: what a name came to before, for one that cannot be resolved now.
  /// - Parameter begin: told what is waited for next: a file or names.
  /// It also does for a config of which a part could not be read (`ConfigResult.partial`): what is missing is not missed.
  package static func build(
    _ config: Config, generation: UInt64, tickets: TicketKeys, refusesPipes: Bool = false,
    lastKnown: (ServerName) -> NameAnswer? = { _ in nil }, begin: (String) -> Void = { _ in }
  ) -> (snapshot: Snapshot?, diagnostics: [Diagnostic]) {
    var findings: [Diagnostic] = []
    func fail(_ place: Place, _ message: String) { findings.append(Diagnostic(.error, at: place, message)) }

    var keys: KeySet?
    if let path = config.identity.keys {
      begin("reading \(path)")
      do {
        keys = try KeySet.load(path: path, group: config.identity.keysGroup)
      } catch {
        fail(config.place(of: "identity.keys"), "\(error)")
      }
    }
    if let keys { checkKeys(keys, config, fail) }
    begin("reading files of authorities")
    var boundary: TrustBoundary?
    do { boundary = try TrustBoundary(config, keys: keys) } catch {
      fail(config.place(of: "identity.keys"), "\(error)")
    }
    var logFieldKeys: LogFieldKeys?
    if let path = config.log.fieldsKey {
      begin("reading \(path)")
      do {
        logFieldKeys = try LogFieldKeys.load(
          path: path, group: config.identity.keysGroup, fields: config.log.fields, identity: keys)
      } catch {
        fail(config.place(of: "log.fields_key"), "\(error)")
      }
    }
    let digest = digest(of: config, fail)

    var files = SnapshotFiles(config, refusesPipes: refusesPipes)
    let infrastructure = Infrastructure(config)
    findings += ownClients(config, infrastructure)
    findings += unixPeers(config)
    findings += cutovers(config, nowMilliseconds: Clock.wallMilliseconds())
    var listeners: [Listener] = []
    for (index, listener) in config.listeners.enumerated() {
      let place = config.place(of: "listeners[\(index)].tls")
      var tls: TLSServerContext?
      begin("reading the certificates and keys of the listener \(listener.name)")
      let demand = clientDemand(listener)
      let isReadable = files.areReadable(listener, at: index)
      if !isReadable { files.checkOthers(listener, at: index, than: nil, tickets) }
      if !listener.certificates.isEmpty, isReadable {
        do {
          tls = try TLSServerContext(
            certificates: listener.certificates.map { CertificateFiles(certificate: $0.certificate, key: $0.key) },
            clientAuthorities: listener.clientCertificates?.ca,
            requireClientCertificate: listener.clientCertificates?.require ?? false,
            minimumTLS13: listener.tlsMinimum == .tls13,
            protocols: listener.protocols.map { $0 == .http1 ? .http1 : .http2 },
            sessionContext: sessionContext(listener, demand), tickets: tickets)
          for warning in tls?.warnings ?? [] {
            findings.append(Diagnostic(.warning, at: place, warning))
          }
          files.check(tls?.expiries ?? [], in: "listeners[\(index)].tls")
        } catch {
          fail(files.place(of: error.file, in: "listeners[\(index)]"), "listener \(listener.name): \(error)")
          files.checkOthers(listener, at: index, than: error, tickets)
        }
        // Or what was loaded would be taken, from then on, for what the digest is of.
        if tls != nil, demand != clientDemand(listener) {
          fail(
            place, "listener \(listener.name): the file of client_certificates.ca changed while it was read; try again")
        }
      }
      listeners.append(
        Listener(
          config: listener, tls: tls, clientDemand: demand,
          trust: TrustPolicy(listener, infrastructure: infrastructure)))
    }

    let names = resolveNames(of: config, begin)
    var upstreams: [Upstream] = []
    func clientTLS(
      _ wanted: Config.UpstreamTLS?, at path: String, of upstream: String, _ application: ALPNProtocol
    ) -> TLSClientContext? {
      guard let wanted, files.areReadable(wanted, at: path) else { return nil }
      begin("reading the certificates and keys of the upstream \(upstream)")
      do {
        let tls = try TLSClientContext(
          authorities: wanted.ca, name: wanted.name,
          certificate: wanted.certificate.map { CertificateFiles(certificate: $0.certificate, key: $0.key) },
          application: application)
        files.check(tls.expiries, in: path)
        return tls
      } catch {
        fail(files.place(of: error.file, in: path), "upstream \(upstream): \(error)")
        return nil
      }
    }
    for upstream in config.upstreams {
      let path = "upstreams.\(upstream.name)"
      let application: ALPNProtocol = upstream.serverProtocol == .http2 ? .http2 : .http1
      let tls = clientTLS(upstream.tls, at: "\(path).tls", of: upstream.name, application)
      let checked: ALPNProtocol = upstream.health?.serverProtocol(of: upstream) == .http2 ? .http2 : .http1
      let healthTLS: TLSClientContext? =
        switch upstream.health?.tls {
        case nil where checked == application: tls
        case nil: clientTLS(upstream.tls, at: "\(path).tls", of: upstream.name, checked)
        case .off: nil
        case .own(let own): clientTLS(own, at: "\(path).health.tls", of: upstream.name, checked)
        }
      findings += unresolved(upstream, names, config, lastKnown)
      let servers = ServerList.make(upstream) { names.answer($0)?.completed(by: lastKnown($0)) ?? lastKnown($0) }
      if let problem = ServerList.audienceProblem(upstream, servers) {
        fail(config.place(of: "upstreams.\(upstream.name).servers"), problem)
      }
      var sticky: StickyCookie?
      if let wanted = upstream.sticky {
        begin("reading \(wanted.key)")
        do {
          let key = try StickyKey.load(
            path: wanted.key, group: config.identity.keysGroup, upstream: upstream.name, identity: keys)
          sticky = StickyCookie(wanted, key)
        } catch {
          fail(config.place(of: "upstreams.\(upstream.name).sticky.key"), "\(error)")
        }
      }
      upstreams.append(
        Upstream(config: upstream, tls: tls, healthTLS: healthTLS, servers: servers, sticky: sticky))
    }

    let routeFiles = RouteFiles.load(config, begin, fail)
    let routes = loadRoutes(config, begin, fail)
    findings += files.findings + PublishedFiles.findings(config)
    // Or what was loaded would be taken, at the next reload, for what was compared.
    if boundary?.authoritiesAreUnchanged == false {
      fail(config.place(of: ""), "a file of authorities (`ca`) changed while it was read; try again")
    }
    if !findings.contains(where: { $0.severity == .error }) {
      begin("trying the configuration out")
      findings += SelfTest.findings(config, listeners, keys: keys)
    }
    guard let boundary, !findings.contains(where: { $0.severity == .error }) else { return (nil, findings) }
    return (
      Snapshot(
        config: config, boundary: boundary, generation: generation, digest: digest, keys: keys,
        logFieldKeys: logFieldKeys, listeners: listeners, upstreams: upstreams, routes: routes,
        routeFiles: routeFiles, names: names, expiries: files.expiries),
      findings
    )
  }

  /// What the access log calls this configuration: `check --resolved | sha256sum` begins with the same 16 digits.
  private static func digest(of config: Config, _ fail: (Place, String) -> Void) -> String {
    let text = Array(config.resolved(forPeople: true).utf8)
    do { return try SHA256.shortHex(text.span) } catch {
      fail(.none, "\(error)")
      return ""
    }
  }

  /// Sessions of one listener are not taken up at another.
  /// Nor after what is asked of client certificates has changed: the authorities count by what is in their file.
  private static func sessionContext(_ listener: Config.Listener, _ demand: ClientDemand?) -> [UInt8] {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    let ca = listener.clientCertificates?.ca ?? ""
    var bytes = Array("\(listener.name)\u{0}\(ca)\u{0}\(demand?.isRequired ?? false)".utf8)
    bytes += demand?.authorities ?? []
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return (0..<8).map { UInt8(truncatingIfNeeded: hash >> UInt64($0 * 8)) }
  }

  private static func clientDemand(_ listener: Config.Listener) -> ClientDemand? {
    guard let asked = listener.clientCertificates else { return nil }
    // A file that cannot be read is found when the certificates are loaded.
    return ClientDemand(authorities: FileDigest.sha256(path: asked.ca) ?? [], isRequired: asked.require)
  }

  static func endpointText(_ address: IPAddress, _ port: UInt16) -> String {
    address.family == .v6 ? "[\(address)]:\(port)" : "\(address):\(port)"
  }
}

extension Config.Listener {
  /// Some rule takes signed identity.
  var verifies: Bool { trust.contains { $0.evidence == .attested } }
}
