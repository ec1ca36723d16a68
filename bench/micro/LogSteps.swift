// The access log: a line as a worker writes it, and a buffer of lines as it is handed over to the log's thread.

import Platform
import Policy
import Proxy
import Wire

enum LogSteps {
  static var all: [Step] { [line, digests, handOver] }

  /// The members of `Worker.record` for a request that was answered, in its order. Full buffers are handed over inside the
  /// measured time, as in a worker's turn, about once in two hundred and fifty lines; so is what the log's thread does to
  /// take them, or what waits would grow, and its memory be new each time.
  private static var line: Step {
    Step("log: a line") {
      let (queue, log) = try makeLog()
      let bytes = Samples.browser
      let head = try Samples.parsed(bytes)
      let client = Samples.client
      let time = Array("1994-11-06T08:49:37.000Z".utf8)
      let (listener, route, upstream, server) = (
        Array("public".utf8), Array("line 20".utf8), Array("monitor".utf8), Array("10.0.2.1:9443".utf8)
      )
      let rule = Array(",\"rule\":\"line 12\",\"evidence\":\"socket\"".utf8)
      let configuration = Array(",\"config\":\"6b86b273ff34fce1\",\"generation\":3".utf8)
      return Operation { index in
        if index & 511 == 0 { _ = queue.takeLines(most: .max) }
        log.line(time: time.span, nowMilliseconds: 0) { line in
          line.member(",\"listener\":", text: listener)
          line.member(",\"client\":", address: client.address)
          line.member(",\"client_port\":", UInt64(client.port))
          line.member(",\"via\":", client.via.text)
          line.append(members: rule)
          line.append(members: configuration)
          line.append(",\"peer\":\"")
          client.address.write(to: line)
          line.append(0x3a)
          line.append(decimal: UInt64(client.port))
          line.append("\",\"connection\":\"")
          client.connection.write(hex: line)
          line.append(0x22)
          line.member(",\"route\":", text: route)
          line.append(",\"method\":\"")
          line.appendEscaped(bytes.span.extracting(head.methodRange.range), most: 32)
          line.append("\",\"host\":\"")
          line.appendEscaped(bytes.span.extracting(head.authority.range), most: LogVariable.hostBytesMax)
          line.append("\",\"path\":\"")
          line.appendEscaped(bytes.span.extracting(head.target.range), most: LogVariable.pathBytesMax)
          line.append(0x22)
          line.member(",\"status\":", 200)
          line.member(",\"bytes_in\":", 412)
          line.member(",\"bytes_out\":", 301)
          line.member(",\"duration_ms\":", microseconds: 1_234)
          line.member(",\"upstream_ms\":", microseconds: 987)
          line.member(",\"upstream\":", text: upstream)
          line.member(",\"server\":", text: server)
          line.member(",\"tls\":", "TLSv1.3")
        }
        return queue.dropped == 0
      }
    }
  }

  /// A request field and a cookie, as `log.fields` may name them.
  private static var digests: Step {
    Step("log: digests of two fields") {
      let bytes = Samples.browser
      let head = try Samples.parsed(bytes)
      let fields = [
        Config.Log.Field(name: "agent", source: .header("User-Agent")),
        Config.Log.Field(name: "session", source: .cookie("session")),
      ]
      let keys = try LogFieldKeys(SecureRandom.secret(count: 32), fields)
      guard let digests = FieldDigests(fields, keys) else { throw NotASample() }
      let line = Buffer(capacity: 1_024)
      return Operation { _ in
        line.removeAll()
        digests.write(bytes.span, head, into: line)
        return line.count == 56
      }
    }
  }

  private static var handOver: Step {
    Step("log: 64 KiB of lines, handed over") {
      let (queue, log) = try makeLog()
      let lines = [UInt8](repeating: 0x61, count: 65_536)
      let time = Array("1994-11-06T08:49:37.000Z".utf8)
      return Operation { index in
        if index & 7 == 0 { _ = queue.takeLines(most: .max) }
        log.line(time: time.span, nowMilliseconds: 0) { $0.append(lines.span) }
        log.handOver(nowMilliseconds: 0, force: true)
        return !log.hasWaiting && queue.dropped == 0
      }
    }
  }

  private static func makeLog() throws -> (LogQueue, AccessLog) {
    let queue = try LogQueue(bytesMax: LogQueue.accessBytesMax)
    return (queue, AccessLog(queue: queue))
  }
}
