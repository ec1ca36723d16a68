// The system calls of `Calls/calls.c`, put to the kernel of the seed at hand.

import SimulatedCalls

/// Descriptors from here on are simulated.
let simulatedBase = simulated_descriptor_base

/// The kernel of the seed at hand. One thread.
nonisolated(unsafe) var kernel = Kernel(seed: 0, chance: 0)

@_cdecl("simulated_recv")
func simulatedRecv(_ fd: Int32, _ to: UnsafeMutableRawPointer?, _ count: Int64, _ peeks: Int32) -> Int64 {
  guard let stream = kernel.find(fd, Stream.self) else { return -Int64(Errno.badDescriptor) }
  return Int64(
    stream.receive(Int(count), peeks: peeks != 0) { bytes in
      bytes.withUnsafeBytes { to?.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    })
}

@_cdecl("simulated_send")
func simulatedSend(_ fd: Int32, _ from: UnsafeRawPointer?, _ count: Int64) -> Int64 {
  guard let stream = kernel.find(fd, Stream.self) else { return -Int64(Errno.badDescriptor) }
  return Int64(stream.send(UnsafeRawBufferPointer(start: from, count: Int(count))))
}

@_cdecl("simulated_socket")
func simulatedSocket() -> Int32 { kernel.makeSocket() }

@_cdecl("simulated_accept")
func simulatedAccept(_ fd: Int32, _ peer: UnsafeMutablePointer<simulated_endpoint>?) -> Int32 {
  if kernel.lacksDescriptors { return -Errno.tooManyFiles }
  guard let stream = kernel.accept(fd) else { return -Errno.again }
  peer?.pointee = simulated_endpoint(address: stream.remote.address, port: stream.remote.port)
  return stream.descriptor
}

@_cdecl("simulated_connect")
func simulatedConnect(_ fd: Int32, _ address: UInt32, _ port: UInt16) -> Int32 {
  kernel.connect(fd, to: Endpoint(address: address, port: port))
}

@_cdecl("simulated_local")
func simulatedLocal(_ fd: Int32, _ local: UnsafeMutablePointer<simulated_endpoint>?) -> Int32 {
  guard let stream = kernel.find(fd, Stream.self) else { return -Errno.badDescriptor }
  local?.pointee = simulated_endpoint(address: stream.local.address, port: stream.local.port)
  return 0
}

@_cdecl("simulated_error")
func simulatedError(_ fd: Int32) -> Int32 { kernel.find(fd, Stream.self)?.takeConnectError() ?? Errno.badDescriptor }

@_cdecl("simulated_linger")
func simulatedLinger(_ fd: Int32, _ seconds: Int32) -> Int32 {
  kernel.setLinger(fd, seconds: seconds)
  return 0
}

@_cdecl("simulated_shutdown")
func simulatedShutdown(_ fd: Int32) -> Int32 {
  guard let stream = kernel.find(fd, Stream.self) else { return -Errno.badDescriptor }
  guard stream.phase == .open else { return -Errno.notConnected }
  stream.finish()
  return 0
}

@_cdecl("simulated_close")
func simulatedClose(_ fd: Int32) -> Int32 { kernel.close(fd) }

@_cdecl("simulated_unacknowledged")
func simulatedUnacknowledged(_ fd: Int32) -> Int32 { Int32(kernel.find(fd, Stream.self)?.unacknowledged ?? 0) }

@_cdecl("simulated_was_reset")
func simulatedWasReset(_ fd: Int32) -> Int32 { kernel.find(fd, Stream.self)?.gotReset == true ? 1 : 0 }

@_cdecl("simulated_epoll_create")
func simulatedEpollCreate() -> Int32 { kernel.makePoller() }

@_cdecl("simulated_epoll_ctl")
func simulatedEpollCtl(_ ep: Int32, _ operation: Int32, _ fd: Int32, _ events: UInt32, _ data: UInt64) -> Int32 {
  guard let poller = kernel.find(ep, Poller.self), let watched = kernel.find(fd, Watched.self) else {
    return -Errno.badDescriptor
  }
  // EPOLL_CTL_ADD is 1, EPOLL_CTL_DEL is 2; the engine uses no other.
  if operation == 1 { return kernel.watch(poller, watched, events, data) }
  guard watched.poller === poller else { return -Errno.noEntry }
  kernel.unwatch(watched)
  return 0
}

@_cdecl("simulated_epoll_prepare")
func simulatedEpollPrepare(_ ep: Int32, _ timeout: Int32) -> Int32 {
  guard let poller = kernel.find(ep, Poller.self) else { return -Errno.badDescriptor }
  kernel.prepare(poller, mayWait: timeout != 0)
  return 0
}

@_cdecl("simulated_epoll_next")
func simulatedEpollNext(
  _ ep: Int32, _ events: UnsafeMutablePointer<UInt32>?, _ data: UnsafeMutablePointer<UInt64>?
) -> Int32 {
  guard let poller = kernel.find(ep, Poller.self), let next = kernel.next(poller) else { return 0 }
  events?.pointee = next.events
  data?.pointee = next.data
  return 1
}

@_cdecl("simulated_eventfd")
func simulatedEventfd() -> Int32 { kernel.makeEvent() }

@_cdecl("simulated_event_signal")
func simulatedEventSignal(_ fd: Int32) -> Int32 {
  kernel.signal(event: fd)
  return 0
}

@_cdecl("simulated_event_clear")
func simulatedEventClear(_ fd: Int32) -> Int32 {
  kernel.clear(event: fd)
  return 0
}

@_cdecl("simulated_nanoseconds")
func simulatedNanoseconds(_ isWall: Int32) -> UInt64 {
  kernel.monotonicNanoseconds + (isWall != 0 ? kernel.wallOffsetNanoseconds : 0)
}

@_cdecl("simulated_random")
func simulatedRandom(_ to: UnsafeMutableRawPointer?, _ count: Int32) { kernel.fill(to, Int(count)) }
