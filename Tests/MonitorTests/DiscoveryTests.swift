import Testing

/// Owners and printers finding each other by public address: the feature the incident turned against its users.
@Suite struct DiscoveryTests {
  @Test func anOwnerFindsAndLinksThePrinterBehindTheirOwnAddress() async throws {
    try await Fixture.run { monitor in
      let owner = try await monitor.owner("Ada")
      let printer = try await monitor.printer("P1", from: "192.0.2.7")
      #expect(try await monitor.discovered(by: owner, from: "192.0.2.7") == [printer.id])
      let link = "/api/v1/printers/\(printer.id)/link"
      let linked = try await monitor.request("POST", link, token: owner, from: "192.0.2.7")
      #expect(linked.status == 200)
      #expect(linked.json["linked"] as? Bool == true)
      // Asking again changes nothing; what is linked is not offered to anyone any more.
      #expect(try await monitor.request("POST", link, token: owner, from: "192.0.2.7").status == 200)
      #expect(try await monitor.discovered(by: owner, from: "192.0.2.7").isEmpty)
      let list = try await monitor.request("GET", "/api/v1/printers", token: owner)
      #expect((list.json["printers"] as? [[String: Any]])?.count == 1)
      #expect(try await monitor.request("DELETE", link, token: owner).status == 200)
      #expect(try await monitor.request("DELETE", link, token: owner).status == 404)
      #expect(try await monitor.discovered(by: owner, from: "192.0.2.7") == [printer.id])
    }
  }

  @Test func aStrangerFindsNothingAndCannotLinkEvenWithTheIdentifier() async throws {
    try await Fixture.run { monitor in
      let stranger = try await monitor.owner("Mallory")
      let printer = try await monitor.printer("P1", from: "192.0.2.7")
      #expect(try await monitor.discovered(by: stranger, from: "198.51.100.9").isEmpty)
      let path = "/api/v1/printers/\(printer.id)"
      #expect(try await monitor.request("POST", path + "/link", token: stranger, from: "198.51.100.9").status == 404)
      #expect(try await monitor.request("GET", path, token: stranger, from: "198.51.100.9").status == 404)
      let start = #"{"kind":"start","file":"boat.gcode"}"#
      #expect(try await monitor.request("POST", path + "/commands", token: stranger, json: start).status == 404)
    }
  }

  /// What went wrong in the incident: once the backend sees one address for everybody, everybody can link everything.
  /// Nothing in the backend can tell; that is why the address has to be right when it arrives.
  @Test func oneAddressForEverybodyLinksStrangersPrinters() async throws {
    try await Fixture.run { monitor in
      let stranger = try await monitor.owner("Mallory")
      let printer = try await monitor.printer("P1", from: "10.0.0.1")
      #expect(try await monitor.discovered(by: stranger, from: "10.0.0.1") == [printer.id])
    }
  }

  @Test func sixtyFourBitsOfAnIPv6AddressAreOneHome() async throws {
    try await Fixture.run { monitor in
      let owner = try await monitor.owner("Ada")
      let printer = try await monitor.printer("P1", from: "2001:db8:1:2::10")
      #expect(try await monitor.discovered(by: owner, from: "2001:db8:1:2:a:b:c:d") == [printer.id])
      #expect(try await monitor.discovered(by: owner, from: "2001:db8:1:3::10").isEmpty)
    }
  }

  @Test func aPrinterMovesWithItsToken() async throws {
    try await Fixture.run { monitor in
      let owner = try await monitor.owner("Ada")
      let printer = try await monitor.printer("P1", from: "192.0.2.7")
      let moved = try await monitor.request(
        "POST", "/api/v1/printers/announce", token: printer.token, from: "198.51.100.9",
        json: #"{"name":"P1 moved","model":"M1"}"#)
      #expect(moved.status == 200)
      #expect(moved.json["token"] == nil)
      #expect(try await monitor.discovered(by: owner, from: "192.0.2.7").isEmpty)
      #expect(try await monitor.discovered(by: owner, from: "198.51.100.9") == [printer.id])
      let asOwner = try await monitor.request(
        "POST", "/api/v1/printers/announce", token: owner, from: "192.0.2.7", json: #"{"name":"x","model":"y"}"#)
      #expect(asOwner.status == 403)
      let asNobody = try await monitor.request(
        "POST", "/api/v1/printers/announce", token: "printer_nothing", json: #"{"name":"x","model":"y"}"#)
      #expect(asNobody.status == 401)
    }
  }

  @Test func nothingIsDecidedByAnAddressThatIsNone() async throws {
    try await Fixture.run { monitor in
      let owner = try await monitor.owner("Ada")
      let printer = try await monitor.printer("P1", from: "127.0.0.1")
      let discover = try await monitor.request("GET", "/api/v1/discover", token: owner, from: "unknown")
      #expect(discover.status == 400)
      #expect(discover.problem == "client-address")
      let link = try await monitor.request("POST", "/api/v1/printers/\(printer.id)/link", token: owner, from: "")
      #expect(link.status == 400)
      // Without the field the peer speaks.
      let direct = try await monitor.request("GET", "/api/v1/discover", token: owner)
      #expect(direct.json["public_address"] as? String == "127.0.0.1")
    }
  }
}
