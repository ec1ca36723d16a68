// What the patterns of one worker share while they match: the stack of the JIT code, the memory for a result, and the budget
// of the match. Invariant: one thread, one match at a time. Made with a worker's routes.

import CPCRE2

@safe package final class PatternWorkspace {
  /// Limit of the memory for backtracking. By default JIT code has 32 KiB of the machine's stack, which a thousand iterations
  /// of a group fill. Memory is allocated as it is needed.
  private static let stackBytesMax = 1 << 20
  /// What a callout costs by itself, in bytes of subject read.
  private static let calloutBytes = 12

  /// What the match under way may still cost. Used only with patterns that have callouts.
  private struct Budget {
    var bytesLeft: Int
    var bytesEachCallout: Int
    var position: Int
  }

  // SAFETY: made in init, freed in deinit, never lent beyond a call of the library. PatternWorkspace is not Sendable: one
  // thread uses it, for one match at a time, as the library demands of all five.
  private let stack: OpaquePointer
  private let data: OpaquePointer
  /// With room for the positions of groups.
  private let groupData: OpaquePointer
  private let context: OpaquePointer
  private let countingContext: OpaquePointer
  private let budget: UnsafeMutablePointer<Budget>

  package init() {
    // As with every other allocation, memory that cannot be had ends the process.
    // SAFETY: each call makes an object of the library's or gives it one of those; the budget is initialized at once. The
    // contexts point to the stack and the budget, which are freed after them.
    guard let stack = unsafe pcre2_jit_stack_create_8(32 << 10, PatternWorkspace.stackBytesMax, nil),
      let data = unsafe pcre2_match_data_create_8(1, nil),
      let groupData = unsafe pcre2_match_data_create_8(UInt32(Pattern.groupsMax), nil),
      let context = unsafe pcre2_match_context_create_8(nil),
      let countingContext = unsafe pcre2_match_context_create_8(nil)
    else { preconditionFailure("out of memory") }
    unsafe budget = .allocate(capacity: 1)
    unsafe budget.initialize(to: Budget(bytesLeft: 0, bytesEachCallout: 0, position: 0))
    unsafe pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack))
    unsafe pcre2_jit_stack_assign_8(countingContext, nil, UnsafeMutableRawPointer(stack))
    // The interpreter, which is used where there is no JIT, keeps its backtracking points on the heap.
    _ = unsafe pcre2_set_heap_limit_8(context, UInt32(PatternWorkspace.stackBytesMax >> 10))
    _ = unsafe pcre2_set_heap_limit_8(countingContext, UInt32(PatternWorkspace.stackBytesMax >> 10))
    // With callouts the budget ends the match; this limit is a second line of defence.
    _ = unsafe pcre2_set_match_limit_8(countingContext, 1_000_000)
    // SAFETY: the library calls this inside `match`, on that thread, with a block of its own and the budget, which lives
    // until deinit.
    _ = unsafe pcre2_set_callout_8(
      countingContext,
      { block, budget in
        guard let block = unsafe block, let budget = unsafe budget?.assumingMemoryBound(to: Budget.self) else {
          return 0
        }
        let position = unsafe block.pointee.current_position
        // Forwards: bytes read. Backwards: bytes backtracked over.
        let moved = unsafe position &- budget.pointee.position
        unsafe budget.pointee.position = position
        let cost = unsafe (moved < 0 ? 0 &- moved : moved) &+ budget.pointee.bytesEachCallout
        unsafe budget.pointee.bytesLeft &-= cost
        return unsafe budget.pointee.bytesLeft < 0 ? PCRE2_ERROR_CALLOUT : 0
      }, budget)
    unsafe self.stack = stack
    unsafe self.data = data
    unsafe self.groupData = groupData
    unsafe self.context = context
    unsafe self.countingContext = countingContext
  }

  deinit {
    // SAFETY: what init made, each freed once, the contexts before what they point to.
    unsafe pcre2_match_context_free_8(context)
    unsafe pcre2_match_context_free_8(countingContext)
    unsafe pcre2_match_data_free_8(data)
    unsafe pcre2_match_data_free_8(groupData)
    unsafe pcre2_jit_stack_free_8(stack)
    unsafe budget.deallocate()
  }

  /// libpcre2's result; `PCRE2_ERROR_MATCHLIMIT` after `stepsMax` steps.
  func match(_ code: CompiledPattern, _ bytes: Span<UInt8>, stepsMax: Int, withGroups: Bool = false) -> Int32 {
    // SAFETY: the context is this object's own, and no match is under way in it.
    _ = unsafe pcre2_set_match_limit_8(context, UInt32(stepsMax))
    return unsafe match(code, bytes, context, withGroups ? groupData : data)
  }

  /// libpcre2's result; `PCRE2_ERROR_CALLOUT` once the match has cost about as much as reading `bytesMax` bytes.
  /// - Parameters:
  ///   - counted: a pattern compiled with `PCRE2_AUTO_CALLOUT`.
  ///   - itemBytes: how many bytes one item of the pattern may read between two callouts, without advancing.
  func match(
    _ counted: CompiledPattern, _ bytes: Span<UInt8>, bytesMax: Int, itemBytes: Int, withGroups: Bool = false
  ) -> Int32 {
    // SAFETY: the budget is this object's own and initialized; the context that points to it is used by this match alone.
    unsafe budget.pointee = Budget(
      bytesLeft: bytesMax, bytesEachCallout: PatternWorkspace.calloutBytes + min(itemBytes, bytes.count), position: 0)
    return unsafe match(counted, bytes, countingContext, withGroups ? groupData : data)
  }

  /// Where a group of the last match lies that was made with groups; nil where it matched nothing.
  func group(_ number: Int) -> Range<Int>? {
    // SAFETY: the vector is the match data's own, which lives as long as self, and has as many pairs as the library says.
    guard number < Int(unsafe pcre2_get_ovector_count_8(groupData)),
      let vector = unsafe pcre2_get_ovector_pointer_8(groupData)
    else { return nil }
    let (start, end) = unsafe (vector[2 * number], vector[2 * number + 1])
    // Negative, as Swift has it: a group that took no part (PCRE2_UNSET).
    guard start >= 0, start <= end else { return nil }
    return start..<end
  }

  private func match(
    _ code: CompiledPattern, _ bytes: Span<UInt8>, _ context: OpaquePointer, _ data: OpaquePointer
  ) -> Int32 {
    // SAFETY: the library reads subject.count bytes during the call and keeps no pointer that is used after it; the code is
    // freed with CompiledPattern, which the caller has. An empty subject needs a pointer that is not NULL all the same.
    unsafe bytes.withUnsafeBufferPointer { subject in
      var nothing: UInt8 = 0
      guard let base = subject.baseAddress else {
        return unsafe withUnsafePointer(to: &nothing) { unsafe pcre2_match_8(code.code, $0, 0, 0, 0, data, context) }
      }
      return unsafe pcre2_match_8(code.code, base, subject.count, 0, 0, data, context)
    }
  }
}

/// A compiled pattern of libpcre2.
@safe final class CompiledPattern {
  // SAFETY: made in init, freed in deinit, not changed in between.
  let code: OpaquePointer

  init(_ bytes: [UInt8], _ options: UInt32) throws(Pattern.SyntaxError) {
    // `.` matches everything but a line feed, whatever newline libpcre2 was built with.
    // SAFETY: the compile context is freed once, when this initializer ends; the library reads the pattern's bytes.count
    // bytes and writes two locals.
    let rules = unsafe pcre2_compile_context_create_8(nil)
    defer { unsafe pcre2_compile_context_free_8(rules) }
    _ = unsafe pcre2_set_newline_8(rules, UInt32(PCRE2_NEWLINE_LF))
    var error: Int32 = 0
    var offset = 0
    guard let compiled = unsafe pcre2_compile_8(bytes, bytes.count, options, &error, &offset, rules) else {
      var message = [UInt8](repeating: 0, count: 256)
      // SAFETY: the library writes at most message.count bytes.
      let n = unsafe pcre2_get_error_message_8(error, &message, message.count)
      throw Pattern.SyntaxError(
        offset: offset, reason: String(decoding: message.prefix(max(0, Int(n))), as: UTF8.self))
    }
    // Without JIT the interpreter is used: the results are the same, but the limits are reached sooner.
    _ = unsafe pcre2_jit_compile_8(compiled, UInt32(PCRE2_JIT_COMPLETE))
    unsafe code = compiled
  }

  // SAFETY: made in init and freed only here; nobody has a reference to self any more.
  deinit { unsafe pcre2_code_free_8(code) }

  /// There is no JIT code; the interpreter matches.
  var isInterpreted: Bool {
    var size = 0
    // SAFETY: the library writes a size_t, which `size` is.
    return unsafe pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_JITSIZE), &size) != 0 || size == 0
  }

  var groupCount: Int {
    var count: UInt32 = 0
    // SAFETY: the library writes a uint32_t, which `count` is.
    return unsafe pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_CAPTURECOUNT), &count) == 0 ? Int(count) : 0
  }

  var hasBackReferences: Bool {
    var highest: UInt32 = 0
    // SAFETY: the library writes a uint32_t, which `highest` is.
    return unsafe pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_BACKREFMAX), &highest) != 0 || highest > 0
  }
}
