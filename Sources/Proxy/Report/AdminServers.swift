// The admin listeners of a process: `admin.listen`, which shows, and is a unix socket or an address for a monitoring system; and
// `admin.control`, a unix socket over which operators also change things where `listen` is an address. Both answer the same, and
// each goes by who asks (AdminControl).

import Policy

final class AdminServers: Sendable {
  private let listen: AdminServer
  private let control: AdminServer

  struct Opened: Sendable {
    static let unchanged = Opened(listen: .unchanged, control: .unchanged)
    fileprivate var listen: AdminServer.Opened
    fileprivate var control: AdminServer.Opened

    func discard() {
      listen.discard()
      control.discard()
    }

    /// The names of sockets that were found and go on to be used.
    var kept: Set<String> {
      var names: Set<String> = []
      for each in [listen, control] { if case .found(let found) = each { names.insert(found.name) } }
      return names
    }
  }

  init(readiness: ServiceReadiness) throws {
    listen = try AdminServer(name: "admin", readiness: readiness)
    control = try AdminServer(name: "control", readiness: readiness)
  }

  /// As the ready line shows them.
  var boundTexts: [String] {
    [("admin", listen.boundText), ("control", control.boundText)].compactMap { name, text in
      text.map { "\(name)=\($0)" }
    }
  }

  func set(_ reloads: ReloadStatus) {
    listen.set(reloads)
    control.set(reloads)
  }

  func show(_ shared: ProcessShared) {
    listen.show(shared)
    control.show(shared)
  }

  /// Opens sockets for the addresses that are not in use yet, and not among those that were found.
  func open(_ config: Config.Admin?, found: [AdminServer.Found] = []) throws(ListenError) -> Opened {
    let opened = try listen.open(config?.address, found: found)
    do throws(ListenError) {
      return Opened(listen: opened, control: try control.open(config?.control, found: found))
    } catch {
      opened.discard()
      throw error
    }
  }

  func take(_ opened: Opened) {
    listen.take(opened.listen)
    control.take(opened.control)
  }

  func start() throws {
    try listen.start()
    try control.start()
  }

  // MARK: In an upgrade

  /// The sockets, for another process; they stay this one's.
  var handedOver: [AdminServer.Found] { [listen.handedOver, control.handedOver].compactMap { $0 } }

  /// False where somebody is being answered for too long.
  func pause() -> Bool {
    let isPaused = listen.pause()
    return control.pause() && isPaused
  }

  func resume() {
    listen.resume()
    control.resume()
  }

  /// Ends; another process goes on with the sockets of these names.
  func stop(keeping kept: Set<String>) {
    if kept.contains("admin") { listen.leave() } else { listen.stop() }
    if kept.contains("control") { control.leave() } else { control.stop() }
  }

  func stop() {
    listen.stop()
    control.stop()
  }
}
