// A request that its route answers by itself: the head of the answer, and what there is of a body. Called by Begin once the route's gate
// has let the request pass.

import Platform
import Policy
import Wire

enum RouteAnswering {
  /// Begins the answer.
  static func begin(_ x: Exchange, _ route: RoutePlan, _ answer: RouteAnswer, _ worker: Worker) -> Step {
    switch answer.kind {
    case .redirect(let redirect, let host, let change):
      if EarlyAnswer.comesLast(status: redirect.status, hasContent: false, x) {
        x.awaitsRequest = true
        return .moved
      }
      x.targetText.removeAll()
      let refusal = writeLocation(x, redirect, host: host, change, into: x.targetText)
      if let refusal {
        if refusal == .pathAmbiguous { x.detail = .text(PathChange.refusalText) }
        return .refuse(refusal)
      }
      if x.targetText.overflowed { return .refuse(.headTooLarge) }
      return begin(x, route, AnswerHead(status: redirect.status, lengthBytes: 0), answer.lines, worker) { fields in
        fields.write(.location) { out in x.targetText.withReadable { out.append($0) } }
      }
    case .respond(let status, let body, let type):
      if EarlyAnswer.comesLast(status: status, hasContent: !body.isEmpty, x) {
        x.awaitsRequest = true
        return .moved
      }
      var head = AnswerHead(status: status, lengthBytes: UInt64(body.count))
      // RFC 9110 section 8.6.
      if status == 204 || status == 304 { head.lengthBytes = nil }
      if x.method != .head, !body.isEmpty { x.answerBody = AnswerBody(body) }
      return begin(x, route, head, answer.lines, worker) { fields in
        if !type.isEmpty { fields.write(.contentType, type.span) }
      }
    case .files(let directory, let prefix):
      return StaticFiles.begin(x, route, directory, prefix: prefix, worker)
    }
  }

  /// Writes an answer's head, and leaves its body, if it has one, to the exchange's steps.
  /// - Parameters:
  ///   - lines: fields of the answer's own.
  ///   - fields: appends further field lines.
  static func begin(
    _ x: Exchange, _ route: RoutePlan, _ head: AnswerHead, _ lines: FieldLines, _ worker: Worker,
    _ fields: (OwnFields) -> Void = { _ in }
  ) -> Step {
    if !x.machine.keepsDownstream || x.mayNotSend || worker.isDraining { x.machine.noteDownstreamCloses() }
    let d = x.downstream!
    // To an extended CONNECT a success would say that the tunnel is open (RFC 8441 section 5).
    if d.stream?.wantsWebSocket ?? false, (200..<300).contains(head.status) { return .refuse(.upgradeUnsupported) }
    let most =
      HeadWriter.responseGrowthBytes + x.targetText.count + lines.bytesMax(hostBytes: Int(x.head.authority.count))
      + (route.responseEdit?.lines.bytesMax(hostBytes: Int(x.head.authority.count)) ?? 0)
    guard case .room = d.makeRoom(forHead: most) else { return .refuse(.headTooLarge) }
    x.bytesOut += UInt64(write(head, lines, route.responseEdit, to: d, for: x, worker, fields))
    x.status = head.status
    x.machine.responseHead(keepAlive: false)
    // An answer is made without another try.
    x.discardHeld()
    if x.answerBody.left == 0 { x.machine.responseEnded() }
    return .moved
  }

  /// Appends where a redirect leads: always a whole URL, so that no path of a request can be taken for a host.
  private static func writeLocation(
    _ x: Exchange, _ redirect: Config.Redirect, host: [UInt8], _ change: PathChange?, into out: Buffer
  ) -> Refusal? {
    let isSecure = redirect.scheme.map { $0 == .https } ?? x.isSecure
    out.append(isSecure ? "https://" : "http://")
    let head = x.head
    return x.headText.withReadable { bytes in
      if host.isEmpty {
        let authority = bytes.extracting(head.authority.range)
        // Another scheme has another port.
        let keepsPort = isSecure == x.isSecure
        out.append(keepsPort ? authority : authority.extracting(first: RouteTable.hostNameBytes(authority)))
      } else {
        out.append(host.span)
      }
      let (path, query) = (bytes.extracting(head.path.range), bytes.extracting(head.query.range))
      if let change { return change.write(path: path, query: query, into: out) }
      // `*` is a path of OPTIONS alone.
      if path.count > 0, path[0] == 0x2f { out.append(path) } else { out.append(0x2f) }
      out.append(query)
      return nil
    }
  }

  /// Writes the head of a route's answer, with the empty line; there is room. Returns how many bytes it has.
  /// - Parameter fields: appends further field lines.
  private static func write(
    _ head: AnswerHead, _ lines: FieldLines, _ edit: HeadEdit?, to d: Downstream, for x: Exchange, _ worker: Worker,
    _ fields: (OwnFields) -> Void
  ) -> Int {
    if let stream = d.stream {
      return d.writeStreamHead(stream, isInterim: false, hasBody: x.answerBody.left > 0) {
        writeLines(head, lines, edit, isStream: true, for: x, worker, fields, into: $0)
      }
    }
    let out = d.output
    let before = out.count
    writeLines(head, lines, edit, isStream: false, for: x, worker, fields, into: out)
    if !x.machine.keepsDownstream {
      out.append("Connection: close\r\n")
    } else if x.minorVersion == 0 {
      out.append("Connection: keep-alive\r\n")
    }
    out.append("\r\n")
    return out.count - before
  }

  /// The head's lines, without what is the connection's, and without the empty line.
  private static func writeLines(
    _ head: AnswerHead, _ lines: FieldLines, _ edit: HeadEdit?, isStream: Bool, for x: Exchange, _ worker: Worker,
    _ fields: (OwnFields) -> Void, into out: Buffer
  ) {
    if isStream {
      HeadWriter.writeStatusField(head.status, into: out)
    } else {
      out.append("HTTP/1.1 ")
      out.append(decimal: UInt64(head.status))
      out.append(0x20)
      out.append(ReasonPhrase.of(head.status))
      out.append("\r\n")
    }
    out.append("Date: ")
    out.append(worker.date.imf.span)
    out.append("\r\n")
    if let length = head.lengthBytes {
      out.append("Content-Length: ")
      out.append(decimal: length)
      out.append("\r\n")
    }
    fields(OwnFields(out: out, edit: edit))
    if !lines.isEmpty || edit != nil {
      let values = FieldValues(x)
      x.headText.withReadable { bytes in
        lines.write(values, bytes, x.head, into: out)
        edit?.lines.write(values, bytes, x.head, into: out)
      }
    }
    if let rate = RouteRate.of(x) { x.rate.write(rate, into: out) }
    out.append(ValidatorMark.own(x, worker).line)
  }
}

/// What an answer's head says by itself.
struct AnswerHead {
  var status: Int
  /// What the content has, or would have with GET; nil: not stated.
  var lengthBytes: UInt64?

  init(status: Int, lengthBytes: UInt64?) {
    self.status = status
    self.lengthBytes = lengthBytes
  }
}
