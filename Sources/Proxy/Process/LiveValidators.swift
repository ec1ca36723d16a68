// The last part of the self-test: each server of an attested upstream is asked, before a configuration goes live, with two probes that
// are signed for different addresses (docs/IDENTITY.md section 5). A validator answers each with whom it verified.
//
// Another client than was signed for, or one client for both, is an error, and the configuration is refused. Who cannot be reached, has
// just started, refuses or does not verify is a warning, since a validator may be started or reloaded after its edge; but an error
// where the same server takes what the configuration in use signs, for then a reload would lose what works.
//
// Invariants: probes are signed from lanes of their own (ProbeLanes). All waiting together is bounded (`allMilliseconds`); servers are
// asked on a few threads, which are joined. Called by Load, behind the in-process part and the reload guard, and by `check --live`.

import Platform
import Policy
import Synchronization
import Wire

enum LiveValidators {
  /// For all servers together; for one where they are more than the threads; and for asking again those that refuse, whether they take
  /// what is in use.
  static let allMilliseconds: UInt64 = 2_000
  static let eachMilliseconds: UInt64 = 1_000
  static let againMilliseconds: UInt64 = 1_000
  private static let threadsMax = 8

  /// What one server has come to.
  private enum Outcome: Sendable {
    case notAsked
    case unreachable(String)
    /// It names each client as it was signed.
    case verified
    case wrong(String)
    /// The signature was not verified, or what it says is not used.
    case refused(String)
    /// A warning at any time: it says nothing about the configuration.
    case warning(String)
  }

  private struct Probe: Sendable {
    let client: IPAddress
    /// The signed PROXY header, where the upstream has one; empty otherwise.
    let preamble: [UInt8]
    let head: [UInt8]
    /// The line that a validator answers.
    let expected: String
  }

  private struct Question: Sendable {
    let upstream: Snapshot.Upstream
    let server: Snapshot.Server
    let keyID: String
    let edge: String
    let probes: [Probe]
  }

  /// - Parameters:
  ///   - inUse: the configuration that a reload would replace.
  ///   - mostMilliseconds: how long it may take, where that is less.
  static func findings(
    _ snapshot: Snapshot, inUse: Snapshot?, lanes: ProbeLanes, mostMilliseconds: UInt64 = .max
  ) -> [Diagnostic] {
    do {
      let questions = try questions(snapshot, lanes) { _ in true }
      guard !questions.isEmpty else { return [] }
      let now = Clock.monotonicMilliseconds()
      let outcomes = ask(questions, untilMilliseconds: now + min(allMilliseconds, mostMilliseconds))
      let refusing = zip(questions, outcomes).compactMap { question, outcome in
        if case .refused = outcome { question.server.address } else { nil }
      }
      let again = try inUse.map { try self.questions($0, lanes) { refusing.contains($0.address) } } ?? []
      let before = ask(again, untilMilliseconds: Clock.monotonicMilliseconds() + againMilliseconds)
      let taken = zip(again, before).compactMap { question, outcome in
        if case .verified = outcome { question.server.address } else { nil }
      }
      return findings(snapshot.config, questions, outcomes, takesWhatIsInUse: { taken.contains($0) })
    } catch {
      return [Diagnostic(.error, at: snapshot.config.place(of: "identity.keys"), "self-test: \(error)")]
    }
  }

  private static func findings(
    _ config: Config, _ questions: [Question], _ outcomes: [Outcome], takesWhatIsInUse: (SocketAddress) -> Bool
  ) -> [Diagnostic] {
    var findings: [Diagnostic] = []
    var notAsked = 0
    for (question, outcome) in zip(questions, outcomes) {
      let place = config.place(of: "upstreams.\(question.upstream.config.name).servers")
      let who = "self-test: upstream \(question.upstream.config.name): the validator at \(question.server.text)"
      switch outcome {
      case .notAsked: notAsked += 1
      case .unreachable(let why):
        findings.append(
          Diagnostic(
            .warning, at: place,
            "self-test: upstream \(question.upstream.config.name): a validator could not be asked: \(why)"))
      case .verified: break
      case .wrong(let what): findings.append(Diagnostic(.error, at: place, "\(who) \(what)"))
      case .warning(let what): findings.append(Diagnostic(.warning, at: place, "\(who) \(what)"))
      case .refused(let why):
        guard takesWhatIsInUse(question.server.address) else {
          findings.append(
            Diagnostic(.warning, at: place, "\(who) does not take what is signed for it: \(why)"))
          continue
        }
        findings.append(
          Diagnostic(
            .error, at: place,
            "\(who) takes what the configuration in use signs, and would not take this one's: \(why); change the validator first"
          ))
      }
    }
    if notAsked > 0 {
      findings.append(
        Diagnostic(
          .warning, at: config.place(of: "upstreams"),
          "self-test: \(notAsked) of \(questions.count) validators were not asked; all together have \(allMilliseconds) ms"
        ))
    }
    return findings
  }

  // MARK: Signing

  /// Signed probes for each server of attested upstreams that `wanted` names, but for listeners of this process: at the start these
  /// are not open yet, and before a reload they go by the configuration in use.
  private static func questions(
    _ snapshot: Snapshot, _ lanes: ProbeLanes, _ wanted: (Snapshot.Server) -> Bool
  ) throws -> [Question] {
    let config = snapshot.config
    guard let keys = snapshot.keys, let edge = config.identity.edge, let keyID = config.identity.signWith else {
      return []
    }
    let infrastructure = Infrastructure(config)
    let clients = SelfTest.clients.filter { !infrastructure.contains($0) }.prefix(2)
    var questions: [Question] = []
    for upstream in snapshot.upstreams where upstream.config.identity == .attest {
      let servers = upstream.servers.filter { wanted($0) && !isOwn($0, config) }
      guard !servers.isEmpty else { continue }
      let signed = try lanes.sign { lanes in
        let signer = try Plan.makeSigner(upstream.config, config, keys, lanes)
        return try servers.map { _ in try clients.map { try probe($0, upstream.config, signer) } }
      }
      for (server, probes) in zip(servers, signed) {
        questions.append(
          Question(upstream: upstream, server: server, keyID: keyID, edge: edge, probes: probes.compactMap { $0 }))
      }
    }
    return questions
  }

  private static func isOwn(_ server: Snapshot.Server, _ config: Config) -> Bool {
    config.listeners.contains { listener in
      switch (listener.address, server.address) {
      case (.address(let address, let port), .ip(let its, let itsPort)):
        port == itsPort
          && (address == its || address.isUnspecified && address.family == its.family && Sockets.hasAddress(its))
      case (.unix(let path), .unix(let its)): path == its
      default: false
      }
    }
  }

  /// Nil where it cannot be signed, which the part inside the process has told.
  private static func probe(_ client: IPAddress, _ upstream: Config.Upstream, _ signer: Signer) throws -> Probe? {
    let identity = ClientIdentity(probe: client, connection: try ConnectionID.random())
    let path = "\(ValidatorProbe.prefix)self-test/\(try SecureRandom.word())"
    // A server's certificate says what it is called.
    let name = upstream.tls.map(\.name).flatMap { $0.contains(":") ? nil : $0 } ?? "countersign.invalid"
    let now = Clock.wallMilliseconds()
    guard
      let request = ProbeRequest(
        host: Array(name.utf8), path: Array(path.utf8), claims: "User-Agent: countersign-self-test\r\n"),
      let head = request.written(
        identity, as: .attest, fields: [], signer: signer, ProbeRequest.Changes(), wallMilliseconds: now,
        protocol: upstream.serverProtocol, isSecure: upstream.tls != nil)
    else { return nil }
    var preamble: [UInt8] = []
    if upstream.proxyProtocol {
      guard let draft = signer.makeProxyHeader(identity, nowMilliseconds: now) else { return nil }
      preamble = draft.withBytes { bytes in bytes.indices.map { bytes[$0] } }
    }
    return Probe(
      client: client, preamble: preamble, head: head,
      expected: ValidatorProbe.line(about: identity))
  }

  // MARK: Asking

  /// What the threads have in common.
  private final class Board: Sendable {
    let questions: [Question]
    let next = Atomic<Int>(0)
    let outcomes: Mutex<[Outcome]>

    init(_ questions: [Question]) {
      self.questions = questions
      outcomes = Mutex(Array(repeating: .notAsked, count: questions.count))
    }

    func work(untilMilliseconds: UInt64) {
      while true {
        let index = next.add(1, ordering: .relaxed).oldValue
        let now = Clock.monotonicMilliseconds()
        guard index < questions.count, now < untilMilliseconds else { return }
        let outcome = LiveValidators.ask(
          questions[index],
          untilMilliseconds: questions.count > threadsMax
            ? min(untilMilliseconds, now + eachMilliseconds) : untilMilliseconds)
        outcomes.withLock { $0[index] = outcome }
      }
    }
  }

  private static func ask(_ questions: [Question], untilMilliseconds: UInt64) -> [Outcome] {
    let board = Board(questions)
    var threads: [WorkerThread] = []
    for number in 1..<max(1, min(threadsMax, questions.count)) {
      // Where there are no more threads, those that there are do more.
      let thread = try? WorkerThread.start(name: "validators-\(number)", processor: nil) {
        board.work(untilMilliseconds: untilMilliseconds)
      }
      if let thread { threads.append(thread) }
    }
    board.work(untilMilliseconds: untilMilliseconds)
    for thread in threads { thread.join() }
    return board.outcomes.withLock { $0 }
  }

  private static func ask(_ question: Question, untilMilliseconds: UInt64) -> Outcome {
    var answers: [ValidatorAnswer] = []
    for probe in question.probes {
      let answer: ValidatorAnswer?
      do throws(ConnectionFailure) {
        answer = try exchange(question, probe, untilMilliseconds: untilMilliseconds)
      } catch {
        return .unreachable("\(error)")
      }
      guard let answer else { return .refused(silence(question)) }
      guard answer.line != nil else { return judge(answer, question) }
      answers.append(answer)
    }
    let lines = zip(answers, question.probes).map { ($0.line ?? "", $1) }
    if lines.count == 2, let one = answers[0].client, one == answers[1].client {
      let clients = lines.map { "\($1.client)" }.joined(separator: " and ")
      return .wrong("takes two probes that were signed for \(clients) for one client: \(one)")
    }
    for (line, probe) in lines where line != probe.expected {
      guard line != ValidatorProbe.line(about: nil) else {
        return .refused("it could not verify the signature, and lets the request pass (identity.mode: observe)")
      }
      return .wrong("was sent a probe that was signed as `\(probe.expected)`, and verified it as `\(line.printable)`")
    }
    switch answers.first?.mark {
    case .enforced: return .verified
    case .observed: return .warning("looks at signatures, but lets every request pass (identity.mode: observe)")
    default:
      return .warning(
        "verifies what is signed for it, but its answer lacks `countersign-verified`: something on the way removes it")
    }
  }

  /// Nil where the connection ended without an answer.
  private static func exchange(
    _ question: Question, _ probe: Probe, untilMilliseconds: UInt64
  ) throws(ConnectionFailure) -> ValidatorAnswer? {
    let connection = try BlockingConnection(
      to: question.server.address, preamble: probe.preamble, tls: question.upstream.tls,
      isHTTP2: question.upstream.config.serverProtocol == .http2, deadlineMilliseconds: untilMilliseconds,
      place: question.server.text)
    // A validator that refuses the PROXY header may have ended the connection by now.
    do { try connection.send(probe.head) } catch { return nil }
    var bytes: [UInt8] = []
    while true {
      let more = try connection.read()
      if let more { bytes += more }
      switch ValidatorAnswer.read(bytes, isAll: more == nil) {
      case .answer(let answer): return answer
      case .incomplete: continue
      case .unread:
        if bytes.isEmpty { return nil }
        let version = question.upstream.config.serverProtocol == .http2 ? "HTTP/2" : "HTTP/1.1"
        throw ConnectionFailure(description: "\(question.server.text) does not answer in \(version)")
      }
    }
  }

  // MARK: What an answer without a client means

  /// A validator tells whoever asks no more than a status; its own log has the name.
  private static func judge(_ answer: ValidatorAnswer, _ question: Question) -> Outcome {
    let log = "; its access log has the reason"
    switch (answer.mark, answer.status) {
    case (.starting, _): return .warning("has just started, and does not take anything yet")
    case (.refused, 421):
      return .refused("it is not the audience `\(question.upstream.config.audience ?? "")` (audience-wrong)")
    // HTTP/2 does not tell the two apart by the end of the connection.
    case (.refused, 403) where question.upstream.config.serverProtocol == .http2:
      return .refused(
        "the key `\(question.keyID)` is unknown there, not valid now or another one under that name, `identity.edges` there does not have "
          + "`\(question.edge)`, or the time that it is signed for is not now by the clock there\(clock(answer))\(log)")
    case (.refused, 403) where !answer.closes:
      return .refused(
        "the time that it is signed for is not now by the clock there (time-future, time-expired)\(clock(answer))")
    case (.refused, 403):
      return .refused(
        "the key `\(question.keyID)` is unknown there, not valid now or another one under that name, or `identity.edges` there does "
          + "not have `\(question.edge)`\(log)")
    case (.refused, let status): return .refused("it answers \(status)\(log)")
    case (.enforced, 403):
      return .warning("verifies what is signed for it, and takes \(question.probes[0].client) for infrastructure")
    case (_, 503): return .warning("answers 503: it is not ready, or somebody in front of it is not")
    case (let mark, let status):
      let what = mark == .none ? "does not say that it verified the signature" : "does not name the client"
      return .refused("it answers \(status) and \(what): nobody may be checking who the client is there")
    }
  }

  private static func silence(_ question: Question) -> String {
    question.upstream.config.proxyProtocol
      ? "it ended the connection without an answer, as a validator does that refuses the PROXY header (key `\(question.keyID)`, "
        + "audience, clock) or expects none; its access log has the reason"
      : "it ended the connection without an answer, as a validator does that expects a PROXY header (`proxy_protocol: v2`)"
  }

  /// By how much two clocks differ, where that is not the answer's own time.
  private static func clock(_ answer: ValidatorAnswer) -> String {
    guard let its = answer.wallMilliseconds else { return "" }
    let seconds = (Int64(clamping: its) - Int64(clamping: Clock.wallMilliseconds())) / 1_000
    guard abs(seconds) >= 2 else { return "" }
    return ": its clock is \(abs(seconds)) s \(seconds > 0 ? "ahead of" : "behind") this host's"
  }
}
