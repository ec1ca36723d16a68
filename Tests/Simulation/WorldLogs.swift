// What the access logs say, held against who sent what.

extension World {
  /// Reads what both processes have logged since it did last: whom each line names.
  func readLogs() {
    edge.readLog { line in
      trace { "the edge's log: \(line)" }
      guard let id = line.number(of: "path\":\"/r/"), let request = requests[id] else {
        checkConnection(line)
        return
      }
      request.edgeLines += 1
      // Its client sends and resets nothing any more: an exchange that ends then, and not with its response, was never told of its end.
      if request.isServed, !hasFaults, let refusal = line.text(of: "refusal") {
        violate("the client of /r/\(request.id) has all of its response, and the log says \(refusal): \(line)")
      }
      check(line, request)
    }
    validator?.readLog { line in
      trace { "the validator's log: \(line)" }
      guard let id = line.number(of: "path\":\"/r/"), let request = requests[id] else { return }
      check(line, request)
    }
  }

  /// A line without a path: of a head that was not understood, or of a connection that never had one. It names the client as
  /// far as the connection tells: what it announced, or its own address, which is the one of what sends a header unasked.
  private func checkConnection(_ line: String) {
    guard let named = line.text(of: "client"), let peer = line.text(of: "peer"),
      let client = clients.first(where: { $0.stream.local.description == peer })
    else { return }
    let isOwn = client.sender == .direct || client.sender == .switching
    guard named != client.announced?.addressText, !isOwn || named != client.stream.local.addressText else { return }
    violate("the log names \(named) for a connection of \(client.stream.local) (\(client.sender)): \(line)")
  }

  private func check(_ line: String, _ request: Request) {
    if line.text(of: "refusal") == "sign-failed" { violate("/r/\(request.id) could not be signed: \(line)") }
    guard let client = line.text(of: "client"), client != request.truth.addressText else { return }
    violate("the log names \(client) for /r/\(request.id), which \(request.truth) sent: \(line)")
  }
}
