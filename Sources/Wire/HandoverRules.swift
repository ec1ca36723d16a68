// What is said between two processes of an upgrade behind the handover, as long as the older one drains: the newer one says by which
// rules it serves, as far as they decide about what the older one still holds; the older one says how much that is.
//
// Both go only to a process that is known to take them: the older one says so in its state (`HandoverState.takesRules`), the newer
// one by rules in its `accepting`. They are sections, as in HandoverState, so that a later version can say more.
//
// Rules have as many routes and ranges as a configuration; only the frame bounds them. A list takes four bytes for each entry at least.

public struct HandoverRules: Equatable, Sendable {
  /// A route of the newer process's configuration, in the order of its file.
  public struct Route: Equatable, Sendable {
    /// Empty: it has none.
    public var name: String
    /// What it matches, in words, with listeners by their address. Only compared.
    public var match: String
    public var isEnabled: Bool
    public var needsDistinctClients: Bool
    /// Ranges of addresses, as a configuration writes them.
    public var allow: [String]
    public var deny: [String]

    public init(
      name: String = "", match: String, isEnabled: Bool = true, needsDistinctClients: Bool = false,
      allow: [String] = [], deny: [String] = []
    ) {
      self.name = name
      self.match = match
      self.isEnabled = isEnabled
      self.needsDistinctClients = needsDistinctClients
      self.allow = allow
      self.deny = deny
    }
  }

  /// Later rules have a greater one, whichever process they come from: microseconds of the monotonic clock.
  public var number: UInt64
  /// A request may get something else there than by the older process's rules: it serves none any more.
  public var areOther: Bool
  /// All that operators have closed.
  public var closures: [HandoverState.Closure]
  public var routes: [Route]
  /// The listeners whose clients cannot be told apart, by the address that clients connect to. Only compared.
  public var collapsedListeners: [String]

  public init(
    number: UInt64, areOther: Bool, closures: [HandoverState.Closure] = [], routes: [Route] = [],
    collapsedListeners: [String] = []
  ) {
    self.number = number
    self.areOther = areOther
    self.closures = closures
    self.routes = routes
    self.collapsedListeners = collapsedListeners
  }

  /// For who can know no rules: there is no route, so none is open, and no request is begun.
  public static func unknown(number: UInt64) -> HandoverRules { HandoverRules(number: number, areOther: true) }

  /// What is sent. Where it is more than a frame has room for, whoever cannot be told what is closed is told that nothing is open.
  public var frame: [UInt8] {
    let all = bytes
    return all.count <= HandoverFrame.bytesMax ? all : HandoverRules.unknown(number: number).bytes
  }

  private enum Tag: UInt8, CaseIterable { case service = 1, closures, routes, listeners }

  public var bytes: [UInt8] {
    var writer = HandoverWriter()
    writer.write(section: Tag.service.rawValue) {
      $0.write(word: number)
      $0.write(flag: areOther)
    }
    writer.write(section: Tag.closures.rawValue) { $0.write(list: closures) { $1.write(to: &$0) } }
    writer.write(section: Tag.routes.rawValue) {
      $0.write(list: routes) { out, route in
        out.write(text: route.name)
        out.write(text: route.match)
        out.write(flag: route.isEnabled)
        out.write(flag: route.needsDistinctClients)
        out.write(list: route.allow) { $0.write(text: $1) }
        out.write(list: route.deny) { $0.write(text: $1) }
      }
    }
    writer.write(section: Tag.listeners.rawValue) { $0.write(list: collapsedListeners) { $0.write(text: $1) } }
    return writer.bytes
  }

  public init(_ bytes: [UInt8]) throws(HandoverFault) {
    self.init(number: 0, areOther: true)
    var reader = HandoverReader(bytes)
    var seen: Set<UInt8> = []
    while let section = try reader.section("a section of the rules") {
      var body = section.body
      guard seen.insert(section.tag).inserted else { throw .malformed("a section that comes twice") }
      guard let tag = Tag(rawValue: section.tag) else {
        guard !section.mustBeUnderstood else { throw .malformed("a section that must be understood") }
        continue
      }
      switch tag {
      case .service:
        number = try body.word("the number of the rules")
        areOther = try body.flag("the rules")
      case .closures:
        closures = try body.list(most: HandoverFrame.bytesMax, "closed routes") { body throws(HandoverFault) in
          try HandoverState.Closure(&body)
        }
      case .routes: routes = try body.list(most: HandoverFrame.bytesMax, "routes", HandoverRules.route)
      case .listeners: collapsedListeners = try HandoverRules.texts(&body, "listeners")
      }
      try body.end("the end of a section")
    }
    guard Tag.allCases.allSatisfy({ seen.contains($0.rawValue) }) else { throw .malformed("a section that is missing") }
  }

  /// One value of a configuration can be as long as this.
  private static let textMax = 4 << 20

  private static func texts(_ body: inout HandoverReader, _ what: String) throws(HandoverFault) -> [String] {
    try body.list(most: HandoverFrame.bytesMax, what) { body throws(HandoverFault) in
      try body.text(most: textMax, what)
    }
  }

  private static func route(_ body: inout HandoverReader) throws(HandoverFault) -> Route {
    let what = "routes"
    return Route(
      name: try body.text(most: textMax, what), match: try body.text(most: textMax, what),
      isEnabled: try body.flag(what), needsDistinctClients: try body.flag(what), allow: try texts(&body, what),
      deny: try texts(&body, what))
  }
}

/// What an older process still has, with those before it.
public struct HandoverDraining: Equatable, Sendable {
  /// What those before it have, which is counted in the sums, too.
  public struct Before: Equatable, Sendable {
    public struct Sums: Equatable, Sendable {
      public var requests: UInt64
      public var tunnels: UInt64

      public init(requests: UInt64, tunnels: UInt64) {
        self.requests = requests
        self.tunnels = tunnels
      }
    }

    /// By their numbers, the latest first.
    public var processes: [UInt64]
    /// Nil: it is not known.
    public var sums: Sums?

    public init(processes: [UInt64], sums: Sums?) {
      self.processes = processes
      self.sums = sums
    }
  }

  public var requests: UInt64
  public var tunnels: UInt64
  /// The number of the latest rules by which all of them go.
  public var heard: UInt64
  /// What is left where the process ends that says this. Nil: nothing.
  public var before: Before?

  public init(requests: UInt64, tunnels: UInt64, heard: UInt64, before: Before? = nil) {
    self.requests = requests
    self.tunnels = tunnels
    self.heard = heard
    self.before = before
  }

  private enum Tag: UInt8 { case sums = 1, before }

  public var bytes: [UInt8] {
    var writer = HandoverWriter()
    writer.write(section: Tag.sums.rawValue) {
      $0.write(word: requests)
      $0.write(word: tunnels)
      $0.write(word: heard)
    }
    guard let before else { return writer.bytes }
    writer.write(section: Tag.before.rawValue, mustBeUnderstood: false) {
      $0.write(list: before.processes) { $0.write(word: $1) }
      $0.write(flag: before.sums != nil)
      if let sums = before.sums {
        $0.write(word: sums.requests)
        $0.write(word: sums.tunnels)
      }
    }
    return writer.bytes
  }

  public init(_ bytes: [UInt8]) throws(HandoverFault) {
    let what = "what an older process still has"
    self.init(requests: 0, tunnels: 0, heard: 0)
    var reader = HandoverReader(bytes)
    var seen: Set<UInt8> = []
    while let section = try reader.section(what) {
      var body = section.body
      guard seen.insert(section.tag).inserted else { throw .malformed("a section that comes twice") }
      guard let tag = Tag(rawValue: section.tag) else {
        guard !section.mustBeUnderstood else { throw .malformed(what) }
        continue
      }
      switch tag {
      case .sums: (requests, tunnels, heard) = (try body.word(what), try body.word(what), try body.word(what))
      case .before:
        let processes = try body.list(most: HandoverState.listMax, what) { body throws(HandoverFault) in
          try body.word(what)
        }
        var sums: Before.Sums?
        if try body.flag(what) { sums = .init(requests: try body.word(what), tunnels: try body.word(what)) }
        before = Before(processes: processes, sums: sums)
      }
      try body.end(what)
    }
    guard seen.contains(Tag.sums.rawValue) else { throw .malformed(what) }
  }
}

extension HandoverState.Closure {
  func write(to writer: inout HandoverWriter) {
    writer.write(text: route)
    writer.write(text: why)
    writer.write(word: user)
    writer.write(word: sinceWallMilliseconds)
    writer.write(word: endMilliseconds)
    writer.write(flag: endWallMilliseconds != nil)
    writer.write(word: endWallMilliseconds ?? 0)
  }

  init(_ body: inout HandoverReader) throws(HandoverFault) {
    let what = "closed routes"
    route = try body.text(most: HandoverState.textMax, what)
    why = try body.text(most: HandoverState.textMax, what)
    user = try body.word(what)
    sinceWallMilliseconds = try body.word(what)
    endMilliseconds = try body.word(what)
    let hasWallEnd = try body.flag(what)
    let wallEnd = try body.word(what)
    guard hasWallEnd || wallEnd == 0 else { throw .malformed(what) }
    endWallMilliseconds = hasWallEnd ? wallEnd : nil
  }
}
