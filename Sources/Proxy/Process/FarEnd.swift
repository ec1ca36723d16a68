// Who stands behind an upstream, as the self-test plays it: what this process would send there is written as for a real request, read
// again, and says whom the far end takes for the client. A validator is played with the keys that would be exported for it; a backend
// reads the plain fields as anybody would. Confined to one thread.

import Platform
import Policy
import Wire

struct FarEnd {
  enum Told: Equatable {
    case client(IPAddress)
    /// It is told of no client, and is not to be.
    case nobody
    /// Behind `a probe from ADDRESS`.
    case problem(String)
  }

  private let kind: Config.UpstreamIdentity
  private let fields: Config.PlainFields
  private let isBound: Bool
  private let rewritesHost: Bool
  private let signer: Signer?
  private let verifier: Verifier?
  private let now: Clock.Reading

  // MARK: Who it is

  /// The servers of an upstream; nil where the configuration lacks what attesting takes, which is told elsewhere.
  init?(_ upstream: Config.Upstream, _ config: Config, keys: KeySet?, now: Clock.Reading) throws {
    kind = upstream.identity
    fields = upstream.plainFields
    isBound = upstream.proxyProtocol
    rewritesHost = upstream.rewritesHost
    self.now = now
    guard kind == .attest else {
      signer = nil
      verifier = nil
      return
    }
    guard let keys, let audience = upstream.audience, let edge = config.identity.edge, config.identity.signWith != nil
    else { return nil }
    signer = try Plan.makeSigner(upstream, config, keys, try FarEnd.lanes(now))
    verifier = try FarEnd.verifier(try keys.exported(for: audience), audience, edges: [edge], now)
  }

  /// This process itself, as a validator, behind an edge that signs with one of its keys; nil where that key only verifies.
  init?(validator config: Config, keys: KeySet, keyID: KeyID, isBound: Bool, now: Clock.Reading) throws {
    guard let audience = config.identity.audience, let key = keys.key(keyID, purpose: .http, audience: audience),
      key.canSign
    else { return nil }
    kind = .attest
    fields = []
    self.isBound = isBound
    rewritesHost = false
    self.now = now
    signer = try Signer(
      keys: keys, keyID: "\(keyID)", audience: audience, edge: config.identity.edges.first ?? "self-test",
      lanes: try FarEnd.lanes(now), headBytesMax: FarEnd.headBytesMax)
    verifier = try FarEnd.verifier(keys, audience, edges: config.identity.edges, now)
  }

  private static let headBytesMax = 8 * 1_024

  private static func lanes(_ now: Clock.Reading) throws(CryptoError) -> SenderLanes {
    try SenderLanes.make(workers: 1, nowMilliseconds: now.wallMilliseconds)[0]
  }

  /// Of a validator that started long ago.
  private static func verifier(
    _ keys: KeySet, _ audience: String, edges: [String], _ now: Clock.Reading
  ) throws(KeySetError) -> Verifier {
    let start = Clock.Reading(
      wallMilliseconds: now.wallMilliseconds &- min(now.wallMilliseconds, 100_000),
      monotonicMilliseconds: now.monotonicMilliseconds &- min(now.monotonicMilliseconds, 100_000))
    return try Verifier(
      keys: keys, audience: audience, edges: edges, skewMilliseconds: 0,
      windows: ReplayWindows(start: start, windowBits: 1 << 12), headBytesMax: headBytesMax)
  }

  // MARK: What it is told

  /// Whom it takes for the client of a request.
  /// - Parameter changes: what its route changes.
  func receive(
    _ request: ProbeRequest, from identity: ClientIdentity, _ changes: ProbeRequest.Changes = ProbeRequest.Changes()
  ) -> Told {
    var changes = changes
    changes.rewritesHost = rewritesHost
    guard
      let head = request.written(
        identity, as: kind, fields: fields, signer: signer, changes, wallMilliseconds: now.wallMilliseconds)
    else {
      return .problem("cannot be signed: the key \(signer.map { "\($0.keyID) " } ?? "")is not valid now (`nbf`, `exp`)")
    }
    let parsed = RequestHead(fieldsMax: 128)
    guard case .complete(head.count) = parsed.parse(head.span, limits: HeadLimits(headBytes: head.count, fields: 128))
    else { return .problem("is no request as it is sent on") }
    return switch kind {
    case .none: untold(parsed)
    case .plain: plain(head.span, parsed, identity, host: request.host)
    case .attest: attested(head.span, parsed, identity)
    }
  }

  private func untold(_ head: RequestHead) -> Told {
    for index in 0..<head.fieldCount where FarEnd.speaksOfClients(head.kind(index)) {
      return .problem("is sent on with a field that speaks of the client, though the upstream has `identity: none`")
    }
    return .nobody
  }

  private static func speaksOfClients(_ kind: FieldKind) -> Bool { kind.isIdentity || kind == .claim }

  /// Each field that the upstream gets is there once and names this client, and no other field does.
  private func plain(_ bytes: Span<UInt8>, _ head: RequestHead, _ identity: ClientIdentity, host: [UInt8]) -> Told {
    var told: Config.PlainFields = []
    var client: IPAddress?
    for index in 0..<head.fieldCount where FarEnd.speaksOfClients(head.kind(index)) {
      let value = bytes.extracting(head.value(index).range)
      let name = String(decoding: head.name(index).range.map { bytes[$0] }, as: UTF8.self)
      let field: Config.PlainFields
      var address: IPAddress?
      var isRight = false
      switch head.kind(index) {
      case .xForwardedFor, .xRealIP:
        field = head.kind(index) == .xRealIP ? .xRealIP : .xForwardedFor
        address = IPAddress.parse(value)
        isRight = address == identity.address
      case .forwarded:
        field = .forwarded
        var elements = ForwardedElements(head.value(index), syntax: .forwarded)
        if case .node(let node) = elements.previous(bytes) {
          address = node.address
          isRight = address == identity.address && node.isSecure == identity.secure && elements.previous(bytes) == .end
        }
      case .xForwardedProto:
        field = .xForwardedProto
        isRight = AsciiWord.matches(value, identity.secure ? "https" : "http")
      case .xForwardedHost:
        field = .xForwardedHost
        isRight = ByteComparison.isEqual(value, host.span)
      default: return .problem("is sent on with the field \(name), which the client could have written")
      }
      guard fields.contains(field) else { return .problem("is sent on with \(name), which is not in `plain_fields`") }
      guard told.insert(field).inserted else { return .problem("is sent on with \(name) twice") }
      guard isRight else { return .problem("is sent on with \(name) that says something else") }
      client = client ?? address
    }
    guard told == fields else { return .problem("is sent on without one of the fields of `plain_fields`") }
    // Where only the scheme or the host is told, there is no address to be told apart by.
    return client.map { .client($0) } ?? .nobody
  }

  /// What a validator with these keys makes of it, and of the PROXY header before it.
  private func attested(_ bytes: Span<UInt8>, _ head: RequestHead, _ identity: ClientIdentity) -> Told {
    guard let verifier, let signer else { return .problem("cannot be signed") }
    var bound: BoundIdentity?
    if isBound {
      guard let draft = signer.makeProxyHeader(identity, nowMilliseconds: now.wallMilliseconds) else {
        return .problem("cannot be announced in a PROXY header")
      }
      let outcome = draft.withBytes { header -> ProxyVerifyOutcome in
        switch ProxyHeader.decode(header, rules: .attested) {
        case .complete(let decoded): verifier.verifyProxy(header, header: decoded, at: now)
        case .incomplete: .refused(.proxyTimeout)
        case .refused(let refusal): .refused(refusal)
        }
      }
      switch outcome {
      case .verified(let verified): bound = verified
      case .refused(let refusal):
        return .problem("is announced in a PROXY header that its validator refuses as \(refusal.name)")
      }
    }
    if let refusal = head.identityRefusal {
      return .problem("is signed, and refused as \(refusal.name) by a validator")
    }
    let outcome = verifier.verify(
      head: bytes, method: head.methodRange, authority: head.authority, path: head.path, query: head.query,
      attest: head.attest, signatureInput: head.signatureInput, signature: head.signature, at: now, bound: bound)
    switch outcome {
    case .refused(let refusal):
      return .problem("is signed, and refused as \(refusal.name) by a validator with the exported keys")
    case .verified(let verified):
      guard verified.client == identity else { return .problem("is verified as \(verified.client.address)") }
      return .client(verified.client.address)
    }
  }
}
