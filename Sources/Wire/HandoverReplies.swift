// The short texts of a handover: what the new process keeps, what changed last before it goes on, and what was counted.

/// The new process is ready to start: which of the listeners and admin listeners it goes on with, by their place in the state.
public struct HandoverPrepared: Equatable, Sendable {
  public var listeners: [Int]
  public var admin: [Int]

  public init(listeners: [Int], admin: [Int]) {
    self.listeners = listeners
    self.admin = admin
  }

  public var bytes: [UInt8] {
    var writer = HandoverWriter()
    writer.write(list: listeners) { $0.write(count: $1) }
    writer.write(list: admin) { $0.write(count: $1) }
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
    try reader.end("what is kept")
  }
}

/// What changes until the new process goes on: which routes are closed, which servers are out, and what was counted. Also, without these, the counts of a
/// process that has drained.
public struct HandoverLate: Equatable, Sendable {
  public var closures: [HandoverState.Closure]
  public var servers: [HandoverState.Server]
  public var counts: [HandoverState.Count]

  public init(
    closures: [HandoverState.Closure] = [], servers: [HandoverState.Server] = [], counts: [HandoverState.Count] = []
  ) {
    self.closures = closures
    self.servers = servers
    self.counts = counts
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
    try reader.end("counters")
  }
}
