// `check --schema` for editors, and what `check` says where it is asked for two things or for nothing.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct SchemaCommand {
    @Test func theSchemaIsPrintedAlone() throws {
      let outcome = try Countersign.command("check", "--schema")
      #expect(outcome.succeeded && outcome.error.isEmpty)
      let schema = try #require(
        try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
      #expect((schema["properties"] as? [String: Any])?["listeners"] != nil)
    }

    @Test func aConfigurationOrTheSchema() throws {
      let nothing = try Countersign.command("check")
      #expect(nothing.exit == .code(2) && nothing.error.contains("Missing expected argument '-c <file>'"))
      for arguments in [["-c", "x.yaml"], ["--resolved"], ["--live"], ["--against", "y.yaml"]] {
        let both = try ChildProcess.run([try Programs.countersign, "check", "--schema"] + arguments)
        #expect(both.exit == .code(2) && both.error.contains("--schema stands alone"), "\(arguments): \(both.error)")
      }
    }
  }
}
