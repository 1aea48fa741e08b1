//! Version of the API server.

use k8s_openapi::apimachinery::pkg::version::Info;

use super::name::CheckName;
use super::outcome::Check;

/// First version of Kubernetes that the chart accepts: `kubeVersion` in `charts/zstart/Chart.yaml`.
const FIRST: (u32, u32) = (1, 30);

/// Compares the version with the chart's.
pub(super) fn version(info: &Info) -> Check {
    const NAME: CheckName = CheckName::ApiServer;
    // Amazon EKS and others write e.g. `31+`.
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    let Info { git_version, major, minor, .. } = info;
    match number(major).zip(number(minor)) {
        Some(version) if version >= FIRST => {
            Check::passed(NAME, format!("the API server answers: Kubernetes {git_version}"))
        }
        Some(_) => Check::failed(
            NAME,
            format!(
                "the API server is Kubernetes {git_version}; zstart needs {}.{} or later",
                FIRST.0, FIRST.1
            ),
            "update the cluster: ValidatingAdmissionPolicy, which guards the records, is stable since 1.30",
        ),
        None => Check::skipped(NAME, format!("the API server's version can't be read: {git_version:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Outcome;
    use super::*;

    fn outcome(major: &str, minor: &str) -> Outcome {
        let info = Info {
            major: major.to_owned(),
            minor: minor.to_owned(),
            git_version: format!("v{major}.{minor}.0"),
            ..Info::default()
        };
        version(&info).outcome
    }

    #[test]
    fn versions_from_the_charts_minimum_on_pass() {
        assert_eq!(outcome("1", "30"), Outcome::Passed);
        assert_eq!(outcome("1", "36+"), Outcome::Passed);
        assert_eq!(outcome("2", "0"), Outcome::Passed);
        assert!(matches!(outcome("1", "29+"), Outcome::Failed { .. }));
        assert_eq!(outcome("", "x"), Outcome::Skipped);
    }

    #[test]
    fn minimum_is_the_charts() {
        let chart = include_str!("../../../charts/zstart/Chart.yaml");
        assert!(chart.contains(&format!("kubeVersion: \">={}.{}.0-0\"", FIRST.0, FIRST.1)), "{chart}");
    }
}
