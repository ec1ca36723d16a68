// htpasswd files: what is taken, and what is refused with the line and the way out. Hashes are of `htpasswd -B` and `openssl passwd`.

import Foundation
import Platform
import Policy
import Testing

@Suite struct UserFileTests {
  static let bcrypt = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
  static let sha512 =
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"

  private func parse(_ text: String) throws -> UserFile { try UserFile.parse(Array(text.utf8), path: "/u") }

  private func faults(_ text: String) -> [String] {
    do {
      _ = try UserFile.parse(Array(text.utf8), path: "/u")
      return []
    } catch { return error.messages }
  }

  @Test func usersAreFoundAndOthersHaveADecoy() throws {
    let file = try parse("# comment\n\nalice:\(Self.bcrypt)\r\nbob:\(Self.sha512):of the office\n")
    #expect(file.hash(of: "alice") == (Self.bcrypt, true))
    #expect(file.hash(of: "bob") == (Self.sha512, true))
    let other = file.hash(of: "eve")
    #expect(!other.isKnown && [Self.bcrypt, Self.sha512].contains(other.hash))
  }

  /// For a name that is not in the file the costliest hash is checked.
  @Test func theDecoyIsTheCostliest() throws {
    let costly = Self.bcrypt.replacing("$05$", with: "$12$")
    #expect(try parse("a:\(Self.bcrypt)\nb:\(costly)\nc:\(Self.sha512)\n").hash(of: "d").hash == costly)
  }

  @Test(arguments: [
    ("alice:$apr1$abc$def", "apr1"), ("alice:$1$abc$def", "MD5"), ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA"),
    ("alice:rl0uE3tYdZbr6", "no hash that is taken"), ("alice:secret", "no hash that is taken"), ("alice:", "no hash"),
    ("alice:$y$j9T$abc$def", "yescrypt"),
  ])
  func weakHashesAreRefusedWithTheWayOut(line: String, word: String) {
    let found = faults("ok:\(Self.bcrypt)\n\(line)\n")
    #expect(found.count == 1 && found[0].hasPrefix("/u:2: user `alice`: "), "\(found)")
    #expect(found[0].contains(word) && found[0].contains("htpasswd -B"), "\(found)")
    #expect(!found[0].contains("W6ph5") && !found[0].contains("secret") && !found[0].contains("rl0uE"), "\(found)")
  }

  @Test(arguments: [
    "$2y$05$short", "$2y$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2y$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$6$saltstring$short",
    "$6$rounds=2000000$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    "$6$rounds=x$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    "$5$$x",
  ])
  func whatIsNotWholeOrCostsTooMuchIsRefused(hash: String) {
    #expect(faults("a:\(hash)\n").count == 1)
  }

  @Test func everyFaultIsReported() {
    #expect(
      faults("a\n:x\na:\(Self.bcrypt)\na:\(Self.bcrypt)\n").map { $0.prefix(5) } == ["/u:1:", "/u:2:", "/u:4:"])
    #expect(faults("").count == 1 && faults("# nobody\n").count == 1)
    let many = (0..<40).map { "u\($0):plain\n" }.joined()
    #expect(faults(many).count == 11 && faults(many).last == "/u: and 30 more")
    do {
      _ = try UserFile.parse([0x61, 0x3a, 0xff, 0x0a], path: "/u")
      Issue.record("not UTF-8 was taken")
    } catch { #expect(error.messages == ["/u:1: is not UTF-8"]) }
  }

  @Test func aFileThatIsNotThereIsAFault() {
    do {
      _ = try UserFile.load(path: "/nonexistent/users")
      Issue.record("it was read")
    } catch { #expect(error.messages == ["/nonexistent/users: no such file"]) }
  }
}
