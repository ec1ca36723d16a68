// Regular expressions by libpcre2: compiled once, JIT where the machine has it, always anchored at both ends, and
// bounded, so that no pattern and no input can hold a worker. One per worker and pattern.
//
// The library can limit its steps, but a step may read the whole subject, so the limit falls with the subject's length.
// What is left is few for a long and harmless path: whoever reaches it is asked again by code that stops at every item
// of the pattern and counts bytes read. That is about ten times slower, and exact.

import CPCRE2
import Wire

package final class Pattern {
  /// What a match came to.
  package enum Outcome: Equatable, Sendable {
    case match, noMatch
    /// A limit was reached or the library failed: neither yes nor no.
    case undecided
  }

  /// A pattern that does not compile.
  package struct SyntaxError: Error, Sendable {
    /// Bytes from the start of the pattern.
    package let offset: Int
    package let reason: String
  }

  /// Longest pattern taken.
  package static let patternBytesMax = 4_096
  private static let stepsMax = 20_000
  /// Steps times what each may read: about a millisecond.
  private static let steppedBytesMax = 1_000_000
  /// What the counted code may read: one to two milliseconds.
  private static let countedBytesMax = 2_000_000

  private let code: CompiledPattern
  /// Nil where it would be too large to compile, and is not needed for the bound.
  private let counted: CompiledPattern?
  private let workspace: PatternWorkspace
  private let cost: PatternCost
  private let isInterpreted: Bool
  /// The library's own steps bound what it reads.
  private let stepsAreBounded: Bool
  /// What one item of the pattern may read without getting anywhere.
  private let itemBytes: Int

  /// - Parameter workspace: shared by the patterns of one thread; nil makes one.
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
      // The stops make it larger than what the pattern's own syntax already was taken with.
      guard stepsAreBounded else {
        throw SyntaxError(
          offset: error.offset, reason: "too large to be matched in a bounded time; use smaller repeats {n}")
      }
      counted = nil
    }
    // A call of a group also copies what groups there are.
    let calls = cost.hasCalls ? 100 + bytes.count : 0
    itemBytes = code.hasBackReferences ? Int.max : max(cost.longestRepeat, calls)
  }

  /// Whether the whole of `bytes` matches.
  package func match(_ bytes: Span<UInt8>) -> Outcome {
    // The interpreter is several times slower.
    let slowness = isInterpreted ? 4 : 1
    if stepsAreBounded {
      let affordable = Pattern.steppedBytesMax / slowness / (bytes.count + cost.bytes + 1)
      let steps = max(1, min(Pattern.stepsMax, affordable))
      let result = workspace.match(code, bytes, stepsMax: steps)
      // A short subject had all steps that any has.
      if result != PCRE2_ERROR_MATCHLIMIT || steps == Pattern.stepsMax { return Pattern.outcome(result) }
    }
    guard let counted else { return .undecided }
    // However long the subject, it may be read a few times.
    let most = Pattern.countedBytesMax / slowness + 4 * bytes.count
    return Pattern.outcome(workspace.match(counted, bytes, bytesMax: most, itemBytes: itemBytes))
  }

  private static func outcome(_ result: Int32) -> Outcome {
    if result >= 0 { return .match }
    return result == PCRE2_ERROR_NOMATCH ? .noMatch : .undecided
  }
}
