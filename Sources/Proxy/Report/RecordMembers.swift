// Members of a line that are the same for all lines of a listener under one configuration, as bytes: made with the plan, so that
// a record only copies them. Used by ExchangeRecord.

import Policy

struct RecordMembers {
  /// `,"config":"0123456789abcdef","generation":3`
  let configuration: [UInt8]
  /// For each rule of the listener's, `,"rule":"line 12","evidence":"socket"`.
  let rules: [[UInt8]]
  // The same for templates.
  let digest: [UInt8]
  let generation: UInt64
  let ruleNames: [[UInt8]]
  let evidences: [[UInt8]]
  /// Of `log.fields`; nil where there are none.
  let digests: FieldDigests?

  init(_ snapshot: Snapshot, _ trust: TrustPolicy, _ digests: FieldDigests?) {
    configuration = Array(",\"config\":\"\(snapshot.digest)\",\"generation\":\(snapshot.generation)".utf8)
    rules = trust.all.map { Array(",\"rule\":\"\($0.name)\",\"evidence\":\"\($0.evidence.rawValue)\"".utf8) }
    digest = Array(snapshot.digest.utf8)
    generation = snapshot.generation
    ruleNames = trust.all.map { Array($0.name.utf8) }
    evidences = trust.all.map { Array($0.evidence.rawValue.utf8) }
    self.digests = digests
  }
}
