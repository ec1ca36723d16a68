// The password that a route asks for (RFC 7617). What was right a short while ago is known by its digest and passes at once; anything
// else waits for the thread that checks passwords. Of what a client sends here the name alone is logged, and only once the password was
// right; the field does not go on to the upstream unless the route says so.
//
//   no field ─► 401      known ─► goes on      else ─► parked ─► answer ─┬─ right ─► goes on
//                                                        └─ deadline ─► 503  └─ wrong ─► 401
//
// Invariant: `x.wait` is `.login` exactly while it is parked for an answer.

import Platform
import Policy
import Wire

final class RouteLogin {
  let file: UserFile
  private let passesCredentials: Bool
  /// `WWW-Authenticate: …`, with its line end.
  let challengeLine: [UInt8]

  /// How long a request waits for an answer, whatever others there are.
  static let waitMilliseconds: UInt64 = 10_000
  private static let field = Array("authorization".utf8)

  init(_ basic: Config.BasicAuthentication, _ file: UserFile) {
    self.file = file
    passesCredentials = basic.passesCredentials
    challengeLine = Array("WWW-Authenticate: Basic realm=\"\(basic.realm)\", charset=\"UTF-8\"\r\n".utf8)
  }

  /// Credentials stand in the head alone (RFC 9110 section 6.5.1), where a route looks for them: in trailers they go no further.
  static func withhold(_ trailers: TrailerSection, of bytes: Span<UInt8>) {
    for index in 0..<trailers.fieldCount
    where FieldNames.isSpelling(bytes.extracting(trailers.name(index).range), of: field) {
      trailers.withhold(index)
    }
  }

  /// Nil where the password is right.
  func step(_ x: Exchange, _ worker: Worker) -> Step? {
    var bytes = InlineArray<768, UInt8>(repeating: 0)
    var room = bytes.mutableSpan
    let found = x.headText.withReadable { find($0, x.head, into: &room) }
    switch found {
    case .none: return .refuse(.credentialsMissing)
    case .malformed:
      x.detail = .text("not one Authorization field of the scheme Basic that can be read")
      return .refuse(.credentialsWrong)
    case .credentials(let credentials): return check(credentials, bytes.span, x, worker)
    }
  }

  private enum Found {
    case none, malformed
    case credentials(BasicCredentials)
  }

  private func find(_ bytes: Span<UInt8>, _ head: RequestHead, into room: inout MutableSpan<UInt8>) -> Found {
    var found = Found.none
    for index in 0..<head.fieldCount {
      let field = head.field(index)
      guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: RouteLogin.field.span) else { continue }
      // Of two, the upstream could believe the other.
      guard case .none = found,
        let credentials = BasicCredentials(parsing: bytes.extracting(field.value.range), into: &room)
      else { return .malformed }
      found = .credentials(credentials)
    }
    return found
  }

  private func check(_ found: BasicCredentials, _ bytes: Span<UInt8>, _ x: Exchange, _ worker: Worker) -> Step? {
    let name = bytes.extracting(found.name.range)
    let password = bytes.extracting(found.password.range)
    guard let logins = RouteLogin.known(to: worker), let key = logins.key(file, name: name, password: password) else {
      return .refuse(.credentialsBusy)
    }
    if logins.knows(key, nowMilliseconds: worker.nowMilliseconds) {
      admit(x)
      return nil
    }
    var nameBytes: [UInt8] = []
    for i in name.indices { nameBytes.append(name[i]) }
    // A name that is not UTF-8 is nobody's.
    let (hash, isKnown) = file.hash(of: String(validating: nameBytes, as: UTF8.self) ?? "")
    let job = PasswordChecker.Job(
      key: key, password: SecretBytes(password), hash: hash, isKnown: isKnown,
      client: (x.identity?.address ?? .unspecified(.v6)).clientUnit)
    let waiter = PasswordChecker.Waiter(worker: worker.index, slot: x.slot, generation: x.generation)
    switch worker.shared.passwords.submit(job, for: waiter) {
    case .full: return .refuse(.credentialsBusy)
    case .added: worker.counters.add(.passwordChecks)
    case .joined: break
    }
    x.wait = .login
    worker.wheel.set(x.timer, deadlineMilliseconds: worker.nowMilliseconds + RouteLogin.waitMilliseconds)
    return .parked
  }

  /// Calls `body` with the name of whose password was right.
  func withName(_ x: Exchange, _ body: (Span<UInt8>) -> Void) {
    var bytes = InlineArray<768, UInt8>(repeating: 0)
    var room = bytes.mutableSpan
    guard case .credentials(let found) = x.headText.withReadable({ find($0, x.head, into: &room) }) else { return }
    body(bytes.span.extracting(found.name.range))
  }

  /// The password was right: it goes no further.
  func admit(_ x: Exchange) {
    x.isLoggedIn = true
    guard !passesCredentials else { return }
    x.headText.withReadable { bytes in
      for index in 0..<x.head.fieldCount
      where bytes.extracting(x.head.name(index).range).equalsIgnoringCase(lowercase: RouteLogin.field.span) {
        x.head.withhold(index)
      }
    }
  }

  // MARK: Waiting for the thread that checks

  /// What a worker knows of passwords, made with the first; nil where libcrypto refuses the key.
  private static func known(to worker: Worker) -> KnownLogins? {
    if let known = worker.knownLogins { return known }
    worker.knownLogins = KnownLogins(secret: worker.shared.passwords.secret)
    return worker.knownLogins
  }

  /// Passwords were checked.
  static func takeChecked(_ worker: Worker) {
    guard !worker.waitsForLine() else { return }
    let answers = worker.checkedPasswords
    worker.checkedPasswords = []
    for answer in answers { take(answer, worker) }
  }

  /// Those of this worker's requests that wait for the answer go on or are refused.
  private static func take(_ answer: PasswordChecker.Answer, _ worker: Worker) {
    if answer.isRight { known(to: worker)?.note(answer.key, nowMilliseconds: worker.nowMilliseconds) }
    for waiter in answer.waiters where waiter.worker == worker.index {
      guard let x = worker.exchanges.find(waiter.slot, waiter.generation), x.wait == .login, let route = x.route else {
        continue
      }
      leave(x, worker)
      guard answer.isRight else {
        x.advance(worker, .refuse(.credentialsWrong))
        continue
      }
      // It may have been closed meanwhile.
      if let refusal = RouteGate.refusal(x, worker) {
        x.advance(worker, .refuse(refusal))
        continue
      }
      route.demands?.login?.admit(x)
      x.advance(worker, Begin.send(x, route, worker))
    }
  }

  /// It waits for no answer any more.
  static func leave(_ x: Exchange, _ worker: Worker) {
    guard x.wait == .login else { return }
    x.wait = .none
    worker.wheel.set(x.timer, deadlineMilliseconds: 0)
  }
}
