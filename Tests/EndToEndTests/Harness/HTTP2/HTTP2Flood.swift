// A client that sends without end, as fast as the server takes it.

import TestSupport

extension HTTP2Client {
  /// Sends frames, piece by piece, until the server ends the connection or there were so many pieces; how many went out.
  /// `reads`: takes what comes meanwhile, so that the server is not held up by its own frames. `isPaced`: the server answers a PING
  /// before more is sent.
  func flood(
    upTo most: Int, reads: Bool = true, isPaced: Bool = false, _ frames: (Int) -> [HTTP2Frame]
  ) throws -> Int {
    var pieces = 0
    while pieces < most {
      // Some at a time, as one write.
      let count = min(isPaced ? 32 : 64, most - pieces)
      let batch = (pieces..<pieces + count).flatMap(frames)
      for frame in batch { note(frame) }
      guard try push(batch.flatMap(\.bytes), reads: reads) else { return pieces }
      pieces += count
      if reads { try takeHeld() }
      if isPaced, !hasEnded, goAway == nil { do { try settle() } catch  where hasEnded {} }
      if hasEnded || goAway != nil { return pieces }
    }
    return pieces
  }

  /// Sends bytes; false when the server takes no more of them, since it has ended the connection.
  private func push(_ bytes: [UInt8], reads: Bool) throws -> Bool {
    var sent = 0
    let deadline = Deadline.usual
    while sent < bytes.count {
      do {
        let count = try bytes[sent...].withUnsafeBytes { try connection.sendSome($0) }
        if let count {
          sent += count
          continue
        }
      } catch {
        return false
      }
      if reads { try takeHeld() }
      if hasEnded { return false }
      if !connection.hasRoom(withinSeconds: 0.05), deadline.hasPassed {
        throw Trouble("the server takes no more, and does not end the connection; \(summary)")
      }
    }
    return true
  }

  /// Takes the frames that have come, without waiting.
  private func takeHeld() throws {
    let now = Deadline.after(0)
    while !hasEnded, try hasFrame(by: now) { _ = try nextFrame(by: now) }
  }
}
