// Names that claim something about the client and stand in no list, told by their words. Proxies name such fields in
// their own ways (`Fly-Client-IP`, `EO-Connecting-IP`, `X-Acme-Real-IP`), but with the same few words; docs/IDENTITY.md
// section 6 has the rule for people.
// Invariant: only whole words count, so `Clientele`, `X-Clip-Id` and `Surreal-IP` are nobody's claim. Nothing is allocated.
// Called by FieldNames, for a request's names that the table does not know.

struct ClaimShapes: Sendable {
  static let shared = ClaimShapes()

  /// What one word of a name can be part of.
  private struct Role: OptionSet, Sendable {
    let rawValue: UInt32
    /// Stands before `ip` and before `addr`: `client`, `remote`.
    static let subject = Role(rawValue: 1)
    /// Stands before `ip` alone: with `address` it may be a place, a wallet or a mailbox.
    static let ipSubject = Role(rawValue: 2)
    static let ip = Role(rawValue: 4)
    static let address = Role(rawValue: 8)
    /// `forwarded`, and what a proxy tells with it.
    static let forwarded = Role(rawValue: 16)
    static let told = Role(rawValue: 32)
    static let client = Role(rawValue: 64)
    static let certificate = Role(rawValue: 128)
    static let verify = Role(rawValue: 256)
    static let tls = Role(rawValue: 512)
    static let remote = Role(rawValue: 1024)
    static let user = Role(rawValue: 2048)
    /// A claim by itself, at the end of a name: `clientip`, `forwardedfor`, `remoteuser`.
    static let whole = Role(rawValue: 4096)
    /// A claim by itself, anywhere: `clientcert`.
    static let wholeCertificate = Role(rawValue: 8192)
    /// May follow a claim without making it another thing: `X-Client-IP-Address`, `X-Real-IP-Port`.
    static let tail = Role(rawValue: 16384)
  }

  private struct Word: Sendable {
    var word0: UInt64 = 0
    var word1: UInt64 = 0
    var role: Role = []
  }

  private static let subjects = [
    "client", "remote", "real", "connecting", "viewer", "visitor", "peer", "originating", "source", "src",
  ]
  private static let ipSubjects = [
    "true", "user", "enduser", "original", "orig", "origin", "caller", "external", "connection", "forwarded", "proxied",
  ]
  private static let ips = ["ip", "ipv4", "ipv6", "ipaddr", "ipaddress"]
  private static let addresses = ["addr", "address"]
  private static let told = ["for", "proto", "protocol", "scheme", "host", "port", "ssl"]

  private static let bytesMax = 16
  private static let slotBits: UInt64 = 9
  private var slots: [UInt8]
  private var words: [Word] = []

  private init() {
    slots = [UInt8](repeating: 0, count: 1 << Self.slotBits)
    for subject in Self.subjects {
      add(subject, .subject)
      for object in Self.ips + Self.addresses { add(subject + object, .whole) }
    }
    for subject in Self.ipSubjects {
      add(subject, .ipSubject)
      for object in Self.ips { add(subject + object, .whole) }
    }
    for ip in Self.ips { add(ip, [.ip, .tail]) }
    for address in Self.addresses { add(address, [.address, .tail]) }
    for tail in ["v4", "v6", "port"] { add(tail, .tail) }
    for word in ["forwarded", "forward"] {
      add(word, .forwarded)
      for told in Self.told { add(word + told, .whole) }
    }
    for told in Self.told { add(told, .told) }
    add("client", .client)
    for word in ["cert", "certs", "certificate", "certificates"] {
      add(word, .certificate)
      add("client" + word, .wholeCertificate)
    }
    for word in ["verify", "verified"] {
      add(word, .verify)
      add("client" + word, .whole)
    }
    for word in ["ssl", "tls", "mtls"] { add(word, .tls) }
    add("remote", .remote)
    add("user", .user)
    add("remoteuser", .whole)
    precondition(words.count < 1 << 8 && words.count < slots.count / 2, "the table keeps empty slots")
  }

  /// Adds to what a word can be; one that is longer than any real one is left out.
  private mutating func add(_ text: String, _ role: Role) {
    let bytes = Array(text.utf8)
    guard bytes.count <= Self.bytesMax else { return }
    let packed = PackedName(text)
    var slot = Self.hash(packed.word0, packed.word1)
    while slots[slot] != 0 {
      let index = Int(slots[slot]) - 1
      if words[index].word0 == packed.word0, words[index].word1 == packed.word1 {
        words[index].role.formUnion(role)
        return
      }
      slot = (slot &+ 1) & (1 << Self.slotBits - 1)
    }
    words.append(Word(word0: packed.word0, word1: packed.word1, role: role))
    slots[slot] = UInt8(words.count)
  }

  @inline(__always) private static func hash(_ word0: UInt64, _ word1: UInt64) -> Int {
    let mixed = word0 ^ (word1 &* 0x9e37_79b9_7f4a_7c15)
    return Int(truncatingIfNeeded: (mixed &* 0xd6e8_feb8_6659_fd93) &>> (64 &- slotBits))
  }

  @inline(__always) private func role(_ word0: UInt64, _ word1: UInt64) -> Role {
    var slot = Self.hash(word0, word1)
    while true {
      let index = Int(slots[slot])
      if index == 0 { return [] }
      if words[index &- 1].word0 == word0, words[index &- 1].word1 == word1 { return words[index &- 1].role }
      slot = (slot &+ 1) & (1 << Self.slotBits - 1)
    }
  }

  /// Whether the name at `range` ends in a claim, or tells of a client's certificate. Words are divided by whatever is
  /// neither a letter nor a digit, so every spelling that folds to a claim is one.
  @inline(never) func match(_ bytes: Span<UInt8>, _ range: ByteRange) -> Bool {
    var before: Role = []
    var claims = false
    var at = range.lower
    while at < range.upper {
      var word0: UInt64 = 0
      var word1: UInt64 = 0
      var count = 0
      while at < range.upper, Token.isAlphanumeric(bytes[at]) {
        let bits = UInt64(bytes[at] | 0x20) &<< (UInt64(count & 7) &<< 3)
        if count < 8 { word0 |= bits } else if count < Self.bytesMax { word1 |= bits }
        count &+= 1
        at &+= 1
      }
      at &+= 1
      guard count > 0 else { continue }
      let role = count <= Self.bytesMax ? role(word0, word1) : []
      if Self.isCertificate(before, role) { return true }
      if Self.isClaim(before, role) {
        claims = true
      } else if !role.contains(.tail) {
        claims = false
      }
      before = role
    }
    return claims
  }

  /// Anywhere in a name: what follows tells more of it (`X-Client-Cert-Serial`, `X-SSL-Client-S-DN`).
  @inline(__always) private static func isCertificate(_ before: Role, _ role: Role) -> Bool {
    role.contains(.wholeCertificate) || before.contains(.client) && role.contains(.certificate)
      || before.contains(.tls) && role.contains(.client)
  }

  @inline(__always) private static func isClaim(_ before: Role, _ role: Role) -> Bool {
    if role.contains(.whole) { return true }
    if before.contains(.subject), !role.isDisjoint(with: [.ip, .address]) { return true }
    return before.contains(.ipSubject) && role.contains(.ip) || before.contains(.forwarded) && role.contains(.told)
      || before.contains(.client) && role.contains(.verify) || before.contains(.remote) && role.contains(.user)
  }
}
