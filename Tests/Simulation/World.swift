// One run: an edge, perhaps a validator behind it, simulated clients and servers around them, and chance, which decides what
// happens next. After each step what must hold is checked; at the end everything has to be given back.
//
//   honest runs   nothing fails: every request must be served, whatever the order and the pieces in which bytes move
//   faulty runs   anything may fail: a request is served rightly, or refused, or visibly cut
//
// The same seed makes the same run.

import Platform
import Policy
import Proxy
import TestSupport

final class World {
  let seed: UInt64
  let configurations: Configurations
  let hasFaults: Bool
  /// In a run with faults: how seldom clients and servers fail.
  let calm: Int
  /// In some runs with faults: many tunnels, and a drain while they are open.
  private let hasTunnels: Bool
  private let isTraced: Bool
  var random: Seeded
  let edge: Process
  let validator: Process?
  private var configuration: EdgeConfiguration {
    didSet { noteConfiguration() }
  }
  /// At some time in this run the edge spoke one protocol alone with its clients, or a server was to speak HTTP/2.
  private(set) var hasSpokenHTTP1Alone = false
  private(set) var hasSpokenHTTP2Alone = false
  private(set) var hasHadHTTP2Servers = false
  /// How many requests a server may have, at most, by the configurations that were in use so far.
  private var limits: [Endpoint: Int]
  private(set) var requests: [Int: Request] = [:]
  private(set) var clients: [Client] = []
  private var servers: [Server] = []
  private var clientsLeft: Int
  private(set) var violation: String?
  private(set) var lines: [String] = []
  private(set) var steps = 0
  private var isDraining = false
  /// An operator has taken a server down, which ends the tunnels to it; or checks failed, which takes its requests back.
  private var (hasTakenDown, hasFailedChecks) = (false, false)
  /// Everything is to come to an end now: nobody fails any more.
  private(set) var isEnding = false
  private(set) var tally = Tally()

  /// Rounds without a movement behind which nothing moves. More than one, for clients that pause go on.
  private static let quietRoundsMin = 12
  /// After so many, sockets that took a few bytes at a time take more, but in one run of sixteen: everything was cut everywhere by then, and a
  /// few such runs would take longer than all others. Nobody is woken by that who has missed his event.
  private static let patientRounds = 500
  private var hasPatience = true
  /// Responses are long, and clients of HTTP/2 give their connections windows for many of them, so that what the engine has for a
  /// connection finds no room.
  let isCrowded: Bool
  /// Half of what servers answer is cut.
  let isStormy: Bool
  /// Clients of HTTP/2 that have all do not leave, so that nothing ends because their connections do.
  private(set) var clientsStay: Bool
  /// More than the longest messages of a connection need where an end takes a byte at a time.
  private static let settleRoundsMax = 2_000_000

  init(seed: UInt64, configurations: Configurations, isTraced: Bool) throws {
    self.seed = seed
    self.configurations = configurations
    self.isTraced = isTraced
    random = Seeded(seed &* 0x9e37_79b9)
    kernel = Kernel(seed: seed ^ 0x5bd1_e995, chance: seed)
    hasFaults = !random.oneIn(4)
    calm = [1, 4, 20][random.below(3)]
    let opensTunnels = random.oneIn(5)
    hasTunnels = hasFaults && opensTunnels
    isCrowded = random.oneIn(20)
    isStormy = random.oneIn(40)
    let stay = random.oneIn(2)
    clientsStay = !hasFaults && stay
    clientsLeft = 1 + random.below(5)
    var first = configurations.edges[random.below(configurations.edges.count)]
    while !hasFaults, first.mayTurnAway || first.speaks != .both {
      first = configurations.edges[random.below(configurations.edges.count)]
    }
    configuration = first
    limits = first.limits
    let addsValidator = random.oneIn(4)
    let hasValidator = first.usesValidator || addsValidator
    edge = try Self.edge(first.snapshot, seed)
    validator =
      hasValidator
      ? try Process(
        configurations.validators[random.below(configurations.validators.count)],
        listeners: [("shared", Configurations.validatorShared), ("bound", Configurations.validatorBound)]) : nil
    noteConfiguration()
    trace { "configuration:\n\(self.configuration.text)" }
  }

  private func noteConfiguration() {
    switch configuration.speaks {
    case .both: break
    case .http1: hasSpokenHTTP1Alone = true
    case .http2: hasSpokenHTTP2Alone = true
    }
    if configuration.isHTTP2 || validator != nil { hasHadHTTP2Servers = true }
  }

  // MARK: Telling

  func violate(_ what: @autoclosure () -> String) {
    if violation == nil { violation = "step \(steps): \(what())" }
  }

  func trace(_ what: () -> String) {
    if isTraced { lines.append("\(steps) \(kernel.monotonicNanoseconds / 1_000_000 - 1_000_000) ms: \(what())") }
  }

  /// What happened once more.
  func note(_ event: Tally.Event) { tally.events[event, default: 0] += 1 }

  /// A window of HTTP/2, often so small that a message takes many of them.
  func window() -> Int {
    // A client that takes a few bytes at a time is ended by its budget.
    guard hasFaults else { return [3_000, 17_000, 65_535, 1 << 20][random.below(4)] }
    return random.oneIn(30) ? 1 + random.below(5) : [100, 3_000, 17_000, 65_535, 1 << 20][random.below(5)]
  }

  /// How many bytes move at once: often few, so that everything is cut everywhere.
  func amount() -> Int {
    switch random.below(8) {
    case 0: 1
    case 1: 1 + random.below(16)
    case 2, 3: 1 + random.below(300)
    case 4: 1 + random.below(5_000)
    default: 1 << 20
    }
  }

  // MARK: Running

  /// Runs to the end; nil when nothing that must hold was broken.
  func run() -> String? {
    let most = 150 + random.below(500)
    while violation == nil, steps < most {
      steps += 1
      step()
      if random.below(10) < 7 { turn() }
    }
    if violation == nil { windDown() }
    edge.end()
    validator?.end()
    count()
    if violation == nil, kernel.openSockets > 0 { violate("\(kernel.openSockets) sockets are still open") }
    kernel.end()
    return violation
  }

  private func count() {
    tally.requests = requests.count
    tally.attempts = requests.values.reduce(0) { $0 + $1.attempts.count }
    tally.served = requests.values.count { $0.isServed }
    for process in [edge, validator].compactMap({ $0 }) {
      tally.retries += Int(process.count(.retries))
      tally.starting += Int(process.count(.startingRetries))
      tally.tunnels += Int(process.count(.tunnels))
      tally.reused += Int(process.count(.upstreamReused))
      tally.reloads += Int(process.count(.reloads))
      tally.queued += Int(process.count(.queued))
      tally.ejections += Int(process.count(.ejections))
      tally.denied += Int(process.count(.retriesDenied))
    }
  }

  private func turn() {
    edge.turn()
    validator?.turn()
    readLogs()
    checkLimits()
    kernel.prune()
  }

  private func step() {
    if kernel.lacksDescriptors, random.oneIn(20) {
      kernel.lacksDescriptors = false
      trace { "descriptors are there again" }
    }
    if hasTunnels, random.oneIn(10), edge.worker.census.tunnels > 0 { drain() }
    switch random.below(100) {
    case 0..<45: deliver()
    case 45..<62: if let client = clients.randomElement(using: &random) { client.act() }
    case 62..<80: if let server = servers.randomElement(using: &random) { server.act() }
    case 80..<88: decideConnection()
    case 88..<93: addClient()
    case 93..<96: kernel.monotonicNanoseconds += UInt64(random.below(40)) * 1_000_000
    case 96: pass()
    case 97:
      switch random.below(4) {
      case 0: reload()
      case 1: judgeServer()
      case 2: changeRoute()
      default: changeServers()
      }
    case 98: if hasFaults, random.oneIn(calm) { fault() }
    default: if hasFaults, random.oneIn(6) { drain() }
    }
  }

  private func deliver() {
    guard let stream = kernel.streams.randomElement(using: &random) else { return }
    stream.deliver(amount())
  }

  /// Time goes by, at times up to the next deadline and over it.
  private func pass() {
    guard hasFaults, random.oneIn(calm) else { return }
    kernel.monotonicNanoseconds += UInt64([300, 1_100, 5_100, 31_000, 61_000][random.below(5)]) * 1_000_000
  }

  private func fault() {
    switch random.below(4) {
    case 0:
      kernel.lacksDescriptors = true
      trace { "descriptors have run out" }
    case 1:
      kernel.connectRefusal = { [random] endpoint in
        var random = random
        return random.oneIn(2) && endpoint.address & 3 == 1 ? Errno.unreachable : nil
      }
    case 2: kernel.connectRefusal = { _ in nil }
    default:
      // A wall clock that is set.
      let seconds = UInt64(1 + random.below(3)) * 1_000_000_000
      if random.oneIn(2) { kernel.wallOffsetNanoseconds += seconds } else { kernel.wallOffsetNanoseconds -= seconds }
    }
  }

  private func decideConnection() {
    guard let stream = kernel.connecting.randomElement(using: &random) else { return }
    if hasFaults, !isEnding {
      if random.oneIn(6) {
        trace { "the connection to \(stream.remote) is refused" }
        kernel.refuse(stream, Errno.refused)
        return
      }
      if random.oneIn(6) { return }
    }
    establish(stream)
  }

  private func establish(_ stream: Stream) {
    if stream.remote.address == Configurations.validatorShared.address, !kernel.listens(at: stream.remote) {
      kernel.refuse(stream, Errno.refused)
      return
    }
    guard let far = kernel.establish(stream), let (told, isHTTP2) = Told.of(port: far.local.port) else { return }
    stream.capacity = capacity()
    far.capacity = capacity()
    trace { "a connection to \(far.local) is made, \(far.remote)" }
    servers.append(
      isHTTP2 ? ServerHTTP2(world: self, stream: far, told: told) : ServerHTTP1(world: self, stream: far, told: told))
  }

  /// At times so little that a response takes thousands of writes.
  private func capacity() -> Int {
    hasPatience && random.oneIn(3) ? 1 + random.below([4, 300, 3_000, 3_000][random.below(4)]) : 1 << 16
  }

  // MARK: Clients

  private func addClient() {
    guard clientsLeft > 0, !isDraining else { return }
    clientsLeft -= 1
    let sender = Sender.allCases[random.below(Sender.allCases.count)]
    let source = Endpoint(
      address: sender.network + 1 + UInt32(random.below(250)), port: UInt16(1_024 + random.below(60_000)))
    guard let stream = kernel.open(from: source, to: Configurations.edgeAddress) else { return }
    stream.capacity = capacity()
    stream.peer?.capacity = capacity()
    var sendsHeader = sender == .balancer || sender == .switching && configuration.demandsHeader
    if hasFaults, sender == .balancer || sender == .switching, random.oneIn(4) { sendsHeader.toggle() }
    let truth = Endpoint(address: 0xc000_0201 + UInt32(random.below(200)), port: UInt16(1_024 + random.below(60_000)))
    let announced = sendsHeader ? truth : nil
    let mayComeBare = sender != .balancer && !(sender == .switching && configuration.demandsHeader)
    let header = announced.map { Client.preamble($0, &random) } ?? []
    let client: Client
    let isHTTP2 =
      switch configuration.speaks {
      case .both: random.oneIn(2)
      case .http1: random.oneIn(20)
      case .http2: !random.oneIn(20)
      }
    if isHTTP2 {
      client = ClientHTTP2(
        world: self, stream: stream, sender: sender, announced: announced, mayComeBare: mayComeBare, preamble: header)
    } else {
      client = ClientHTTP1(
        world: self, stream: stream, sender: sender, announced: announced, mayComeBare: mayComeBare,
        pipelines: random.oneIn(2), preamble: header)
    }
    for _ in 0...random.below(4) { client.add(request(of: client)) }
    clients.append(client)
    trace {
      "client \(source) connects as \(sender)\(isHTTP2 ? " by HTTP/2" : "")\(announced.map { ", PROXY header of \($0)" } ?? "")"
    }
  }

  func addRequest(to client: Client) { client.add(request(of: client)) }

  private func request(of client: Client) -> Request {
    let id = 1 + requests.count + Int(seed % 1_000) * 1_000
    let method = ["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE"][random.below(8)]
    var body = Request.Body.none
    if method == "POST" || method == "PUT" {
      let size = [0, 1, 50, 400, 3_000, 9_000, 20_000][random.below(7)] + (random.oneIn(25) ? 80_000 : 0)
      body = random.oneIn(2) ? .length(size) : .chunked(size)
    }
    let truth: Endpoint
    if let announced = client.announced {
      truth = announced
    } else if client.sender == .proxy {
      truth = Endpoint(address: 0xc000_0201 + UInt32(random.below(200)), port: 0)
    } else {
      truth = client.stream.local
    }
    let isLast = random.oneIn(6)
    var flaw: Request.Flaw?
    let isHTTP2 = client is ClientHTTP2
    let flaws = isHTTP2 ? Request.Flaw.http2 : Request.Flaw.http1
    if hasFaults, random.oneIn(12) { flaw = flaws[random.below(flaws.count)] }
    switch (flaw, body) {
    case (.bothFramings, .length), (.doubledLength, .length), (.wrongLength, .length), (.badChunk, .chunked(1...)):
      break
    case (.bothFramings, _), (.doubledLength, _), (.wrongLength, _), (.badChunk, _): flaw = nil
    default: break
    }
    let isOld = random.oneIn(10) && !isHTTP2
    if isOld, case .chunked(let size) = body {
      body = .length(size)
      flaw = nil
    }
    let request = Request(
      id: id, client: client, method: method, body: body, truth: truth,
      asksWebSocket: method == "GET" && !isOld && !isHTTP2 && random.oneIn(hasTunnels ? 2 : 6),
      expectsContinue: body.isSent && !isOld && random.oneIn(6), closes: isLast || isOld, isOld: isOld, flaw: flaw)
    if hasFaults, configuration.takesLargeHeads, random.oneIn(6) {
      request.largeFieldBytes = 60_000 + random.below(37_500)
    }
    if request.asksWebSocket, random.oneIn(2) {
      request.socket = WebSocketEnd(masks: true, ignoresClose: hasFaults && random.oneIn(4))
    }
    if compresses { request.takesGzip = !random.oneIn(3) }
    requests[id] = request
    return request
  }

  // MARK: Reloads

  private func reload() {
    guard !isDraining else { return }
    if let validator, random.oneIn(3) {
      validator.reload(configurations.validators[random.below(configurations.validators.count)])
      trace { "the validator is reloaded" }
    }
    let next = configurations.edges[random.below(configurations.edges.count)]
    guard !next.usesValidator || validator != nil else { return }
    // In a run without faults nothing that a connection has shown is asked for otherwise.
    guard hasFaults || next.demandsHeader == configuration.demandsHeader else { return }
    if !next.demandsHeader {
      for client in clients where client.sender == .switching { client.mayComeBare = true }
    }
    guard hasFaults || !next.mayTurnAway && next.speaks == .both else { return }
    configuration = next
    limits.merge(next.limits) { max($0, $1) }
    trace { "the edge is reloaded to:\n\(next.text)" }
    edge.reload(next.snapshot)
  }

  /// Checks fail or pass; an operator takes a server out or back. In a run without faults no more than that one server of several
  /// gets no requests, which nobody may notice.
  private func judgeServer() {
    let (number, choice) = (random.below(3), random.below(hasFaults ? 5 : 2))
    edge.judge(
      { shared, upstream, server in
        let now = Clock.read()
        trace { "server \(server.name): \(["checks fail", "checks pass", "up", "drained", "taken down"][choice])" }
        if choice == 0 { hasFailedChecks = true }
        switch choice {
        case 0, 1: shared.noteChecks(server, of: upstream, pass: choice == 1, why: "simulated", now: now)
        default:
          let order = [ServerStatus.Order.up, .drain, .down][choice - 2]
          if order == .down { hasTakenDown = true }
          _ = shared.setOrder(server, of: upstream, order, user: 0, why: "simulated", now: now)
        }
      }, at: number)
  }

  /// No server has more requests than it may; no upstream more further tries than its budget has.
  private func checkLimits() {
    // A validator has the same servers, without a limit.
    for (endpoint, most) in limits where validator == nil {
      let under = servers.reduce(0) { sum, server in
        guard server.stream.local == endpoint, server.stream.peer?.isClosed == false else { return sum }
        // What a server of HTTP/2 has not read yet may have taken a request back.
        return sum + (server is ServerHTTP2 && (hasFaults || hasFailedChecks) ? 0 : server.openRequests)
      }
      if under > most { violate("server \(endpoint) has \(under) requests and may have \(most)") }
    }
    for budget in edge.worker.retryBudgets
    where budget.retries > RetryBudget.retriesMin + requests.count * budget.percent / 100 {
      violate("\(budget.retries) further tries in ten seconds, of \(requests.count) requests, at \(budget.percent)%")
    }
  }

  /// The names of the servers have come to others: some stay, some go, some come.
  private func changeServers() {
    guard !isDraining, !configuration.usesValidator else { return }
    let count = 1 + random.below(Configurations.servers.count)
    let servers = Configurations.servers.shuffled(using: &random).prefix(count)
    trace { "the servers are \(servers) now" }
    // What the configuration does not list has no limit.
    for index in Configurations.servers.indices {
      let endpoint = Endpoint(address: 0x0a01_0001 + UInt32(index), port: configuration.port)
      if configuration.limits[endpoint] == nil { limits[endpoint] = .max }
    }
    edge.change(servers: servers.map { "\($0):\(configuration.port)" }, in: configuration.snapshot)
  }

  /// The edge's route is closed since that step.
  private var closedStep: Int?
  private var hasClosedRoute = false

  /// What is under way goes on; nothing is begun.
  private func changeRoute() {
    guard hasFaults, closedStep != nil || random.oneIn(3) else { return }
    closedStep = closedStep == nil ? steps : nil
    hasClosedRoute = true
    trace { "the route is \(closedStep == nil ? "open" : "closed")" }
    edge.setRoute(closed: closedStep != nil)
  }

  func checkRoute(_ request: Request) {
    guard let closedStep, request.begunStep > closedStep else { return }
    violate("/r/\(request.id) was begun behind the closing of its route, and a server got it")
  }

  private func drain() {
    guard !isDraining else { return }
    isDraining = true
    let isEdge = validator == nil || !random.oneIn(3)
    let schedule = DrainSchedule(
      fromMilliseconds: kernel.monotonicNanoseconds / 1_000_000, requests: random.below(40_000),
      tunnels: random.oneIn(3) ? 0 : random.below(40_000), tunnelClose: 10_000)
    let isBeside = random.oneIn(2)
    let refusesHeads = isBeside && random.oneIn(2)
    trace {
      "the \(isEdge ? "edge" : "validator") drains\(isBeside ? " beside another" : "")\(refusesHeads ? " of other rules" : ""): \(schedule)"
    }
    (isEdge ? edge : validator ?? edge).drain(schedule, beside: isBeside, refusesHeads: refusesHeads)
  }

  /// An end of a tunnel took bytes: `problem` is what is wrong with them.
  func noteTold(_ problem: String?, _ end: WebSocketEnd, _ who: String) {
    if let problem { violate("the WebSocket of \(who): \(problem)") }
    guard end.wasToldAnything else { return }
    if !isDraining, !hasTakenDown, !hasClosedRoute {
      violate("the WebSocket of \(who) was told to close, and nobody has a reason to")
    }
    if end.isTold { tally.closed += 1 }
  }

  // MARK: The end

  private func windDown() {
    isEnding = true
    trace { "what is under way comes to its end" }
    kernel.lacksDescriptors = false
    kernel.connectRefusal = { _ in nil }
    if closedStep != nil { changeRoute() }
    for number in 0..<3 {
      edge.judge(
        { shared, upstream, server in
          _ = shared.setOrder(server, of: upstream, .up, user: 0, why: "simulated", now: Clock.read())
        }, at: number)
    }
    clientsLeft = hasFaults ? 0 : clientsLeft
    for _ in 0..<clientsLeft { addClient() }
    // Deadlines come: in faulty runs all of them; in others only what waits for a validator's start, and not the time after which
    // an end that does nothing is given up, so that what nobody wakes stays as it is.
    let (rounds, milliseconds): (Int, UInt64) = hasFaults ? (400, 1_700) : (40, 250)
    for round in 0..<rounds where violation == nil {
      settle()
      guard violation == nil else { return }
      if clients.allSatisfy(\.isDone), round > 4 { break }
      kernel.monotonicNanoseconds += milliseconds * 1_000_000
    }
    if let client = clients.first(where: { $0.isSilent && !$0.isDone }), violation == nil {
      violate("\(client.stream.local) has said nothing for long, and its connection is still open")
    }
    if let client = clients.first(where: { !$0.isDone }), violation == nil {
      violate(
        "\(client.stream.local) still waits for /r/\(client.awaited?.id ?? 0): "
          + kernel.streams.map(\.outline).joined(separator: "; "))
    }
    checkEnds()
    leave()
    checkRecords()
  }

  /// Carries everything on, while time stands still, until nothing moves any more: for so many rounds nobody gave, took or got a
  /// byte, and the engine had nothing left to do. How long that takes is not bounded by rounds: who takes two bytes at a time
  /// needs many. What never comes to rest is at fault.
  private func settle() {
    var quietRounds = 0
    for round in 0..<World.settleRoundsMax where violation == nil {
      steps += 1
      let before = kernel.movements
      if round == World.patientRounds, seed % 16 != 0 {
        hasPatience = false
        for stream in kernel.streams { stream.capacity = 1 << 16 }
      }
      for stream in kernel.connecting { establish(stream) }
      for client in clients { client.act() }
      for server in servers {
        if round > 20 || hasFaults { server.recover() }
        server.act()
      }
      for stream in kernel.streams { stream.deliver(1 << 20) }
      turn()
      quietRounds = kernel.movements == before ? quietRounds + 1 : 0
      if quietRounds > World.quietRoundsMin { return }
    }
    violate("nothing comes to rest: \(kernel.streams.map(\.outline))")
  }

  /// Without a fault an exchange is over as soon as its client has the whole answer and everybody has said all; no deadline has to come
  /// for that.
  private func checkEnds() {
    guard !hasFaults, violation == nil else { return }
    settle()
    for (name, process) in processes {
      let left = process.worker.census.exchanges
      if left > 0 { violate("every client has its answers, and \(left) exchanges of the \(name) are not over") }
    }
    clientsStay = false
  }

  private func checkRecords() {
    for request in requests.values {
      // Of a head that was not understood the log does not tell the path.
      if request.edgeLines > 1 || (!request.attempts.isEmpty && request.edgeLines != 1) {
        violate("/r/\(request.id) has \(request.edgeLines) lines in the access log")
      }
      if request.isRefused, request.attempts.contains(where: { !$0.saysStarting && !$0.isUnprocessed }) {
        violate("the client of /r/\(request.id) was told that nothing was done with it, and a server had it")
      }
    }
  }

  private var processes: [(name: String, process: Process)] {
    [("edge", edge)] + (validator.map { [("validator", $0)] } ?? [])
  }

  /// Everybody leaves; then nothing may be left behind.
  private func leave() {
    guard violation == nil else { return }
    for client in clients where !client.isOver { client.leave(reset: false) }
    for _ in 0..<60 {
      settle()
      kernel.monotonicNanoseconds += 5_000_000_000
    }
    for (name, process) in processes {
      let census = process.worker.census
      if census != Worker.Census() { violate("the \(name) still holds \(census)") }
      let counted = process.count(.requests)
      if counted != process.recorded {
        violate("the \(name) took \(counted) requests and recorded \(process.recorded)")
      }
      if let left = process.leftBehind { violate("the \(name) counts \(left)") }
      if process.shared.connectionCount != 0 {
        violate("the \(name) counts \(process.shared.connectionCount) connections")
      }
    }
  }
}
