"""The packages that holes are punched into: small, of permissive licence, none of them trained on.

Fetched only when the user asks. Knows names and versions; knows no cases.
"""

from __future__ import annotations

from pathlib import Path

from quatrain.model import fetch, packages
from quatrain.model.packages import Package

PACKAGES = (
    Package("pip", "rich", "14.0.0", "MIT", (".py",)),
    Package("npm", "express", "5.3.0", "MIT", (".js",)),
    Package("npm", "d3-array", "3.2.5", "ISC", (".js",)),
    Package("npm", "lodash-es", "4.18.1", "MIT", (".js",)),
    Package("npm", "chai", "6.3.0", "MIT", (".js",)),
    Package("npm", "rxjs", "7.8.2", "Apache-2.0", (".ts",)),
    Package("npm", "zod", "4.6.7", "MIT", (".ts",)),
    Package("npm", "@capacitor/android", "8.5.2", "MIT", (".java",)),
    Package("npm", "cordova-android", "15.1.0", "Apache-2.0", (".java",)),
    Package("npm", "hiredis", "0.5.0", "BSD-3-Clause", (".c",)),
    Package("npm", "tree-sitter", "0.25.1", "MIT", (".c",)),
    Package("npm", "lz4", "0.6.5", "BSD-2-Clause", (".c",)),
    Package("npm", "leveldown", "6.1.1", "MIT", (".cc", ".h")),
    Package("apt", "golang-github-spf13-cobra-dev", "1.6.1-1", "Apache-2.0", (".go",)),
    Package("apt", "golang-github-spf13-pflag-dev", "1.0.6~git20210604-d5e0c0615ace-1", "BSD-3-Clause", (".go",)),
    Package("apt", "librust-regex-dev", "1.7.1-1", "MIT or Apache-2.0", (".rs",)),
    Package("apt", "librust-serde-json-dev", "1.0.87-1", "MIT or Apache-2.0", (".rs",)),
)


def folder() -> Path:
    """Where fetched sources lie."""
    return fetch.home() / "corpus"


def fetched() -> list[Path]:
    """The folders of packages that are there whole."""
    return packages.fetched(PACKAGES, folder())


def fetch_all(report: fetch.Report) -> list[str]:
    """See `packages.fetch_all`."""
    return packages.fetch_all(PACKAGES, folder(), report)
