// What the old process tells the new one in an upgrade, but for sockets and memory themselves, which it names by their number in
// the order in which the descriptors came, and for secrets.
//
// Adding to it: a section of its own, with a tag that was never used, that need not be understood where the new process can do
// without. What changes until the last moment (closed routes, servers that are out, counters) is in HandoverLate.

public struct HandoverState: Equatable, Sendable {
  /// Several sockets of one address, or one that is shared.
  public struct Socket: Equatable, Sendable {
    public var name: String
    /// As a configuration writes it.
    public var address: String
    /// One socket for all workers.
    public var isShared: Bool
    /// The file of a unix socket is removed with it; what systemd made is systemd's.
    public var ownsFile: Bool
    public var first: Int
    public var count: Int

    public init(name: String, address: String, isShared: Bool, ownsFile: Bool, first: Int, count: Int) {
      self.name = name
      self.address = address
      self.isShared = isShared
      self.ownsFile = ownsFile
      self.first = first
      self.count = count
    }
  }

  public struct Table: Equatable, Sendable {
    public var purpose: String
    public var key: String
    public var descriptor: Int

    public init(purpose: String, key: String, descriptor: Int) {
      self.purpose = purpose
      self.key = key
      self.descriptor = descriptor
    }
  }

  public struct VerifyingKey: Equatable, Sendable {
    public var id: String
    public var purpose: String
    public var fingerprint: UInt64
    public var notBefore: UInt64
    public var expires: UInt64

    public init(id: String, purpose: String, fingerprint: UInt64, notBefore: UInt64, expires: UInt64) {
      self.id = id
      self.purpose = purpose
      self.fingerprint = fingerprint
      self.notBefore = notBefore
      self.expires = expires
    }
  }

  public struct Authorities: Equatable, Sendable {
    public var path: String
    public var certificates: [String]
    public var rest: String?

    public init(path: String, certificates: [String], rest: String?) {
      self.path = path
      self.certificates = certificates
      self.rest = rest
    }
  }

  /// A revocation list in the files of authorities.
  public struct RevocationList: Equatable, Sendable {
    public var digest: String
    public var issuer: String
    public var made: Int64

    public init(digest: String, issuer: String, made: Int64) {
      self.digest = digest
      self.issuer = issuer
      self.made = made
    }
  }

  /// A file of names and passwords.
  public struct UserFile: Equatable, Sendable {
    public var path: String
    public var digest: [UInt8]

    public init(path: String, digest: [UInt8]) {
      self.path = path
      self.digest = digest
    }
  }

  public struct Closure: Equatable, Sendable {
    public var route: String
    public var why: String
    public var user: UInt64
    public var sinceWallMilliseconds: UInt64
    /// Of the monotonic clock; `.max`: until somebody opens it.
    public var endMilliseconds: UInt64
    public var endWallMilliseconds: UInt64?

    public init(
      route: String, why: String, user: UInt64, sinceWallMilliseconds: UInt64, endMilliseconds: UInt64,
      endWallMilliseconds: UInt64?
    ) {
      self.route = route
      self.why = why
      self.user = user
      self.sinceWallMilliseconds = sinceWallMilliseconds
      self.endMilliseconds = endMilliseconds
      self.endWallMilliseconds = endWallMilliseconds
    }
  }

  /// What is known of a server that has no requests now.
  public struct Server: Equatable, Sendable {
    /// An operator has taken it out, or checks have.
    public enum Reason: UInt8, CaseIterable, Sendable { case drained, takenDown, checksFail }

    public var upstream: String
    public var name: String
    public var reason: Reason
    public var why: String
    public var user: UInt64
    public var sinceWallMilliseconds: UInt64

    public init(
      upstream: String, name: String, reason: Reason, why: String, user: UInt64, sinceWallMilliseconds: UInt64
    ) {
      self.upstream = upstream
      self.name = name
      self.reason = reason
      self.why = why
      self.user = user
      self.sinceWallMilliseconds = sinceWallMilliseconds
    }
  }

  public struct Count: Equatable, Sendable {
    public var name: String
    public var value: UInt64

    public init(name: String, value: UInt64) {
      self.name = name
      self.value = value
    }
  }

  /// Which upgrade this is, for who asks about it afterwards.
  public var attempt: UInt64 = 0
  public var generation: UInt64 = 0
  public var descriptors = 0
  /// When the service began to take signed messages, on the monotonic clock.
  public var startedMilliseconds: UInt64 = 0
  public var windowStartMilliseconds: UInt64 = 0
  public var windowLatestMilliseconds: UInt64 = 0
  /// The largest with which messages have been taken since that start; 0: the old process does not say.
  public var skewMilliseconds: UInt64 = 0
  public var windowBits = 0
  public var epochsMax = 0
  public var tables: [Table] = []
  public var listeners: [Socket] = []
  /// `admin` and `control`.
  public var admin: [Socket] = []
  /// The configuration in use with every default written out, and its file.
  public var configuration = ""
  public var file = ""
  public var keys: [VerifyingKey] = []
  public var authorities: [Authorities] = []
  /// What is known of revocation lists, which `authorities` have by their digests alone.
  public var revocationLists: [RevocationList] = []
  /// While it drains the old process goes by what the new one says later (HandoverRules).
  public var takesRules = false
  public var userFiles: [UserFile] = []
  /// What the old process can say of it at the last moment (HandoverLate), where the new one asks for it.
  public var lateSections: [HandoverLate.Section] = []

  public init() {}

  private enum Tag: UInt8 { case service = 1, windows, listeners, admin, trust, drain, late, revocations }

  // MARK: Bounds

  static let listMax = 1 << 16
  static let textMax = 4_096
  public static let descriptorsMax = 1 << 16

  // MARK: Writing

  public var bytes: [UInt8] {
    var writer = HandoverWriter()
    writer.write(section: Tag.service.rawValue) { out in
      out.write(word: attempt)
      out.write(word: generation)
      out.write(count: descriptors)
      out.write(word: startedMilliseconds)
    }
    writer.write(section: Tag.windows.rawValue) { out in
      out.write(word: windowStartMilliseconds)
      out.write(word: windowLatestMilliseconds)
      out.write(count: windowBits)
      out.write(count: epochsMax)
      out.write(list: tables) {
        $0.write(text: $1.purpose)
        $0.write(text: $1.key)
        $0.write(count: $1.descriptor)
      }
    }
    writer.write(section: Tag.listeners.rawValue) { $0.write(list: listeners, HandoverState.write) }
    writer.write(section: Tag.admin.rawValue) { $0.write(list: admin, HandoverState.write) }
    writer.write(section: Tag.trust.rawValue) { out in
      out.write(text: file)
      out.write(text: configuration)
      out.write(list: keys) {
        $0.write(text: $1.id)
        $0.write(text: $1.purpose)
        $0.write(word: $1.fingerprint)
        $0.write(word: $1.notBefore)
        $0.write(word: $1.expires)
      }
      out.write(list: authorities) {
        $0.write(text: $1.path)
        $0.write(list: $1.certificates) { $0.write(text: $1) }
        $0.write(flag: $1.rest != nil)
        $0.write(text: $1.rest ?? "")
      }
    }
    writer.write(section: Tag.drain.rawValue, mustBeUnderstood: false) { out in
      out.write(flag: takesRules)
      out.write(word: skewMilliseconds)
      out.write(list: userFiles) {
        $0.write(text: $1.path)
        $0.write(bytes: $1.digest)
      }
    }
    if !revocationLists.isEmpty {
      writer.write(section: Tag.revocations.rawValue, mustBeUnderstood: false) { out in
        out.write(list: revocationLists) {
          $0.write(text: $1.digest)
          $0.write(text: $1.issuer)
          $0.write(word: UInt64(bitPattern: $1.made))
        }
      }
    }
    if !lateSections.isEmpty {
      writer.write(section: Tag.late.rawValue, mustBeUnderstood: false) {
        $0.write(bytes: lateSections.map(\.rawValue))
      }
    }
    return writer.bytes
  }

  private static func write(_ out: inout HandoverWriter, _ socket: Socket) {
    out.write(text: socket.name)
    out.write(text: socket.address)
    out.write(flag: socket.isShared)
    out.write(flag: socket.ownsFile)
    out.write(count: socket.first)
    out.write(count: socket.count)
  }

  // MARK: Reading

  /// Each descriptor is used exactly once, or this is a fault.
  public init(_ bytes: [UInt8]) throws(HandoverFault) {
    var reader = HandoverReader(bytes)
    var seen: Set<UInt8> = []
    while let section = try reader.section("a section") {
      let tag = section.tag
      var body = section.body
      guard seen.insert(tag).inserted else { throw .malformed("a section that comes twice") }
      guard let known = Tag(rawValue: tag) else {
        guard !section.mustBeUnderstood else { throw .malformed("a section that must be understood") }
        continue
      }
      try read(known, &body)
      try body.end("the end of a section")
    }
    for tag in [Tag.service, .windows, .listeners, .admin, .trust] where !seen.contains(tag.rawValue) {
      throw .malformed("a section that is missing")
    }
    try checkDescriptors()
  }

  private mutating func read(_ tag: Tag, _ body: inout HandoverReader) throws(HandoverFault) {
    switch tag {
    case .service:
      attempt = try body.word("the attempt")
      generation = try body.word("the generation")
      descriptors = try body.count(most: HandoverState.descriptorsMax, "the number of descriptors")
      startedMilliseconds = try body.word("the start")
    case .windows:
      windowStartMilliseconds = try body.word("the start of the windows")
      windowLatestMilliseconds = try body.word("the start of the windows")
      windowBits = try body.count(most: 1 << 24, "the size of the windows")
      epochsMax = try body.count(most: 1 << 16, "the size of the windows")
      tables = try body.list(most: HandoverState.listMax, "replay windows") { body throws(HandoverFault) in
        Table(
          purpose: try body.text(most: 64, "replay windows"), key: try body.text(most: 64, "replay windows"),
          descriptor: try body.count(most: HandoverState.descriptorsMax, "replay windows"))
      }
    case .listeners: listeners = try body.list(most: HandoverState.listMax, "listeners", HandoverState.socket)
    case .admin: admin = try body.list(most: 2, "admin listeners", HandoverState.socket)
    case .trust: try readTrust(&body)
    case .drain:
      takesRules = try body.flag("the drain")
      skewMilliseconds = try body.word("the skew of the windows")
      userFiles = try body.list(most: HandoverState.listMax, "password files") { body throws(HandoverFault) in
        UserFile(
          path: try body.text(most: HandoverState.textMax, "password files"),
          digest: try body.byteList(most: 64, "password files"))
      }
    case .revocations:
      revocationLists = try body.list(most: HandoverState.listMax, "revocation lists") { body throws(HandoverFault) in
        RevocationList(
          digest: try body.text(most: 64, "revocation lists"), issuer: try body.text(most: 64, "revocation lists"),
          made: Int64(bitPattern: try body.word("revocation lists")))
      }
    case .late: lateSections = try HandoverLate.Section.list(&body)
    }
  }

  private mutating func readTrust(_ body: inout HandoverReader) throws(HandoverFault) {
    let what = "what is trusted"
    file = try body.text(most: HandoverState.textMax, what)
    configuration = try body.text(most: HandoverFrame.bytesMax, what)
    keys = try body.list(most: HandoverState.listMax, what) { body throws(HandoverFault) in
      VerifyingKey(
        id: try body.text(most: 64, what), purpose: try body.text(most: 64, what),
        fingerprint: try body.word(what), notBefore: try body.word(what), expires: try body.word(what))
    }
    authorities = try body.list(most: HandoverState.listMax, what) { body throws(HandoverFault) in
      let path = try body.text(most: HandoverState.textMax, what)
      let certificates = try body.list(most: HandoverState.listMax, what) { body throws(HandoverFault) in
        try body.text(most: 64, what)
      }
      let isKnown = try body.flag(what)
      let rest = try body.text(most: 64, what)
      guard isKnown || rest.isEmpty else { throw .malformed(what) }
      return Authorities(path: path, certificates: certificates, rest: isKnown ? rest : nil)
    }
  }

  private static func socket(_ body: inout HandoverReader) throws(HandoverFault) -> Socket {
    let what = "a listening socket"
    return Socket(
      name: try body.text(most: textMax, what), address: try body.text(most: textMax, what),
      isShared: try body.flag(what), ownsFile: try body.flag(what), first: try body.count(most: descriptorsMax, what),
      count: try body.count(most: descriptorsMax, what))
  }

  private func checkDescriptors() throws(HandoverFault) {
    var isUsed = [Bool](repeating: false, count: descriptors)
    let ranges = tables.map { ($0.descriptor, 1) } + (listeners + admin).map { ($0.first, $0.count) }
    for (first, count) in ranges {
      guard count > 0, first + count <= descriptors else { throw .malformed("the number of a descriptor") }
      for i in first..<first + count {
        guard !isUsed[i] else { throw .malformed("the number of a descriptor") }
        isUsed[i] = true
      }
    }
    guard !isUsed.contains(false) else { throw .malformed("the number of a descriptor") }
  }
}
