// The short texts of a handover: what the new process keeps, what changed last before it goes on, and what was counted.

/// The new process is ready to start: which of the listeners and admin listeners it goes on with, by their place in the state.
public struct HandoverPrepared: Equatable, Sendable {
  public var listeners: [Int]
  public var admin: [Int]
  /// Sections of `HandoverLate` that it takes, of those that the old process can say (`HandoverState.lateSections`).
  public var lateSections: [HandoverLate.Section]

  public init(listeners: [Int], admin: [Int], lateSections: [HandoverLate.Section] = []) {
    self.listeners = listeners
    self.admin = admin
    self.lateSections = lateSections
  }

  private static let tag: UInt8 = 1

  public var bytes: [UInt8] {
    var writer = HandoverWriter()
    writer.write(list: listeners) { $0.write(count: $1) }
    writer.write(list: admin) { $0.write(count: $1) }
    // A process of a version that has no sections reads nothing behind the lists.
    if !lateSections.isEmpty {
      writer.write(section: HandoverPrepared.tag) { $0.write(bytes: lateSections.map(\.rawValue)) }
    }
    return writer.bytes
  }

  public init(_ bytes: [UInt8]) throws(HandoverFault) {
    var reader = HandoverReader(bytes)
    func places(_ reader: inout HandoverReader) throws(HandoverFault) -> [Int] {
      try reader.list(most: HandoverState.listMax, "what is kept") { body throws(HandoverFault) in
        try body.count(most: HandoverState.listMax, "what is kept")
      }
    }
    listeners = try places(&reader)
    admin = try places(&reader)
    lateSections = []
    var seen: Set<UInt8> = []
    while let section = try reader.section("what is kept") {
      var body = section.body
      guard seen.insert(section.tag).inserted else { throw .malformed("a section that comes twice") }
      guard section.tag == HandoverPrepared.tag else {
        guard !section.mustBeUnderstood else { throw .malformed("a section that must be understood") }
        continue
      }
      lateSections = try HandoverLate.Section.list(&body)
      try body.end("what is kept")
    }
  }
}

/// What changes until the new process goes on: which routes are closed, which servers are out, what was counted, and what is known of
/// listeners' clients. Also, without the rest, the counts of a process that has drained.
///
/// Behind three lists it has sections, each of which is only said to a process that has asked for it (`HandoverPrepared.lateSections`).
public struct HandoverLate: Equatable, Sendable {
  /// A later version of one has a tag of its own.
  public enum Section: UInt8, CaseIterable, Sendable {
    case collapses = 1

    /// In rising order, without those of later versions; at least one is listed.
    static func list(_ body: inout HandoverReader) throws(HandoverFault) -> [Section] {
      let what = "the sections that come late"
      let tags = try body.byteList(most: 255, what)
      guard !tags.isEmpty, !tags.contains(0), zip(tags, tags.dropFirst()).allSatisfy(<) else { throw .malformed(what) }
      return tags.compactMap(Section.init(rawValue:))
    }
  }

  /// What is known of listeners' clients (Proxy's CollapseMonitor).
  public struct Collapses: Equatable, Sendable {
    /// With it addresses are hashed.
    public var secret: UInt64
    public var monitors: [Monitor]

    public init(secret: UInt64, monitors: [Monitor]) {
      self.secret = secret
      self.monitors = monitors
    }
  }

  public struct Monitor: Equatable, Sendable {
    public var listener: String
    public var bytes: [UInt8]

    public init(listener: String, bytes: [UInt8]) {
      self.listener = listener
      self.bytes = bytes
    }
  }

  public var closures: [HandoverState.Closure]
  public var servers: [HandoverState.Server]
  public var counts: [HandoverState.Count]
  public var collapses: Collapses?

  public init(
    closures: [HandoverState.Closure] = [], servers: [HandoverState.Server] = [], counts: [HandoverState.Count] = [],
    collapses: Collapses? = nil
  ) {
    self.closures = closures
    self.servers = servers
    self.counts = counts
    self.collapses = collapses
  }

  public var bytes: [UInt8] {
    var writer = HandoverWriter()
    writer.write(list: closures) { $1.write(to: &$0) }
    writer.write(list: servers) {
      $0.write(text: $1.upstream)
      $0.write(text: $1.name)
      $0.write(word: UInt64($1.reason.rawValue))
      $0.write(text: $1.why)
      $0.write(word: $1.user)
      $0.write(word: $1.sinceWallMilliseconds)
    }
    writer.write(list: counts) {
      $0.write(text: $1.name)
      $0.write(word: $1.value)
    }
    if let collapses {
      writer.write(section: Section.collapses.rawValue) { out in
        out.write(word: collapses.secret)
        out.write(list: collapses.monitors) {
          $0.write(text: $1.listener)
          $0.write(bytes: $1.bytes)
        }
      }
    }
    return writer.bytes
  }

  public init(_ bytes: [UInt8]) throws(HandoverFault) {
    var reader = HandoverReader(bytes)
    closures = try reader.list(most: HandoverState.listMax, "closed routes") { body throws(HandoverFault) in
      try HandoverState.Closure(&body)
    }
    servers = try reader.list(most: HandoverState.listMax, "servers") { body throws(HandoverFault) in
      let what = "servers"
      let upstream = try body.text(most: HandoverState.textMax, what)
      let name = try body.text(most: HandoverState.textMax, what)
      guard let reason = HandoverState.Server.Reason(rawValue: UInt8(clamping: try body.word(what))) else {
        throw .malformed(what)
      }
      return HandoverState.Server(
        upstream: upstream, name: name, reason: reason, why: try body.text(most: HandoverState.textMax, what),
        user: try body.word(what), sinceWallMilliseconds: try body.word(what))
    }
    counts = try reader.list(most: HandoverState.listMax, "counters") { body throws(HandoverFault) in
      HandoverState.Count(
        name: try body.text(most: HandoverState.textMax, "counters"), value: try body.word("counters"))
    }
    var seen: Set<UInt8> = []
    while let section = try reader.section("a section that comes late") {
      var body = section.body
      guard seen.insert(section.tag).inserted else { throw .malformed("a section that comes twice") }
      guard let known = Section(rawValue: section.tag) else {
        guard !section.mustBeUnderstood else { throw .malformed("a section that must be understood") }
        continue
      }
      switch known {
      case .collapses: collapses = try HandoverLate.collapses(&body)
      }
      try body.end("the end of a section")
    }
  }

  private static func collapses(_ body: inout HandoverReader) throws(HandoverFault) -> Collapses {
    let what = "what is known of listeners' clients"
    return Collapses(
      secret: try body.word(what),
      monitors: try body.list(most: HandoverState.listMax, what) { body throws(HandoverFault) in
        Monitor(
          listener: try body.text(most: HandoverState.textMax, what),
          bytes: try body.byteList(most: HandoverFrame.bytesMax, what))
      })
  }
}
