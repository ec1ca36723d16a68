// Asks a running process over its admin listener: one request on a connection of its own. For the command line.

import Platform
import Policy
import Wire

package enum AdminClient {
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
  ) throws(ConnectionFailure) -> Response {
    let address = ListenerSet.socketAddress(endpoint)
    let place = ListenerSet.describe(address)
    let query = values.map { "\($0)=\(AdminControl.encoded($1))" }.joined(separator: "&")
    let target = query.isEmpty ? path : "\(path)?\(query)"
    let text = "\(method) \(target) HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    let bytes: [UInt8]
    do throws(ConnectionFailure) { bytes = try exchange(text, with: address, place: place) } catch {
      throw ConnectionFailure(description: "\(error); is the process running, with `admin.listen` there?")
    }
    guard !bytes.isEmpty else { throw ConnectionFailure(description: "\(place) closed the connection") }
    return try response(bytes, place)
  }

  /// Sends a request on a connection of its own and reads until the other side ends it, or with HTTP/2 the answer.
  static func exchange(
    _ text: String, with address: SocketAddress, from source: IPAddress? = nil, tls: TLSClientContext? = nil,
    isHTTP2: Bool = false, place: String
  ) throws(ConnectionFailure) -> [UInt8] {
    let connection = try BlockingConnection(
      to: address, from: source, tls: tls, isHTTP2: isHTTP2,
      deadlineMilliseconds: Clock.monotonicMilliseconds() + timeoutMilliseconds, place: place)
    try connection.send(Array(text.utf8))
    var bytes: [UInt8] = []
    while bytes.count < answerBytesMax, let more = try connection.read() { bytes += more }
    return bytes
  }

  /// The server closes behind its answer, so what has come is all of it.
  private static func response(_ bytes: [UInt8], _ place: String) throws(ConnectionFailure) -> Response {
    let head = ResponseHead(fieldsMax: 32)
    guard
      case .complete(let length) = head.parse(
        bytes.span, limits: HeadLimits(headBytes: 8 * 1024, fields: 32), requestWasHead: false),
      case .length(let count) = head.framing, bytes.count - length == Int(count)
    else { throw ConnectionFailure(description: "\(place) answers something else than an admin listener does") }
    return Response(status: head.status, body: String(decoding: bytes[length...], as: UTF8.self))
  }
}
