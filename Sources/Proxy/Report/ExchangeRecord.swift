// The access record: written once for each exchange when it is over, and once for a connection that never had one.
// docs/CONFIG.md names the members.

import Platform
import Policy
import Wire

extension AccessLog {
  /// Records a finished exchange, in the log and in the counters.
  func record(_ x: Exchange, _ worker: Worker) {
    guard !x.isCheck else { return }
    worker.counters.add(.bytesIn, x.bytesIn)
    worker.counters.add(.bytesOut, x.bytesOut)
    if let counts = x.route?.counts {
      counts.note(status: x.status)
      counts.noteRetries(x.timing.retries)
      if !x.isTunnel { counts.note(microseconds: worker.nowMicroseconds - x.startedMicroseconds) }
    }
    switch x.status {
    case 100..<200: worker.counters.add(.responses1xx)
    case 200..<300: worker.counters.add(.responses2xx)
    case 300..<400: worker.counters.add(.responses3xx)
    case 400..<500: worker.counters.add(.responses4xx)
    // RFC 9110 section 15: what is over 599 counts as a server's error.
    case 500...: worker.counters.add(.responses5xx)
    default: break
    }
    guard isOn, let d = x.downstream else { return }
    guard template == nil else { return text(.of(x, d), worker) }
    let time = worker.date.rfc3339
    line(time: time.span, nowMilliseconds: worker.nowMilliseconds) { line in
      writeConnection(d, d.listener, x.identity ?? d.client, x.schemeSource, into: line)
      if x.isInCutover { line.append(",\"cutover\":true") }
      if let route = x.route { line.member(",\"route\":", text: route.nameBytes) }
      writeRequest(x, d.listener?.record.digests, into: line)
      line.member(",\"status\":", UInt64(x.status))
      if let refusal = x.refusal { line.member(",\"refusal\":", refusal.name) }
      x.loggedDetail.write(to: line)
      line.member(",\"bytes_in\":", x.bytesIn)
      line.member(",\"bytes_out\":", x.bytesOut)
      line.member(",\"duration_ms\":", microseconds: worker.nowMicroseconds - x.startedMicroseconds)
      if x.upstreamStartedMicroseconds > 0 {
        if x.responseStartedMicroseconds >= x.upstreamStartedMicroseconds {
          line.member(
            ",\"upstream_ms\":", microseconds: x.responseStartedMicroseconds - x.upstreamStartedMicroseconds)
        }
        if let group = x.group { line.member(",\"upstream\":", text: group.name) }
        if let verified = x.verified { line.member(",\"verified\":", verified.name) }
        if let server = x.server { line.member(",\"server\":", text: server.text) }
      }
      if d.tlsVersion.utf8CodeUnitCount > 0 { line.member(",\"tls\":", d.tlsVersion) }
      RecordExtras.write(x, d, of: self, nowMicroseconds: worker.nowMicroseconds, into: line)
    }
  }

  /// Records that a tunnel has begun, where that is wanted; `record` follows when it ends.
  func recordTunnelBegin(_ x: Exchange, _ worker: Worker) {
    guard isOn, tellsTunnelBegin, let d = x.downstream else { return }
    guard template == nil else { return text(.of(x, d, isBegin: true), worker) }
    line(time: worker.date.rfc3339.span, nowMilliseconds: worker.nowMilliseconds) { line in
      line.append(",\"event\":\"tunnel-begin\"")
      writeConnection(d, d.listener, x.identity ?? d.client, x.schemeSource, into: line)
      if let route = x.route { line.member(",\"route\":", text: route.nameBytes) }
      writeRequest(x, d.listener?.record.digests, into: line)
      line.member(",\"status\":", UInt64(x.status))
      if let group = x.group { line.member(",\"upstream\":", text: group.name) }
      if let server = x.server { line.member(",\"server\":", text: server.text) }
      RecordExtras.write(x, d, of: self, nowMicroseconds: worker.nowMicroseconds, into: line)
    }
  }

  /// Records a connection that was refused before any request, unless its peer had such lines enough.
  func recordRefused(
    _ d: Downstream, _ refusal: Refusal, _ detail: RefusalDetail = .none, _ worker: Worker
  ) {
    guard isOn, worker.refusedLines.admits(refusal, peer: d.peer, nowMilliseconds: worker.nowMilliseconds) else {
      return
    }
    var detail = detail
    if refusal == .tlsHandshake, case .none = detail, let why = d.transport.failure {
      detail = .named("", Array(why.utf8), "")
    }
    guard template == nil else { return text(.of(d, refusal, detail), worker) }
    let time = worker.date.rfc3339
    line(time: time.span, nowMilliseconds: worker.nowMilliseconds) { line in
      writeConnection(d, d.listener, d.client, d.scheme.source, into: line)
      line.member(",\"status\":", UInt64(refusal == .plainHttp ? refusal.status : 0))
      line.member(",\"refusal\":", refusal.name)
      line.append(",\"bytes_in\":0,\"bytes_out\":0")
      line.member(",\"duration_ms\":", microseconds: (worker.nowMilliseconds - d.acceptedMilliseconds) * 1_000)
      detail.write(to: line)
    }
  }

  /// Records a connection that was turned away at the door, likewise.
  func recordUnserved(_ refusal: Refusal, listener: ListenerPlan, peer: SocketAddress, _ worker: Worker) {
    worker.counters.add(refusal)
    guard isOn, worker.refusedLines.admits(refusal, peer: peer.ip, nowMilliseconds: worker.nowMilliseconds) else {
      return
    }
    guard template == nil else { return text(.of(refusal, listener, peer: peer), worker) }
    let time = worker.date.rfc3339
    line(time: time.span, nowMilliseconds: worker.nowMilliseconds) { line in
      line.member(",\"listener\":", text: listener.nameBytes)
      line.append(members: listener.record.configuration)
      writePeer(peer.ip, peer.port, into: line)
      line.append(",\"status\":0")
      line.member(",\"refusal\":", refusal.name)
    }
  }

  /// Records how many connections got no line of their own in the interval that is over.
  func recordSuppressed(_ worker: Worker) {
    worker.refusedLines.endInterval(nowMilliseconds: worker.nowMilliseconds) { refusal, peer, count in
      // A template has no place for a count.
      guard isOn, template == nil else { return }
      let time = worker.date.rfc3339
      line(time: time.span, nowMilliseconds: worker.nowMilliseconds) { line in
        switch peer {
        case .address(let address): line.member(",\"peer\":", address: address)
        case .unix: line.member(",\"peer\":", "unix")
        case .other: line.member(",\"peer\":", "other")
        }
        line.append(",\"status\":0")
        line.member(",\"refusal\":", refusal.name)
        line.member(",\"suppressed\":", count)
      }
    }
  }

  private func writeConnection(
    _ d: Downstream, _ listener: ListenerPlan?, _ client: ClientIdentity?, _ schemeSource: ClientScheme.Source,
    into line: Buffer
  ) {
    if let listener { line.member(",\"listener\":", text: listener.nameBytes) }
    if let client {
      line.member(",\"client\":", address: client.address)
      line.member(",\"client_port\":", UInt64(client.port))
      line.member(",\"via\":", client.via.text)
      line.append(client.secure ? ",\"scheme\":\"https\"" : ",\"scheme\":\"http\"")
      line.member(",\"scheme_source\":", schemeSource.text)
    }
    if let listener {
      line.append(members: listener.record.rules[d.rule])
      line.append(members: listener.record.configuration)
    }
    writePeer(d.peer, d.peerPort, into: line)
    line.append(",\"connection\":\"")
    // The signed one, where it is: then every log on the way names one connection.
    (client?.connection ?? d.connection).write(hex: line)
    line.append(0x22)
  }

  private func writePeer(_ peer: IPAddress?, _ port: UInt16, into line: Buffer) {
    line.append(",\"peer\":\"")
    line.append(peer: peer, port: port)
    line.append(0x22)
  }

  /// The edge that signed it, method, host, path and digests of fields; nothing of a head that was not understood.
  private func writeRequest(_ x: Exchange, _ digests: FieldDigests?, into line: Buffer) {
    guard x.headBytes > 0, !x.head.methodRange.isEmpty else { return }
    let head = x.head
    x.headText.withReadable { bytes in
      if !x.edge.isEmpty {
        line.append(",\"edge\":\"")
        line.appendEscaped(bytes.extracting(x.edge.range), most: AccessLog.edgeBytesMax)
        line.append(0x22)
      }
      line.append(",\"method\":\"")
      line.appendEscaped(bytes.extracting(head.methodRange.range), most: LogVariable.methodBytesMax)
      line.append("\",\"host\":\"")
      line.appendEscaped(bytes.extracting(head.authority.range), most: LogVariable.hostBytesMax)
      line.append("\",\"path\":\"")
      line.append(bytes.extracting(head.target.range), most: LogVariable.pathBytesMax, query: query, .json)
      line.append(0x22)
      digests?.write(bytes, head, into: line)
    }
  }
}
