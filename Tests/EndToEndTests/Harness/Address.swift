// Addresses of the tests' world. Everything lives on loopback: servers on 127.0.0.1, clients, balancers and far
// proxies each in a range of their own, so that an address in a log tells at once who is meant.

import Foundation

/// Whose address is what.
enum Peer {
  /// Honest and dishonest clients.
  static func client(_ index: Int = 7) -> String { "127.10.\(index / 250).\(index % 250 + 1)" }
  /// Load balancers in front of the edge.
  static let balancer = "127.20.0.1"
  static let balancers = "127.20.0.0/16"
  /// A proxy further out, which a balancer sees as its client.
  static let hop = "127.30.0.1"
  static let hops = "127.30.0.0/16"
  /// What an attacker claims to be. Never a real peer.
  static let claimed = "203.0.113.66"
}

struct Address: Hashable, Sendable, CustomStringConvertible {
  var host: String
  var port: UInt16

  static let anyPort = Address(host: "127.0.0.1", port: 0)

  init(host: String, port: UInt16) {
    self.host = host
    self.port = port
  }

  /// `127.0.0.1:80` or `[::1]:80`.
  init?(_ text: Substring) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    host = text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
    self.port = port
  }

  var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  fileprivate func withSockAddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result) throws -> Result
  {
    if host.contains(":") {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      guard inet_pton(AF_INET6, host, &address.sin6_addr) == 1 else { throw Trouble("no address: \(host)") }
      return try withUnsafePointer(to: &address) {
        try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          try body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
        }
      }
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { throw Trouble("no address: \(host)") }
    return try withUnsafePointer(to: &address) {
      try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        try body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  fileprivate static func ofSocket(_ descriptor: Int32) throws -> Address {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let code = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    guard code == 0 else { throw Trouble("getsockname: \(String(cString: strerror(errno)))") }
    var host = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = storage.ss_family
    return withUnsafePointer(to: &storage) { pointer in
      if family == sa_family_t(AF_INET6) {
        return pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
          var address = $0.pointee.sin6_addr
          inet_ntop(AF_INET6, &address, &host, socklen_t(host.count))
          return Address(host: string(host), port: UInt16(bigEndian: $0.pointee.sin6_port))
        }
      }
      return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        var address = $0.pointee.sin_addr
        inet_ntop(AF_INET, &address, &host, socklen_t(host.count))
        return Address(host: string(host), port: UInt16(bigEndian: $0.pointee.sin_port))
      }
    }
  }

  private static func string(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}

/// The socket calls that the harness makes, each with its error in words.
enum Socket {
  private static func trouble(_ call: String, _ address: Address) -> Trouble {
    Trouble("\(call) \(address): \(String(cString: strerror(errno)))")
  }

  private static func make(_ address: Address) throws -> Int32 {
    let family = address.host.contains(":") ? AF_INET6 : AF_INET
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw trouble("socket", address) }
    return descriptor
  }

  static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
  }

  /// A listening socket; port 0 picks a free one, which the result names. Another is a reserved one.
  static func listen(_ address: Address = .anyPort) throws -> (descriptor: Int32, address: Address) {
    let descriptor = try make(address)
    set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
    if address.port != 0 { set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
    guard try address.withSockAddr({ Foundation.bind(descriptor, $0, $1) }) == 0,
      Foundation.listen(descriptor, 1024) == 0
    else {
      defer { close(descriptor) }
      throw trouble("listen", address)
    }
    return (descriptor, try .ofSocket(descriptor))
  }

  /// An address at which nobody listens until the test says so, and again when that has ended: its port is given to nobody
  /// else as long as the tests run. It is bound and not listened on; the program under test, or `listen`, shares it by
  /// SO_REUSEPORT.
  static func reserve(_ host: String = "127.0.0.1") throws -> Address {
    let address = Address(host: host, port: 0)
    let descriptor = try make(address)
    set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
    set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1)
    guard try address.withSockAddr({ Foundation.bind(descriptor, $0, $1) }) == 0 else {
      defer { close(descriptor) }
      throw trouble("bind", address)
    }
    return try .ofSocket(descriptor)
  }

  /// The next connection to a listening socket, which no child inherits; negative when there is none.
  static func accept(_ listening: Int32) -> Int32 {
    var entry = pollfd(fd: listening, events: Int16(POLLIN), revents: 0)
    poll(&entry, 1, -1)
    return Inheritance.lock.withLock {
      let accepted = Foundation.accept(listening, nil, nil)
      if accepted >= 0 { _ = fcntl(accepted, F_SETFD, FD_CLOEXEC) }
      return accepted
    }
  }

  static func connect(to address: Address, from source: String?, receiveBufferBytes: Int32? = nil) throws -> Int32 {
    let descriptor = try make(address)
    if let receiveBufferBytes { set(descriptor, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes) }
    if let source {
      set(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1)
      let from = Address(host: source, port: 0)
      guard try from.withSockAddr({ Foundation.bind(descriptor, $0, $1) }) == 0 else {
        defer { close(descriptor) }
        throw trouble("bind", from)
      }
    }
    guard try address.withSockAddr({ Foundation.connect(descriptor, $0, $1) }) == 0 else {
      defer { close(descriptor) }
      throw trouble("connect", address)
    }
    set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    return descriptor
  }

  static func connect(unix path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8) + [0]
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard code == 0 else {
      defer { close(descriptor) }
      throw Trouble("connect \(path): \(String(cString: strerror(errno)))")
    }
    return descriptor
  }

  static func localAddress(_ descriptor: Int32) throws -> Address { try .ofSocket(descriptor) }
}
