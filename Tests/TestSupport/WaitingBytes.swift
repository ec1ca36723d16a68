import Glibc

/// All that waits at a socket now, which does not block.
public func waitingBytes(_ descriptor: Int32) -> [UInt8] {
  var all: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 65_536)
  while true {
    let n = recv(descriptor, &piece, piece.count, 0)
    guard n > 0 else { return all }
    all += piece[..<n]
  }
}
