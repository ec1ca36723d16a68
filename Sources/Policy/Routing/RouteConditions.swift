// What a route asks of a request besides its host and its path: the listener, the method, fields, the settled client; and of one that is
// led away by a redirect, that this changes something. Made with the route table, never changed; asking allocates nothing.
// Called by RouteTable for routes whose host and path may match.

import Platform
import Wire

/// What is known of a request besides its head.
package struct RouteFacts {
  /// The listener's place in the configuration; -1: none that is there now.
  package var listener: Int
  /// Nil in observe mode, where nobody was verified.
  package var client: IPAddress?
  /// The client used TLS.
  package var isSecure: Bool

  package init(listener: Int, client: IPAddress?, isSecure: Bool) {
    self.listener = listener
    self.client = client
    self.isSecure = isSecure
  }
}

final class RouteConditions {
  private struct Field {
    /// In lower case.
    let name: [UInt8]
    let value: [UInt8]?
  }

  private let listeners: ContiguousArray<Int>
  private let methods: ContiguousArray<[UInt8]>
  private let fields: ContiguousArray<Field>
  private let clients: PrefixTable?
  private let redirect: RedirectCondition?

  /// Nil where nothing is asked.
  /// - Parameter listeners: the names of the configuration's listeners, in its order.
  init?(_ route: Config.Route, listeners names: [String]) {
    let match = route.match
    if case .redirect(let wanted)? = route.answer { redirect = RedirectCondition(wanted) } else { redirect = nil }
    guard redirect != nil || !match.rest.isEverything else { return nil }
    listeners = ContiguousArray(match.listeners.map { name in names.firstIndex(of: name) ?? -2 })
    methods = ContiguousArray(match.methods.map { Array($0.utf8) })
    fields = ContiguousArray(
      match.headers.map { Field(name: Array($0.name.lowercased().utf8), value: $0.value.map { Array($0.utf8) }) })
    clients = match.clients.isEmpty ? nil : PrefixTable(match.clients)
  }

  /// Whether all of it holds of the request whose head `bytes` begin with.
  func hold(_ bytes: Span<UInt8>, _ head: RequestHead, _ facts: RouteFacts) -> Bool {
    if !listeners.isEmpty, !listeners.contains(facts.listener) { return false }
    if !methods.isEmpty, !holdsMethod(bytes.extracting(head.methodRange.range)) { return false }
    if let clients {
      guard let client = facts.client, clients.contains(client) else { return false }
    }
    var i = 0
    while i < fields.count {
      guard holdsField(i, bytes, head) else { return false }
      i += 1
    }
    return redirect?.holds(authority: bytes.extracting(head.authority.range), isSecure: facts.isSecure) ?? true
  }

  private func holdsMethod(_ method: Span<UInt8>) -> Bool {
    var i = 0
    while i < methods.count {
      let wanted = methods[i]
      if ByteComparison.isEqual(wanted.span, method) { return true }
      i += 1
    }
    return false
  }

  /// One of the field's lines is as asked for. What was meant for the hop before us counts as absent.
  private func holdsField(_ index: Int, _ bytes: Span<UInt8>, _ head: RequestHead) -> Bool {
    let wanted = fields[index]
    for i in 0..<head.fieldCount {
      let line = head.field(i)
      guard !line.isNominated, bytes.extracting(line.name.range).equalsIgnoringCase(lowercase: wanted.name.span)
      else { continue }
      guard let value = wanted.value else { return true }
      if ByteComparison.isEqual(bytes.extracting(line.value.range), value.span) { return true }
    }
    return false
  }
}

/// A redirect without a path of its own takes only requests that it changes: one by its scheme, or one by its host. So a route for
/// `redirect: { scheme: https }` can stand before all others.
struct RedirectCondition {
  private let isSecure: Bool?
  private let host: [UInt8]?
  private let hasPort: Bool

  /// Nil where it takes every request.
  init?(_ redirect: Config.Redirect) {
    guard redirect.path == nil else { return nil }
    isSecure = redirect.scheme.map { $0 == .https }
    let host = redirect.host.map { Array($0.utf8) }
    hasPort = host.map { RouteTable.hostNameBytes($0.span) < $0.count } ?? false
    self.host = host
  }

  func holds(authority: Span<UInt8>, isSecure used: Bool) -> Bool {
    if let isSecure, isSecure != used { return true }
    guard let host else { return false }
    let compared = hasPort ? authority : authority.extracting(first: RouteTable.hostNameBytes(authority))
    return !compared.equalsIgnoringCase(lowercase: host.span)
  }
}
