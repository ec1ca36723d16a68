// Configuration files as text, from their parts. Tests change the part that they are about and leave the rest.

struct Configuration: Sendable {
  struct Listener: Sendable {
    var name = "public"
    var listen = "127.0.0.1:0"
    var certificates: [Certificate] = []
    /// The inside of `client_certificates: { … }`.
    var clientCertificates: String?
    /// Each the inside of one `{ … }`.
    var trust: [String] = []
    /// Further lines, indented as members of the listener.
    var more: [String] = []
  }

  struct Upstream: Sendable {
    var name: String
    /// Lines that are members of the upstream.
    var members: [String]
    /// Empty where `members` have them, with settings of their own.
    var servers: [String]
    /// The inside of `tls: { … }`.
    var tls: String?
  }

  /// Members of `identity`.
  var identity: [String]
  var listeners: [Listener]
  /// Each the inside of one `{ … }`.
  var routes: [String]
  var upstreams: [Upstream]
  var timeouts: [String] = []
  var limits: [String] = []
  var access = "stdout"
  var hasAdmin = false
  /// Two, so that what threads share is always in play.
  var workers = "2"
  /// Lines of the top level.
  var more: [String] = []

  var text: String {
    var lines: [String] = []
    if !identity.isEmpty { lines += ["identity:"] + identity.map { "  \($0)" } }
    lines.append("listeners:")
    for listener in listeners {
      lines += ["  - name: \(listener.name)", "    listen: \"\(listener.listen)\""]
      if !listener.certificates.isEmpty {
        lines.append("    tls:")
        lines += listener.certificates.map { "      - { certificate: \"\($0.certificate)\", key: \"\($0.key)\" }" }
      }
      if let client = listener.clientCertificates { lines.append("    client_certificates: { \(client) }") }
      if !listener.trust.isEmpty {
        lines.append("    trust:")
        lines += listener.trust.map { "      - { \($0) }" }
      }
      lines += listener.more.map { "    \($0)" }
    }
    lines.append("routes:")
    lines += routes.map { "  - { \($0) }" }
    lines.append("upstreams:")
    for upstream in upstreams {
      lines.append("  \(upstream.name):")
      lines += upstream.members.map { "    \($0)" }
      if upstream.servers.count > 1, upstream.members.contains("identity: attest") {
        lines.append("    shared_audience: true")
      }
      if !upstream.servers.isEmpty {
        lines.append("    servers: [\(upstream.servers.map { "\"\($0)\"" }.joined(separator: ", "))]")
      }
      if let tls = upstream.tls { lines.append("    tls: { \(tls) }") }
    }
    if !timeouts.isEmpty { lines.append("timeouts: { \(timeouts.joined(separator: ", ")) }") }
    if !limits.isEmpty { lines.append("limits: { \(limits.joined(separator: ", ")) }") }
    lines.append("log: { access: \(access) }")
    if hasAdmin { lines.append("admin: { listen: \"127.0.0.1:0\" }") }
    lines.append("workers: \(workers)")
    lines += more
    return lines.map { $0 + "\n" }.joined()
  }

  /// The validators' of the tests: little, because what was signed before its start and this is `starting`.
  static let clockSkewSeconds = 0.1

  /// An edge that signs for `monitor-1`.
  static func edge(keys: Keys, to servers: [String], bound: Bool) -> Configuration {
    Configuration(
      identity: ["edge: edge-a", "keys: \"\(keys.edge)\"", "sign_with: \(Keys.kid)"],
      listeners: [Listener()],
      routes: ["to: monitor"],
      upstreams: [
        Upstream(
          name: "monitor",
          members: ["identity: attest", "audience: \(Keys.audience)", "proxy_protocol: \(bound ? "v2" : "off")"],
          servers: servers)
      ])
  }

  /// A validator of that name.
  static func validator(keys: Keys, to servers: [String], bound: Bool) -> Configuration {
    Configuration(
      identity: [
        "keys: \"\(keys.validator)\"", "audience: \(Keys.audience)", "edges: [edge-a]", "clock_skew: 100ms",
      ],
      listeners: [
        Listener(
          name: "from-edge",
          trust: ["from: any, evidence: attested\(bound ? ", proxy_protocol: required" : "")"])
      ],
      routes: ["to: backend"],
      upstreams: [Upstream(name: "backend", members: ["identity: plain"], servers: servers)])
  }

  /// A single process that settles who the client is and says so in plain fields: what a validator's client side or a
  /// lone edge does.
  static func plainEdge(to servers: [String]) -> Configuration {
    Configuration(
      identity: [], listeners: [Listener()], routes: ["to: backend"],
      upstreams: [Upstream(name: "backend", members: ["identity: plain"], servers: servers)])
  }
}
