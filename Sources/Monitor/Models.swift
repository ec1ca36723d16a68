// What goes over the wire as JSON, and the rules its values obey. The store keeps these; the routes answer with them.

import Foundation

/// A point in time: milliseconds since 1970 in the database, RFC 3339 text in JSON.
package struct Instant: Codable, Hashable, Sendable {
  package let milliseconds: Int64

  package init(milliseconds: Int64) { self.milliseconds = milliseconds }

  package static var now: Instant { Instant(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }

  package func earlier(bySeconds seconds: Int) -> Instant {
    Instant(milliseconds: milliseconds - Int64(seconds) * 1000)
  }

  private static let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

  package var text: String { Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(Self.style) }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    milliseconds = Int64((try Date(text, strategy: Self.style).timeIntervalSince1970 * 1000).rounded())
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}

/// Someone who has printers.
package struct Owner: Codable, Sendable {
  package let id: String
  package let name: String
  package let createdAt: Instant
}

/// A printer as its owner, or someone who may link it, sees it.
package struct Printer: Codable, Sendable {
  package let id: String
  package let name: String
  package let model: String
  package let publicAddress: String
  package let announcedAt: Instant
  package let linked: Bool
  package let status: PrinterStatus?
  package let statusAt: Instant?
}

/// What a printer reports of itself.
package struct PrinterStatus: Codable, Hashable, Sendable {
  /// What it is doing.
  package enum State: String, Codable, Sendable, CaseIterable { case idle, printing, paused, error }

  package var state: State
  package var file: String?
  /// From 0 to 1.
  package var progress: Double?
  package var toolCelsius: Double?
  package var bedCelsius: Double?

  package init(
    state: State, file: String? = nil, progress: Double? = nil, toolCelsius: Double? = nil, bedCelsius: Double? = nil
  ) {
    self.state = state
    self.file = file
    self.progress = progress
    self.toolCelsius = toolCelsius
    self.bedCelsius = bedCelsius
  }

  func validate() throws {
    if let file { try checkText(file, named: "file", charactersMax: 200) }
    if let progress { try check((0...1).contains(progress), "progress is a number from 0 to 1") }
    for celsius in [toolCelsius, bedCelsius].compactMap({ $0 }) {
      try check((-50...1000).contains(celsius), "a temperature is a number from -50 to 1000")
    }
  }
}

/// Something an owner wants a printer to do.
package struct Command: Codable, Sendable {
  /// What to do.
  package enum Kind: String, Codable, Sendable, CaseIterable { case start, pause, resume, cancel }

  package let id: String
  package let kind: Kind
  package let file: String?
  package let createdAt: Instant
}

/// A picture a printer has taken.
package struct Snapshot: Sendable {
  package let contentType: String
  package let bytes: Data
  package let entityTag: String
  package let takenAt: Instant
}

/// What `POST /owners` takes.
struct OwnerInput: Decodable {
  let name: String
  func validate() throws { try checkText(name, named: "name", charactersMax: 64) }
}

/// What `POST /printers/announce` takes.
struct PrinterInput: Decodable {
  let name: String
  let model: String
  func validate() throws {
    try checkText(name, named: "name", charactersMax: 64)
    try checkText(model, named: "model", charactersMax: 64)
  }
}

/// What `POST /printers/{id}/commands` takes.
struct CommandInput: Decodable {
  let kind: Command.Kind
  let file: String?
  func validate() throws {
    if let file { try checkText(file, named: "file", charactersMax: 200) }
    try check((kind == .start) == (file != nil), "a start names a file, and nothing else does")
  }
}

private func check(_ holds: Bool, _ message: String) throws {
  guard holds else { throw Problem.invalid(message) }
}

private func checkText(_ text: String, named name: String, charactersMax: Int) throws {
  try check(!text.trimmingSpaces.isEmpty, "\(name) is not empty")
  try check(text.count <= charactersMax && text.utf8.count <= 4 * charactersMax, "\(name) is too long")
  try check(
    text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }, "\(name) has no control characters")
}
