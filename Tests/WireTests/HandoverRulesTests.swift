// What two processes of an upgrade say to each other behind it: read back as it was written, open to later versions, and unknown to
// earlier ones without harm.

import Testing
import Wire

@Suite struct HandoverRulesTests {
  private static let rules = HandoverRules(
    number: 1 << 50, areOther: true,
    closures: [
      .init(
        route: "r", why: "because", user: 1_000, sinceWallMilliseconds: 5, endMilliseconds: .max,
        endWallMilliseconds: nil)
    ],
    routes: [
      .init(name: "r", match: "path_prefix /r", isEnabled: false, needsDistinctClients: true),
      .init(match: "every request", allow: ["10.0.0.0/8"], deny: ["10.1.0.0/16", "::1/128"]),
    ], collapsedListeners: ["public"])
  private static let draining = HandoverDraining(requests: 1, tunnels: 1 << 40, heard: .max)

  @Test func theyAreReadAsTheyWereWritten() throws {
    #expect(try HandoverRules(Self.rules.bytes) == Self.rules)
    #expect(try HandoverDraining(Self.draining.bytes) == Self.draining)
  }

  /// Of those before it, an earlier version says nothing, and passes it over.
  @Test(arguments: [nil, .init(requests: 3, tunnels: .max)] as [HandoverDraining.Before.Sums?])
  func whatEarlierProcessesHaveIsASectionOfItsOwn(_ sums: HandoverDraining.Before.Sums?) throws {
    var more = Self.draining
    more.before = .init(processes: [12, 1 << 31], sums: sums)
    let bytes = more.bytes
    #expect(try HandoverDraining(bytes) == more)
    let plain = Self.draining.bytes.count
    #expect(Array(bytes.prefix(plain)) == Self.draining.bytes && bytes[plain + 1] == 0)
    for count in bytes.indices where count != plain {
      #expect(throws: HandoverFault.self, "\(count) bytes") { try HandoverDraining(Array(bytes[..<count])) }
    }
    #expect(throws: HandoverFault.self) { try HandoverDraining(bytes + bytes.dropFirst(plain)) }
    #expect(throws: HandoverFault.self) { try HandoverDraining(Array(bytes.dropFirst(plain))) }
  }

  @Test func whatIsCutIsAFault() {
    let (rules, draining) = (Self.rules.bytes, Self.draining.bytes)
    for count in rules.indices {
      #expect(throws: HandoverFault.self, "\(count) bytes") { try HandoverRules(Array(rules[..<count])) }
    }
    for count in draining.indices {
      #expect(throws: HandoverFault.self, "\(count) bytes") { try HandoverDraining(Array(draining[..<count])) }
    }
  }

  /// A configuration bounds neither its routes nor their ranges.
  @Test func thereMayBeAsManyRangesAsAFrameHasRoomFor() throws {
    let ranges = (0..<70_000).map { "10.\($0 >> 16).\($0 >> 8 & 255).\($0 & 255)/32" }
    var rules = Self.rules
    rules.routes[1].deny = ranges
    rules.routes += (0..<70_000).map { .init(match: "\($0)") }
    rules.closures = Array(repeating: Self.rules.closures[0], count: 70_000)
    #expect(try HandoverRules(rules.frame) == rules)
    // Beyond that it is not cut: nothing is open there then.
    rules.routes = Array(repeating: .init(match: "", allow: ranges), count: 20)
    rules.areOther = false
    #expect(rules.frame.count <= HandoverFrame.bytesMax)
    #expect(try HandoverRules(rules.frame) == HandoverRules(number: rules.number, areOther: true))
  }

  @Test(arguments: [false, true]) func aSectionOfALaterVersionIsPassedOverUnlessItMustBeUnderstood(_ must: Bool) throws
  {
    var more = HandoverWriter()
    more.write(section: 200, mustBeUnderstood: must) { $0.write(text: "later") }
    let (rules, draining) = (Self.rules.bytes + more.bytes, Self.draining.bytes + more.bytes)
    if must {
      #expect(throws: HandoverFault.self) { try HandoverRules(rules) }
      #expect(throws: HandoverFault.self) { try HandoverDraining(draining) }
    } else {
      #expect(try HandoverRules(rules) == Self.rules)
      #expect(try HandoverDraining(draining) == Self.draining)
    }
  }

  /// An old process of an earlier version says nothing of it, and a new one passes it over: the section need not be understood.
  @Test func theStateSaysWhetherRulesAreTaken() throws {
    var state = HandoverTests.state
    #expect(try HandoverState(state.bytes).takesRules == false)
    state.takesRules = true
    state.userFiles = [.init(path: "/users", digest: [1, 2, 3])]
    #expect(try HandoverState(state.bytes) == state)
    var section = HandoverWriter()
    section.write(section: 6, mustBeUnderstood: false) {
      $0.write(flag: true)
      $0.write(word: 0)
      $0.write(count: 1)
      $0.write(text: "/users")
      $0.write(bytes: [1, 2, 3])
    }
    #expect(Array(state.bytes.suffix(section.bytes.count)) == section.bytes)
    #expect(try HandoverState(Array(state.bytes.dropLast(section.bytes.count))) == HandoverTests.state)
  }
}
