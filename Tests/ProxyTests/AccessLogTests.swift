// Lines of the access log: JSON whatever a peer sends, whole or not at all, and counted when they are lost.

import Foundation
import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct AccessLogTests {
  private let queue: LogQueue
  private let log: AccessLog
  private static let time = Array("1994-11-06T08:49:37.000Z".utf8)

  init() throws {
    queue = try LogQueue(bytesMax: LogQueue.accessBytesMax)
    log = AccessLog(queue: queue)
  }

  /// Lines that were handed over.
  private func lines() throws -> [[UInt8]] {
    var all: [UInt8] = []
    for bytes in queue.takeLines(most: .max) {
      #expect(bytes.last == 0x0a)
      all += bytes
    }
    return all.split(separator: 0x0a).map(Array.init)
  }

  private func parse(_ line: [UInt8]) throws -> [String: Any] {
    #expect(line.allSatisfy { $0 >= 0x20 && $0 < 0x7f })
    return try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
  }

  /// The bytes that an escaped text stands for: one for each code point, none above 0xff.
  private func bytes(_ value: Any?) throws -> [UInt8] {
    try (try #require(value as? String)).unicodeScalars.map { try #require(UInt8(exactly: $0.value)) }
  }

  private func write(path: [UInt8]) {
    log.line(time: Self.time.span, nowMilliseconds: 0) { line in
      line.append(",\"path\":\"")
      line.appendEscaped(path.span, most: LogVariable.pathBytesMax)
      line.append(0x22)
      line.member(",\"status\":", 200)
    }
  }

  private static var hostile: [[UInt8]] {
    [
      [], Array("/plain?a=b&c=%20".utf8), Array("/\"},{\"client\":\"192.0.2.1\"".utf8), Array("\\\\\"\\u0022\\".utf8),
      Array("a\r\n{\"time\":\"forged\"}\n".utf8), [0], Array(0...255), Array((0...255).reversed()), [0x22], [0x5c],
      [0x7f, 0x1f, 0x20, 0x7e, 0x80], Array("zo\u{eb}/\u{1f600}/\u{2028}".utf8), [0xc0, 0x80, 0xff, 0xfe],
      [0xed, 0xa0, 0x80], [UInt8](repeating: 0x22, count: 5_000), [UInt8](repeating: 0xff, count: 2_049),
      [UInt8](repeating: 0x61, count: 2_048), [UInt8](repeating: 0x61, count: 2_047) + [0x22, 0x22],
    ]
  }

  @Test func whateverAPeerSendsIsJSON() throws {
    for path in Self.hostile {
      write(path: path)
      log.handOver(nowMilliseconds: 0, force: true)
      let lines = try lines()
      try #require(lines.count == 1)
      let record = try parse(lines[0])
      #expect(try bytes(record["path"]) == Array(path.prefix(LogVariable.pathBytesMax)))
      #expect(record["time"] as? String == "1994-11-06T08:49:37.000Z")
      #expect(record["status"] as? Int == 200 && record.count == 3)
    }
  }

  @Test func theLongestLineFits() throws {
    // As long as a line of ExchangeRecord can be, and as many as it takes to fill the buffer some times over.
    let worst = [UInt8](repeating: 0x01, count: 10_000)
    let count = 40
    for _ in 0..<count {
      log.line(time: Self.time.span, nowMilliseconds: 0) { line in
        for (key, most) in [
          ("method", LogVariable.methodBytesMax), ("host", LogVariable.hostBytesMax),
          ("path", LogVariable.pathBytesMax), ("user_agent", LogVariable.userAgentBytesMax),
          ("referer", LogVariable.refererBytesMax), ("sni", LogVariable.sniBytesMax),
          ("alpn", LogVariable.alpnBytesMax), ("user", LogVariable.userBytesMax),
        ] {
          line.append(text: ",\"\(key)\":\"")
          line.appendEscaped(worst.span, most: most)
          line.append(0x22)
        }
        line.member(",\"server\":", text: [UInt8](repeating: 0x22, count: 112))
        RefusalDetail.named("", worst, "").write(to: line)
        for key in [
          "listener", "rule", "upstream", "edge", "evidence", "connection", "client", "peer", "request_id", "protocol",
        ] {
          line.append(text: ",\"\(key)\":\"\(String(repeating: "n", count: 64))\"")
        }
        for key in [
          "generation", "status", "bytes_in", "bytes_out", "duration_ms", "upstream_ms", "retries", "queue_ms",
          "connect_ms", "response_ms",
        ] {
          line.append(text: ",\"\(key)\":")
          line.append(decimal: .max)
        }
        for index in 0..<Config.Log.fieldsMax {
          line.append(
            text: ",\"\(index)\(String(repeating: "n", count: Config.Log.fieldNameBytesMax - 1))\":\"0123456789abcdef\""
          )
        }
      }
    }
    log.handOver(nowMilliseconds: 0, force: true)
    let lines = try lines()
    #expect(lines.count == count)
    for line in lines {
      #expect(line.count < AccessLog.lineBytesMax)
      #expect(try bytes(parse(line)["path"]) == Array(worst.prefix(LogVariable.pathBytesMax)))
    }
    #expect(queue.dropped == 0)
  }

  /// A unix path is an operator's, not a peer's; it may still hold a quote.
  @Test func configuredTextsAreEscapedToo() throws {
    log.line(time: Self.time.span, nowMilliseconds: 0) {
      $0.member(",\"server\":", text: Array("unix:/a\"b\\c\u{e4}".utf8))
    }
    log.handOver(nowMilliseconds: 0, force: true)
    #expect(try bytes(parse(try lines()[0])["server"]) == Array("unix:/a\"b\\c\u{e4}".utf8))
  }

  @Test func membersAreWhatTheySay() throws {
    let address = try #require(IPAddress("2001:db8::1"))
    log.line(time: Self.time.span, nowMilliseconds: 0) { line in
      line.member(",\"word\":", "replay")
      line.member(",\"number\":", UInt64.max)
      line.member(",\"address\":", address: address)
      for (key, value) in [("a", 0), ("b", 1), ("c", 10), ("d", 100), ("e", 1_000), ("f", 12_345_067)]
        as [(String, UInt64)]
      {
        line.append(text: ",\"\(key)\":0")
        line.member(",\"ms\":", microseconds: value)
      }
      line.append(",\"hex\":\"")
      line.appendHex16(0x0123_4567_89ab_cdef)
      line.appendHex16(0)
      line.append(0x22)
    }
    log.handOver(nowMilliseconds: 0, force: true)
    let text = String(decoding: try lines()[0], as: UTF8.self)
    #expect(
      text == "{\"time\":\"1994-11-06T08:49:37.000Z\",\"word\":\"replay\",\"number\":18446744073709551615,"
        + "\"address\":\"2001:db8::1\",\"a\":0,\"ms\":0.000,\"b\":0,\"ms\":0.001,\"c\":0,\"ms\":0.010,\"d\":0,\"ms\":0.100,"
        + "\"e\":0,\"ms\":1.000,\"f\":0,\"ms\":12345.067,\"hex\":\"0123456789abcdef0000000000000000\"}")
  }

  // MARK: Handing over

  @Test func linesWaitALittleAndNotLong() throws {
    #expect(!log.hasWaiting)
    log.handOver(nowMilliseconds: 0, force: true)
    #expect(try lines().isEmpty)
    log.line(time: Self.time.span, nowMilliseconds: 100) { _ in }
    log.handOver(nowMilliseconds: 100)
    log.line(time: Self.time.span, nowMilliseconds: 104) { _ in }
    log.handOver(nowMilliseconds: 100 + AccessLog.delayMilliseconds - 1)
    #expect(log.hasWaiting && queue.takeLines(most: .max).isEmpty)
    // The first line's wait counts, not the last one's.
    log.handOver(nowMilliseconds: 100 + AccessLog.delayMilliseconds)
    #expect(!log.hasWaiting)
    #expect(try lines().count == 2)
  }

  @Test func aFullBufferIsHandedOverBeforeTheNextLine() throws {
    for _ in 0..<100 { write(path: [UInt8](repeating: 0x2f, count: 2_000)) }
    #expect(log.hasWaiting)
    let early = try lines().count
    log.handOver(nowMilliseconds: 0, force: true)
    #expect(early > 0)
    #expect(early + (try lines().count) == 100)
  }

  // MARK: A disk that does not keep up

  @Test func whatCannotWaitIsDroppedWholeAndCounted() throws {
    let block = [UInt8](repeating: 0x61, count: 1 << 20)
    var taken = 0
    while queue.post(lines: block) { taken += 1 }
    #expect(taken == queue.bytesMax >> 20)
    for _ in 0..<3 { write(path: [0x2f]) }
    log.handOver(nowMilliseconds: 0, force: true)
    #expect(!log.hasWaiting)
    #expect(queue.dropped == 3)
    write(path: [0x2f])
    log.handOver(nowMilliseconds: 0, force: true)
    #expect(queue.dropped == 4)
    #expect(queue.takeLines(most: .max).count == taken)
    // There is room again.
    write(path: Array("/after".utf8))
    log.handOver(nowMilliseconds: 0, force: true)
    let lines = try lines()
    #expect(lines.count == 1)
    #expect(try bytes(parse(lines[0])["path"]) == Array("/after".utf8))
    #expect(queue.dropped == 4)
  }

  @Test func commandsAreNeverDropped() {
    while queue.post(lines: [UInt8](repeating: 0x0a, count: 1 << 20)) {}
    queue.post(.stop)
    guard case .stop? = queue.takeCommands().last else {
      Issue.record("the log thread would never end")
      return
    }
  }

  // MARK: The log thread

  @Test func everythingHandedOverBeforeTheStopIsWritten() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("log-\(UUID().uuidString)").path
    try PrivateFile.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    #expect(queue.post(lines: Array("one\n".utf8)))
    queue.post(.reopen)
    queue.post(.destination(try LogFile(path: "\(directory)/second")))
    #expect(queue.post(lines: Array("two\n".utf8)))
    queue.post(.stop)
    #expect(queue.post(lines: Array("three\n".utf8)))
    LogThread(queue, to: try LogFile(path: "\(directory)/first"), name: "log") { Issue.record("\($0)") }.run()
    let written = try ["first", "second"].map { try String(contentsOfFile: "\(directory)/\($0)", encoding: .utf8) }
    #expect(written.joined() == "one\ntwo\nthree\n")
    #expect(queue.dropped == 0)
  }

  @Test func aLogThatIsOffLosesNothing() throws {
    #expect(queue.post(lines: Array("one\ntwo\n".utf8)))
    queue.post(.stop)
    LogThread(queue, to: nil, name: "log") { Issue.record("\($0)") }.run()
    #expect(queue.dropped == 0 && queue.takeLines(most: .max).isEmpty)
  }

  @Test func whatAFullDeviceDoesNotTakeIsCountedAndTold() throws {
    #expect(queue.post(lines: Array("one\ntwo\n".utf8)))
    #expect(queue.post(lines: Array("three\n".utf8)))
    queue.post(.stop)
    var said: [String] = []
    LogThread(queue, to: try LogFile(path: "/dev/full"), name: "log") { said.append($0) }.run()
    #expect(queue.dropped == 3)
    #expect(said == ["the log lost 3 lines: /dev/full: No space left on device"])
  }
}
