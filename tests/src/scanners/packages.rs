//! Package lists, read from the `CycloneDX` documents that scanners write.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// A package of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// Type of the package URL, such as `deb`, `pypi`, `npm`.
    kind: String,
    name: String,
    version: String,
    /// Package URL, which also has the architecture and the distribution.
    url: String,
}

/// Packages of an image. A package that the image has in several places is listed as often.
#[derive(Debug)]
pub(super) struct PackageList(BTreeMap<Package, usize>);

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "bomFormat")]
    format: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    version: String,
    purl: Option<String>,
}

impl PackageList {
    /// Reads a `CycloneDX` document. Components of the type `file` are no packages.
    pub(super) fn from_cyclone_dx(document: &str) -> Result<Self> {
        let document: Document = serde_json::from_str(document)
            .context("failed to read the scanner's output as CycloneDX JSON")?;
        ensure!(document.format == "CycloneDX", "the scanner wrote the format {}", document.format);
        let mut packages = BTreeMap::new();
        for component in document.components.into_iter().filter(|component| component.kind != "file") {
            let url = component.purl.unwrap_or_default();
            let kind = url.strip_prefix("pkg:").and_then(|url| url.split_once('/')).map(|(kind, _)| kind);
            let kind = kind.unwrap_or(&component.kind).to_owned();
            let package = Package { kind, name: component.name, version: component.version, url };
            *packages.entry(package).or_default() += 1;
        }
        Ok(Self(packages))
    }

    /// Number of packages.
    pub(super) fn len(&self) -> usize {
        self.0.values().sum()
    }

    /// Requires a package of this type and name.
    pub(super) fn require(&self, kind: &str, name: &str) -> Result<()> {
        if self.0.keys().any(|package| package.kind == kind && package.name == name) {
            return Ok(());
        }
        bail!("the list of {} packages has no {kind} package {name}", self.len())
    }

    /// Packages that the lists contain a different number of times: one line each, with both numbers.
    pub(super) fn difference(&self, variant: &Self) -> Vec<String> {
        let count = |list: &Self, package| list.0.get(package).copied().unwrap_or_default();
        let mut packages: Vec<&Package> = self.0.keys().chain(variant.0.keys()).collect();
        packages.sort();
        packages.dedup();
        packages
            .into_iter()
            .map(|package| (package, count(self, package), count(variant, package)))
            .filter(|(_, source, variant)| source != variant)
            .map(|(package, source, variant)| format!("{package}: source {source}, variant {variant}"))
            .collect()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.kind, self.name, self.version)?;
        if !self.url.is_empty() {
            write!(formatter, " ({})", self.url)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list(components: &Value) -> PackageList {
        let document = json!({"bomFormat": "CycloneDX", "components": components});
        PackageList::from_cyclone_dx(&document.to_string()).unwrap()
    }

    fn libc(version: &str) -> Value {
        let url = format!("pkg:deb/debian/libc6@{version}?arch=amd64&distro=debian-12");
        json!({"type": "library", "name": "libc6", "version": version, "purl": url})
    }

    #[test]
    fn files_are_not_counted_as_packages() {
        let list = list(&json!([
            libc("2.36"),
            {"type": "file", "name": "/etc/passwd"},
            {"type": "operating-system", "name": "debian", "version": "12"},
        ]));
        assert_eq!(list.len(), 2);
        list.require("deb", "libc6").unwrap();
        list.require("operating-system", "debian").unwrap();
        assert!(list.require("deb", "libc").is_err());
    }

    #[test]
    fn package_order_makes_no_difference() {
        let other =
            json!({"type": "library", "name": "numpy", "version": "2.0.2", "purl": "pkg:pypi/numpy@2.0.2"});
        let (one, two) = (list(&json!([libc("2.36"), other])), list(&json!([other, libc("2.36")])));
        assert_eq!(one.difference(&two), Vec::<String>::new());
    }

    #[test]
    fn changed_version_is_reported_from_both_lists() {
        let difference = list(&json!([libc("2.36")])).difference(&list(&json!([libc("2.37")])));
        assert_eq!(
            difference,
            [
                "deb libc6 2.36 (pkg:deb/debian/libc6@2.36?arch=amd64&distro=debian-12): source 1, variant 0",
                "deb libc6 2.37 (pkg:deb/debian/libc6@2.37?arch=amd64&distro=debian-12): source 0, variant 1",
            ]
        );
    }

    #[test]
    fn changed_count_of_a_package_is_reported() {
        let package =
            json!({"type": "library", "name": "ms", "version": "2.1.3", "purl": "pkg:npm/ms@2.1.3"});
        let difference = list(&json!([package, package])).difference(&list(&json!([package])));
        assert_eq!(difference, ["npm ms 2.1.3 (pkg:npm/ms@2.1.3): source 2, variant 1"]);
    }

    #[test]
    fn other_documents_than_cyclone_dx_are_refused() {
        assert!(PackageList::from_cyclone_dx("").is_err());
        assert!(PackageList::from_cyclone_dx("{\"bomFormat\": \"SPDX\"}").is_err());
    }
}
