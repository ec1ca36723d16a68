// Regular expressions by libpcre2: compiled once, JIT where the machine has it, always anchored at both ends, and
// bounded, so that no pattern and no input can hold a worker. One per worker and pattern: match data is not shared.

import CPCRE2
import Wire

@safe package final class Pattern {
  /// What a match came to.
  package enum Outcome: Equatable, Sendable {
    case match, noMatch
    /// The match limit was reached or the library failed: neither yes nor no.
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
  /// Steps of backtracking before the library gives up: about a millisecond.
  private static let matchLimit: UInt32 = 20_000

  // SAFETY: made in init, freed in deinit, used by one thread.
  private let code: OpaquePointer
  private let data: OpaquePointer
  private let context: OpaquePointer

  package init(_ text: String, ignoresCase: Bool = false) throws(SyntaxError) {
    guard text.utf8.count <= Pattern.patternBytesMax else {
      throw SyntaxError(offset: Pattern.patternBytesMax, reason: "the pattern is over \(Pattern.patternBytesMax) bytes")
    }
    var error: Int32 = 0
    var offset = 0
    let bytes = Array(text.utf8)
    var options =
      UInt32(PCRE2_ANCHORED) | UInt32(PCRE2_ENDANCHORED) | UInt32(PCRE2_NEVER_UTF) | UInt32(PCRE2_NEVER_BACKSLASH_C)
    if ignoresCase { options |= UInt32(PCRE2_CASELESS) }
    guard let compiled = unsafe pcre2_compile_8(bytes, bytes.count, options, &error, &offset, nil) else {
      var message = [UInt8](repeating: 0, count: 256)
      // SAFETY: an array of the length given.
      let n = unsafe pcre2_get_error_message_8(error, &message, message.count)
      throw SyntaxError(offset: offset, reason: String(decoding: message.prefix(max(0, Int(n))), as: UTF8.self))
    }
    // Without JIT the interpreter serves; the result is the same.
    _ = unsafe pcre2_jit_compile_8(compiled, UInt32(PCRE2_JIT_COMPLETE))
    guard let data = unsafe pcre2_match_data_create_8(1, nil), let context = unsafe pcre2_match_context_create_8(nil)
    else {
      unsafe pcre2_code_free_8(compiled)
      throw SyntaxError(offset: 0, reason: "out of memory")
    }
    _ = unsafe pcre2_set_match_limit_8(context, Pattern.matchLimit)
    _ = unsafe pcre2_set_depth_limit_8(context, 1_000)
    unsafe self.code = compiled
    unsafe self.data = data
    unsafe self.context = context
  }

  deinit {
    unsafe pcre2_match_context_free_8(context)
    unsafe pcre2_match_data_free_8(data)
    unsafe pcre2_code_free_8(code)
  }

  /// Whether the whole of `bytes` matches.
  package func match(_ bytes: Span<UInt8>) -> Outcome {
    // SAFETY: the subject is read during the call only; an empty span still needs a pointer that is not NULL.
    let result = unsafe bytes.withUnsafeBufferPointer { subject in
      var nothing: UInt8 = 0
      guard let base = subject.baseAddress else {
        return unsafe withUnsafePointer(to: &nothing) { unsafe pcre2_match_8(code, $0, 0, 0, 0, data, context) }
      }
      return unsafe pcre2_match_8(code, base, subject.count, 0, 0, data, context)
    }
    if result >= 0 { return .match }
    return result == PCRE2_ERROR_NOMATCH ? .noMatch : .undecided
  }
}
