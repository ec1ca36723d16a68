// The parser of lines: what we write is read, whatever a peer sent; anything else is malformed and never half read.

import Audit
import TestSupport
import Testing
import Wire

@Suite struct LogLineTests {
  private func parse(_ text: String, from: UInt64 = 0, field: String = "") -> (LogLine.Outcome, LogLine) {
    var line = LogLine()
    var clock = LogTime()
    let bytes = Array(text.utf8)
    return (line.parse(bytes.span, from: from, field: Array(field.utf8), &clock), line)
  }

  private func text(_ text: String, _ range: ByteRange) -> String {
    String(decoding: Array(text.utf8)[range.range], as: UTF8.self)
  }

  @Test func everyMemberIsFound() {
    var made = TestLine(time: "2026-11-28T14:00:00.123Z", fields: [("account", "0123456789abcdef")])
    made.edge = "edge-a"
    made.refusal = "replay"
    made.status = 403
    let whole = made.text
    let (outcome, line) = parse(whole, field: "account")
    #expect(outcome == .line)
    #expect(text(whole, line.time) == "2026-11-28T14:00:00.123Z")
    #expect(line.milliseconds == LogTime.milliseconds("2026-11-28T14:00:00.123Z"))
    #expect(line.startMilliseconds == line.milliseconds - 6)
    #expect(line.client == IPAddress("192.0.2.1") && line.status == 403 && line.isRequest)
    for (range, expected) in [
      (line.listener, "public"), (line.rule, "line 12"), (line.evidence, "proxy-protocol"), (line.edge, "edge-a"),
      (line.config, "6b86b273ff34fce1"), (line.generation, "1"), (line.connection, TestLine.hex(1)),
      (line.route, "line 20"), (line.method, "GET"), (line.host, "app.example.com"), (line.path, "/"),
      (line.refusal, "replay"), (line.upstream, "monitor"), (line.value, "0123456789abcdef"),
      (line.clientText, "192.0.2.1"),
    ] {
      #expect(text(whole, range) == expected)
    }
  }

  @Test func whatIsNotThereIsEmpty() {
    let (outcome, line) = parse("{\"time\":\"2026-11-28T14:00:00.000Z\",\"status\":0}", field: "account")
    #expect(outcome == .line && line.client == nil && !line.isRequest && line.listener.isEmpty && !line.hasValue)
  }

  @Test func aCountOfRefusedConnectionsIsRead() {
    let (outcome, line) = parse(
      "{\"time\":\"2026-11-28T14:00:00.000Z\",\"peer\":\"192.0.2.7\",\"status\":0,\"refusal\":\"proxy-missing\",\"suppressed\":1234}"
    )
    #expect(outcome == .line && line.suppressed == 1234)
  }

  /// Texts of every length, so that each lies at every offset to the words in which it is scanned.
  @Test func escapesAreReadWhereverTheyStand() {
    for before in 0..<20 {
      for escape in ["\\u0022", "\\u005c", "\\u00ff\\u0000", "\\u000a"] {
        for after in 0..<10 {
          let path = String(repeating: "a", count: before) + escape + String(repeating: "b", count: after)
          let whole = TestLine(path: path).text
          let (outcome, line) = parse(whole)
          #expect(outcome == .line && text(whole, line.path) == path)
        }
      }
    }
  }

  @Test func aLineThatIsCutAnywhereIsMalformed() {
    let whole = Array(TestLine(path: "/a\\u0022b", fields: [("account", "00")]).text.utf8)
    for count in 0..<whole.count {
      #expect(parse(String(decoding: whole[..<count], as: UTF8.self)).0 == .malformed, "\(count) bytes")
    }
    #expect(parse(String(decoding: whole, as: UTF8.self) + " ").0 == .malformed)
    #expect(parse(String(decoding: whole, as: UTF8.self) + "}").0 == .malformed)
  }

  private static let time = "{\"time\":\"2026-11-28T14:00:00.000Z\""

  @Test(arguments: [
    ",\"status\":200,\"status\":200}", ",\"client\":\"192.0.2.256\"}", ",\"client\":7}", ",\"status\":\"200\"}",
    ",\"status\":1000}", ",\"status\":-1}", ",\"status\":}", ",\"status\":.5}", ", \"status\":200}",
    ",\"status\": 200}",
    ",\"host\":\"a\"b\"}", ",\"host\":\"a\\\"b\"}", ",\"host\":\"\\u0100\"}", ",\"host\":\"\\u00g0\"}",
    ",\"host\":\"\\u00AB\"}", ",\"host\":\"\u{e9}\"}", ",\"host\":\"\t\"}", ",\"host\":\"\u{7f}\"}", ",\"host\":{}}",
    ",\"host\":null}", ",\"time\":\"2026-11-28T14:00:00.000Z\"}", ",\"generation\":1.5}", ",}", ",\"host\"}", "]", "",
    ",\"account\":\"1\",\"account\":\"2\"}", ",\"suppressed\":99999999999999999999}",
  ])
  func whatWeDoNotWriteIsMalformed(_ rest: String) {
    #expect(parse(Self.time + rest, field: "account").0 == .malformed)
  }

  @Test(arguments: [
    "", "{}", "{", "[]", "hello", "{\"time\":\"\"}", "{\"time\":1}", "{\"Time\":\"2026-11-28T14:00:00.000Z\"}",
    "{\"time\":\"2026-11-28 14:00:00.000Z\"}", "{\"time\":\"2026-11-31T14:00:00.000Z\"}",
    "{\"time\":\"2026-02-29T14:00:00.000Z\"}", "{\"time\":\"2026-11-28T24:00:00.000Z\"}",
    "{\"time\":\"2026-11-28T14:60:00.000Z\"}", "{\"time\":\"2026-11-28T14:00:00.00aZ\"}",
    "{\"time\":\"1969-11-28T14:00:00.000Z\"}", "{\"time\":\"2026-11-28T14:00:00.000+\"}",
  ])
  func whatHasNoTimeIsMalformed(_ text: String) { #expect(parse(text).0 == .malformed) }

  @Test func aFieldIsFoundByItsWholeName() {
    let line = TestLine(fields: [("accounts", "1"), ("accoun", "2"), ("account", "3"), ("client_plan", "4")]).text
    #expect(text(line, parse(line, field: "account").1.value) == "3")
    #expect(text(line, parse(line, field: "client_plan").1.value) == "4")
    // Also a member that lines have by themselves.
    #expect(text(line, parse(line, field: "tls").1.value) == "TLSv1.3")
    #expect(!parse(line, field: "accounted").1.hasValue)
  }

  @Test func linesBeforeTheWindowAreNotLookedAt() {
    let from = LogTime.milliseconds("2026-11-28T14:00:00.001Z")!
    #expect(parse(Self.time + "garbage", from: from).0 == .early)
    #expect(parse(Self.time + "garbage", from: from - 1).0 == .malformed)
  }

  /// One byte of a line replaced, removed or added: it is a line or it is malformed, and nothing traps.
  @Test func noLineTraps() {
    var random = Seeded(7)
    let whole = Array(TestLine(path: "/a\\u0022b", fields: [("account", "00")]).text.utf8)
    for _ in 0..<20_000 {
      var bytes = whole
      let at = Int.random(in: 0..<bytes.count, using: &random)
      let byte: UInt8 = [0x22, 0x5c, 0x2c, 0x3a, 0x7d, 0x30, 0xff].randomElement(using: &random) ?? 0
      switch Int.random(in: 0..<3, using: &random) {
      case 0: bytes[at] = byte
      case 1: bytes.remove(at: at)
      default: bytes.insert(byte, at: at)
      }
      var line = LogLine()
      var clock = LogTime()
      guard line.parse(bytes.span, from: 0, field: Array("account".utf8), &clock) == .line else { continue }
      for range in [line.path, line.host, line.client == nil ? .empty : line.clientText, line.value] {
        #expect(bytes[range.range].allSatisfy { $0 >= 0x20 && $0 < 0x7f && $0 != 0x22 })
      }
    }
  }
}

@Suite struct LogTimeTests {
  @Test(arguments: [
    ("1970-01-01T00:00", 0), ("1970-01-01T00:00Z", 0), ("2000-02-29T00:00:00Z", 951_782_400_000),
    ("2026-11-28T14:00", 1_795_874_400_000), ("2026-11-28t14:00:00.5z", 1_795_874_400_500),
    ("2026-11-28 14:00:00.123456Z", 1_795_874_400_123), ("2026-11-28T15:00+01:00", 1_795_874_400_000),
    ("2026-11-28T10:30:00-03:30", 1_795_874_400_000), ("2100-03-01T00:00", 4_107_542_400_000),
  ])
  func timesAreRead(_ text: String, _ milliseconds: UInt64) {
    #expect(LogTime.milliseconds(text) == milliseconds)
  }

  @Test(arguments: [
    "", "14:00", "2026-11-28", "2026-11-28T14", "2026-11-28T14:00:", "2026-11-28T14:00:0", "2026-11-28T14:00:00.",
    "2026-11-28T14:00X", "2026-11-28T14:00ZZ", "2026-11-28T14:00+1", "2026-11-28T14:00+01", "2026-11-28T14:00+0100",
    "2026-13-01T00:00", "2026-00-01T00:00", "2026-11-00T00:00", "2025-02-29T00:00", "2026-11-28T25:00",
    "1970-01-01T00:00+01:00", "2026-11-28_14:00", "2026-11-28T14:00+01:000",
  ])
  func whatIsNoTimeIsNot(_ text: String) { #expect(LogTime.milliseconds(text) == nil) }

  @Test func whatIsWrittenReadsBack() {
    var random = Seeded(3)
    for _ in 0..<2_000 {
      let time = UInt64.random(in: 0..<7_000_000_000_000, using: &random)
      let text = LogTime.text(time)
      #expect(text.utf8.count == LogTime.textCount && LogTime.milliseconds(text) == time)
      var clock = LogTime()
      let bytes = Array(text.utf8)
      #expect(clock.milliseconds(bytes.span, at: 0) == time)
    }
  }
}
