// Socket addresses, and their conversion to and from the kernel's structures.

import CLinux
import Glibc
import Wire

/// Where a socket is bound or connected to.
package enum SocketAddress: Hashable, Sendable {
  case ip(IPAddress, port: UInt16)
  case unix(path: String)
  /// An unnamed unix socket, or an address family that is not supported.
  case unnamed

  package var ip: IPAddress? { if case .ip(let address, _) = self { address } else { nil } }
  package var port: UInt16 { if case .ip(_, let port) = self { port } else { 0 } }

  /// The longest path that a unix socket address can hold.
  package static let unixPathBytesMax = 107

  /// Calls `body` with the kernel's structure. Nil, without calling it, if a unix path is empty or too long, or for `unnamed`.
  func withKernelForm<R>(_ body: (UnsafePointer<sockaddr_storage>, socklen_t) -> R) -> R? {
    var storage = sockaddr_storage()
    switch self {
    case .ip(let address, let port) where address.family == .v4:
      // SAFETY: sockaddr_storage is large enough and aligned for every family; body gets the address of a local for the call.
      return unsafe withUnsafeMutablePointer(to: &storage) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { v4 in
          unsafe v4.pointee.sin_family = sa_family_t(AF_INET)
          unsafe v4.pointee.sin_port = port.bigEndian
          unsafe v4.pointee.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
        }
        return unsafe body(pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    case .ip(let address, let port):
      // SAFETY: as for v4; sin6_addr has the sixteen bytes that are stored.
      return unsafe withUnsafeMutablePointer(to: &storage) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { v6 in
          unsafe v6.pointee.sin6_family = sa_family_t(AF_INET6)
          unsafe v6.pointee.sin6_port = port.bigEndian
          unsafe withUnsafeMutableBytes(of: &v6.pointee.sin6_addr) { bytes in
            unsafe bytes.storeBytes(of: address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe bytes.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
          }
        }
        return unsafe body(pointer, socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    case .unix(let path):
      let bytes = Array(path.utf8)
      guard bytes.count <= SocketAddress.unixPathBytesMax, !bytes.isEmpty else { return nil }
      // SAFETY: as for v4; the path is at most unixPathBytesMax bytes long, so that it fits in sun_path with its NUL.
      return unsafe withUnsafeMutablePointer(to: &storage) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr_un.self, capacity: 1) { un in
          unsafe un.pointee.sun_family = sa_family_t(AF_UNIX)
          unsafe withUnsafeMutableBytes(of: &un.pointee.sun_path) { unsafe $0.copyBytes(from: bytes) }
        }
        return unsafe body(pointer, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    case .unnamed: return nil
    }
  }

  /// The address that the kernel has written to `storage`.
  init(_ storage: inout sockaddr_storage) {
    let family = Int32(storage.ss_family)
    if family == AF_INET {
      // SAFETY: the family says that the kernel wrote a sockaddr_in, for which there is room in any sockaddr_storage.
      self = unsafe withUnsafePointer(to: &storage) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { v4 in
          unsafe .ip(
            IPAddress(v4: UInt32(bigEndian: v4.pointee.sin_addr.s_addr)), port: UInt16(bigEndian: v4.pointee.sin_port))
        }
      }
    } else if family == AF_INET6 {
      // SAFETY: as for AF_INET, with a sockaddr_in6; both loads lie in the sixteen bytes of sin6_addr.
      self = unsafe withUnsafePointer(to: &storage) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { v6 in
          unsafe withUnsafeBytes(of: v6.pointee.sin6_addr) { bytes in
            let high = unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
            let low = unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            return unsafe .ip(
              IPAddress(v6High: high, v6Low: low).unmapped, port: UInt16(bigEndian: v6.pointee.sin6_port))
          }
        }
      }
    } else {
      self = .unnamed
    }
  }

  /// All addresses of a host name, in the resolver's order. Blocks for as long as the resolver likes.
  package static func resolve(_ host: String, port: UInt16) throws(ResolveError) -> [SocketAddress] {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = cs_stream()
    var list: UnsafeMutablePointer<addrinfo>?
    // SAFETY: getaddrinfo allocates the list, which is freed once, when this function ends, and read only before. Each
    // ai_addr holds ai_addrlen bytes, which are copied only where they fit. gai_strerror returns a constant string.
    let code = unsafe getaddrinfo(host, nil, &hints, &list)
    guard code == 0 else { throw ResolveError(host: host, reason: unsafe String(cString: gai_strerror(code))) }
    defer { if let list = unsafe list { unsafe freeaddrinfo(list) } }
    var found: [SocketAddress] = []
    var next = unsafe list
    while let entry = unsafe next {
      if let address = unsafe entry.pointee.ai_addr,
        unsafe Int(entry.pointee.ai_addrlen) <= MemoryLayout<sockaddr_storage>.size
      {
        var storage = sockaddr_storage()
        unsafe memcpy(&storage, address, Int(entry.pointee.ai_addrlen))
        if case .ip(let ip, _) = SocketAddress(&storage), !found.contains(.ip(ip, port: port)) {
          found.append(.ip(ip, port: port))
        }
      }
      unsafe next = entry.pointee.ai_next
    }
    guard !found.isEmpty else { throw ResolveError(host: host, reason: "no address") }
    return found
  }

  package struct ResolveError: Error, Sendable {
    package let host: String
    package let reason: String
  }
}
