// Routes that ask for a password: who gets in, who does not, what the upstream sees of it, and that checking holds nobody else up.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Passwords {
    /// By bcrypt, and by crypt's SHA-512.
    private static let users =
      "alice:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
      + "bob:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1\n"
    private static let alice = "alice:U*U"
    private static let bob = "bob:Hello world!"

    private func basic(_ text: String) -> String {
      "Authorization: Basic \(Data(text.utf8).base64EncodedString())"
    }

    private func door(
      _ more: String = "", users: String = users, routes: [String] = [], workers: String = "2",
      change: (inout Configuration) -> Void = { _ in }
    ) throws -> RouteLimits.Door {
      try RouteLimits.Door(
        [],
        change: { configuration, workspace in
          let file = try workspace.write("users", users)
          configuration.routes =
            ["path_prefix: /private, to: backend, access: { htpasswd: \"\(file)\"\(more) }"] + routes + ["to: backend"]
          configuration.workers = workers
          change(&configuration)
        })
    }

    @Test func whoKnowsThePasswordGetsIn() throws {
      let door = try door(", realm: \"Back office\"")
      let connection = try door.connect()
      let asked = try connection.get("/private")
      #expect(asked.status == 401)
      #expect(asked["www-authenticate"] == "Basic realm=\"Back office\", charset=\"UTF-8\"")
      for who in [Self.alice, Self.bob, Self.alice] {
        #expect(try connection.get("/private/\(who.prefix(3))", fields: [basic(who)]).status == 200, "\(who)")
      }
      for who in [
        "alice:u*u", "alice:", "alice:Hello world!", "eve:U*U", "ALICE:U*U", ":U*U", "alice", "alice:U*U\u{0}", "",
      ] {
        let refused = try connection.get("/private/no", fields: [basic(who)])
        #expect(refused.status == 401, "\(who)")
        #expect(refused["www-authenticate"] != nil)
      }
      #expect(try connection.get("/private/no", fields: ["Authorization: Bearer abc"]).status == 401)
      // Two are none, for the upstream could read the other one.
      #expect(try connection.get("/private/no", fields: [basic(Self.alice), basic(Self.alice)]).status == 401)
      #expect(try connection.get("/open").status == 200)
      #expect(!door.backend.saw("/private/no"))
      #expect(try door.edge.access.wait(refusal: "credentials-missing").status == 401)
      #expect(try door.edge.access.wait(refusal: "credentials-wrong").status == 401)
    }

    /// RFC 9110 section 6.5.1: it has no place there, and an upstream that merged trailers into the head would believe it.
    @Test func credentialsInTrailersGoNoFurther() throws {
      let door = try door()
      let connection = try door.connect()
      try connection.send(
        Text.request("/private/trailers", method: "POST", fields: ["Transfer-Encoding: chunked", basic(Self.alice)])
          + Text.chunks(["body"], trailers: [basic(Self.bob), "authorization: Bearer x", "X-Sum: 3"]))
      #expect(try connection.readResponse().status == 200)
      #expect(door.backend.saw("X-Sum: 3"))
      #expect(!door.backend.saw("Bearer x") && !door.backend.saw(basic(Self.bob)))
    }

    @Test func theUpstreamDoesNotSeeItAndNeitherDoesTheLog() throws {
      let door = try door()
      let connection = try door.connect()
      let fields = ["X-Before: 1", basic(Self.alice), "X-After: 2"]
      for _ in 0..<2 { #expect(try connection.get("/private", fields: fields).status == 200) }
      // Where no password is asked for it is the upstream's business.
      #expect(try connection.get("/open", fields: fields).status == 200)
      #expect(try connection.get("/private", fields: [basic("alice:oops-my-other-password")]).status == 401)
      for request in door.backend.requests(to: "/private") {
        #expect(request.head["authorization"] == nil)
        #expect(request.head["x-before"] == "1" && request.head["x-after"] == "2")
      }
      #expect(door.backend.requests(to: "/open").first?.head["authorization"] != nil)
      _ = try door.edge.access.wait(refusal: "credentials-wrong")
      let said = (door.edge.process.standardOutput.lines + door.edge.process.standardError.lines).joined(
        separator: "\n")
      for secret in ["U*U", "oops", "alice", Data(Self.alice.utf8).base64EncodedString()] {
        #expect(!said.contains(secret), "\(secret)")
      }
    }

    /// As Apache's format has it, in JSON where it is asked for, and of nobody whose password was wrong.
    @Test func theLogNamesWhoLoggedIn() throws {
      for format in ["combined", "json, extra: [user]"] {
        let door = try door(change: { $0.access = "stdout, format: \(format)" })
        let connection = try door.connect()
        for _ in 0..<2 { #expect(try connection.get("/private/in", fields: [basic(Self.alice)]).status == 200) }
        #expect(try connection.get("/private/out", fields: [basic("bob:wrong")]).status == 401)
        #expect(try connection.get("/open", fields: [basic(Self.bob)]).status == 200)
        let out = door.edge.process.standardOutput
        _ = try #require(out.wait { $0.contains("/open") ? $0 : nil })
        let lines = out.lines
        let named = lines.filter { $0.contains(format == "combined" ? " - alice [" : "\"user\":\"alice\"") }
        #expect(named.count == 2 && named.allSatisfy { $0.contains("/private/in") }, "\(lines)")
        #expect(!lines.contains { $0.contains("bob") }, "\(lines)")
      }
    }

    @Test func itIsPassedOnWhereTheRouteSaysSo() throws {
      let door = try door(", pass_credentials: true")
      for _ in 0..<2 {
        #expect(try door.connect().get("/private", fields: [basic(Self.alice)]).status == 200)
      }
      #expect(door.backend.requests(to: "/private").allSatisfy { $0.head["authorization"] != nil })
    }

    /// Once it was right it is known to all workers, without another check.
    @Test func whatWasRightIsNotCheckedAgain() throws {
      let door = try door()
      for _ in 0..<20 { #expect(try door.connect().get("/private", fields: [basic(Self.alice)]).status == 200) }
      let checks = try #require(try door.edge.metric("countersign_password_checks_total"))
      // The other worker learns of it a moment later.
      #expect((1...2).contains(checks), "\(checks)")
    }

    @Test func aBodyComesBehindThePassword() throws {
      let door = try door()
      let body = String(repeating: "b", count: 300_000)
      let connection = try door.connect()
      try connection.send(Text.request("/private/body", method: "POST", fields: [basic(Self.bob)], body: body))
      #expect(try connection.readResponse().status == 200)
      #expect(door.backend.requests(to: "/private/body").first?.head.contentLength == 300_000)
      try connection.send(Text.request("/private/body", method: "POST", fields: [basic("bob:no")], body: body))
      #expect(try connection.readResponse().status == 401)
      #expect(try connection.get("/open").status == 200, "the connection goes on")
    }

    /// Fifteen checks of 2^14 rounds take much longer than ten requests, each about a second: the only worker serves these meanwhile.
    @Test func nobodyElseWaitsForACheck() throws {
      let costly = "alice:$2y$14$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
      let door = try door(users: costly, workers: "1")
      let guessing = try (0..<15).map { _ in try door.connect() }
      for (index, connection) in guessing.enumerated() {
        try connection.send(Text.request("/private/\(index)", fields: [basic("alice:guess\(index)")]))
      }
      let honest = try door.connect(from: Peer.client(20))
      for _ in 0..<10 { #expect(try honest.get("/open").status == 200) }
      let answered = try ["credentials-wrong", "credentials-busy"].compactMap {
        try door.edge.metric("countersign_refusals_total{name=\"\($0)\"}")
      }
      #expect(answered.reduce(0, +) < guessing.count, "they were served behind the checks")
    }

    /// Whoever guesses has few places, and is told to come again.
    @Test func guessesOfOneClientAreBounded() throws {
      let costly = "alice:$2y$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
      let door = try door(users: costly)
      let guessing = try (0..<40).map { _ in try door.connect() }
      for (index, connection) in guessing.enumerated() {
        try connection.send(Text.request("/private/\(index)", fields: [basic("alice:guess\(index)")]))
      }
      let answers = try guessing.map { try $0.readResponse() }
      #expect(Set(answers.map(\.status)) == [401, 503])
      #expect(answers.first { $0.status == 503 }?["retry-after"] == "1")
      #expect(try door.edge.access.wait(refusal: "credentials-busy").status == 503)
      #expect(door.backend.requests.isEmpty)
    }

    @Test func aClientThatLeavesWhileItIsCheckedIsForgotten() throws {
      let costly = "alice:$2y$13$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
      let door = try door(users: costly)
      let leaving = try door.connect()
      try leaving.send(Text.request("/private/left", fields: [basic("alice:guess")]))
      try eventually("it is being checked") { try door.edge.metric("countersign_password_checks_total") == 1 }
      leaving.reset()
      #expect(try door.edge.access.wait(path: "/private/left").refusal == "client-reset")
      #expect(try door.connect().get("/open").status == 200)
    }

    @Test func guessesCountUnderTheRate() throws {
      let workspace = try Workspace()
      let users = try workspace.write("users", Self.users)
      let door = try RouteLimits.Door([
        "to: backend, access: { htpasswd: \"\(users)\" }, limits: { rate: { requests: 1/h, burst: 3 } }"
      ])
      let connection = try door.connect()
      for _ in 0..<3 { #expect(try connection.get("/", fields: [basic("alice:no")]).status == 401) }
      #expect(try connection.get("/", fields: [basic(Self.alice)]).status == 429)
    }

    @Test func aReloadReadsTheFileAnew() throws {
      let door = try door()
      let connection = try door.connect()
      #expect(try connection.get("/private", fields: [basic(Self.alice)]).status == 200)
      try door.workspace.write("users", String(Self.users.split(separator: "\n")[1]) + "\n")
      try door.edge.reloadAccepting(door.configuration)
      #expect(try connection.get("/private", fields: [basic(Self.alice)]).status == 401)
      #expect(try connection.get("/private", fields: [basic(Self.bob)]).status == 200)
      // What nobody could log in with is refused, and the file that was read stays in use.
      try door.workspace.write("users", "alice:$apr1$abc$def\n")
      let start = door.edge.process.standardError.count
      try door.edge.reload(door.configuration)
      try door.edge.said(
        "users:1: user `alice`: the hash is MD5's (apr1), which is too weak", "htpasswd -B", from: start)
      #expect(try connection.get("/private", fields: [basic(Self.bob)]).status == 200)
    }
  }
}
