// What a name server answered (RFC 1035 section 4): for how long it holds, and which servers offer a service (RFC 2782). Sending the
// question and matching the answer to it is the C library's.
//
// Invariants: names are followed backwards only, so that reading ends; what is kept is bounded; an answer of which any record cannot
// be read is no answer.

package struct DNSAnswer: Equatable, Sendable {
  /// The types of records that are asked for.
  package enum Kind: UInt16, Sendable { case a = 1, aaaa = 28, service = 33 }

  /// One SRV record.
  package struct Service: Hashable, Sendable {
    /// A host name, in lower case, without the dot at its end.
    package let target: String
    package let port: UInt16
    /// The lower, the sooner.
    package let priority: UInt16
    /// Among those of one priority.
    package let weight: UInt16

    package init(target: String, port: UInt16, priority: UInt16, weight: UInt16) {
      self.target = target
      self.port = port
      self.priority = priority
      self.weight = weight
    }
  }

  /// The least of those of the records that were asked for, and of the aliases that lead to them.
  package let ttlSeconds: UInt32
  /// With `service`; those that nobody can connect to (port 0, the target `.`) are left out.
  package let services: [Service]

  /// Aliases that lead to the records.
  package static let aliasesMax = 16
  /// Records that are kept.
  package static let servicesMax = 64

  private static let aliasType: UInt16 = 5
  private static let internet: UInt16 = 1

  /// Reads a whole response. Nil where it is not one, is a failure, or has no record of that kind for the name that was asked for.
  package init?(_ message: Span<UInt8>, _ kind: Kind) {
    guard let header = Header(message) else { return nil }
    var at = Header.bytes
    guard var owner = DNSAnswer.name(message, &at), at + 4 <= message.count else { return nil }
    at += 4
    let firstRecord = at

    var aliases: [(owner: [UInt8], target: [UInt8], ttl: UInt32)] = []
    for _ in 0..<header.answers {
      guard let record = Record(message, &at) else { return nil }
      guard record.type == DNSAnswer.aliasType, record.isInternet else { continue }
      guard aliases.count < DNSAnswer.aliasesMax, let target = record.name(message, from: 0) else { return nil }
      aliases.append((record.owner, target, record.ttlSeconds))
    }
    var ttl = UInt32.max
    var steps = 0
    while let alias = aliases.first(where: { $0.owner == owner }) {
      steps += 1
      guard steps <= aliases.count else { return nil }
      ttl = min(ttl, alias.ttl)
      owner = alias.target
    }

    var services: [Service] = []
    var isFound = false
    at = firstRecord
    for _ in 0..<header.answers {
      guard let record = Record(message, &at) else { return nil }
      guard record.type == kind.rawValue, record.isInternet, record.owner == owner else { continue }
      isFound = true
      ttl = min(ttl, record.ttlSeconds)
      guard kind == .service else { continue }
      guard record.data.count > 6, let target = record.name(message, from: 6) else { return nil }
      let start = record.data.lowerBound
      let port = DNSAnswer.short(message, start + 4)
      // The root is the answer that there is no such service (RFC 2782).
      guard target != [0], port > 0 else { continue }
      guard let text = DNSAnswer.hostName(target) else { return nil }
      if services.count < DNSAnswer.servicesMax {
        services.append(
          Service(
            target: text, port: port, priority: DNSAnswer.short(message, start),
            weight: DNSAnswer.short(message, start + 2)))
      }
    }
    guard isFound else { return nil }
    ttlSeconds = ttl
    self.services = services
  }

  // MARK: Parts of a message

  private struct Header {
    static let bytes = 12
    let answers: UInt16

    /// That of a response without an error to one question.
    init?(_ message: Span<UInt8>) {
      guard message.count >= Header.bytes else { return nil }
      let flags = DNSAnswer.short(message, 2)
      let (isResponse, operation, code) = (flags & 0x8000 != 0, flags >> 11 & 15, flags & 15)
      guard isResponse, operation == 0, code == 0, DNSAnswer.short(message, 4) == 1 else { return nil }
      answers = DNSAnswer.short(message, 6)
    }
  }

  private struct Record {
    let owner: [UInt8]
    let type: UInt16
    let isInternet: Bool
    let ttlSeconds: UInt32
    let data: Range<Int>

    init?(_ message: Span<UInt8>, _ at: inout Int) {
      guard let owner = DNSAnswer.name(message, &at), at + 10 <= message.count else { return nil }
      self.owner = owner
      type = DNSAnswer.short(message, at)
      isInternet = DNSAnswer.short(message, at + 2) == DNSAnswer.internet
      let ttl = UInt32(DNSAnswer.short(message, at + 4)) << 16 | UInt32(DNSAnswer.short(message, at + 6))
      // RFC 2181 section 8: with the first bit set it is zero.
      ttlSeconds = ttl > UInt32(Int32.max) ? 0 : ttl
      let count = Int(DNSAnswer.short(message, at + 8))
      at += 10
      guard at + count <= message.count else { return nil }
      data = at..<at + count
      at += count
    }

    /// The name that the data end with.
    func name(_ message: Span<UInt8>, from offset: Int) -> [UInt8]? {
      var at = data.lowerBound + offset
      guard let name = DNSAnswer.name(message, &at), at == data.upperBound else { return nil }
      return name
    }
  }

  private static func short(_ message: Span<UInt8>, _ at: Int) -> UInt16 {
    UInt16(message[at]) << 8 | UInt16(message[at + 1])
  }

  /// A name (RFC 1035 sections 3.1 and 4.1.4): lengths and labels in lower case, with the empty one at its end.
  private static func name(_ message: Span<UInt8>, _ at: inout Int) -> [UInt8]? {
    var name: [UInt8] = []
    var position = at
    // A pointer leads in front of the part that it ends.
    var partStart = at
    var hasJumped = false
    while true {
      guard position < message.count else { return nil }
      let length = Int(message[position])
      switch length >> 6 {
      case 0:
        guard name.count + 1 + length <= 255, position + 1 + length <= message.count else { return nil }
        name.append(UInt8(length))
        for index in position + 1..<position + 1 + length {
          name.append(message[index].asciiLowercased)
        }
        position += 1 + length
        if length == 0 {
          if !hasJumped { at = position }
          return name
        }
      case 3:
        guard position + 1 < message.count else { return nil }
        let target = Int(short(message, position) & 0x3fff)
        guard target < partStart else { return nil }
        if !hasJumped { at = position + 2 }
        hasJumped = true
        position = target
        partStart = target
      default: return nil
      }
    }
  }

  /// As text; nil where it is no host name (RFC 1123 section 2.1; `_` as containers use it), which would be another name as text, or
  /// an address.
  private static func hostName(_ name: [UInt8]) -> String? {
    var text: [UInt8] = []
    var isNumber = false
    var at = 0
    while name[at] != 0 {
      let label = name[at + 1...at + Int(name[at])]
      guard label.first != 0x2d, label.last != 0x2d,
        label.allSatisfy({
          (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x5f
        })
      else { return nil }
      isNumber = label.allSatisfy { (0x30...0x39).contains($0) }
      if !text.isEmpty { text.append(0x2e) }
      text += label
      at += 1 + label.count
    }
    return text.isEmpty || isNumber ? nil : String(decoding: text, as: UTF8.self)
  }
}
