// How servers answer in a simulated run: by chance, within what such a run may have.

extension World {
  /// Chance decides how a server answers.
  func plan(_ attempt: Attempt, _ told: Told, expects: Bool) {
    let request = attempt.request
    attempt.status = [200, 200, 200, 201, 404, 500, 204, 304][random.below(8)]
    attempt.length = [0, 1, 40, 700, 5_000, 17_000][random.below(6)] + (random.oneIn(isCrowded ? 2 : 25) ? 150_000 : 0)
    attempt.framing = [.length, .length, .chunked, .untilClose][random.below(4)]
    if request.method == "HEAD", attempt.framing == .untilClose { attempt.framing = .length }
    if request.asksWebSocket, !random.oneIn(4) {
      attempt.status = 101
      attempt.framing = .none
      attempt.length = random.below(6_000)
    } else if attempt.status == 204 || attempt.status == 304 {
      attempt.framing = .none
      attempt.length = 0
    }
    if attempt.status == 101 { attempt.framing = .untilClose }
    attempt.hasTinyChunks = attempt.framing == .chunked && attempt.length <= 5_000 && random.oneIn(3)
    if compresses { attempt.isText = !random.oneIn(4) }
    if expects { attempt.interims.append(100) }
    if random.oneIn(6), attempt.status != 101 { attempt.interims.append(103) }
    attempt.endsWithHead = random.oneIn(2)
    if random.oneIn(4) { attempt.trailerBytes = random.below(Attempt.trailerBytesMax) }
    attempt.closesBehind = attempt.status != 101 && random.oneIn(8)
    guard hasFaults, !isEnding else { return }
    if told == .attest || told == .bound, random.oneIn(8) {
      attempt.status = 503
      attempt.framing = .length
      attempt.length = 3
      attempt.saysStarting = true
    }
    attempt.isEarly = random.oneIn(6)
    attempt.isUnprocessed = random.oneIn(12)
    if expects, random.oneIn(4) { attempt.interims.removeAll { $0 == 100 } }
    switch random.below(30) {
    case 0: attempt.ending = .cut(reset: false)
    case 1: attempt.ending = .cut(reset: true)
    case 2: attempt.ending = .stalled
    case 3: attempt.ending = .garbage
    case 4: attempt.addsBytes = attempt.status != 101
    case 5: attempt.hasBareLF = attempt.status != 101
    default: break
    }
    if random.oneIn(30) { attempt.trailerBytes = 9_300 + random.below(40_000) }
    if isStormy, random.oneIn(2) { attempt.ending = .cut(reset: true) }
    // While the request is still being sent a write may meet the reset, and nothing else says that it is not the end.
    if attempt.isEarly, attempt.framing == .untilClose, random.oneIn(3) { attempt.ending = .cut(reset: true) }
  }
}
