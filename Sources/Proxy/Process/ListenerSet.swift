// The listening sockets of the process: which are open, by which name, and each worker's share of them. A reload opens
// what is new before anything changes, keeps what stays, and leaves closing to the workers, who first take what waits.

import Platform
import Policy
import Wire

/// Why a listener, or the admin listener, could not be opened.
package struct ListenError: Error {
  let message: String
}

struct ListenerSet: Sendable {
  private struct Open: Sendable {
    let name: String
    /// Names the socket as long as the process lives, whatever its listener is called: connections go by it.
    let socket: Int
    let address: SocketAddress
    let bound: SocketAddress
    /// One for each worker; a unix socket's are copies of one.
    let descriptors: [Int32]
  }

  private var open: [Open] = []
  /// Counts the sockets of the process.
  private var socketCount: Int

  /// - Parameter keeping: sockets of the same address are taken over from it.
  init(opening listeners: [Config.Listener], workers: Int, keeping old: ListenerSet?) throws(ListenError) {
    socketCount = old?.socketCount ?? 0
    var made: [Open] = []
    for listener in listeners {
      let address = ListenerSet.socketAddress(listener.address)
      // An open socket stays open whatever it is called now; a port that the system chose belongs to its name.
      let isChosenBySystem = address.ip != nil && address.port == 0
      if let kept = old?.open.first(where: {
        $0.address == address && (!isChosenBySystem || $0.name == listener.name)
      }) {
        open.append(
          Open(
            name: listener.name, socket: kept.socket, address: address, bound: kept.bound, descriptors: kept.descriptors
          ))
        continue
      }
      do {
        socketCount += 1
        let new = try ListenerSet.listen(listener.name, address, socket: socketCount, workers: workers)
        made.append(new)
        open.append(new)
      } catch {
        for open in made { for fd in open.descriptors { Sockets.closeDescriptor(fd) } }
        throw error
      }
    }
  }

  private static func listen(
    _ name: String, _ address: SocketAddress, socket: Int, workers: Int
  ) throws(ListenError) -> Open {
    let text = describe(address)
    guard !Sockets.isInUse(address) else {
      throw ListenError(
        message:
          "listener \(name): \(text) is already in use by another process; choose another address or end that process")
    }
    var descriptors: [Int32] = []
    var bound = address
    do {
      for index in 0..<workers {
        if case .unix = address, index > 0 {
          descriptors.append(try Sockets.duplicate(descriptors[0]))
          continue
        }
        // A port that the system chose for the first worker is everybody's.
        descriptors.append(try Sockets.listen(on: index == 0 ? address : bound))
        if index == 0, address.ip != nil { bound = Sockets.local(descriptors[0]) }
      }
    } catch {
      for fd in descriptors { Sockets.closeDescriptor(fd) }
      throw ListenError(message: "listener \(name): cannot listen on \(text): \(error)")
    }
    return Open(name: name, socket: socket, address: address, bound: bound, descriptors: descriptors)
  }

  func sources(worker: Int) -> [ListenerSource] {
    open.map { entry in
      var isShared = false
      if case .unix = entry.address { isShared = true }
      return ListenerSource(
        name: entry.name, socket: entry.socket, descriptor: entry.descriptors[worker], isShared: isShared)
    }
  }

  /// Closes what `old` does not have, after the reload for which it was opened was refused.
  func discard(keeping old: ListenerSet?) {
    for entry in open where old?.open.contains(where: { $0.socket == entry.socket }) != true {
      for fd in entry.descriptors { Sockets.closeDescriptor(fd) }
      if case .unix(let path) = entry.address { Sockets.removeFile(path) }
    }
  }

  /// Removes the files of unix sockets that `new` no longer has.
  func removeSocketFiles(unlessIn new: ListenerSet) {
    for entry in open where !new.open.contains(where: { $0.address == entry.address }) {
      if case .unix(let path) = entry.address { Sockets.removeFile(path) }
    }
  }

  /// Names and where they are really bound.
  var bound: [(name: String, text: String)] { open.map { ($0.name, ListenerSet.describe($0.bound)) } }

  func removeSocketFiles() {
    for entry in open { if case .unix(let path) = entry.address { Sockets.removeFile(path) } }
  }

  static func socketAddress(_ endpoint: Config.Endpoint) -> SocketAddress {
    switch endpoint {
    case .address(let ip, let port): .ip(ip, port: port)
    case .unix(let path): .unix(path: path)
    case .host, .service: .unnamed
    }
  }

  static func describe(_ address: SocketAddress) -> String {
    switch address {
    case .ip(let ip, let port): Snapshot.endpointText(ip, port)
    case .unix(let path): "unix:\(path)"
    case .unnamed: "an unnamed socket"
    }
  }
}
