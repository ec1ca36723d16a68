// `countersign doctor`: do two clients arrive as two, through the real load balancer?

import ArgumentParser
import Platform
import Policy
import Proxy
import Wire

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Send two probes through the real load balancer, and see whether they arrive as two clients.",
    discussion: """
      Each probe is a request from one of this host's addresses, signed by the edge as any other. The validator behind it answers with \
      the client whom it verified. The probes must arrive as different clients, each with the address that it was sent from; behind a \
      network address translation give --nat, and only different is asked for.

        countersign doctor https://app.example.com --from 192.0.2.7 --from 192.0.2.8

      On the host of the edge, --admin also prints what it did, step by step, and judges that; --validator does so for a validator \
      on this host. Both name an admin listener that is a unix socket.

      The probes ask for GET /.well-known/countersign-probe/…; the edge's routes must lead that to the upstream in question.

      Exit codes: 0 they arrived as they should, 1 they did not, 2 the command was not understood.
      """)

  @Argument(help: "Where clients connect: http://HOST[:PORT] or https://HOST[:PORT].")
  var url: String

  @Option(help: ArgumentHelp("An address of this host to probe from; give two or more.", valueName: "ip"))
  var from: [String] = []

  @Option(help: ArgumentHelp("The edge's admin listener, `unix:PATH`.", valueName: "endpoint"))
  var admin: String?

  @Option(help: ArgumentHelp("A validator's admin listener, `unix:PATH`.", valueName: "endpoint"))
  var validator: String?

  @Option(help: ArgumentHelp("Who may have signed the certificate, with https (PEM).", valueName: "file"))
  var ca = "/etc/ssl/certs/ca-certificates.crt"

  @Flag(help: "Speak HTTP/2: for a listener that has no http/1.1 among its protocols.")
  var http2 = false

  @Flag(help: "Addresses are translated on the way: they must differ, and need not be those that were sent from.")
  var nat = false

  func validate() throws {
    guard from.count >= 2, Set(from).count == from.count else {
      throw ValidationError("give two or more different addresses of this host: --from IP --from IP")
    }
    for text in from where IPAddress(text) == nil { throw ValidationError("--from takes an address, not `\(text)`") }
    try AdminOptions.check(admin, "--admin")
    try AdminOptions.check(validator, "--validator")
  }

  /// A hop whose admin listener tells what it made of the probes.
  private struct Hop {
    let name: String
    let recording: Recording

    init(_ name: String, _ admin: String, path: String, count: Int) throws {
      self.name = name
      var options = AdminOptions()
      options.admin = admin
      recording = try Recording(options, [("n", "\(count)"), ("path", path), ("for", "60000")])
    }
  }

  func run() throws {
    let addresses = from.compactMap { IPAddress($0) }
    let mark = "/.well-known/countersign-probe/\(try SecureRandom.word())"
    let probe: Probe
    do { probe = try Probe(url: url, authorities: ca, isHTTP2: http2) } catch {
      Console.complain("countersign: \(error)")
      throw ExitCode(2)
    }
    var hops: [Hop] = []
    if let admin { hops.append(try Hop("edge", admin, path: mark, count: addresses.count)) }
    if let validator { hops.append(try Hop("validator", validator, path: mark, count: addresses.count)) }
    var problems: [String] = []
    var answered: [Int: IPAddress] = [:]
    for (index, address) in addresses.enumerated() {
      do {
        let answer = try probe.ask("\(mark)/\(index)", from: address)
        answered[index] = answer.client
        let verified = answer.client.map { ", verified as \($0)" } ?? ", and no validator says whom it verified"
        print(
          "probe    \(index + 1) from \(address): \(answer.status == 0 ? "no answer" : "status \(answer.status)\(verified)")"
        )
      } catch {
        print("probe    \(index + 1) from \(address): \(error)")
      }
    }
    problems += judge(
      "validator that answered", answered, addresses,
      missing: "reached no validator that says whom it verified: refused, or it went to a server that is behind none")
    for hop in hops {
      let clients = try self.clients(hop, mark, addresses)
      problems += judge(hop.name, clients, addresses)
      try hop.recording.end()
    }
    print("")
    for problem in problems { print("wrong    \(problem)") }
    guard problems.isEmpty else { throw ExitCode(1) }
    print(
      "well     \(addresses.count) probes arrived as \(addresses.count) clients\(nat ? "" : ", each with its own address")"
    )
  }

  /// Which client each probe was for one hop; prints how that came.
  private func clients(_ hop: Hop, _ mark: String, _ addresses: [IPAddress]) throws -> [Int: IPAddress] {
    var clients: [Int: IPAddress] = [:]
    for walk in try hop.recording.read().walks {
      let lines = walk.split(separator: "\n")
      // Whoever stands between may have asked for another number.
      guard let first = lines.first, let index = Int(first.split(separator: "/").last ?? ""),
        addresses.indices.contains(index)
      else { continue }
      print("\n\(hop.name) on probe \(index + 1)")
      for line in lines.dropFirst() { print("  \(line)") }
      guard let client = lines.first(where: { $0.hasPrefix("client   ") }) else { continue }
      clients[index] = client.dropFirst(9).split(separator: " ").first.flatMap { IPAddress(String($0)) }
    }
    return clients
  }

  private func judge(
    _ hop: String, _ clients: [Int: IPAddress], _ addresses: [IPAddress], missing: String? = nil
  ) -> [String] {
    var problems: [String] = []
    for (index, address) in addresses.enumerated() {
      guard let client = clients[index] else {
        problems.append(
          "probe \(index + 1) from \(address) "
            + (missing ?? "did not arrive at the \(hop) as anybody: refused, or it went another way"))
        continue
      }
      if !nat, client != address { problems.append("probe \(index + 1) from \(address) is \(client) for the \(hop)") }
      for other in 0..<index where clients[other] == client {
        problems.append("probes \(other + 1) and \(index + 1) are one client for the \(hop): \(client)")
      }
    }
    return problems
  }
}
