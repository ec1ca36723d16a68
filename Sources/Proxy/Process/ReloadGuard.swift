// Whether a reload may be taken: what it would change about trust is told, and what weakens it needs the configuration's word
// for exactly that (`accept_weaker`). `check --against` says beforehand what this will say.

import Policy

enum ReloadGuard {
  enum Verdict {
    /// With lines that say what changes.
    case taken([String])
    /// With lines that say what weakens, and what to write.
    case refused([String])
  }

  /// - Parameters:
  ///   - old: of the configuration in use, whose file may hold the new one by now.
  ///   - file: both files' name.
  static func judge(old: TrustBoundary, new: TrustBoundary, file: String) -> Verdict {
    let changes = TrustDiff.compare(old: old, new: new)
    guard !changes.isEmpty else { return .taken([]) }
    let hash: String?
    do { hash = try WeakerHash.of(changes) } catch {
      return .refused(["\(file): what changes about trust cannot be compared: \(error)"])
    }
    func lines(_ changes: [TrustChange], prefix: String = "") -> [String] {
      changes.map { $0.line(oldFile: "in use, \(file)", newFile: file, prefix: prefix) }
    }
    let weaker = changes.filter { $0.effect == .weakens }
    let others = lines(changes.filter { $0.effect != .weakens })
    guard let hash else { return .taken(others) }
    let place = new.config.place(of: "accept_weaker")
    guard new.config.acceptWeaker == hash else {
      let given = new.config.acceptWeaker.map { ", not \($0), which is for another change" } ?? ""
      return .refused(
        lines(weaker) + [
          "\(file): a reload that weakens trust needs `accept_weaker: \"\(hash)\"` at the top level\(given); "
            + "`countersign check -c \(file) --against OLD` shows what a reload would change"
        ])
    }
    return .taken(
      lines(weaker, prefix: "warning: ") + ["\(file):\(place.line): warning: accepted by `accept_weaker: \(hash)`"]
        + others)
  }
}
