// The SQLite file: its schema, as migrations that only ever get appended to, and every query the routes need. All SQL is
// parameterised. Each change is one transaction, so what decides (is this printer still free?) and what follows from it
// cannot come apart.

import Foundation
import GRDB

/// Who a token belongs to.
package enum Principal: Hashable, Sendable {
  case owner(id: String)
  case printer(id: String)
}

/// Everything the monitor remembers.
package final class Store: Sendable {
  private let pool: DatabasePool

  package init(path: String) throws {
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    configuration.label = "printer-monitor"
    pool = try DatabasePool(path: path, configuration: configuration)
    try Self.migrator.migrate(pool)
  }

  package func close() throws { try pool.close() }

  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1 owners and printers") { database in
      try database.execute(
        sql: """
          CREATE TABLE owner (
            id TEXT PRIMARY KEY NOT NULL,
            name TEXT NOT NULL,
            token_digest BLOB NOT NULL UNIQUE,
            created_at INTEGER NOT NULL
          ) STRICT;
          CREATE TABLE printer (
            id TEXT PRIMARY KEY NOT NULL,
            name TEXT NOT NULL,
            model TEXT NOT NULL,
            token_digest BLOB NOT NULL UNIQUE,
            public_address TEXT NOT NULL,
            public_network TEXT NOT NULL,
            announced_at INTEGER NOT NULL,
            owner_id TEXT REFERENCES owner (id) ON DELETE SET NULL,
            linked_at INTEGER,
            status TEXT,
            status_at INTEGER
          ) STRICT;
          CREATE INDEX printer_free ON printer (public_network, announced_at) WHERE owner_id IS NULL;
          CREATE INDEX printer_owner ON printer (owner_id);
          """)
    }
    migrator.registerMigration("2 snapshots") { database in
      try database.execute(
        sql: """
          CREATE TABLE snapshot (
            printer_id TEXT PRIMARY KEY NOT NULL REFERENCES printer (id) ON DELETE CASCADE,
            content_type TEXT NOT NULL,
            bytes BLOB NOT NULL,
            entity_tag TEXT NOT NULL,
            taken_at INTEGER NOT NULL
          ) STRICT;
          """)
    }
    migrator.registerMigration("3 commands") { database in
      try database.execute(
        sql: """
          CREATE TABLE command (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            printer_id TEXT NOT NULL REFERENCES printer (id) ON DELETE CASCADE,
            owner_id TEXT NOT NULL REFERENCES owner (id) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            file TEXT,
            created_at INTEGER NOT NULL
          ) STRICT;
          CREATE INDEX command_printer ON command (printer_id, number);
          """)
    }
    return migrator
  }

  /// Throws when the database does not answer.
  package func ping() async throws {
    _ = try await pool.read { try Int.fetchOne($0, sql: "SELECT 1") }
  }
}

// MARK: Owners and tokens

extension Store {
  package func addOwner(name: String, token: Token) async throws -> Owner {
    let owner = Owner(id: makeID(), name: name, createdAt: .now)
    try await pool.write { database in
      try database.execute(
        sql: "INSERT INTO owner (id, name, token_digest, created_at) VALUES (?, ?, ?, ?)",
        arguments: [owner.id, owner.name, token.digest, owner.createdAt.milliseconds])
    }
    return owner
  }

  package func principal(of token: Token) async throws -> Principal? {
    let digest = token.digest
    return try await pool.read { database in
      if let id = try String.fetchOne(database, sql: "SELECT id FROM owner WHERE token_digest = ?", arguments: [digest])
      {
        return .owner(id: id)
      }
      return try String.fetchOne(database, sql: "SELECT id FROM printer WHERE token_digest = ?", arguments: [digest])
        .map { .printer(id: $0) }
    }
  }
}

// MARK: Printers

/// What came of trying to link a printer.
package enum LinkOutcome: Sendable {
  case linked(Printer)
  case alreadyYours(Printer)
  case notFound
}

extension Store {
  package func addPrinter(name: String, model: String, token: Token, address: NetworkAddress) async throws -> Printer {
    let id = makeID()
    return try await pool.write { database in
      try database.execute(
        sql: """
          INSERT INTO printer (id, name, model, token_digest, public_address, public_network, announced_at)
          VALUES (?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          id, name, model, token.digest, address.description, address.network, Instant.now.milliseconds,
        ])
      return try Self.require(id, in: database)
    }
  }

  /// A known printer says again that it is there, perhaps from another address.
  package func announce(id: String, name: String, model: String, address: NetworkAddress) async throws -> Printer {
    try await pool.write { database in
      try database.execute(
        sql: """
          UPDATE printer SET name = ?, model = ?, public_address = ?, public_network = ?, announced_at = ? WHERE id = ?
          """,
        arguments: [name, model, address.description, address.network, Instant.now.milliseconds, id])
      return try Self.require(id, in: database)
    }
  }

  /// The printers that nobody has yet, last heard of from this network not before `since`.
  package func discoverable(from address: NetworkAddress, since: Instant) async throws -> [Printer] {
    try await pool.read { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT * FROM printer WHERE owner_id IS NULL AND public_network = ? AND announced_at >= ?
          ORDER BY announced_at DESC, id LIMIT 50
          """, arguments: [address.network, since.milliseconds]
      ).map(Self.printer)
    }
  }

  /// Gives a discoverable printer to an owner. A printer that cannot be discovered from this address does not exist for
  /// the caller, whoever has it.
  package func link(
    printer id: String, to ownerID: String, from address: NetworkAddress, since: Instant
  ) async throws -> LinkOutcome {
    try await pool.write { database in
      try database.execute(
        sql: """
          UPDATE printer SET owner_id = ?, linked_at = ?
          WHERE id = ? AND owner_id IS NULL AND public_network = ? AND announced_at >= ?
          """, arguments: [ownerID, Instant.now.milliseconds, id, address.network, since.milliseconds])
      if database.changesCount == 1 { return .linked(try Self.require(id, in: database)) }
      let row = try Row.fetchOne(
        database, sql: "SELECT * FROM printer WHERE id = ? AND owner_id = ?", arguments: [id, ownerID])
      return try row.map { .alreadyYours(try Self.printer($0)) } ?? .notFound
    }
  }

  /// Takes a printer from its owner, with everything the next owner has no business seeing; false when it was not
  /// theirs.
  package func unlink(printer id: String, from ownerID: String) async throws -> Bool {
    try await pool.write { database in
      try database.execute(
        sql: "UPDATE printer SET owner_id = NULL, linked_at = NULL WHERE id = ? AND owner_id = ?",
        arguments: [id, ownerID])
      guard database.changesCount == 1 else { return false }
      try database.execute(sql: "DELETE FROM snapshot WHERE printer_id = ?", arguments: [id])
      try database.execute(sql: "DELETE FROM command WHERE printer_id = ?", arguments: [id])
      return true
    }
  }

  package func printers(of ownerID: String) async throws -> [Printer] {
    try await pool.read { database in
      try Row.fetchAll(
        database, sql: "SELECT * FROM printer WHERE owner_id = ? ORDER BY linked_at, id LIMIT 1000",
        arguments: [ownerID]
      ).map(Self.printer)
    }
  }

  /// The printer, if this principal is the printer itself or its owner.
  package func printer(id: String, visibleTo principal: Principal) async throws -> Printer? {
    try await pool.read { database in
      guard let row = try Row.fetchOne(database, sql: "SELECT * FROM printer WHERE id = ?", arguments: [id]) else {
        return nil
      }
      let isVisible =
        switch principal {
        case .printer(let own): own == id
        case .owner(let owner): (row["owner_id"] as String?) == owner
        }
      return isVisible ? try Self.printer(row) : nil
    }
  }

  package func setStatus(_ status: PrinterStatus, of id: String) async throws -> Printer {
    let text = String(decoding: try JSONEncoder().encode(status), as: UTF8.self)
    return try await pool.write { database in
      try database.execute(
        sql: "UPDATE printer SET status = ?, status_at = ? WHERE id = ?",
        arguments: [text, Instant.now.milliseconds, id])
      return try Self.require(id, in: database)
    }
  }

  private static func require(_ id: String, in database: Database) throws -> Printer {
    guard let row = try Row.fetchOne(database, sql: "SELECT * FROM printer WHERE id = ?", arguments: [id]) else {
      throw Problem.notFound
    }
    return try printer(row)
  }

  private static func printer(_ row: Row) throws -> Printer {
    let status = try (row["status"] as String?).map {
      try JSONDecoder().decode(PrinterStatus.self, from: Data($0.utf8))
    }
    return Printer(
      id: row["id"], name: row["name"], model: row["model"], publicAddress: row["public_address"],
      announcedAt: Instant(milliseconds: row["announced_at"]), linked: (row["owner_id"] as String?) != nil,
      status: status, statusAt: (row["status_at"] as Int64?).map(Instant.init(milliseconds:)))
  }
}

// MARK: Snapshots and commands

extension Store {
  /// Keeps the newest picture only.
  package func setSnapshot(_ bytes: Data, contentType: String, of id: String) async throws -> Snapshot {
    let snapshot = Snapshot(
      contentType: contentType, bytes: bytes, entityTag: "\"\(hexadecimal(sha256(bytes).prefix(16)))\"", takenAt: .now)
    try await pool.write { database in
      try database.execute(
        sql: """
          INSERT INTO snapshot (printer_id, content_type, bytes, entity_tag, taken_at) VALUES (?, ?, ?, ?, ?)
          ON CONFLICT (printer_id) DO UPDATE SET content_type = excluded.content_type, bytes = excluded.bytes,
            entity_tag = excluded.entity_tag, taken_at = excluded.taken_at
          """, arguments: [id, contentType, bytes, snapshot.entityTag, snapshot.takenAt.milliseconds])
    }
    return snapshot
  }

  package func snapshot(of id: String) async throws -> Snapshot? {
    try await pool.read { database in
      try Row.fetchOne(database, sql: "SELECT * FROM snapshot WHERE printer_id = ?", arguments: [id]).map {
        Snapshot(
          contentType: $0["content_type"], bytes: $0["bytes"], entityTag: $0["entity_tag"],
          takenAt: Instant(milliseconds: $0["taken_at"]))
      }
    }
  }

  /// Nil when the printer is not (any more) this owner's: asked in the same transaction that stores the command.
  package func addCommand(
    _ kind: Command.Kind, file: String?, to id: String, by ownerID: String
  ) async throws -> Command? {
    let command = Command(id: makeID(), kind: kind, file: file, createdAt: .now)
    return try await pool.write { database in
      try database.execute(
        sql: """
          INSERT INTO command (id, printer_id, owner_id, kind, file, created_at)
          SELECT ?, printer.id, printer.owner_id, ?, ?, ? FROM printer WHERE printer.id = ? AND printer.owner_id = ?
          """,
        arguments: [command.id, kind.rawValue, file, command.createdAt.milliseconds, id, ownerID])
      return database.changesCount == 1 ? command : nil
    }
  }

  /// The newest commands first.
  package func commands(of id: String) async throws -> [Command] {
    try await pool.read { database in
      try Row.fetchAll(
        database, sql: "SELECT * FROM command WHERE printer_id = ? ORDER BY number DESC LIMIT 50", arguments: [id]
      ).compactMap { row in
        Command.Kind(rawValue: row["kind"]).map {
          Command(
            id: row["id"], kind: $0, file: row["file"], createdAt: Instant(milliseconds: row["created_at"]))
        }
      }
    }
  }
}
