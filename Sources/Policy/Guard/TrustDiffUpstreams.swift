// Upstreams before and after. What one is told of the client counts, and how sure it is that its servers are the ones that are
// meant. The servers themselves come and go.

import Wire

extension TrustDiff {
  mutating func upstreams() {
    for next in new.config.upstreams {
      // A new one is compared where a route leads to it.
      guard let was = old.config.upstreams.first(where: { $0.name == next.name }) else { continue }
      for change in facets(was, next) {
        add(
          change.kind, change.effect, "upstream \(next.name)", "upstream `\(next.name)`: \(change.text)", change.old,
          change.new, .upstreams([next.name]))
      }
    }
  }

  /// One thing in which two upstreams differ.
  struct Facet {
    let kind: TrustChange.Kind
    let effect: TrustChange.Effect
    let text: String
    let old: Value
    let new: Value
  }

  /// What changes for a request that went to `was` and goes to `next`.
  func facets(_ was: Config.Upstream, _ next: Config.Upstream) -> [Facet] {
    identityFacets(was, next) + tlsFacets(was, next)
  }

  private func identityFacets(_ was: Config.Upstream, _ next: Config.Upstream) -> [Facet] {
    let (path, nextPath) = ("upstreams.\(was.name)", "upstreams.\(next.name)")
    var facets: [Facet] = []
    func facet(
      _ kind: TrustChange.Kind, _ effect: TrustChange.Effect, _ key: String, _ from: String, _ to: String,
      _ text: String
    ) {
      facets.append(
        Facet(
          kind: kind, effect: effect, text: text, old: oldValue("\(path).\(key)", from),
          new: newValue("\(nextPath).\(key)", to)))
    }
    if was.identity != next.identity {
      let (kind, effect, text): (TrustChange.Kind, TrustChange.Effect, String) =
        switch (was.identity, next.identity) {
        case (.attest, .plain):
          (
            .attestToPlain, .weakens,
            "the client's address was signed, and now goes in plain fields that whoever reaches the servers can write"
          )
        case (_, .none):
          (
            .upstreamIdentity, .weakens,
            "the servers are told nothing of the client: all clients become one, with this process's address"
          )
        case (_, .attest): (.upstreamIdentity, .strengthens, "the client's address is signed")
        default: (.upstreamIdentity, .strengthens, "the servers are told the client's address, in plain fields")
        }
      facet(kind, effect, "identity", was.identity.rawValue, next.identity.rawValue, text)
    }
    if was.proxyProtocol, !next.proxyProtocol {
      facet(
        .proxySwitchedOff, .weakens, "proxy_protocol", "v2", "off",
        "a signed PROXY header went first on each connection, and does not any more; connections are shared by clients")
    } else if next.proxyProtocol, !was.proxyProtocol {
      facet(
        .proxySwitchedOff, .strengthens, "proxy_protocol", "off", "v2",
        "a signed PROXY header goes first on each connection")
    }
    if was.identity == .attest, next.identity == .attest {
      if was.audience != next.audience {
        facet(
          .upstreamAudience, .weakens, "audience", was.audience ?? "", next.audience ?? "",
          "these servers get what another validator believes, and could pass it on")
      }
      if was.sharedAudience != next.sharedAudience {
        facet(
          .sharedAudience, next.sharedAudience ? .weakens : .strengthens, "shared_audience", "\(was.sharedAudience)",
          "\(next.sharedAudience)",
          next.sharedAudience
            ? "a message to one server could be replayed at another" : "an audience is one server's alone")
      }
    }
    if next.identity == .plain {
      if was.identity == .plain, was.plainFields != next.plainFields {
        let gone = was.plainFields.subtracting(next.plainFields)
        facet(
          .plainFields, gone.isEmpty ? .changes : .weakens, "plain_fields", was.plainFields.text, next.plainFields.text,
          gone.isEmpty
            ? "the servers are told the client in further fields"
            : "the servers are not told the client in \(gone.text) any more, and may take another for it")
      }
      if next.isExposed, !(was.identity == .plain && was.isExposed) {
        facet(
          .plainExposed, .weakens, "servers", Self.servers(was), Self.servers(next),
          "the client's address goes to another host in plain fields and without TLS")
      }
    }
    return facets
  }

  private func tlsFacets(_ was: Config.Upstream, _ next: Config.Upstream) -> [Facet] {
    let (path, nextPath) = ("upstreams.\(was.name).tls", "upstreams.\(next.name).tls")
    func facet(
      _ kind: TrustChange.Kind, _ effect: TrustChange.Effect, _ key: String, _ from: String, _ to: String,
      _ text: String,
      wholes: (String, String)? = nil
    ) -> Facet {
      Facet(
        kind: kind, effect: effect, text: text, old: oldValue(path + key, from, whole: wholes?.0),
        new: newValue(nextPath + key, to, whole: wholes?.1))
    }
    guard let tls = was.tls, let nextTLS = next.tls else {
      switch (was.tls, next.tls) {
      case (_?, nil):
        return [
          facet(
            .upstreamTLS, .weakens, "", "TLS", "no TLS", "whoever is on the way can read and answer for the servers")
        ]
      case (nil, _?):
        return [facet(.upstreamTLS, .strengthens, "", "no TLS", "TLS", "the servers must prove who they are")]
      default: return []
      }
    }
    var facets: [Facet] = []
    if tls.name != nextTLS.name {
      facets.append(
        facet(.upstreamTLS, .weakens, ".name", tls.name, nextTLS.name, "the servers prove another name"))
    }
    let (before, after) = (old.authorities(of: tls.ca), new.authorities(of: nextTLS.ca))
    if before != after {
      facets.append(
        facet(
          .upstreamAuthorities, after.areWider(than: before) ? .weakens : .strengthens, ".ca", tls.ca, nextTLS.ca,
          after.effect(on: "may vouch for the servers", than: before), wholes: (before.whole, after.whole)))
    }
    return facets
  }

  private static func servers(_ upstream: Config.Upstream) -> String {
    upstream.servers.map(\.endpoint.text).sorted().joined(separator: ", ")
  }
}

extension Config.Upstream {
  /// Some server is on another host, and nothing says who it is.
  fileprivate var isExposed: Bool { tls == nil && servers.contains { !$0.endpoint.isLocal } }
}

extension Config.PlainFields {
  fileprivate var text: String { Self.named.filter { contains($0.field) }.map(\.name).joined(separator: ", ") }
}
