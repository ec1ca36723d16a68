// `countersign keys`: key sets. Secrets go into files of mode 0600 and nowhere else; nothing here prints one.

import ArgumentParser
import FoundationEssentials
import Policy

struct Keys: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make, hand out and list the keys that sign.",
    discussion: """
      A key set is a JWKS file. The edge holds the secrets; each validator gets what it needs to check what was signed \
      for it, and no more:

        countersign keys new --kid k1 --out edge.jwks.json
        countersign keys export --audience monitor-1 --in edge.jwks.json --out monitor-1.jwks.json
        countersign keys list monitor-1.jwks.json

      To rotate from k1 to k2:

        countersign keys new --kid k2 --out edge.jwks.json      and export to every validator, and reload each
        sign_with: k2                                           at the edge, and reload it
        countersign keys retire --kid k1 FILE                   of the edge and of each validator, and reload each

      Wait a minute before the last step: what k1 signed is good for 30 seconds.
      """,
    subcommands: [New.self, Export.self, Retire.self, List.self])
}

/// A group that may read the files (mode 0640), as `identity.keys_group`.
struct GroupOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A group that may read existing files (mode 0640), as in `identity.keys_group`.", valueName: "name"))
  var group: String?
}

extension Keys {
  struct New: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a key, in a new set or added to an existing one.",
      discussion: """
        The file is made with mode 0600. One that exists keeps its keys and gets one more; it is replaced whole.

          countersign keys new --kid k1 --out edge.jwks.json
          countersign keys new --kid k2 --algorithm ed25519 --out edge.jwks.json

        hmac (HMAC-SHA-256) costs about a hundredth of ed25519, and each validator gets a key of its own derived from \
        it. With ed25519 validators get the public half, and none of them can sign anything at all.
        """)

    @Option(help: ArgumentHelp("The key's name: 1 to 32 of A-Z a-z 0-9 . _ -", valueName: "name"))
    var kid: String

    @Option(help: "hmac or ed25519.")
    var algorithm = KeyAlgorithm.hmac

    @Option(help: ArgumentHelp("The key set.", valueName: "file"), completion: .file())
    var out: String

    @OptionGroup var reading: GroupOption

    func run() throws {
      try attempt {
        let set = try KeySetStore.add(id: kid, algorithm: algorithm, to: out, group: reading.group)
        print(
          "\(out): \(kid) (\(algorithm.rawValue)), \(set.keys.count) key\(set.keys.count == 1 ? "" : "s") in the set")
      }
    }
  }

  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write the set that one validator needs.",
      discussion: """
        HMAC keys are derived for the audience, one for requests (http) and one for PROXY headers (pp2), so that a \
        stolen validator cannot sign for another; of Ed25519 keys only the public half is written. An earlier export for \
        the same audience is replaced; any other file is left as it is.

          countersign keys export --audience monitor-1 --in edge.jwks.json --out monitor-1.jwks.json
        """)

    @Option(help: ArgumentHelp("The validator, as its `identity.audience`: 1 to 64 of a-z 0-9 . -", valueName: "name"))
    var audience: String

    @Option(name: .customLong("in"), help: ArgumentHelp("The edge's key set.", valueName: "file"), completion: .file())
    var source: String

    @Option(help: ArgumentHelp("The validator's key set.", valueName: "file"), completion: .file())
    var out: String

    @OptionGroup var reading: GroupOption

    func run() throws {
      try attempt {
        let set = try KeySetStore.export(audience: audience, from: source, to: out, group: reading.group)
        let kids = set.keys.map { "\($0.id)" }.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        print("\(out): \(kids.joined(separator: ", ")) for \(audience)")
      }
    }
  }

  struct Retire: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove a key from a set.",
      discussion: """
        The file is replaced whole and keeps its mode and owner. The last key of a set is not removed. A running process \
        goes on with the old set until it is reloaded, which it refuses while `sign_with` names the key.

          countersign keys retire --kid k1 edge.jwks.json
        """)

    @Option(help: ArgumentHelp("The key's name.", valueName: "name"))
    var kid: String

    @Argument(help: "The key set.")
    var file: String

    @OptionGroup var reading: GroupOption

    func run() throws {
      try attempt {
        let set = try KeySetStore.retire(id: kid, from: file, group: reading.group)
        let kids = set.keys.map { "\($0.id)" }.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        print("\(file): \(kid) removed; left: \(kids.joined(separator: ", "))")
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List a key set, without its secrets.",
      discussion: """
        One line a key: kid, algorithm, what it is for, from when to when, and a fingerprint: the front of the SHA-256 \
        thumbprint (RFC 7638), by which two sets can be compared.
        """)

    @Argument(help: "The key set.")
    var file: String

    @OptionGroup var reading: GroupOption

    func run() throws {
      try attempt {
        let set = try KeySet.load(path: file, group: reading.group)
        var rows = [["KID", "ALGORITHM", "USE", "VALID", "FINGERPRINT"]]
        for key in set.keys {
          rows.append(["\(key.id)", key.algorithm.rawValue, key.use, validity(key), try key.fingerprint()])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
          let cells = zip(row, widths).dropLast().map { $0 + String(repeating: " ", count: $1 + 2 - $0.count) }
          print(cells.joined() + (row.last ?? ""))
        }
      }
    }

    private func validity(_ key: KeySet.Key) -> String {
      func day(_ seconds: UInt64) -> String { Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601) }
      return switch (key.notBefore, key.expires) {
      case (nil, nil): "always"
      case (let from?, nil): "from \(day(from))"
      case (nil, let until?): "until \(day(until))"
      case (let from?, let until?): "\(day(from)) to \(day(until))"
      }
    }
  }
}

extension KeyAlgorithm: ExpressibleByArgument {}

/// Runs `body`; what it throws is printed, and ends the command with 1.
func attempt(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let code as ExitCode {
    throw code
  } catch {
    Console.complain("countersign: \(error)")
    throw ExitCode(1)
  }
}
