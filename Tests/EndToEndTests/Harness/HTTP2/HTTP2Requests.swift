// Requests by HTTP/2 in a line each, and their responses.

import TestSupport

struct HTTP2Response: Sendable {
  /// 0 where no response came.
  var status: Int
  var fields: [HPACKField]
  var interim: [[HPACKField]]
  var body: [UInt8]
  var trailers: [HPACKField]?
  /// The code with which the stream was reset, before its end or behind it.
  var reset: UInt32?
  /// The response is whole.
  var hasEnded: Bool

  init(_ stream: HTTP2Stream) {
    interim = Array(stream.blocks.prefix { $0.isInterim })
    let rest = stream.blocks.dropFirst(interim.count)
    fields = rest.first ?? []
    status = fields.status
    trailers = rest.dropFirst().first
    body = stream.body
    reset = stream.reset
    hasEnded = stream.hasEnded
  }

  var text: String { String(decoding: body, as: UTF8.self) }

  /// The value of the only field of this name.
  subscript(_ name: String) -> String? {
    let values = fields.all(name)
    return values.count == 1 ? values[0] : nil
  }
}

extension HTTP2Client {
  /// The fields of a request, pseudo-fields first.
  func fields(
    _ path: String, method: String = "GET", host: String = Site.host, _ more: [(String, String)] = []
  ) -> [HPACKField] {
    [(":method", method), (":scheme", scheme), (":path", path), (":authority", host)].map { HPACKField($0.0, $0.1) }
      + more.map { HPACKField($0.0, $0.1) }
  }

  /// The header block of a request.
  func block(
    _ path: String, method: String = "GET", host: String = Site.host, _ more: [(String, String)] = []
  ) -> [UInt8] {
    HPACKBlock(fields(path, method: method, host: host, more)).bytes
  }

  /// Sends a request without waiting; a body goes as far as the windows do.
  @discardableResult
  func begin(
    _ path: String, method: String = "GET", host: String = Site.host, fields more: [(String, String)] = [],
    body: [UInt8]? = nil, trailers: [(String, String)]? = nil
  ) throws -> UInt32 {
    let stream = try open(block(path, method: method, host: host, more), ends: body == nil && trailers == nil)
    if let body { try send(body: body, on: stream, ends: trailers == nil) }
    if let trailers { try send(.headers(stream, HPACKBlock(trailers.map { HPACKField($0.0, $0.1) }).bytes)) }
    return stream
  }

  /// Waits for the end of a stream, by whatever.
  func response(on stream: UInt32, by deadline: Deadline = .usual) throws -> HTTP2Response {
    try wait(for: "the end of stream \(stream)", by: deadline) { $0.streams[stream]?.isOver == true }
    return HTTP2Response(streams[stream]!)
  }

  /// Sends a request and reads its response, whole.
  func get(
    _ path: String, method: String = "GET", host: String = Site.host, fields more: [(String, String)] = [],
    body: [UInt8]? = nil, trailers: [(String, String)]? = nil
  ) throws -> HTTP2Response {
    let stream = try begin(path, method: method, host: host, fields: more, body: body, trailers: trailers)
    let response = try response(on: stream)
    guard response.hasEnded else {
      throw Trouble("stream \(stream) was reset before its response was whole; \(summary)")
    }
    return response
  }
}
