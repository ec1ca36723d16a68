// What is looked at in a configuration when a snapshot is built from it, by whoever loads it, and what `countersign check` asks
// beyond that. Nothing is listened on and nothing is kept.

import Platform
import Policy
import Wire

extension Snapshot {
  /// Everything that is wrong: with the file, and with what it names as far as it could be read. In the order of the file.
  /// - Parameter asksValidators: also whether the validators behind attested upstreams take what is signed for them; where nothing
  ///   else is wrong.
  package static func check(_ read: ConfigResult, asksValidators: Bool = false) -> [Diagnostic] {
    guard let config = read.config ?? read.partial else { return read.diagnostics }
    var findings = read.diagnostics
    do {
      let built = build(config, generation: 0, tickets: try TicketKeys(), refusesPipes: true)
      findings += built.diagnostics
      if asksValidators, read.config != nil, let snapshot = built.snapshot {
        findings += LiveValidators.findings(snapshot, inUse: nil, lanes: try ProbeLanes())
      }
    } catch {
      findings.append(Diagnostic(.error, at: Place(line: 1, column: 1), "\(error)"))
    }
    findings += addressesNotHere(config) + portsTaken(config) + pathsNotHere(config)
    // Equal places keep their order.
    return findings.enumerated()
      .sorted { ($0.element.place, $0.offset) < ($1.element.place, $1.offset) }
      .map(\.element)
  }

  /// A warning, because the file may be checked on another host than it is for, or before the address is there.
  private static func addressesNotHere(_ config: Config) -> [Diagnostic] {
    var listened = config.listeners.enumerated().map { ($1.address, "listeners[\($0)].listen") }
    if let admin = config.admin?.address { listened.append((admin, "admin.listen")) }
    return listened.compactMap { endpoint, path in
      guard case .address(let address, _) = endpoint, !Sockets.hasAddress(address) else { return nil }
      return Diagnostic(
        .warning, at: config.place(of: path),
        "this host does not have the address \(address), so it cannot listen there")
    }
  }

  /// Every address beside one of them: a warning, because systemd may open both (ReusePort=), which we do not.
  private static func portsTaken(_ config: Config) -> [Diagnostic] {
    var listened = config.listeners.enumerated().map { ($1.address, "listeners[\($0)].listen") }
    if let admin = config.admin?.address { listened.append((admin, "admin.listen")) }
    var findings: [Diagnostic] = []
    for (index, (endpoint, path)) in listened.enumerated() {
      guard case .address(let ip, let port) = endpoint, port != 0 else { continue }
      for (earlier, earlierPath) in listened[..<index] {
        guard case .address(let its, let itsPort) = earlier, itsPort == port, its.family == ip.family, its != ip,
          its.isUnspecified || ip.isUnspecified
        else { continue }
        let (all, one) = ip.isUnspecified ? (ip, its) : (its, ip)
        findings.append(
          Diagnostic(
            .warning, at: config.place(of: path),
            "port \(port) is taken in \(config.place(of: earlierPath).name) already: \(all) is every address, \(one) among them; name "
              + "each address, or leave one listener out"))
        break
      }
    }
    return findings
  }

  /// Where systemd makes a service's own directories when it starts it (RuntimeDirectory=, LogsDirectory=).
  private static let madeAtStart: Set<String> = ["/run", "/var/run", "/var/log"]

  /// Where a socket or the access log is to be made and cannot be. That a directory is missing is a warning, for something else may make
  /// it before `run`; and nothing where it is one that systemd makes.
  private static func pathsNotHere(_ config: Config) -> [Diagnostic] {
    var made: [(path: String, key: String)] = []
    func socket(_ endpoint: Config.Endpoint?, _ key: String) {
      if case .unix(let path)? = endpoint { made.append((path, key)) }
    }
    for (index, listener) in config.listeners.enumerated() { socket(listener.address, "listeners[\(index)].listen") }
    socket(config.admin?.address, "admin.listen")
    socket(config.admin?.control, "admin.control")
    if case .file(let path) = config.log.access { made.append((path, "log.access")) }
    return made.compactMap { path, key in
      let isLog = key == "log.access"
      func finding(_ severity: Diagnostic.Severity, _ message: String) -> Diagnostic {
        Diagnostic(severity, at: config.place(of: key), message)
      }
      switch FileKind.at(path) {
      case .directory?: return finding(.error, "\(path): is a directory")
      case .other? where !isLog: return finding(.error, "\(path): is no socket, and is not replaced by one")
      case .socket? where isLog:
        return finding(.error, "\(path): is a socket; to log to a syslog daemon write `syslog:\(path)`")
      case .other?, .socket?: return nil
      case nil: break
      }
      let directory = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? ""
      switch FileKind.at(directory.isEmpty ? "/" : directory) {
      case .directory?: return nil
      case nil:
        let parent = directory.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(directory[..<$0]) } ?? ""
        guard !madeAtStart.contains(parent) else { return nil }
        let what = isLog ? "the access log cannot be written" : "it cannot listen there"
        return finding(.warning, "\(directory) is not there, or closed to this user, so \(what)")
      case .other?, .socket?: return finding(.error, "\(directory): is not a directory")
      }
    }
  }

  /// All names of all upstreams, at once.
  static func resolveNames(of config: Config, _ begin: (String) -> Void) -> LoadedNames {
    let names = config.upstreams.flatMap(\.servers).compactMap { ServerName($0.endpoint) }
    if !names.isEmpty {
      let first = names.prefix(3).map { "\($0)" }.joined(separator: ", ")
      begin("resolving \(first)\(names.count > 3 ? " and others" : "")")
    }
    return LoadNames.ask(Set(names))
  }

  /// Servers whose names could not be resolved. They are down, or what they were, until they can be.
  static func unresolved(
    _ upstream: Config.Upstream, _ names: LoadedNames, _ config: Config, _ lastKnown: (ServerName) -> NameAnswer?
  ) -> [Diagnostic] {
    var findings: [Diagnostic] = []
    for (index, server) in upstream.servers.enumerated() {
      guard let name = ServerName(server.endpoint), case .failed(let why)? = names.outcomes[name] else { continue }
      let what = lastKnown(name) == nil ? "it is down until it can be" : "the addresses that it had before stay in use"
      findings.append(
        Diagnostic(
          .warning, at: config.place(of: "upstreams.\(upstream.name).servers[\(index)]"),
          "upstream \(upstream.name): server \(name) cannot be resolved: \(why); \(what)"))
    }
    return findings
  }

  /// A listener's own address as a client is the operator's word, and has a price (decision 3). Where a listener is on every
  /// address, all of this host's are its own.
  static func ownClients(_ config: Config, _ infrastructure: Infrastructure) -> [Diagnostic] {
    var findings: [Diagnostic] = []
    for (index, listener) in config.listeners.enumerated() {
      guard case .address(let bound, _) = listener.address else { continue }
      for (number, rule) in listener.trust.enumerated() where rule.evidence == .socket {
        for (position, prefix) in rule.from.enumerated() where prefix.isHost {
          let address = prefix.address.unmapped
          let place = config.place(of: "listeners[\(index)].trust[\(number)].from[\(position)]")
          if infrastructure.isDeclared(address), let source = infrastructure.source(of: address) {
            findings.append(
              Diagnostic(
                .warning, at: place,
                "\(address) is infrastructure by \(source), so it is never a client, whatever this rule says"))
            continue
          }
          guard infrastructure.isOwn(address) || bound.isUnspecified && Sockets.hasAddress(address) else { continue }
          findings.append(
            Diagnostic(
              .warning, at: place,
              "every program on this host that connects from \(address) is taken for a client with that address, also a "
                + "proxy that does not pass its client on; good for trying things out"))
        }
      }
    }
    return findings
  }

  /// The peer of a unix socket has no address: it is in no range, and is no client by itself.
  static func unixPeers(_ config: Config) -> [Diagnostic] {
    var findings: [Diagnostic] = []
    for (index, listener) in config.listeners.enumerated() {
      // An empty path is a listener that could not be read.
      guard case .unix(let file) = listener.address, !file.isEmpty else { continue }
      let path = "listeners[\(index)].trust"
      for (number, rule) in listener.trust.enumerated() where !rule.from.isEmpty {
        findings.append(
          Diagnostic(
            .warning, at: config.place(of: "\(path)[\(number)].from"),
            "this rule is for nobody: peers of a unix socket have no address, and come under the rule for `any`"))
      }
      let any = listener.trust.firstIndex { $0.from.isEmpty }
      guard any.map({ listener.trust[$0].evidence == .socket }) ?? true else { continue }
      let isStated = config.places[path] != nil
      findings.append(
        Diagnostic(
          .warning,
          at: config.place(of: any.map { "\(path)[\($0)]" } ?? (isStated ? path : "listeners[\(index)].listen")),
          "every request at \(listener.name) is refused (client-unknown): peers of a unix socket have no address, and `socket` asks "
            + "for nothing else; where a proxy connects, write `{ from: any, evidence: proxy-protocol }` or `forwarded`"
        ))
    }
    return findings
  }

  /// How far ahead a cutover may end.
  private static let cutoverMilliseconds: UInt64 = 7 * 86_400_000

  /// For how long some peers may still come without their header, or that this is too long.
  static func cutovers(_ config: Config, nowMilliseconds: UInt64) -> [Diagnostic] {
    var findings: [Diagnostic] = []
    for (index, listener) in config.listeners.enumerated() {
      for (number, rule) in listener.trust.enumerated() {
        guard let end = rule.cutoverEndMilliseconds else { continue }
        let place = config.place(of: "listeners[\(index)].trust[\(number)].cutover.until")
        let peers =
          rule.from.isEmpty ? "any peer" : "peers from \(rule.from.map(\.description).joined(separator: ", "))"
        if end <= nowMilliseconds {
          findings.append(
            Diagnostic(
              .warning, at: place,
              "this cutover is over: \(peers) must send a PROXY header; `cutover` can be taken out"))
        } else if end > nowMilliseconds + cutoverMilliseconds {
          let latest = Timestamp.text(milliseconds: nowMilliseconds + cutoverMilliseconds)
          findings.append(
            Diagnostic(.error, at: place, "a cutover ends within 7 days, so by \(latest) at the latest; this is later"))
        } else {
          findings.append(
            Diagnostic(
              .warning, at: place,
              "for \(Timestamp.span(milliseconds: end - nowMilliseconds)) more, \(peers) may come without a PROXY header "
                + "and are then taken for the client themselves"))
        }
      }
    }
    return findings
  }

  /// Signers and verifiers are made once here, so that a key that cannot do what the config asks of it is found at load.
  static func checkKeys(_ keys: KeySet, _ config: Config, _ fail: (Place, String) -> Void) {
    do {
      let lanes = try SenderLanes.make(workers: 1, nowMilliseconds: Clock.wallMilliseconds())[0]
      if config.identity.edge != nil, config.identity.signWith != nil {
        for upstream in config.upstreams where upstream.identity == .attest && upstream.audience != nil {
          _ = try Plan.makeSigner(upstream, config, keys, lanes)
        }
      }
    } catch {
      fail(config.place(of: "identity.keys"), "\(error)")
    }
    guard let audience = config.verifiedAudience else { return }
    do {
      _ = try Verifier(
        keys: keys, audience: audience, edges: config.identity.edges,
        skewMilliseconds: UInt64(config.identity.clockSkewMilliseconds),
        windows: ReplayWindows(start: Clock.read(), windowBits: 1 << 10),
        headBytesMax: config.limits.headBytes + HeadGrowth.bytes)
    } catch {
      fail(config.place(of: "identity.keys"), "\(error)")
    }
  }
}
