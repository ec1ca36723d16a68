// Which program this is: for `--version`, the metrics page and the Debian package.

package enum BuildInfo {
  package static let version = "0.1.0"

  static let metrics = """
    # HELP countersign_build_info Which program this is.
    # TYPE countersign_build_info gauge
    countersign_build_info{version="\(version)"} 1

    """
}
