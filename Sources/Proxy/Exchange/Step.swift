// What the parts of an exchange say to each other. A leg reads one message and says which piece of it comes next; a step of the
// exchange says what became of it. Nobody but `Exchange.advance` acts on a fault.

import Wire

/// What a leg has next of the message that it reads.
enum Piece {
  /// A whole head, of so many bytes.
  case head(Int)
  /// So many bytes of the body, at least one.
  case data(Int)
  /// A trailer section of so many bytes.
  case trailers(Int)
  case end
  /// Nothing before the next event.
  case blocked
  case fault(ExchangeMachine.Fault)
}

/// What became of bytes that were to be written to a leg.
enum Written {
  /// So many of them were taken, at least one.
  case took(Int)
  /// None, before the next event.
  case blocked
  case fault(ExchangeMachine.Fault)
}

/// What became of one step of an exchange.
enum Step {
  /// Something moved: another step may be possible.
  case moved
  /// Nothing more is possible before the next event, but for sending what was written.
  case blocked
  /// The exchange waits for a deadline, or has become a tunnel: it takes no steps now.
  case parked
  /// The exchange is over, and its slot may have another one.
  case over
  /// It ends with an answer of our own.
  case refuse(Refusal)
  case fault(ExchangeMachine.Fault)
}
