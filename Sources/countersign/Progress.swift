// How far a long command is, as one line on standard error that is written over: only where that is a terminal.

import Platform

final class Progress {
  /// 0 where it is not known.
  private let total: UInt64
  private let isTerminal = StandardError.isTerminal
  private var what = "reading"
  private var startMilliseconds = Clock.monotonicMilliseconds()
  private var shownMilliseconds: UInt64 = 0
  private var isShown = false
  var isOff = false

  private static let intervalMilliseconds: UInt64 = 100
  private static let barWidth = 30

  init(total: UInt64) { self.total = total }

  func begin(_ what: String) {
    self.what = what
    startMilliseconds = Clock.monotonicMilliseconds()
  }

  func show(_ done: UInt64) {
    guard isTerminal, !isOff else { return }
    let now = Clock.monotonicMilliseconds()
    guard now >= shownMilliseconds + Progress.intervalMilliseconds else { return }
    shownMilliseconds = now
    isShown = true
    StandardError.write("\r\u{1b}[K" + text(done, afterMilliseconds: now - startMilliseconds))
  }

  private func text(_ done: UInt64, afterMilliseconds: UInt64) -> String {
    let megabytes = done / 1_000_000
    let rate = afterMilliseconds > 0 ? done / afterMilliseconds / 1_000 : 0
    guard total > 0 else { return "\(what): \(megabytes) MB, \(rate) MB/s" }
    let filled = Int(min(done, total) * UInt64(Progress.barWidth) / total)
    let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: Progress.barWidth - filled)
    let left = done > 0 ? (total - min(done, total)) * afterMilliseconds / done / 1_000 : 0
    return
      "\(what) [\(bar)] \(min(done, total) * 100 / total) % of \(total / 1_000_000) MB, \(rate) MB/s, \(left) s left"
  }

  /// Takes the line away.
  func clear() {
    if isShown { StandardError.write("\r\u{1b}[K") }
    isShown = false
  }
}
