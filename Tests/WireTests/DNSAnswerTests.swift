// What is read of a name server's answer, and that nothing else is.

import Testing
import Wire

@Suite struct DNSAnswerTests {
  /// Messages as name servers write them.
  private struct Message {
    var bytes: [UInt8] = []

    init(flags: UInt16 = 0x8180, question: String = "app.test", type: UInt16 = 1, questions: UInt16 = 1, answers: Int) {
      short(0x1234)
      short(flags)
      short(questions)
      short(UInt16(answers))
      short(0)
      short(0)
      name(question)
      short(type)
      short(1)
    }

    mutating func short(_ value: UInt16) { bytes += [UInt8(value >> 8), UInt8(value & 255)] }

    mutating func name(_ text: String) { bytes += Message.name(text) }

    static func name(_ text: String) -> [UInt8] {
      text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    mutating func record(_ owner: [UInt8], _ type: UInt16, ttl: UInt32, _ data: [UInt8], isInternet: Bool = true) {
      bytes += owner
      short(type)
      short(isInternet ? 1 : 3)
      short(UInt16(ttl >> 16))
      short(UInt16(ttl & 0xffff))
      short(UInt16(data.count))
      bytes += data
    }

    mutating func alias(_ owner: String, _ target: String, ttl: UInt32) {
      record(Message.name(owner), 5, ttl: ttl, Message.name(target))
    }

    mutating func address(_ owner: String, ttl: UInt32) { record(Message.name(owner), 1, ttl: ttl, [127, 0, 0, 1]) }

    mutating func service(_ owner: String, ttl: UInt32 = 9, _ numbers: [UInt16], _ target: [UInt8]) {
      record(Message.name(owner), 33, ttl: ttl, numbers.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] } + target)
    }

    func parse(_ kind: DNSAnswer.Kind = .a) -> DNSAnswer? { DNSAnswer(bytes.span, kind) }
  }

  /// A pointer to the name of the question.
  private static let question: [UInt8] = [0xc0, 12]

  @Test func theLeastTTLOfTheRecordsCounts() {
    var message = Message(answers: 3)
    message.record(Self.question, 1, ttl: 300, [127, 0, 0, 1])
    message.record(Self.question, 1, ttl: 20, [127, 0, 0, 2])
    message.record(Self.question, 28, ttl: 1, [UInt8](repeating: 0, count: 16))
    #expect(message.parse()?.ttlSeconds == 20)
    #expect(message.parse(.aaaa)?.ttlSeconds == 1)
    #expect(message.parse(.service) == nil)
  }

  @Test func everyAliasOnTheWayCountsAndNoOther() {
    var message = Message(question: "APP.test", answers: 5)
    message.alias("other.test", "end.test", ttl: 1)
    message.alias("middle.test", "End.Test", ttl: 40)
    message.address("end.test", ttl: 300)
    message.address("stray.test", ttl: 2)
    message.alias("app.test", "middle.test", ttl: 60)
    #expect(message.parse()?.ttlSeconds == 40)
  }

  @Test func anAliasWithoutARecordIsNoAnswer() {
    var message = Message(answers: 1)
    message.alias("app.test", "end.test", ttl: 60)
    #expect(message.parse() == nil)
  }

  @Test(arguments: [(0x7fff_ffff, 0x7fff_ffff), (0x8000_0000, 0), (0xffff_ffff, 0), (0, 0)] as [(UInt32, UInt32)])
  func aTTLWithItsFirstBitSetIsZero(_ written: UInt32, _ read: UInt32) {
    var message = Message(answers: 1)
    message.address("app.test", ttl: written)
    #expect(message.parse()?.ttlSeconds == read)
  }

  @Test func aliasesInACircleAndTooManyAreNoAnswer() {
    var circle = Message(answers: 3)
    circle.alias("app.test", "b.test", ttl: 1)
    circle.alias("b.test", "app.test", ttl: 1)
    circle.address("app.test", ttl: 1)
    #expect(circle.parse() == nil)

    func chain(_ count: Int) -> Message {
      var message = Message(answers: count + 1)
      for index in 0..<count {
        message.alias(index == 0 ? "app.test" : "n\(index).test", "n\(index + 1).test", ttl: UInt32(count - index))
      }
      message.address("n\(count).test", ttl: 9)
      return message
    }
    #expect(chain(DNSAnswer.aliasesMax).parse()?.ttlSeconds == 1)
    #expect(chain(DNSAnswer.aliasesMax + 1).parse() == nil)
  }

  @Test(arguments: [0x0180, 0x8181, 0x8182, 0x8183, 0x8980] as [UInt16])
  func whatIsNoAnswerToAQuestionIsNone(_ flags: UInt16) {
    var message = Message(flags: flags, answers: 1)
    message.address("app.test", ttl: 1)
    #expect(message.parse() == nil)
  }

  @Test func anotherCountOfQuestionsAndAnotherClassAreNoAnswer() {
    for count in [0, 2] as [UInt16] {
      var message = Message(questions: count, answers: 1)
      message.address("app.test", ttl: 1)
      #expect(message.parse() == nil)
    }
    var chaos = Message(answers: 1)
    chaos.record(Self.question, 1, ttl: 1, [127, 0, 0, 1], isInternet: false)
    #expect(chaos.parse() == nil)
  }

  /// Every beginning of an answer, so that each bound is met once.
  @Test func whatIsCutAnywhereIsNoAnswer() {
    var message = Message(type: 33, answers: 2)
    message.alias("app.test", "end.test", ttl: 60)
    message.service("end.test", [1, 2, 3], Message.name("a.test"))
    #expect(message.parse(.service)?.services.count == 1)
    for count in 0..<message.bytes.count {
      var cut = message
      cut.bytes.removeSubrange(count...)
      #expect(cut.parse(.service) == nil, "after \(count) bytes")
    }
  }

  // MARK: Names

  @Test func aPointerLeadsBackwardsOnly() {
    // To itself, forwards, and to a later part of what it ends.
    var message = Message(answers: 1)
    let here = UInt8(message.bytes.count)
    for owner in [[0xc0, here], [0xc0, here + 2], [1, 0x61, 0xc0, here]] as [[UInt8]] {
      message = Message(answers: 1)
      message.record(owner, 1, ttl: 1, [127, 0, 0, 1])
      #expect(message.parse() == nil, "\(owner)")
    }
    message = Message(answers: 1)
    message.record([3] + Array("app".utf8) + [0xc0, 16], 1, ttl: 5, [127, 0, 0, 1])
    #expect(message.parse()?.ttlSeconds == 5, "its end is the question's")
  }

  @Test(arguments: [0x40, 0x80, 0xbf] as [UInt8])
  func otherFormsOfALabelAreNoAnswer(_ length: UInt8) {
    var message = Message(answers: 1)
    message.record([length, 12], 1, ttl: 1, [127, 0, 0, 1])
    #expect(message.parse() == nil)
  }

  @Test func aNameHas255BytesAtMost() {
    func message(_ last: Int) -> Message {
      let label = String(repeating: "a", count: 63)
      let name = "\(label).\(label).\(label).\(String(repeating: "b", count: last))"
      var message = Message(question: name, answers: 1)
      message.record(Self.question, 1, ttl: 7, [127, 0, 0, 1])
      return message
    }
    #expect(message(61).parse()?.ttlSeconds == 7)
    #expect(message(62).parse() == nil)
  }

  // MARK: Services

  @Test func aServiceHasItsNumbersAndItsTarget() {
    var message = Message(question: "_http._tcp.app.test", type: 33, answers: 2)
    message.service("_http._tcp.app.test", ttl: 30, [10, 65_535, 8_080], Message.name("A-1.app.test"))
    message.service("_http._tcp.app.test", ttl: 20, [0, 0, 1], [1, 0x62, 0xc0, 23])
    let answer = message.parse(.service)
    #expect(answer?.ttlSeconds == 20)
    #expect(
      answer?.services == [
        .init(target: "a-1.app.test", port: 8_080, priority: 10, weight: 65_535),
        .init(target: "b.app.test", port: 1, priority: 0, weight: 0),
      ])
  }

  @Test func noServiceIsAnAnswerWithoutServers() {
    var message = Message(type: 33, answers: 2)
    message.service("app.test", [0, 0, 0], Message.name("a.test"))
    message.service("app.test", [0, 0, 80], [0])
    #expect(message.parse(.service)?.services == [])
  }

  @Test(arguments: ["127.0.0.1", "a.10", "-a.test", "a-.test", "a b.test", "a/b"])
  func aTargetIsAHostName(_ target: String) {
    var message = Message(type: 33, answers: 1)
    message.service("app.test", [0, 0, 80], Message.name(target))
    #expect(message.parse(.service) == nil)
  }

  /// A dot within a label would be another name as text.
  @Test func aDotWithinALabelIsNoAnswer() {
    var message = Message(type: 33, answers: 1)
    message.service("app.test", [0, 0, 80], [3, 0x61, 0x2e, 0x62, 0])
    #expect(message.parse(.service) == nil)
  }

  @Test func dataBehindTheTargetOrTooLittleIsNoAnswer() {
    for data in [Message.name("a.test") + [0], [], [0xc0]] as [[UInt8]] {
      var message = Message(type: 33, answers: 1)
      message.service("app.test", [0, 0, 80], data)
      #expect(message.parse(.service) == nil, "\(data)")
    }
  }

  @Test func noMoreServersAreKeptThanTheBound() {
    func message(_ count: Int) -> Message {
      var message = Message(type: 33, answers: count)
      for index in 0..<count { message.service("app.test", [0, 0, UInt16(index + 1)], Self.question) }
      return message
    }
    #expect(message(DNSAnswer.servicesMax).parse(.service)?.services.count == DNSAnswer.servicesMax)
    #expect(message(DNSAnswer.servicesMax + 1).parse(.service)?.services.count == DNSAnswer.servicesMax)
  }
}
