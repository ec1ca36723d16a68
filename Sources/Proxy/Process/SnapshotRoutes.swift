// What routes need when a snapshot is built: patterns that compile, bodies that are read, directories that can be opened.

import Platform
import Policy
import Wire

extension Snapshot {
  /// What each route answers with, by its number; nil where it needs nothing from outside. What is wrong is told.
  static func loadRoutes(
    _ config: Config, _ begin: (String) -> Void, _ fail: (Place, String) -> Void
  ) -> [RouteContent?] {
    let workspace = PatternWorkspace()
    var bytesLeft = Config.Respond.bodiesBytesMax
    return config.routes.enumerated().map { index, route -> RouteContent? in
      checkPatterns(of: route, at: "routes[\(index)]", config, workspace, fail)
      switch route.answer {
      case nil, .redirect?: return nil
      case .respond(let respond)?:
        guard let path = respond.file else { return nil }
        begin("reading \(path)")
        return readBody(path, at: config.place(of: "routes[\(index)].respond.file"), &bytesLeft, fail)
      case .files(let files)?:
        begin("opening \(files.directory)")
        do throws(SystemError) {
          return .directory(try FileDirectory(path: files.directory))
        } catch {
          let why = error.call == "openat2" ? "files cannot be served on this system: \(error)" : error.reason
          fail(config.place(of: "routes[\(index)].files"), "\(files.directory): \(why)")
          return nil
        }
      }
    }
  }

  private static func checkPatterns(
    of route: Config.Route, at path: String, _ config: Config, _ workspace: PatternWorkspace,
    _ fail: (Place, String) -> Void
  ) {
    for (key, text) in [("host_regex", route.match.host?.pattern), ("path_regex", route.match.path?.pattern)] {
      guard let text else { continue }
      do {
        let pattern = try Pattern(text, ignoresCase: key == "host_regex", workspace: workspace)
        guard key == "path_regex" else { continue }
        checkGroups(route.changes.rewrite, of: pattern, config.place(of: "\(path).rewrite"), fail)
        if case .redirect(let redirect)? = route.answer {
          checkGroups(redirect.path, of: pattern, config.place(of: "\(path).redirect.path"), fail)
        }
      } catch {
        fail(
          config.place(of: "\(path).\(key)"),
          "route \(key): the pattern is not valid at byte \(error.offset): \(error.reason)")
      }
    }
  }

  private static func checkGroups(
    _ template: FieldTemplate?, of pattern: Pattern, _ place: Place, _ fail: (Place, String) -> Void
  ) {
    guard let template, template.lastGroup > pattern.groupCount else { return }
    fail(place, "`$\(template.lastGroup)` is no group of `path_regex`, which has \(pattern.groupCount)")
  }

  private static func readBody(
    _ path: String, at place: Place, _ bytesLeft: inout Int, _ fail: (Place, String) -> Void
  ) -> RouteContent? {
    // A pipe would be waited for.
    if let reason = TextFile.readFailure(path: path, refusesPipes: true) {
      fail(place, "\(path): \(reason)")
      return nil
    }
    do {
      let most = Config.Respond.bodyBytesMax
      let bytes = try TextFile.read(path: path, bytesMax: most + 1)
      guard bytes.count <= most else {
        fail(place, "\(path): is larger than \(most >> 20) MiB; `files` serves what is large")
        return nil
      }
      bytesLeft -= bytes.count
      guard bytesLeft >= 0 else {
        fail(place, "the bodies of all routes together are larger than \(Config.Respond.bodiesBytesMax >> 20) MiB")
        return nil
      }
      return .body(bytes)
    } catch {
      fail(place, "\(path): \(error.reason)")
      return nil
    }
  }
}
