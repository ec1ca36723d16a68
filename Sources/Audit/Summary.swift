// Who was served in a window, by what decided it: how many requests and clients each combination of evidence, rule, configuration,
// route and edge had, what became of them, and which addresses had the most connections.
//
// Lines of an edge and of a validator stand in groups of their own, for their evidence differs, so no group counts a request
// twice; connections are counted by their number, which both sides have. Memory: AuditLimits.

import Wire

package final class Summary {
  package struct Group: Equatable, Sendable {
    package let listener: String
    package let evidence: String
    package let rule: String
    package let config: String
    package let generation: String
    package let route: String
    package let edge: String
    package var requests: UInt64 = 0
    package var clients: UInt64 = 0
    /// By the first digit; 0: no answer.
    package var statuses = [UInt64](repeating: 0, count: 6)
    /// Requests and connections, in the order of their first lines.
    package var refusals: [Refused] = []
    package var first: UInt64 = 0
    package var last: UInt64 = 0
  }

  package struct Refused: Equatable, Sendable {
    package let name: String
    package var count: UInt64
  }

  package struct Client: Equatable, Sendable {
    package let address: IPAddress
    package let connections: UInt64
    package let requests: UInt64
    package let first: UInt64
    package let last: UInt64
  }

  package static let clientsShown = 20

  package private(set) var groups: [Group] = []
  package private(set) var linesInWindow: UInt64 = 0
  package private(set) var requestsAtEdges: UInt64 = 0
  package private(set) var requestsAtValidators: UInt64 = 0
  private var groupIndex: [UInt64: Int] = [:]
  /// The group of the line before: mostly it is also that of the next.
  private var lastKey: UInt64 = 0
  private var lastGroup = -1
  private let hashing = AuditHash()
  private var addresses: AddressTable
  private var connections: HashSet
  private var groupAddresses: HashSet
  private var join: SideJoin
  private let groupsMax: Int

  package init(_ limits: AuditLimits = AuditLimits()) {
    addresses = AddressTable(most: limits.addresses)
    connections = HashSet(most: limits.pairs, of: "connections")
    groupAddresses = HashSet(most: limits.groupAddresses, of: "pairs of a group and a client")
    join = SideJoin(waitingMax: limits.waiting, hashing)
    groupsMax = limits.groups
  }

  /// Reads all.
  package func read(_ log: MergedLog) throws(AuditError) {
    try log.read { line, bytes throws(AuditError) in try self.add(line, bytes) }
    join.end()
  }

  // MARK: Results

  package var addressCount: Int { addresses.entries.count }
  package var connectionCount: Int { connections.count }
  package var joined: UInt64 { join.joined }
  package var aloneAtEdge: UInt64 { join.aloneAtEdge }
  package var aloneAtValidator: UInt64 { join.aloneAtValidator }
  package var disagreeing: UInt64 { join.disagreeing }
  package var disagreements: [Disagreement] { join.disagreements }

  /// Those with the most connections, and of as many those with the most requests.
  package var topClients: [Client] {
    let sorted = addresses.entries.sorted { ($0.distinct, $0.requests) > ($1.distinct, $1.requests) }
    return sorted.prefix(Summary.clientsShown).map {
      Client(
        address: $0.address, connections: UInt64($0.distinct), requests: UInt64($0.requests), first: $0.first,
        last: $0.last)
    }
  }

  // MARK: A line

  private func add(_ line: LogLine, _ bytes: Span<UInt8>) throws(AuditError) {
    linesInWindow += 1
    let group = try index(of: line, bytes)
    let now = line.milliseconds
    if groups[group].first == 0 { groups[group].first = now }
    groups[group].first = min(groups[group].first, now)
    groups[group].last = max(groups[group].last, now)
    if !line.refusal.isEmpty { refuse(line, bytes, group) }
    guard line.isRequest else { return }
    groups[group].requests += 1
    let digit = line.status / 100
    groups[group].statuses[digit < 6 ? digit : 5] += 1
    let isAtValidator = line.isAtValidator(bytes)
    if isAtValidator { requestsAtValidators += 1 } else { requestsAtEdges += 1 }
    guard let client = line.client else { return }
    let hash = hashing.of(client)
    if try groupAddresses.insert(hashing.mix(hash, UInt64(group))) { groups[group].clients += 1 }
    let address = try addresses.index(of: client, hash: hash, milliseconds: now, hashing)
    var isNew = false
    let connection = line.connectionID(bytes)
    if let connection {
      isNew = try connections.insert(hashing.mix(hash, hashing.mix(connection.high, connection.low)))
    }
    var isSecondSight = false
    if let sighting = SideJoin.Sighting(line, bytes, connection: connection, hashing) {
      isSecondSight = join.take(sighting) != nil
    }
    addresses.update(address) { entry in
      if isNew { entry.distinct += 1 }
      if !isSecondSight { entry.requests += 1 }
      entry.first = min(entry.first, now)
      entry.last = max(entry.last, now)
    }
  }

  private func refuse(_ line: LogLine, _ bytes: Span<UInt8>, _ group: Int) {
    let name = Summary.text(bytes, line.refusal)
    let count = max(1, line.suppressed)
    if let at = groups[group].refusals.firstIndex(where: { $0.name == name }) {
      groups[group].refusals[at].count += count
    } else {
      groups[group].refusals.append(Refused(name: name, count: count))
    }
  }

  private func index(of line: LogLine, _ bytes: Span<UInt8>) throws(AuditError) -> Int {
    var key = hashing.of(bytes, line.listener)
    key = hashing.of(bytes, line.evidence, seed: key)
    key = hashing.of(bytes, line.rule, seed: key)
    key = hashing.of(bytes, line.config, seed: key)
    key = hashing.of(bytes, line.generation, seed: key)
    key = hashing.of(bytes, line.route, seed: key)
    key = hashing.of(bytes, line.edge, seed: key)
    if key == lastKey, lastGroup >= 0 { return lastGroup }
    lastKey = key
    if let known = groupIndex[key] {
      lastGroup = known
      return known
    }
    guard groups.count < groupsMax else {
      throw AuditError(
        "more than \(groupsMax) combinations of rule, configuration and route in the window: ask about less time at once"
      )
    }
    groups.append(
      Group(
        listener: Summary.text(bytes, line.listener), evidence: Summary.text(bytes, line.evidence),
        rule: Summary.text(bytes, line.rule), config: Summary.text(bytes, line.config),
        generation: Summary.text(bytes, line.generation), route: Summary.text(bytes, line.route),
        edge: Summary.text(bytes, line.edge)))
    lastGroup = groups.count - 1
    groupIndex[key] = lastGroup
    return lastGroup
  }

  static func text(_ bytes: Span<UInt8>, _ range: ByteRange) -> String {
    String(decoding: range.range.map { bytes[$0] }, as: UTF8.self)
  }
}
