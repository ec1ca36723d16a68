// Key sets, made by the program itself: the edge's with the secret, and each validator's with the derived keys only.
// Made once for the whole run and only read after that.

import Foundation

struct Keys: Sendable {
  /// The edge's set, with the secret of `k1`.
  let edge: String
  /// The set exported for `monitor-1`.
  let validator: String

  static let kid = "k1"
  static let audience = "monitor-1"

  private static let shared = Result { try Keys(in: Shared.workspace.get(), prefix: "") }
  static var standard: Keys { get throws { try shared.get() } }

  /// A fresh pair of sets in the workspace.
  init(in workspace: Workspace, prefix: String, kid: String = Keys.kid, algorithm: String = "hmac") throws {
    edge = workspace.file("\(prefix)edge.jwks.json")
    validator = workspace.file("\(prefix)\(Keys.audience).jwks.json")
    try add(kid, algorithm: algorithm)
  }

  /// Adds a key to both sets.
  func add(_ kid: String, algorithm: String = "hmac") throws {
    try ChildProcess.succeed([
      try Programs.countersign, "keys", "new", "--kid", kid, "--algorithm", algorithm, "--out", edge,
    ])
    try ChildProcess.succeed([
      try Programs.countersign, "keys", "export", "--audience", Keys.audience, "--in", edge, "--out", validator,
    ])
  }
}

/// What the whole run shares.
enum Shared {
  static let workspace = Result { try Workspace() }
}
