// Asks a running process over its admin listener: one request on a connection of its own. For the command line.

import Platform
import Policy
import Wire

package enum AdminClient {
  package struct Failure: Error, CustomStringConvertible {
    package let description: String
  }

  package struct Response: Sendable {
    package let status: Int
    package let body: String
  }

  /// An answer is never longer.
  private static let answerBytesMax = 16 << 20
  private static let timeoutMilliseconds: UInt64 = 5_000

  /// `values` are put into the query.
  package static func ask(
    _ endpoint: Config.Endpoint, method: String = "GET", path: String, _ values: [(String, String)] = []
  ) throws(Failure) -> Response {
    let address = ListenerSet.socketAddress(endpoint)
    let place = ListenerSet.describe(address)
    let query = values.map { "\($0)=\(AdminControl.encoded($1))" }.joined(separator: "&")
    let target = query.isEmpty ? path : "\(path)?\(query)"
    let text = "\(method) \(target) HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    let deadline = Clock.monotonicMilliseconds() + timeoutMilliseconds
    let transport = Transport()
    do {
      let (fd, connected) = try Sockets.connect(to: address)
      transport.open(fd)
      if !connected {
        guard Sockets.waitWritable(fd, timeoutMilliseconds: Int32(timeoutMilliseconds)) else {
          throw Failure(description: "\(place) does not answer")
        }
        let code = Sockets.connectResult(fd)
        guard code == 0 else { throw SystemError("connect", code: code) }
      }
    } catch let failure as Failure {
      throw failure
    } catch {
      throw Failure(description: "\(place): \(error); is the process running, with `admin.listen` there?")
    }
    defer { transport.close() }
    let output = Buffer(capacity: text.utf8.count)
    output.append(text: text)
    while !output.isEmpty {
      transport.noteWritable()
      switch transport.flush(output) {
      case .bytes: continue
      case .blocked: try wait(transport, deadline, place, forReading: false)
      case .ended, .failed: throw Failure(description: "\(place) closed the connection")
      }
    }
    var bytes: [UInt8] = []
    let input = Buffer(capacity: 64 * 1024)
    reading: while bytes.count < answerBytesMax {
      transport.noteReadable()
      switch transport.read(into: input) {
      case .bytes:
        bytes += input.copyBytes()
        input.removeAll()
      case .blocked: try wait(transport, deadline, place, forReading: true)
      case .ended: break reading
      case .failed: throw Failure(description: "\(place) closed the connection")
      }
    }
    return try response(bytes, place)
  }

  private static func wait(_ transport: Transport, _ deadline: UInt64, _ place: String, forReading: Bool)
    throws(Failure)
  {
    let now = Clock.monotonicMilliseconds()
    let fd = transport.descriptor
    guard now < deadline,
      forReading
        ? Sockets.waitReadable(fd, or: -1, timeoutMilliseconds: Int32(deadline - now))
        : Sockets.waitWritable(fd, timeoutMilliseconds: Int32(deadline - now))
    else { throw Failure(description: "\(place) does not answer") }
  }

  /// The server closes behind its answer, so what has come is all of it.
  private static func response(_ bytes: [UInt8], _ place: String) throws(Failure) -> Response {
    let head = ResponseHead(fieldsMax: 32)
    guard
      case .complete(let length) = head.parse(
        bytes.span, limits: HeadLimits(headBytes: 8 * 1024, fields: 32), requestWasHead: false),
      case .length(let count) = head.framing, bytes.count - length == Int(count)
    else { throw Failure(description: "\(place) answers something else than an admin listener does") }
    return Response(status: head.status, body: String(decoding: bytes[length...], as: UTF8.self))
  }
}
