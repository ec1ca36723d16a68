// `countersign audit`: who was served between two times, from access logs.

import ArgumentParser
import Audit
import Platform

struct AuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Say from access logs who was served between two times, under which evidence and rule.",
    discussion: """
      Reads logs of any number of edges and validators: plain or gzip, rotated or not, in any order. An exchange counts \
      when a part of it lies in the window, from --from on and before --until. Times are RFC 3339; without a zone they \
      are UTC, and seconds may be left out.

        countersign audit access.log access.log.1.gz --from 2026-11-28T14:00 --until 2026-11-28T16:30
        countersign audit edge-*.log validator.log --from 2026-11-28T14:00Z --until 2026-11-28T16:30Z --affected account

      Without --affected: how many requests and clients each combination of evidence, rule, configuration, route and \
      edge had, what became of them, and the addresses with the most connections. Where logs of both sides are given, \
      also whether they agree about the client.

      With --affected: the addresses that stood for several values of a member of the log, such as one of `log.fields`, \
      and their exchanges. The files are read twice, so standard input and pipes will not do.

      docs/AUDIT.md explains the report. Exit codes: 0 the report is whole, 1 it is not (a file cannot be read, a bound \
      was reached, no line has the field), 2 the command was not understood.
      """)

  @Argument(help: ArgumentHelp("Access logs; `-` is standard input.", valueName: "file"), completion: .file())
  var files: [String]

  @Option(help: ArgumentHelp("The window's beginning, within it.", valueName: "time"))
  var from: String

  @Option(help: ArgumentHelp("The window's end, no longer within it.", valueName: "time"))
  var until: String

  @Option(help: ArgumentHelp("Find the addresses that stood for several values of this member.", valueName: "field"))
  var affected: String?

  @Flag(help: "Print CSV.")
  var csv = false

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    for (name, text) in [("from", from), ("until", until)] where LogTime.milliseconds(text) == nil {
      throw ValidationError("--\(name) takes a time such as \(LogTime.forms); found \"\(text)\"")
    }
    if let from = LogTime.milliseconds(from), let until = LogTime.milliseconds(until), from >= until {
      throw ValidationError("--until must be later than --from")
    }
    if csv, json { throw ValidationError("--csv and --json exclude each other") }
    if files.filter({ $0 == "-" }).count > 1 { throw ValidationError("`-` can be given once") }
    if files.count > MergedLog.filesMax {
      throw ValidationError("at most \(MergedLog.filesMax) files at once, found \(files.count)")
    }
    if let affected {
      if affected.isEmpty { throw ValidationError("--affected takes the name of a member, such as `account`") }
      if files.contains("-") {
        throw ValidationError("--affected reads its files twice, which standard input cannot: save it to a file")
      }
    }
  }

  func run() throws {
    let inputs = try open()
    let progress = Progress(total: inputs.allSatisfy(\.isRepeatable) ? inputs.reduce(0) { $0 + $1.size } : 0)
    do throws(AuditError) {
      try report(inputs, progress)
      progress.clear()
    } catch {
      progress.clear()
      Console.complain("countersign audit: \(error)")
      throw ExitCode(1)
    }
  }

  /// All of them, or every one that cannot be opened is named and nothing is reported: what is missing would not show.
  private func open() throws -> [LineInput] {
    var inputs: [LineInput] = []
    var isComplete = true
    for file in files {
      do {
        let input = try LineInput(path: file)
        if affected != nil, !input.isRepeatable {
          Console.complain("countersign audit: \(file): --affected reads its files twice, and this is no regular file")
          isComplete = false
        }
        inputs.append(input)
      } catch {
        Console.complain("countersign audit: \(error)")
        isComplete = false
      }
    }
    guard isComplete else { throw ExitCode(1) }
    return inputs
  }

  private func report(_ inputs: [LineInput], _ progress: Progress) throws(AuditError) {
    guard let from = LogTime.milliseconds(from), let until = LogTime.milliseconds(until) else { return }
    let window = AuditWindow(from: from, until: until)
    let format: ReportFormat = csv ? .csv : json ? .json : .table
    let log = MergedLog(inputs, window: window, field: affected ?? "") { progress.show($0) }
    let out = ReportText { bytes throws(AuditError) in
      do { try StandardOutput.write(bytes) } catch { throw AuditError("\(error)") }
    }
    guard let affected else {
      let summary = Summary()
      try summary.read(log)
      progress.clear()
      try tellMalformed(log)
      try SummaryReport(summary, log.counts, window, files: files).write(format, to: out)
      return
    }
    let search = Affected(field: affected, AuditLimits())
    try search.find(in: log)
    progress.clear()
    try tellMalformed(log)
    guard search.linesWithField > 0 || search.linesInWindow == 0 else {
      throw AuditError(
        "no request of the window has the member \"\(affected)\"; `log.fields` of the configuration says what lines have"
      )
    }
    if search.valuesDiffer > 0 {
      Console.complain(
        "countersign audit: \(search.valuesDiffer) exchanges have one digest in an edge's log and another in a validator's: "
          + "their `log.fields_key` differ, and one value counts as two")
    }
    try log.rewind()
    progress.begin("reading again")
    progress.isOff = StandardOutput.isTerminal
    try AffectedReport(search, window, to: out).write(format, log)
  }

  private func tellMalformed(_ log: MergedLog) throws(AuditError) {
    guard log.counts.malformed > 0, let first = log.counts.firstMalformed else { return }
    guard log.counts.malformed < log.counts.lines else {
      throw AuditError(
        "no line is one of `log.format: json`, which an audit needs (the first is \(first)); logs of other formats have not "
          + "all that it asks for")
    }
    Console.complain(
      "countersign audit: \(log.counts.malformed) lines are not of an access log and were passed over, the first is \(first)"
    )
  }
}
