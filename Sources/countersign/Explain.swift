// `countersign explain`: who would the client be? Asks the same policy that the proxy asks.

import ArgumentParser
import Platform
import Policy
import Wire

struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say who the client of a request would be, and which rule decided.",
    discussion: """
      Nothing is sent; the trust rules of one listener are asked about a request that you describe. A client that \
      claims an address for itself, seen through a load balancer:

        countersign explain -c conf/edge.yaml --listener public --peer 10.0.0.5 \\
          --proxy-source 203.0.113.9:40000 -H 'X-Forwarded-For: 1.2.3.4'

        peer     10.0.0.5
        rule     line 34: 10.0.0.0/24 proxy-protocol
        at       conf/edge.yaml:34
        step     a PROXY header of version 2 names 203.0.113.9 port 40000
        step     203.0.113.9, by proxy-v2, is no infrastructure, and so the client
        client   203.0.113.9 port 40000, by proxy-v2
        scheme   https, by connection

      With --live, a running process says the same of the next real requests that match --peer (also a range), --path, \
      --connection and --listener. Its admin listener must be a unix socket, and you root or the user that it runs as:

        countersign explain --live --admin unix:/run/countersign/admin.sock --peer 10.0.0.0/24 -n 5

      Exit codes: 0 the client is settled, 1 the request would be refused (its name and how to fix it are printed), 2 the \
      command was not understood or the configuration is faulty.
      """)

  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: ArgumentHelp("The configuration; with --live, one that names the admin listener.", valueName: "file"),
    completion: .file())
  var configPath: String?

  @Option(help: ArgumentHelp("The listener, by its name.", valueName: "name"))
  var listener: String?

  @Option(help: ArgumentHelp("Who connects: an address, or `unix` for a unix socket.", valueName: "ip"))
  var peer: String?

  @Flag(help: "Ask a running process about its real requests.")
  var live = false

  @Option(
    help: ArgumentHelp("With --live: its admin listener, such as `unix:PATH`; or give -c.", valueName: "endpoint"))
  var admin: String?

  @Option(name: .customShort("n"), help: "With --live: how many requests, 5 without it.")
  var count: Int?

  @Option(help: ArgumentHelp("With --live: what their path begins with.", valueName: "prefix"))
  var path: String?

  @Option(help: ArgumentHelp("With --live: their connection, as the log has it.", valueName: "hex"))
  var connection: String?

  @Option(
    name: .customLong("for"),
    help: ArgumentHelp("With --live: how long to wait for them, 60s without it.", valueName: "duration"))
  var duration: String?

  @Option(
    help: ArgumentHelp(
      """
      The listener's address that the client connects to, where it listens on every address (0.0.0.0 or ::). Without it, \
      127.0.0.1 or ::1 for a peer on loopback, and for others one that is not the client's.
      """, valueName: "ip"))
  var to: String?

  @Option(help: ArgumentHelp("The source in the PROXY header that the peer sends first.", valueName: "ip:port"))
  var proxySource: String?

  @Option(
    help: ArgumentHelp("What that header says: the client used TLS (`on`) or did not (`off`).", valueName: "on|off"))
  var proxyTls: String?

  @Option(
    name: [.customShort("H"), .customLong("header")],
    help: ArgumentHelp("A field of the request; may be repeated.", valueName: "'Name: value'"))
  var fields: [String] = []

  func validate() throws {
    guard live else {
      if admin != nil || path != nil || connection != nil || count != nil || duration != nil {
        throw ValidationError("--admin, --path, --connection, -n and --for are used with --live")
      }
      for (value, name) in [(configPath, "-c FILE"), (listener, "--listener NAME"), (peer, "--peer IP")]
      where value == nil {
        throw ValidationError("missing \(name); or use --live to look at real requests")
      }
      return
    }
    guard (admin == nil) != (configPath == nil) else {
      throw ValidationError(
        "with --live give either --admin, such as --admin unix:/run/countersign/admin.sock, or -c FILE")
    }
    try AdminOptions.check(admin, "--admin")
    if let count, count < 1 { throw ValidationError("-n takes a number of requests, such as 5, not `\(count)`") }
    if let duration, !(1...600_000).contains(DurationText.milliseconds(duration) ?? 0) {
      throw ValidationError("--for takes a duration from 1ms to 10m with its unit, such as 60s, not `\(duration)`")
    }
    if to != nil || proxySource != nil || proxyTls != nil || !fields.isEmpty {
      throw ValidationError(
        "--to, --proxy-source, --proxy-tls and -H describe a request, and --live looks at real ones")
    }
  }

  func run() throws {
    if live { return try runLive() }
    let (name, file) = (listener ?? "", configPath ?? "")
    let read = try Check.read(file, code: 2)
    guard let listener = read.listeners.first(where: { $0.name == name }) else {
      throw usage(
        "there is no listener \"\(name)\"; there is \(read.listeners.map(\.name).joined(separator: ", "))")
    }
    let peer = try peerAddress(self.peer ?? "", listener)
    let local = try localAddress(listener, peer)
    let policy = TrustPolicy(listener, infrastructure: Infrastructure(read))
    let explanation = policy.explain(
      peer: peer, local: local, isTLS: !listener.certificates.isEmpty,
      proxySource: try source(), proxyTLS: try proxyTLS(), fields: try fields.map(field),
      nowMilliseconds: Clock.wallMilliseconds())
    print("peer     \(peer.map(\.description) ?? "unix socket")")
    if let local, listener.address.ownAddress == nil {
      print("to       \(local)\(to == nil ? ", as nothing is said" : "")")
    }
    print("rule     \(explanation.rule)")
    let place = policy[policy.rule(for: peer)].place
    print("at       \(place.line > 0 ? "\(place.file ?? file):\(place.line)" : "\(file), by default")")
    for step in explanation.steps { print("step     \(step)") }
    let rule = policy.rule(for: peer)
    if proxySource != nil, policy[rule].evidence != .refuse, !policy[rule].proxyProtocolRequired {
      print("note     no PROXY header is read by this rule, so one is taken for the beginning of a request")
      try tell(listener.certificates.isEmpty ? .requestLine : .tlsHandshake, why: nil)
    }
    try tell(explanation.verdict, policy, rule: rule, read)
  }

  private func tell(
    _ verdict: TrustExplanation.Verdict, _ policy: TrustPolicy, rule: Int, _ config: Config
  ) throws {
    switch verdict {
    case .settlement(.settled(let client, let port, let via, let scheme)):
      // The port of a peer that was only described is nobody's.
      let place = via == .socket ? "" : port == 0 ? " port unknown" : " port \(port)"
      print("client   \(client)\(place), by \(via.text)")
      print("scheme   \(scheme.text), by \(scheme.source.text)")
    case .settlement(.refused(let refusal)): try tell(refusal, why: nil)
    case .settlement(.infrastructure(let client)):
      try tell(.clientInfrastructure, why: policy.whyInfrastructure(client, rule: rule))
    case .signature:
      let audience = config.identity.audience ?? ""
      let edges = config.identity.edges
      let signers = edges.isEmpty ? "any edge whose key is in the set" : edges.joined(separator: ", ")
      print("client   whom a valid signature for \(audience) names, by \(signers); without one, refused")
    }
  }

  private func tell(_ refusal: Refusal, why: String?) throws {
    print("refused  \(refusal.name) (\(refusal.status == 0 ? "closed without an answer" : "status \(refusal.status)"))")
    if let why { print("detail   \(why)") }
    if let advice = refusal.advice {
      print("why      \(advice.why)")
      print("fix      \(advice.suggestion)")
    }
    throw ExitCode(1)
  }

  private func peerAddress(_ peer: String, _ listener: Config.Listener) throws -> IPAddress? {
    if peer == "unix" {
      guard listener.address.isUnix else { throw usage("the listener \"\(listener.name)\" is no unix socket") }
      return nil
    }
    guard !listener.address.isUnix else {
      throw usage("the listener \"\(listener.name)\" is a unix socket, whose peers have no address: say `--peer unix`")
    }
    guard let address = IPAddress(peer) else { throw usage("--peer takes an address, found \"\(peer)\"") }
    return address.unmapped
  }

  /// The address on our side of the connection, which is never a client.
  private func localAddress(_ listener: Config.Listener, _ peer: IPAddress?) throws -> IPAddress? {
    guard case .address(let bound, _) = listener.address else {
      guard to == nil else { throw usage("the listener \"\(listener.name)\" is a unix socket: it has no address") }
      return nil
    }
    guard let to else {
      if let own = listener.address.ownAddress { return own }
      guard let peer, peer.isLoopback else { return nil }
      return peer.family == .v4 ? IPAddress(v4: 0x7f00_0001) : peer
    }
    guard let address = IPAddress(to)?.unmapped else { throw usage("--to takes an address, found \"\(to)\"") }
    guard bound.isUnspecified ? bound.family == address.family : bound.unmapped == address else {
      throw usage("the listener \"\(listener.name)\" listens on \(bound), where nobody can connect to \(address)")
    }
    return address
  }

  private func source() throws -> (address: IPAddress, port: UInt16)? {
    guard let text = proxySource else { return nil }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count > 1, let port = parts.last.flatMap({ UInt16($0) }) else {
      throw usage("--proxy-source takes IP:PORT or [IPV6]:PORT, found \"\(text)\"")
    }
    var host = text.dropLast(parts[parts.count - 1].count + 1)
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      host = ""
    }
    guard let address = IPAddress(String(host)) else {
      throw usage("--proxy-source takes IP:PORT or [IPV6]:PORT, found \"\(text)\"")
    }
    return (address, port)
  }

  private func proxyTLS() throws -> Bool? {
    guard let text = proxyTls else { return nil }
    guard text == "on" || text == "off" else { throw usage("--proxy-tls takes `on` or `off`, found \"\(text)\"") }
    guard proxySource != nil else { throw usage("--proxy-tls is part of a PROXY header: give `--proxy-source` too") }
    return text == "on"
  }

  private func field(_ text: String) throws -> (name: String, value: String) {
    guard let colon = text.firstIndex(of: ":"), colon != text.startIndex else {
      throw usage("-H takes 'Name: value', found \"\(text)\"")
    }
    let value = text[text.index(after: colon)...].trimmingPrefix(while: { $0 == " " || $0 == "\t" })
    return (String(text[..<colon]), String(value))
  }

  private func usage(_ message: String) -> ExitCode {
    Console.complain("countersign explain: \(message)")
    return ExitCode(2)
  }
}

extension Config.Endpoint {
  /// The one address that a connection to this listener has on our side, where there is only one.
  fileprivate var ownAddress: IPAddress? {
    if case .address(let address, _) = self, !address.isUnspecified { address.unmapped } else { nil }
  }
}
