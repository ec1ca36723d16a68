// `explain` and `check --resolved` speak of the process that runs: over random listeners, rules, peers and headers, what
// `explain` says is what the program does.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct Explain {
    private struct Drawing {
      var random: Seeded

      mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
      mutating func pick<T>(_ choices: [T]) -> T { choices.randomElement(using: &random)! }

      mutating func evidence() -> String {
        let evidence = pick([
          "socket", "socket", "socket", "refuse", "forwarded", "forwarded, header: forwarded",
          "forwarded, hops: [\(Peer.hops)]", "proxy-protocol", "proxy-protocol, then: forwarded, hops: [\(Peer.hops)]",
        ])
        return evidence == "refuse" ? evidence : evidence + pick(["", "", ", scheme: https"])
      }

      mutating func trust() -> [String] {
        var rules: [String] = []
        for from in ["127.0.0.1", "127.0.0.2", "127.0.0.0/29", Peer.balancers, Peer.balancer, Peer.client(1)]
        where chance(45) { rules.append("from: [\(from)], evidence: \(evidence())") }
        if chance(70) { rules.append("from: any, evidence: \(pick(["socket", "socket", "refuse"]))") }
        return rules
      }

      /// Addresses that a peer, a PROXY header or a field may have.
      mutating func address() -> String {
        pick(["127.0.0.1", "127.0.0.2", "127.0.0.3", Peer.balancer, Peer.client(1), Peer.client(2), Peer.hop])
      }
    }

    /// What became of a request, in the words of `explain`.
    private static func said(_ output: String) -> [String] {
      var words: [String] = []
      for line in output.split(separator: "\n") {
        let value = line.dropFirst(9)
        switch line.prefix(9).trimmingCharacters(in: .whitespaces) {
        case "client":
          words.append("\(value.prefix { $0 != " " && $0 != "," }) \(value.split(separator: " ").last ?? "")")
        case "scheme": words.append("\(value)")
        case "refused": words.append(value.hasSuffix("(closed without an answer)") ? "closed" : "\(value)")
        default: break
        }
      }
      return words
    }

    /// Version 2, as `explain` has it.
    private static func announcement(_ source: String, _ destination: String) -> [UInt8] {
      func bytes(_ address: String) -> [UInt8] { address.split(separator: ".").compactMap { UInt8($0) } }
      return SignedProxyHeader.signature + [0x21, 0x11, 0, 12] + bytes(source) + bytes(destination) + [18, 103, 1, 187]
    }

    @Test(.threads(1)) func whatExplainSaysIsWhatHappens() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("ok") }
      var drawing = Drawing(random: Seeded(7))
      var tally: [String: Int] = [:]
      var number = 0
      for round in 0..<12 {
        var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        configuration.listeners = (0..<6).map { index in
          Configuration.Listener(
            name: "l\(index)", listen: drawing.pick(["127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0", "0.0.0.0:0"]),
            trust: drawing.trust())
        }
        if drawing.chance(40) {
          configuration.identity = ["infrastructure: [\(drawing.pick([Peer.client(2), Peer.hops, "127.0.0.3"]))]"]
        }
        let text = configuration.text
        let name = "round\(round)"
        let edge = try Countersign(configuration, name: name, in: workspace)
        let file = workspace.file("\(name).yaml")
        for (index, listener) in configuration.listeners.enumerated() {
          let port = try edge["l\(index)"].port
          for _ in 0..<5 {
            number += 1
            let isWildcard = listener.listen.hasPrefix("0.0.0.0")
            let to =
              isWildcard ? drawing.pick(["127.0.0.1", "127.0.0.2", "127.0.0.3"]) : String(listener.listen.dropLast(2))
            let peer = drawing.address()
            let source: String? = drawing.chance(60) ? drawing.address() : nil
            var fields: [String] = []
            if drawing.chance(70) {
              fields.append(
                "X-Forwarded-For: \(Peer.claimed), \(drawing.address())" + (drawing.chance(30) ? ", \(Peer.hop)" : ""))
            }
            if drawing.chance(40) { fields.append("X-Forwarded-Proto: \(drawing.pick(["https", "http", "gopher"]))") }
            if drawing.chance(40) { fields.append("Forwarded: for=\(drawing.address());proto=https") }

            var arguments = ["explain", "-c", file, "--listener", listener.name, "--peer", peer]
            if isWildcard { arguments += ["--to", to] }
            if let source { arguments += ["--proxy-source", "\(source):4711"] }
            for field in fields { arguments += ["-H", field] }
            let explained = try ChildProcess.run([try Programs.countersign] + arguments)
            let expected = Self.said(explained.output)
            // The steps end with the client who is settled, and with nobody where nobody is.
            if let client = expected.first(where: { $0.contains(" ") && !explained.output.contains("\nrefused  ") }) {
              let last = explained.output.split(separator: "\n").last { $0.hasPrefix("step     ") } ?? ""
              #expect(last.hasPrefix("step     \(client.prefix { $0 != " " }), by "), "\(explained.output)")
            }

            let start = edge.access.end
            let connection = try Connection(to: Address(host: to, port: port), from: peer)
            // At once: what came after an answer that ends the connection would take the answer away.
            let announcement = source.map { Self.announcement($0, to) } ?? []
            try? connection.send(announcement + Array(Text.request("/\(number)", fields: fields).utf8))
            let happened: [String]
            if let response = try? connection.readResponse() {
              // A head that was not understood has no path.
              let entry = try edge.access.wait(from: start, for: "/\(number)") {
                $0.path == "/\(number)" || $0.refusal == "request-line"
              }
              if let refusal = entry.refusal {
                happened = ["\(refusal) (status \(response.status))"]
              } else {
                happened = [
                  "\(entry.client ?? "") \(entry.via ?? "")", "\(entry.scheme ?? ""), by \(entry.scheme_source ?? "")",
                ]
              }
            } else {
              happened = ["closed"]
            }
            #expect(expected == happened, "\(arguments.joined(separator: " "))\n\(explained.output)\(text)")
            tally[happened.count == 2 ? "settled" : happened[0], default: 0] += 1
          }
        }
      }
      // Or nothing was shown.
      #expect(tally["settled", default: 0] > 40, "\(tally)")
      for word in ["closed", "client-infrastructure (status 403)", "forwarded-missing (status 403)"] {
        #expect(tally[word, default: 0] > 4, "\(tally)")
      }
    }

    @Test func resolvedSaysWhatIsInfrastructureBesideTheList() throws {
      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
      configuration.identity = ["infrastructure: [192.0.2.0/24]"]
      configuration.listeners[0].listen = "127.0.0.2:8080"
      configuration.listeners[0].trust = [
        "from: [10.0.0.0/24], evidence: proxy-protocol", "from: any, evidence: socket",
      ]
      let file = try workspace.write("c.yaml", configuration.text)
      let output = try ChildProcess.succeed([try Programs.countersign, "check", "-c", file, "--resolved"])
      let lines = output.split(separator: "\n").drop { !$0.contains("infrastructure:") }.dropFirst().prefix(3)
      #expect(
        lines == [
          "  #   10.0.0.0/24, by a trust rule of the listener public",
          "  #   127.0.0.2, by the listener public", "  #   and the address that a connection came to",
        ])
    }

    @Test func theAddressThatAClientConnectsToIsNoClientOnAWildcard() throws {
      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["127.0.0.1:9"])
      configuration.listeners[0].listen = "0.0.0.0:8080"
      let file = try workspace.write("c.yaml", configuration.text)
      func explain(_ arguments: String...) throws -> ChildProcess.Outcome {
        try ChildProcess.run(
          [try Programs.countersign, "explain", "-c", file, "--listener", "public"] + arguments)
      }
      #expect(try explain("--peer", "192.0.2.7", "--to", "192.0.2.7").output.contains("refused  client-infrastructure"))
      #expect(try explain("--peer", "192.0.2.7", "--to", "192.0.2.8").output.contains("client   192.0.2.7, by socket"))
      #expect(try explain("--peer", "192.0.2.7").output.contains("client   192.0.2.7, by socket"))
      let local = try explain("--peer", "127.0.0.1")
      #expect(local.output.contains("refused  client-infrastructure") && local.output.contains("to       127.0.0.1"))
      #expect(local.output.contains("detail   127.0.0.1 is the address that the connection came to; where programs"))
      #expect(try explain("--peer", "192.0.2.7", "--to", "::1").exit == .code(2))
      #expect(try explain("--peer", "192.0.2.7", "--to", "x").exit == .code(2))
    }
  }
}
