// Regular expressions by libpcre2: compiled once, with JIT where the processor has it, always anchored at both ends, and
// bounded in time, so that no pattern and no input can block a worker. Each worker compiles its own.
//
// libpcre2 can limit the number of match steps, but one step may read the whole subject. So the limit becomes smaller as the
// subject becomes longer, and a long harmless subject may reach it. Then the match is repeated with a second version of
// the pattern, compiled with automatic callouts: these stop at each item of the pattern and count the bytes read. That is
// about ten times slower, and exact.

import CPCRE2
import Wire

package final class Pattern {
  /// The result of a match.
  package enum Outcome: Equatable, Sendable {
    case match, noMatch
    /// A limit was reached, or libpcre2 failed: neither a match nor a mismatch.
    case undecided
  }

  /// A pattern that does not compile.
  package struct SyntaxError: Error, Sendable {
    /// Byte offset in the pattern.
    package let offset: Int
    package let reason: String
  }

  /// Longest pattern that is accepted.
  package static let patternBytesMax = 4_096
  private static let stepsMax = 20_000
  /// Limit of steps times bytes that one step may read: about a millisecond.
  private static let steppedBytesMax = 1_000_000
  /// Limit of bytes read by the version with callouts: one to two milliseconds.
  private static let countedBytesMax = 2_000_000

  private let code: CompiledPattern
  /// The version with callouts. Nil if it is too large to compile and the step limit alone is a bound.
  private let counted: CompiledPattern?
  private let workspace: PatternWorkspace
  private let cost: PatternCost
  private let isInterpreted: Bool
  /// libpcre2's step limit bounds what it reads.
  private let stepsAreBounded: Bool
  /// How many bytes one item of the pattern may read between two callouts, without advancing.
  private let itemBytes: Int

  /// - Parameter workspace: shared by the patterns of one thread; nil makes a new one.
  package init(
    _ text: String, ignoresCase: Bool = false, workspace: PatternWorkspace? = nil
  ) throws(SyntaxError) {
    guard text.utf8.count <= Pattern.patternBytesMax else {
      throw SyntaxError(offset: Pattern.patternBytesMax, reason: "the pattern is over \(Pattern.patternBytesMax) bytes")
    }
    let bytes = Array(text.utf8)
    var options =
      UInt32(PCRE2_ANCHORED) | UInt32(PCRE2_ENDANCHORED) | UInt32(PCRE2_NEVER_UTF) | UInt32(PCRE2_NEVER_BACKSLASH_C)
    if ignoresCase { options |= UInt32(PCRE2_CASELESS) }
    code = try CompiledPattern(bytes, options)
    self.workspace = workspace ?? PatternWorkspace()
    cost = PatternCost(bytes)
    isInterpreted = code.isInterpreted
    stepsAreBounded = !cost.hasUncountedSteps && !cost.hasCalls && !code.hasBackReferences
    do {
      counted = try CompiledPattern(bytes, options | UInt32(PCRE2_AUTO_CALLOUT))
    } catch {
      // The callouts make it larger than the version that has just been compiled.
      guard stepsAreBounded else {
        throw SyntaxError(
          offset: error.offset, reason: "too large to be matched in a bounded time; use smaller repeats {n}")
      }
      counted = nil
    }
    // A call of a group also copies the positions of all groups.
    let calls = cost.hasCalls ? 100 + bytes.count : 0
    itemBytes = code.hasBackReferences ? Int.max : max(cost.longestRepeat, calls)
  }

  /// Groups whose place is known after a match with groups, the whole match among them.
  static let groupsMax = 10

  /// Whether the whole of `bytes` matches.
  package func match(_ bytes: Span<UInt8>) -> Outcome { match(bytes, withGroups: false) }

  /// As `match`; where it does, `body` is called, and may ask where the groups 0 to 9 lie in `bytes`.
  package func matchWithGroups(_ bytes: Span<UInt8>, _ body: ((Int) -> Range<Int>?) -> Void) -> Outcome {
    let outcome = match(bytes, withGroups: true)
    if outcome == .match { body { workspace.group($0) } }
    return outcome
  }

  private func match(_ bytes: Span<UInt8>, withGroups: Bool) -> Outcome {
    // Without JIT the interpreter is used, which is several times slower.
    let slowness = isInterpreted ? 4 : 1
    if stepsAreBounded {
      let affordable = Pattern.steppedBytesMax / slowness / (bytes.count + cost.bytes + 1)
      let steps = max(1, min(Pattern.stepsMax, affordable))
      let result = workspace.match(code, bytes, stepsMax: steps, withGroups: withGroups)
      // For a short subject the limit is the largest one: the callouts would not allow more.
      if result != PCRE2_ERROR_MATCHLIMIT || steps == Pattern.stepsMax { return Pattern.outcome(result) }
    }
    guard let counted else { return .undecided }
    // A subject of any length may be read a few times.
    let most = Pattern.countedBytesMax / slowness + 4 * bytes.count
    return Pattern.outcome(
      workspace.match(counted, bytes, bytesMax: most, itemBytes: itemBytes, withGroups: withGroups))
  }

  /// Groups that it has, without the whole match.
  package var groupCount: Int { code.groupCount }

  private static func outcome(_ result: Int32) -> Outcome {
    if result >= 0 { return .match }
    return result == PCRE2_ERROR_NOMATCH ? .noMatch : .undecided
  }
}
