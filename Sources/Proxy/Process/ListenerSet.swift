// The listening sockets of the process: which are open, by which name, and each worker's share of them. A reload opens
// what is new before anything changes, keeps what stays, and leaves closing to the workers, who first take what waits. Sockets that
// this process did not open itself, because it goes on for another one (ListenerHandover) or systemd did, are kept in the same way.

import Platform
import Policy
import Wire

/// Why a listener, or the admin listener, could not be opened.
package struct ListenError: Error {
  let message: String
  /// The key that says where, such as `listeners[0].listen`.
  var key: String?

  /// With the place of that key.
  func text(_ config: Config, file: String) -> String {
    Diagnostic(.error, at: key.map { config.place(of: $0) } ?? .none, message).text(file: file)
  }
}

struct ListenerSet: Sendable {
  struct Open: Sendable {
    var name: String
    /// Names the socket as long as the process lives, whatever its listener is called: connections go by it.
    let socket: Int
    let address: SocketAddress
    let bound: SocketAddress
    /// At least one for each worker. Those of a shared socket are copies of one; of others, a worker may have several, where there
    /// were more workers when they were opened.
    var descriptors: [Int32]
    /// All workers accept from one socket: a unix socket, or one that somebody else opened.
    let isShared: Bool
    /// That of a unix socket, where it is this process's to remove.
    let file: SocketFile?
  }

  private(set) var open: [Open] = []
  /// Counts the sockets of the process.
  private var socketCount: Int
  private let workers: Int

  /// What is there already, before a first configuration: it is kept as far as the configuration has it.
  init(found: [Open], workers: Int) {
    open = found
    socketCount = found.map(\.socket).max() ?? 0
    self.workers = workers
  }

  /// - Parameter keeping: sockets of the same address are taken over from it.
  init(opening listeners: [Config.Listener], workers: Int, keeping old: ListenerSet?) throws(ListenError) {
    self.workers = workers
    socketCount = old?.socketCount ?? 0
    var made: [Open] = []
    for (index, listener) in listeners.enumerated() {
      let address = ListenerSet.socketAddress(listener.address)
      // An open socket stays open whatever it is called now; a port that the system chose belongs to its name.
      let isChosenBySystem = address.ip != nil && address.port == 0
      do {
        if let kept = old?.open.first(where: {
          $0.address == address && (!isChosenBySystem || $0.name == listener.name)
        }) {
          open.append(try ListenerSet.keep(kept, as: listener.name, workers: workers))
          continue
        }
        socketCount += 1
        try ListenerSet.checkOwn(listener.name, address, beside: made, before: old?.open ?? [])
        let new = try ListenerSet.listen(listener.name, address, socket: socketCount, workers: workers)
        made.append(new)
        open.append(new)
      } catch {
        for open in made { for fd in open.descriptors { Sockets.closeDescriptor(fd) } }
        throw ListenError(message: error.message, key: "listeners[\(index)].listen")
      }
    }
  }

  /// One port has one socket, or several whose addresses differ: every address is all of them. Those of before are open until a reload is
  /// taken.
  private static func checkOwn(
    _ name: String, _ address: SocketAddress, beside made: [Open], before: [Open]
  ) throws(ListenError) {
    guard let ip = address.ip, address.port != 0 else { return }
    for (index, other) in (made + before).enumerated() {
      guard let its = other.bound.ip, other.bound.port == address.port, its.family == ip.family,
        its == ip || its.isUnspecified || ip.isUnspecified
      else { continue }
      throw ListenError(
        message:
          "listener \(name): \(describe(address)) cannot be opened while this process listens on \(describe(other.bound)) for "
          + "the listener \(other.name); "
          + (index < made.count ? "name each address, or leave one listener out" : "a restart can change that"))
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
    return Open(
      name: name, socket: socket, address: address, bound: bound, descriptors: descriptors,
      isShared: address.ip == nil, file: SocketFile(address))
  }

  /// A socket under the name that it has now, with a descriptor for each worker: one that was found may have fewer.
  private static func keep(_ kept: Open, as name: String, workers: Int) throws(ListenError) -> Open {
    var descriptors = kept.descriptors
    do {
      while descriptors.count < workers {
        descriptors.append(
          kept.isShared ? try Sockets.duplicate(descriptors[0]) : try Sockets.listen(on: kept.bound))
      }
    } catch {
      for fd in descriptors.dropFirst(kept.descriptors.count) { Sockets.closeDescriptor(fd) }
      throw ListenError(message: "listener \(name): cannot listen on \(describe(kept.bound)): \(error)")
    }
    var open = kept
    open.name = name
    open.descriptors = descriptors
    return open
  }

  func sources(worker: Int) -> [ListenerSource] {
    open.flatMap { entry in
      // No socket is left to nobody.
      stride(from: worker, to: entry.isShared ? worker + 1 : entry.descriptors.count, by: workers).map { i in
        ListenerSource(
          name: entry.name, socket: entry.socket, descriptor: entry.descriptors[i], isShared: entry.isShared)
      }
    }
  }

  /// Closes what `new`, which was opened keeping this, does not have: nobody would accept from it.
  func closeUnless(in new: ListenerSet) {
    for entry in open where !new.open.contains(where: { $0.socket == entry.socket }) {
      for fd in entry.descriptors { Sockets.closeDescriptor(fd) }
    }
  }

  /// Closes what `old` does not have, after the reload for which it was opened was refused.
  func discard(keeping old: ListenerSet?) {
    for entry in open where old?.open.contains(where: { $0.socket == entry.socket }) != true {
      for fd in entry.descriptors { Sockets.closeDescriptor(fd) }
      entry.file?.remove()
    }
  }

  /// Removes the files of unix sockets that `new` no longer has.
  func removeSocketFiles(unlessIn new: ListenerSet) {
    for entry in open where !new.open.contains(where: { $0.address == entry.address }) { entry.file?.remove() }
  }

  /// Names and where they are really bound.
  var bound: [(name: String, text: String)] { open.map { ($0.name, ListenerSet.describe($0.bound)) } }

  /// - Parameter keeping: sockets that another process goes on with.
  func removeSocketFiles(keeping kept: Set<Int> = []) {
    for entry in open where !kept.contains(entry.socket) { entry.file?.remove() }
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
