// Stands between a TLS client and the program: passes everything on both ways, until it is told to send pieces of a record
// that never becomes whole.

import Foundation

final class TrickleRelay {
  let address: Address
  /// poll(2)'s POLLRDHUP, which Glibc's module lacks.
  private static let peerEnded: Int16 = 0x2000
  private let listening: Int32
  private let target: Address
  private let ends = Guarded<(client: Connection, server: Connection)?>(nil)
  private let isTrickling = Guarded(false)

  init(to target: Address) throws {
    self.target = target
    (listening, address) = try Socket.listen()
    let (listening, ends, isTrickling) = (listening, ends, isTrickling)
    let thread = Thread {
      let accepted = Socket.accept(listening)
      guard accepted >= 0, let server = try? Connection(to: target) else { return }
      let client = Connection(accepted)
      ends.with { $0 = (client, server) }
      let back = Thread {
        while !isTrickling.now {
          guard let more = try? server.fill(withinSeconds: 0.05) else { continue }
          guard more else { break }
          guard (try? client.send(server.take(server.heldCount))) != nil else { break }
        }
      }
      back.start()
      while !isTrickling.now {
        guard let more = try? client.fill(withinSeconds: 0.05) else { continue }
        guard more else { break }
        guard (try? server.send(client.take(client.heldCount))) != nil else { break }
      }
    }
    thread.start()
  }

  deinit { close(listening) }

  /// Sends the head of an application-data record and then a byte of it at a time. True when the server ended the
  /// connection before the deadline; its end is looked for on a copy of the socket, for the threads above may be reading.
  func trickle(everyMilliseconds: Int32, untilEndBy deadline: Deadline) throws -> Bool {
    guard let server = ends.now?.server else { throw Trouble("nobody came through the relay") }
    isTrickling.with { $0 = true }
    var bytes: [UInt8] = [0x17, 0x03, 0x03, 0x40, 0x00]
    while !deadline.hasPassed {
      var entry = pollfd(fd: server.descriptor, events: Self.peerEnded, revents: 0)
      poll(&entry, 1, everyMilliseconds)
      if entry.revents != 0 { return true }
      do { try server.send(bytes) } catch { return true }
      bytes = [0x5a]
    }
    return false
  }
}
