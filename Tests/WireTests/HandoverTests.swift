// What one process tells the next in an upgrade: read back as it was written, and nothing but that is read.

import Testing
import Wire

@Suite struct HandoverTests {
  static let state: HandoverState = {
    var state = HandoverState()
    (state.attempt, state.generation, state.descriptors, state.startedMilliseconds) = (.max, 7, 6, 1 << 40)
    (state.windowStartMilliseconds, state.windowLatestMilliseconds) = (11, 1_700_000_000_000)
    (state.windowBits, state.epochsMax) = (1 << 18, 1_024)
    state.tables = [
      .init(purpose: "http", key: "k1", descriptor: 1), .init(purpose: "pp2", key: "k1", descriptor: 0),
    ]
    state.listeners = [
      .init(name: "public", address: "127.0.0.1:0", isShared: false, ownsFile: false, first: 2, count: 2),
      .init(name: "löcal", address: "unix:/run/x.sock", isShared: true, ownsFile: true, first: 4, count: 1),
    ]
    state.admin = [.init(name: "admin", address: "unix:/a", isShared: true, ownsFile: true, first: 5, count: 1)]
    (state.file, state.configuration) = ("edge.yaml", "listeners:\n")
    state.keys = [.init(id: "k1", purpose: "http", fingerprint: 0x0123_4567_89ab_cdef, notBefore: 0, expires: .max)]
    state.authorities = [
      .init(path: "/ca.pem", certificates: ["a", "b"], rest: "r"),
      .init(path: "/gone.pem", certificates: [], rest: nil),
    ]
    return state
  }()

  // MARK: Frames

  @Test func aFrameIsReadAsItWasWritten() {
    for kind in HandoverFrame.Kind.allCases {
      for count in [0, 1, 255, 65_536, HandoverFrame.bytesMax] {
        let frame = HandoverFrame(kind: kind, descriptors: kind == .descriptors ? 128 : 0, count: count)
        #expect(HandoverFrame.parse(frame.head.span) == .frame(frame))
      }
    }
  }

  @Test func aHeadThatIsNotWholeIsIncomplete() {
    let head = HandoverFrame(kind: .state, descriptors: 0, count: 300).head
    for count in 0..<head.count { #expect(HandoverFrame.parse(Array(head[..<count]).span) == .incomplete) }
  }

  @Test func anotherVersionIsSaidSo() {
    var head = HandoverFrame(kind: .state, descriptors: 0, count: 0).head
    head[5] = 2
    #expect(HandoverFrame.parse(head.span) == .fault(.otherVersion(2)))
    #expect("\(HandoverFault.otherVersion(2))".contains("in version 2, and this one in version 1"))
  }

  @Test(arguments: [(0, 0x44), (3, 0), (6, 0), (6, 12), (7, 1), (7, 129), (8, 2)] as [(Int, UInt8)])
  func whatIsNoHeadIsAFault(_ at: Int, _ byte: UInt8) {
    var head = HandoverFrame(kind: .state, descriptors: 0, count: 0).head
    head[at] = byte
    guard case .fault = HandoverFrame.parse(head.span) else {
      Issue.record("byte \(at) as \(byte) was taken")
      return
    }
  }

  // MARK: The state

  @Test func theStateIsReadAsItWasWritten() throws {
    #expect(try HandoverState(Self.state.bytes) == Self.state)
    var other = Self.state
    (other.takesRules, other.skewMilliseconds) = (true, 30_000)
    other.userFiles = [.init(path: "/users", digest: [1, 2])]
    #expect(try HandoverState(other.bytes) == other)
  }

  @Test func aStateThatIsCutAnywhereIsAFault() {
    let bytes = Self.state.bytes
    // The last section is one that an earlier version did not have.
    let optional = 6 + 1 + 8 + 4
    for count in 0..<bytes.count where count != bytes.count - optional {
      #expect(throws: HandoverFault.self, "\(count) bytes") { try HandoverState(Array(bytes[..<count])) }
    }
  }

  /// Whatever a byte is changed to, nothing is read that would be written in another way.
  @Test func aChangedByteIsAFaultOrAnotherValue() {
    let bytes = Self.state.bytes
    for at in bytes.indices {
      for mask in [1, 0xff] as [UInt8] {
        var changed = bytes
        changed[at] ^= mask
        if let read = try? HandoverState(changed), read.bytes != changed {
          // The flag that a section must be understood is the one byte that a known section may have either way.
          #expect(read == Self.state, "byte \(at)")
        }
      }
    }
  }

  @Test func bytesBehindTheStateAreAFault() {
    #expect(throws: HandoverFault.self) { try HandoverState(Self.state.bytes + [0]) }
    #expect(throws: HandoverFault.self) { try HandoverState(Self.state.bytes + Self.state.bytes) }
  }

  /// What a program of an earlier version does not say.
  @Test func revocationListsAreReadAsTheyWereWritten() throws {
    var state = Self.state
    let without = state.bytes.count
    state.revocationLists = [
      .init(digest: "first", issuer: "a", made: -5), .init(digest: "second", issuer: "b", made: .max),
    ]
    let bytes = state.bytes
    #expect(try HandoverState(bytes) == state)
    for count in without + 1..<bytes.count {
      #expect(throws: HandoverFault.self, "\(count) bytes") { try HandoverState(Array(bytes[..<count])) }
    }
  }

  @Test func anUnknownSectionIsPassedOverUnlessItMustBeUnderstood() throws {
    for must in [false, true] {
      var more = HandoverWriter()
      more.write(section: 200, mustBeUnderstood: must) { $0.write(text: "health") }
      let bytes = Self.state.bytes + more.bytes
      if must {
        #expect(throws: HandoverFault.self) { try HandoverState(bytes) }
      } else {
        #expect(try HandoverState(bytes) == Self.state)
      }
    }
  }

  @Test func eachDescriptorIsForOneThing() {
    func isTaken(_ change: (inout HandoverState) -> Void) -> Bool {
      var state = Self.state
      change(&state)
      return (try? HandoverState(state.bytes)) != nil
    }
    #expect(isTaken { _ in })
    #expect(!isTaken { $0.descriptors = 5 })
    #expect(!isTaken { $0.descriptors = 7 })
    #expect(!isTaken { $0.tables[0].descriptor = 0 })
    #expect(!isTaken { $0.listeners[0].first = 3 })
    #expect(!isTaken { $0.listeners[0].count = 0 })
    #expect(!isTaken { $0.admin[0].first = 60_000 })
  }

  // MARK: The replies

  @Test func theRepliesAreReadAsTheyWereWritten() throws {
    let prepared = HandoverPrepared(listeners: [0, 2, 65_535], admin: [1])
    #expect(try HandoverPrepared(prepared.bytes) == prepared)
    let more = HandoverPrepared(listeners: [0], admin: [], lateSections: [.collapses])
    #expect(try HandoverPrepared(more.bytes) == more)
    for count in 0..<prepared.bytes.count {
      #expect(throws: HandoverFault.self) { try HandoverPrepared(Array(prepared.bytes[..<count])) }
    }
    let late = HandoverLate(
      closures: [
        .init(
          route: "r", why: "because", user: 1_000, sinceWallMilliseconds: 5, endMilliseconds: .max,
          endWallMilliseconds: nil),
        .init(
          route: "s", why: "", user: 0, sinceWallMilliseconds: 5, endMilliseconds: 9, endWallMilliseconds: 10),
      ],
      servers: HandoverState.Server.Reason.allCases.map {
        .init(
          upstream: "app", name: "10.0.0.1:80", reason: $0, why: "status 503", user: 0, sinceWallMilliseconds: 1 << 40)
      }, counts: [.init(name: "countersign_requests_total", value: 1 << 60)])
    #expect(try HandoverLate(late.bytes) == late)
    for count in 0..<late.bytes.count {
      #expect(throws: HandoverFault.self) { try HandoverLate(Array(late.bytes[..<count])) }
    }
  }

  /// What a process knows of a listener's clients is said to one that has asked for it, and is unknown to earlier versions without harm.
  @Test func sectionsThatComeLateAreReadAsTheyWereWritten() throws {
    let counts = [HandoverState.Count(name: "countersign_requests_total", value: 1)]
    let plain = HandoverLate(counts: counts)
    let late = HandoverLate(
      counts: counts,
      collapses: .init(
        secret: .max, monitors: [.init(listener: "public", bytes: [1, 2, 3]), .init(listener: "löcal", bytes: [])]))
    #expect(try HandoverLate(late.bytes) == late)
    let prepared = HandoverPrepared(listeners: [0], admin: [], lateSections: [.collapses])
    for count in late.bytes.indices where count != plain.bytes.count {
      #expect(throws: HandoverFault.self, "\(count) bytes") { try HandoverLate(Array(late.bytes[..<count])) }
    }
    let short = HandoverPrepared(listeners: [0], admin: []).bytes.count
    for count in prepared.bytes.indices where count != short {
      #expect(throws: HandoverFault.self, "\(count) bytes") { try HandoverPrepared(Array(prepared.bytes[..<count])) }
    }
    // Without one, both are what a version that knows of none writes and reads.
    #expect(Array(late.bytes.prefix(plain.bytes.count)) == plain.bytes)
    #expect(try HandoverLate(plain.bytes) == plain)
    for must in [false, true] {
      var more = HandoverWriter()
      more.write(section: 200, mustBeUnderstood: must) { $0.write(text: "later") }
      if must {
        #expect(throws: HandoverFault.self) { try HandoverLate(late.bytes + more.bytes) }
        #expect(throws: HandoverFault.self) { try HandoverPrepared(prepared.bytes + more.bytes) }
      } else {
        #expect(try HandoverLate(late.bytes + more.bytes) == late)
        #expect(try HandoverPrepared(prepared.bytes + more.bytes) == prepared)
      }
    }
    #expect(throws: HandoverFault.self) { try HandoverLate(late.bytes + late.bytes.dropFirst(plain.bytes.count)) }
  }

  /// An old process says which it knows, and of these the new one asks for what it knows.
  @Test func theStateSaysWhichSectionsMayComeLate() throws {
    var state = Self.state
    state.lateSections = [.collapses]
    #expect(try HandoverState(state.bytes) == state)
    let optional = state.bytes.count - Self.state.bytes.count
    for count in 0..<optional where count > 0 {
      #expect(throws: HandoverFault.self) { try HandoverState(Array(state.bytes.dropLast(count))) }
    }
    // Those of a later version are passed over; a list out of order is none.
    for (tags, isTaken) in [([1, 9], true), ([9], true), ([9, 1], false), ([0, 1], false), ([], false)]
      as [([UInt8], Bool)]
    {
      var section = HandoverWriter()
      section.write(section: 7, mustBeUnderstood: false) { $0.write(bytes: tags) }
      let read = try? HandoverState(Self.state.bytes + section.bytes)
      #expect((read != nil) == isTaken)
      if isTaken { #expect(read?.lateSections == (tags.contains(1) ? [.collapses] : [])) }
    }
  }

  /// A length that somebody else wrote reserves nothing.
  @Test func aListThatClaimsToBeLongIsAFault() {
    #expect(throws: HandoverFault.self) { try HandoverPrepared([0xff, 0xff, 0xff, 0xff]) }
    #expect(throws: HandoverFault.self) { try HandoverPrepared([0, 1, 0, 0]) }
  }
}
