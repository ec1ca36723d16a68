// Addresses that stood for several values of a field, and the exchanges in which they did. Two readings: the first finds the
// addresses, for only at the end it is known which have a second value; the second gives out their exchanges, one at a time, so
// that there may be any number of them.
//
// An exchange of which an edge and a validator both have the field is counted and given out once, as the edge has it: the first
// reading marks the validator's line by its number. Memory: AuditLimits, and a bit for each line of a validator.

import Wire

package final class Affected {
  package struct Address: Equatable, Sendable {
    package let address: IPAddress
    package let values: UInt64
    package let requests: UInt64
    package let first: UInt64
    package let last: UInt64
  }

  package let field: String
  /// Lines of the window that have the field.
  package private(set) var linesWithField: UInt64 = 0
  package private(set) var linesInWindow: UInt64 = 0
  /// Exchanges of which edge and validator have different digests: the keys of their logs differ.
  package private(set) var valuesDiffer: UInt64 = 0
  private let hashing = AuditHash()
  private var addresses: AddressTable
  private var values: HashSet
  private var join: SideJoin
  private var secondSights: ContiguousArray<UInt64> = []

  package init(field: String, _ limits: AuditLimits = AuditLimits()) {
    self.field = field
    addresses = AddressTable(most: limits.addresses)
    values = HashSet(most: limits.pairs, of: "pairs of an address and a value")
    join = SideJoin(waitingMax: limits.waiting, hashing)
  }

  package var joined: UInt64 { join.joined }

  /// Those that stood for more than one value, the most first.
  package var affected: [Address] {
    addresses.entries.filter { $0.distinct > 1 }
      .sorted { ($0.distinct, $0.requests) > ($1.distinct, $1.requests) }
      .map {
        Address(
          address: $0.address, values: UInt64($0.distinct), requests: UInt64($0.requests), first: $0.first,
          last: $0.last)
      }
  }

  // MARK: The first reading

  package func find(in log: MergedLog) throws(AuditError) {
    var ordinal = 0
    try log.read { line, bytes throws(AuditError) in
      self.linesInWindow += 1
      guard line.isRequest, line.hasValue, let client = line.client else { return }
      self.linesWithField += 1
      let now = line.milliseconds
      let hash = self.hashing.of(client)
      let value = self.hashing.of(bytes, line.value)
      let address = try self.addresses.index(of: client, hash: hash, milliseconds: now, self.hashing)
      let isNew = try self.values.insert(self.hashing.mix(hash, value))
      let isSecondSight = self.look(line, bytes, value, ordinal)
      if line.isAtValidator(bytes) { ordinal += 1 }
      self.addresses.update(address) { entry in
        if isNew { entry.distinct += 1 }
        if !isSecondSight { entry.requests += 1 }
        entry.first = min(entry.first, now)
        entry.last = max(entry.last, now)
      }
    }
    join.end()
  }

  /// Whether the exchange was seen before, in a line of the other side.
  private func look(_ line: LogLine, _ bytes: Span<UInt8>, _ value: UInt64, _ ordinal: Int) -> Bool {
    guard var sighting = SideJoin.Sighting(line, bytes, connection: line.connectionID(bytes), hashing) else {
      return false
    }
    sighting.ordinal = ordinal
    sighting.value = value
    guard let other = join.take(sighting) else { return false }
    if other.value != value { valuesDiffer += 1 }
    mark(sighting.side == .validator ? ordinal : other.ordinal)
    return true
  }

  private func mark(_ ordinal: Int) {
    while secondSights.count <= ordinal / 64 { secondSights.append(0) }
    secondSights[ordinal / 64] |= 1 << UInt64(ordinal % 64)
  }

  private func isMarked(_ ordinal: Int) -> Bool {
    ordinal / 64 < secondSights.count && secondSights[ordinal / 64] & 1 << UInt64(ordinal % 64) != 0
  }

  // MARK: The second reading

  /// Gives each exchange of an affected address to `body`, in the order of time. `log` was rewound.
  package func list(_ log: MergedLog, _ body: (LogLine, Span<UInt8>) throws(AuditError) -> Void) throws(AuditError) {
    var ordinal = 0
    try log.read { line, bytes throws(AuditError) in
      guard line.isRequest, line.hasValue, let client = line.client else { return }
      let own = ordinal
      let isAtValidator = line.isAtValidator(bytes)
      if isAtValidator { ordinal += 1 }
      guard let index = self.addresses.find(client, hash: self.hashing.of(client)),
        self.addresses.entries[index].distinct > 1, !(isAtValidator && self.isMarked(own))
      else { return }
      try body(line, bytes)
    }
  }
}
