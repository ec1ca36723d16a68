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
    let bytes: [UInt8]
    do throws(Failure) { bytes = try exchange(text, with: address, place: place) } catch {
      throw Failure(description: "\(error); is the process running, with `admin.listen` there?")
    }
    return try response(bytes, place)
  }

  /// Sends a request on a connection of its own and reads until the other side ends it.
  static func exchange(
    _ text: String, with address: SocketAddress, from source: IPAddress? = nil, tls: TLSClientContext? = nil,
    place: String
  ) throws(Failure) -> [UInt8] {
    let deadline = Clock.monotonicMilliseconds() + timeoutMilliseconds
    let transport = Transport()
    do {
      let (fd, connected) = try Sockets.connect(to: address, from: source)
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
      throw Failure(description: "\(place): \(error)")
    }
    defer { transport.close() }
    if let tls {
      guard transport.startTLS(connecting: tls) else { throw Failure(description: "\(place): TLS cannot be begun") }
      handshake: while true {
        transport.noteReadable()
        transport.noteWritable()
        switch transport.handshake() {
        case .done: break handshake
        case .blocked: try wait(transport, deadline, place)
        case .failed: throw Failure(description: "\(place): TLS: \(transport.failure ?? "the handshake failed")")
        }
      }
    }
    let output = Buffer(capacity: text.utf8.count)
    output.append(text: text)
    switch transport.sendAll(output, deadlineMilliseconds: deadline) {
    case .sent: break
    case .late: throw Failure(description: "\(place) does not answer")
    case .broken: throw Failure(description: "\(place) closed the connection")
    }
    transport.sendRecords()
    var bytes: [UInt8] = []
    let input = Buffer(capacity: 64 * 1024)
    while bytes.count < answerBytesMax {
      transport.noteReadable()
      switch transport.read(into: input) {
      case .bytes:
        bytes += input.copyBytes()
        input.removeAll()
      case .blocked: try wait(transport, deadline, place)
      case .ended: return bytes
      case .failed:
        guard bytes.isEmpty else { return bytes }
        throw Failure(description: "\(place) closed the connection")
      }
    }
    return bytes
  }

  /// Until there is something to read.
  private static func wait(_ transport: Transport, _ deadline: UInt64, _ place: String) throws(Failure) {
    let now = Clock.monotonicMilliseconds()
    guard now < deadline,
      Sockets.waitReadable(transport.descriptor, or: -1, timeoutMilliseconds: Int32(deadline - now))
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
