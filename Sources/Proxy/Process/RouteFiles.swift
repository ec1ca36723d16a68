// Files that routes name, as they were when the configuration was loaded: users and pages. Immutable, shared by the workers.

import Platform
import Policy

package struct RouteFiles: Sendable {
  /// By path.
  package private(set) var users: [String: UserFile] = [:]
  /// For refusals of all routes, and of requests that have none.
  package private(set) var pages = AnswerPages()
  /// Of each route that has some, by its index.
  package private(set) var pagesOfRoutes: [Int: AnswerPages] = [:]

  package static func load(
    _ config: Config, _ begin: (String) -> Void, _ fail: (Place, String) -> Void
  ) -> RouteFiles {
    var files = RouteFiles()
    func failAt(_ path: String, _ message: String) { fail(config.place(of: path), message) }
    if !config.errorPages.isEmpty {
      begin("reading error pages")
      files.pages = AnswerPages.load(config.errorPages, at: "error_pages", failAt)
    }
    var unreadable: Set<String> = []
    for (index, route) in config.routes.enumerated() {
      if !route.errorPages.isEmpty {
        begin("reading error pages")
        files.pagesOfRoutes[index] = AnswerPages.load(route.errorPages, at: "routes[\(index)].error_pages", failAt)
      }
      guard let path = route.access.basic?.htpasswd, files.users[path] == nil, !unreadable.contains(path) else {
        continue
      }
      begin("reading \(path)")
      do {
        files.users[path] = try UserFile.load(path: path)
      } catch {
        unreadable.insert(path)
        for message in error.messages { failAt("routes[\(index)].access.htpasswd", message) }
      }
    }
    return files
  }
}
