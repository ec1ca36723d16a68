// What an old process trusts, for the new one of an upgrade, which compares its own configuration with it as a reload would. The
// configuration goes as text with every default written out, so that another default of the new program is a change like
// any other. Invariant: where it cannot be read whole, nothing is compared, and the upgrade is refused.

import Platform
import Wire

extension TrustBoundary {
  package func write(to state: inout HandoverState) {
    state.file = config.file
    state.configuration = config.resolved()
    state.keys = keys.map {
      HandoverState.VerifyingKey(
        id: $0.id, purpose: $0.purpose.rawValue, fingerprint: $0.fingerprint, notBefore: $0.notBefore,
        expires: $0.expires)
    }
    state.authorities = authorities.sorted { $0.key < $1.key }.map { path, its in
      HandoverState.Authorities(path: path, certificates: its.carried, rest: its.rest)
    }
    let lists = authorities.values.reduce(into: [:]) { $0.merge($1.revocations) { first, _ in first } }
    state.revocationLists = lists.sorted { $0.key < $1.key }.map { digest, list in
      HandoverState.RevocationList(digest: digest, issuer: list.issuer, made: list.made)
    }
  }

  package init(_ state: HandoverState) throws(HandoverFault) {
    let read = ConfigReader.read(text: state.configuration, path: state.file, isRunning: true)
    guard var config = read.config else {
      let why = read.diagnostics.first { $0.severity == .error }?.message ?? "for an unknown reason"
      throw .malformed("the configuration of the running process (\(why))")
    }
    // Its lines are those of no file.
    config = config.withoutPlaces
    config.file = state.file
    var keys: [VerifyingKey] = []
    for key in state.keys {
      guard let purpose = KeyPurpose(rawValue: key.purpose) else { throw .malformed("the purpose of a key") }
      keys.append(
        VerifyingKey(
          id: key.id, purpose: purpose, fingerprint: key.fingerprint, notBefore: key.notBefore, expires: key.expires))
    }
    var authorities: [String: Authorities] = [:]
    let lists = state.revocationLists.reduce(into: [:]) {
      $0[$1.digest] = RevocationList(issuer: $1.issuer, made: $1.made)
    }
    for its in state.authorities {
      authorities[its.path] = Authorities(carried: its.certificates, rest: its.rest, lists: lists)
    }
    self.init(config, keys: keys, authorities: authorities)
  }
}

extension TrustBoundary {
  /// Whether a request gets the same by both, as far as that is known: what only says how long something may take, who is told of it,
  /// and by how many threads it is done does not count, all else does.
  package func decides(as other: TrustBoundary) -> Bool {
    keys == other.keys && authorities == other.authorities && authorities.values.allSatisfy { $0.rest != nil }
      && TrustBoundary.deciding(config).resolved() == TrustBoundary.deciding(other.config).resolved()
  }

  private static func deciding(_ config: Config) -> Config {
    var config = config.withoutPlaces
    config.timeouts = Config.Timeouts()
    config.log = Config.Log()
    config.admin = nil
    config.workers = nil
    config.errorPages = []
    config.acceptWeaker = nil
    config.identity.replayWindowBits = Config.Identity().replayWindowBits
    return config
  }
}

extension ReplayWindows {
  /// Without the tables' descriptors, which are numbered from `first` in the order of the list that is returned.
  package func write(to state: inout HandoverState, first: Int) -> [Int32] {
    let (start, tables) = (carriedStart, carried)
    state.windowStartMilliseconds = start.monotonicMilliseconds
    state.windowLatestMilliseconds = start.latestMilliseconds
    state.skewMilliseconds = start.skewMilliseconds
    state.windowBits = windowBits
    state.epochsMax = epochsMax
    state.tables = tables.enumerated().map { i, table in
      HandoverState.Table(purpose: table.purpose.rawValue, key: "\(table.keyID)", descriptor: first + i)
    }
    return tables.map(\.descriptor)
  }

  /// The windows of the old process, which went by `config`. Takes the descriptors of the tables, which are `descriptors[table.descriptor]`.
  package static func continuing(
    _ state: HandoverState, of config: Config, _ descriptors: [Int32], nowMilliseconds: UInt64
  ) throws(HandoverFault) -> ReplayWindows {
    var carried: [Carried] = []
    var areKnown = true
    for table in state.tables {
      guard let purpose = KeyPurpose(rawValue: table.purpose), let key = KeyID(table.key) else {
        areKnown = false
        continue
      }
      carried.append(Carried(purpose: purpose, keyID: key, descriptor: descriptors[table.descriptor]))
    }
    guard areKnown, ReplayTable.isWindow(bits: state.windowBits), ReplayTable.isLimit(epochs: state.epochsMax),
      state.windowStartMilliseconds <= nowMilliseconds,
      let windows = ReplayWindows(
        continuing: StartWindow.Carried(
          monotonicMilliseconds: state.windowStartMilliseconds, latestMilliseconds: state.windowLatestMilliseconds,
          skewMilliseconds: max(state.skewMilliseconds, UInt64(config.identity.clockSkewMilliseconds))),
        of: config.verifiedAudience, windowBits: state.windowBits, epochsMax: state.epochsMax, carried)
    else { throw .malformed("the replay windows of the running process") }
    return windows
  }
}
