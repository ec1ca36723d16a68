// What an audit has to remember of all lines: which addresses there were, and which pairs of an address and something else. Open
// addressing in flat arrays that double up to a bound; beyond it the audit ends with an error that says so, since a report with
// something missing would be taken for a whole one. Hashes have a seed of this run, so that nobody can choose addresses that meet.

import Wire

/// How much of everything is remembered.
package struct AuditLimits: Sendable {
  /// Addresses of clients: 48 bytes each and 6 to 11 for their slots; twice that while the table grows.
  package var addresses = 3 << 20
  /// Pairs of an address and a connection, or an address and a value: 11 to 21 bytes each.
  package var pairs = 12 << 20
  /// Pairs of a group and an address, likewise.
  package var groupAddresses = 12 << 20
  package var groups = 4_096
  /// Exchanges that wait for the line of the other side: 120 bytes each.
  package var waiting = 1 << 18
  package init() {}
}

struct AuditHash {
  private let first = UInt64.random(in: .min ... .max)
  private let second = UInt64.random(in: .min ... .max)

  /// Two words as one.
  @inline(__always) func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = (a ^ first).multipliedFullWidth(by: b ^ second)
    return product.high ^ product.low
  }

  @inline(__always) func of(_ address: IPAddress) -> UInt64 {
    mix(mix(address.high, address.low), address.family == .v4 ? 4 : 6)
  }

  /// `seed`: the hash of what comes before.
  @inline(__always) func of(_ line: Span<UInt8>, _ range: ByteRange, seed: UInt64 = 0) -> UInt64 {
    var hash = mix(seed, UInt64(range.count))
    var at = range.lower
    while at < range.upper {
      hash = mix(hash, line.word(at: at, before: min(range.upper, at &+ 8)))
      at &+= 8
    }
    return hash
  }
}

/// A set of hashes of 64 bits. Two pairs that have the same are taken for one: among ten million pairs that happens once in
/// 400,000 audits.
struct HashSet {
  private var slots: ContiguousArray<UInt64>
  private(set) var count = 0
  private let most: Int
  private let what: String

  init(most: Int, of what: String) {
    slots = ContiguousArray(repeating: 0, count: 1 << 12)
    self.most = most
    self.what = what
  }

  /// Whether it is new.
  @inline(__always) mutating func insert(_ hash: UInt64) throws(AuditError) -> Bool {
    // Zero is an empty slot.
    let hash = hash == 0 ? 1 : hash
    var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while slots[slot] != 0 {
      if slots[slot] == hash { return false }
      slot = (slot &+ 1) & (slots.count - 1)
    }
    guard count < most else { throw AuditError("more than \(most) \(what) in the window: ask about less time at once") }
    slots[slot] = hash
    count += 1
    if count > slots.count / 4 * 3 { grow() }
    return true
  }

  private mutating func grow() {
    let old = slots
    slots = ContiguousArray(repeating: 0, count: old.count * 2)
    for hash in old where hash != 0 {
      var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
      while slots[slot] != 0 { slot = (slot &+ 1) & (slots.count - 1) }
      slots[slot] = hash
    }
  }
}

/// What is known of each address, in the order of their first lines.
struct AddressTable {
  struct Entry {
    let address: IPAddress
    var requests: UInt32 = 0
    /// Connections, or values.
    var distinct: UInt32 = 0
    var first: UInt64
    var last: UInt64
  }

  private(set) var entries: ContiguousArray<Entry> = []
  /// One more than an index of `entries`; 0: empty.
  private var slots: ContiguousArray<UInt32>
  private let most: Int

  init(most: Int) {
    slots = ContiguousArray(repeating: 0, count: 1 << 10)
    self.most = most
  }

  /// The index of an address; it is entered where it is new.
  @inline(__always) mutating func index(
    of address: IPAddress, hash: UInt64, milliseconds: UInt64, _ hashing: AuditHash
  ) throws(AuditError) -> Int {
    var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while slots[slot] != 0 {
      let index = Int(slots[slot]) - 1
      if entries[index].address == address { return index }
      slot = (slot &+ 1) & (slots.count - 1)
    }
    guard entries.count < most else {
      throw AuditError("more than \(most) addresses of clients in the window: ask about less time at once")
    }
    entries.append(Entry(address: address, first: milliseconds, last: milliseconds))
    slots[slot] = UInt32(entries.count)
    if entries.count > slots.count / 4 * 3 { grow(hashing) }
    return entries.count - 1
  }

  /// Nil for an address that is not there.
  func find(_ address: IPAddress, hash: UInt64) -> Int? {
    var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while slots[slot] != 0 {
      let index = Int(slots[slot]) - 1
      if entries[index].address == address { return index }
      slot = (slot &+ 1) & (slots.count - 1)
    }
    return nil
  }

  @inline(__always) mutating func update(_ index: Int, _ change: (inout Entry) -> Void) { change(&entries[index]) }

  private mutating func grow(_ hashing: AuditHash) {
    slots = ContiguousArray(repeating: 0, count: slots.count * 2)
    for index in entries.indices {
      var slot = Int(truncatingIfNeeded: hashing.of(entries[index].address)) & (slots.count - 1)
      while slots[slot] != 0 { slot = (slot &+ 1) & (slots.count - 1) }
      slots[slot] = UInt32(index + 1)
    }
  }
}
