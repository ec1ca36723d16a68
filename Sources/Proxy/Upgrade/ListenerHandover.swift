// Listening sockets that go from one process to the next, or that systemd opened: both ends' descriptors are of the same sockets, so
// what waits on one is lost by neither. A socket is believed to be what the system says of it and not what it is called.

import Platform
import Policy
import Wire

extension ListenerSet {
  /// Appends the sockets' descriptors, each socket's once.
  func write(to state: inout HandoverState, _ descriptors: inout [Int32]) {
    state.listeners = open.map { entry in
      let own = entry.isShared ? Array(entry.descriptors.prefix(1)) : entry.descriptors
      defer { descriptors += own }
      return HandoverState.Socket(
        name: entry.name, address: ListenerSet.describe(entry.address), isShared: entry.isShared,
        ownsFile: entry.file != nil, first: descriptors.count, count: own.count)
    }
  }

  /// The sockets of the running process. `socket` of each is its place in the state and 1.
  static func found(
    _ state: HandoverState, _ descriptors: [Int32], workers: Int
  ) throws(ListenError) -> ListenerSet {
    var found: [Open] = []
    for (place, its) in state.listeners.enumerated() {
      let own = Array(descriptors[its.first..<its.first + its.count])
      found.append(
        try open(
          its.name, try address(its), own, socket: place + 1, isShared: its.isShared, ownsFile: its.ownsFile,
          by: "the running process"))
    }
    return ListenerSet(found: found, workers: workers)
  }

  private static func address(_ socket: HandoverState.Socket) throws(ListenError) -> SocketAddress {
    guard let endpoint = ConfigReader.endpoint(socket.address), ListenerSet.socketAddress(endpoint) != .unnamed else {
      throw ListenError(message: "listener \(socket.name): the running process listens on no address")
    }
    return ListenerSet.socketAddress(endpoint)
  }

  private static func open(
    _ name: String, _ address: SocketAddress, _ descriptors: [Int32], socket: Int, isShared: Bool, ownsFile: Bool,
    by whom: String
  ) throws(ListenError) -> Open {
    var bound = address
    for fd in descriptors {
      guard let its = Sockets.listening(fd) else {
        throw ListenError(message: "listener \(name): what \(whom) passed is no listening socket")
      }
      let isIt =
        if let ip = address.ip {
          its.address.ip == ip && (its.address.port == address.port || address.port == 0)
        } else {
          its.isUnix
        }
      guard isIt, isShared || its.sharesPort else {
        throw ListenError(
          message:
            "listener \(name): \(whom) passed a socket for \(describe(its.address)), and `listen` is \(describe(address))"
        )
      }
      if address.ip != nil { bound = its.address }
    }
    return Open(
      name: name, socket: socket, address: address, bound: bound, descriptors: descriptors, isShared: isShared,
      file: ownsFile ? SocketFile(address) : nil)
  }

  static func admin(_ state: HandoverState, _ descriptors: [Int32]) throws(ListenError) -> [AdminServer.Found] {
    var found: [AdminServer.Found] = []
    for its in state.admin {
      let opened = try open(
        its.name, try address(its), Array(descriptors[its.first..<its.first + its.count]), socket: 0, isShared: true,
        ownsFile: its.ownsFile, by: "the running process")
      found.append(
        AdminServer.Found(
          name: its.name, descriptor: opened.descriptors[0], address: opened.address, file: opened.file))
    }
    return found
  }

  // MARK: systemd

  /// The sockets that systemd opened, by the names of listeners. All must have one: nobody would accept from another.
  static func activated(
    _ sockets: [ActivatedSocket], _ listeners: [Config.Listener], workers: Int
  ) throws(ListenError) -> ListenerSet {
    var found: [Open] = []
    for listener in listeners {
      let own = sockets.filter { $0.name == listener.name }.map(\.descriptor)
      guard !own.isEmpty else { continue }
      // Several are each for some of the workers (ReusePort=); one is everybody's.
      guard own.count == 1 || !listener.address.isUnix else {
        throw ListenError(message: "listener \(listener.name): systemd passed \(own.count) unix sockets")
      }
      found.append(
        try open(
          listener.name, socketAddress(listener.address), own, socket: found.count + 1, isShared: own.count == 1,
          ownsFile: false, by: "systemd"))
    }
    return ListenerSet(found: found, workers: workers)
  }

  /// The names that no listener has.
  static func strangers(_ sockets: [ActivatedSocket], _ config: Config) -> [String] {
    sockets.map(\.name).filter { name in
      !["admin", "control"].contains(name) && !config.listeners.contains { $0.name == name }
    }
  }

  static func activatedAdmin(_ sockets: [ActivatedSocket], _ admin: Config.Admin?) throws(ListenError) -> [AdminServer
    .Found]
  {
    var found: [AdminServer.Found] = []
    for (name, endpoint) in [("admin", admin?.address), ("control", admin?.control)] {
      let own = sockets.filter { $0.name == name }
      guard !own.isEmpty else { continue }
      guard let endpoint, own.count == 1 else {
        throw ListenError(
          message:
            "\(name): systemd passed \(own.count) sockets, and the configuration has \(endpoint == nil ? "none" : "one")"
        )
      }
      let opened = try open(
        name, socketAddress(endpoint), [own[0].descriptor], socket: 0, isShared: true, ownsFile: false, by: "systemd")
      found.append(
        AdminServer.Found(
          name: name, descriptor: own[0].descriptor, address: opened.address, file: nil))
    }
    return found
  }
}
