// A backend's end of one HTTP/2 connection, frame by frame, for scripts of `RecordingBackend`.

import Foundation
import TestSupport

extension Exchange {
  /// Goes on as a server of HTTP/2 on the whole connection, whose preface the backend took for a head; its first frames are sent.
  /// - Parameters:
  ///   - receiveBufferBytes: what the kernel holds for it, about.
  ///   - pace: how slowly it reads.
  func speakHTTP2(
    _ frames: HTTP2Frame..., receiveBufferBytes: Int32? = nil, pace: (seconds: Double, bytes: Int)? = nil
  ) throws -> Connection {
    takesBodyItself()
    end()
    if let receiveBufferBytes { Socket.set(connection.descriptor, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes) }
    connection.pace = pace
    _ = try connection.read("SM\r\n\r\n".utf8.count)
    try connection.send(frames.flatMap(\.bytes))
    return connection
  }
}

extension Connection {
  func readHTTP2Frame() throws -> HTTP2Frame {
    let head = try read(HTTP2Frame.headBytes)
    return HTTP2Frame(head: head, payload: try read(HTTP2Frame.payloadCount(head)))
  }
}
