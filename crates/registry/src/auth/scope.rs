//! Rights that tokens need (distribution, "Docker Registry Token Scope and Access").

use crate::operation::Access;

/// Highest number of scopes that a challenge may add to a token's.
const ADDED_MAX: usize = 4;
/// Longest scope that a challenge may add, in bytes.
const SCOPE_BYTES_MAX: usize = 512;

/// Scopes of a token for `repository`, and for the mount source if there is one. `demanded` are those of a
/// challenge. They are added if they name something else: some registries know a repository by another name
/// inside. They precede the rest, since some token servers look at the first alone (go-containerregistry,
/// `transport/bearer.go`).
pub(super) fn for_repository(
    access: Access,
    repository: &str,
    mount_source: Option<&str>,
    demanded: &[String],
) -> Vec<String> {
    let own = format!("repository:{repository}:{}", actions(access).join(","));
    let mounted = mount_source.map(|other| format!("repository:{other}:pull"));
    let mut scopes =
        added(demanded, |name| if is_variant_of(name, repository) { access } else { Access::Pull });
    scopes.retain(|scope| {
        let name = repository_name(scope);
        name.is_none_or(|name| name != repository && Some(name) != mount_source)
    });
    scopes.extend(std::iter::once(own).chain(mounted));
    scopes
}

/// Scopes of a token that reads another registry, to which the registry redirects.
pub(super) fn for_reading(demanded: &[String]) -> Vec<String> {
    added(demanded, |_| Access::Pull)
}

/// The scopes of a challenge, with no other right to a repository than `needed` names: a registry can't make
/// its client ask for more. Another registry may share the token server.
fn added(demanded: &[String], needed: impl Fn(&str) -> Access) -> Vec<String> {
    let fits = |scope: &&String| scope.len() <= SCOPE_BYTES_MAX;
    let limited = demanded.iter().filter(fits).filter_map(|scope| limit(scope, &needed));
    limited.take(ADDED_MAX).collect()
}

/// A scope with those of its actions that are needed. Of scopes for other things than repositories, those of
/// one word are kept, such as `aws` of Amazon ECR Public: `registry:catalog:*` is a right that no request needs.
fn limit(scope: &str, needed: impl Fn(&str) -> Access) -> Option<String> {
    let Some(name) = repository_name(scope) else { return (!scope.contains(':')).then(|| scope.to_owned()) };
    let (resource, demanded) = scope.rsplit_once(':')?;
    let wanted = |action: &&str| demanded.split(',').any(|demanded| demanded == *action || demanded == "*");
    let wanted: Vec<&str> = actions(needed(name)).iter().copied().filter(wanted).collect();
    (!wanted.is_empty()).then(|| format!("{resource}:{}", wanted.join(",")))
}

/// The repository's name in `repository:NAME:ACTIONS` or `repository(CLASS):NAME:ACTIONS`.
fn repository_name(scope: &str) -> Option<&str> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, _) = rest.rsplit_once(':')?;
    (kind == "repository" || kind.starts_with("repository(")).then_some(name)
}

/// Returns whether two names differ by leading components at most, as `app` and `library/app` do.
fn is_variant_of(name: &str, repository: &str) -> bool {
    let ends_with = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|front| front.is_empty() || front.ends_with('/'))
    };
    ends_with(name, repository) || ends_with(repository, name)
}

fn actions(access: Access) -> &'static [&'static str] {
    match access {
        Access::Pull => &["pull"],
        Access::Push => &["pull", "push"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(access: Access, mount_source: Option<&str>, demanded: &[&str]) -> Vec<String> {
        let demanded: Vec<String> = demanded.iter().map(ToString::to_string).collect();
        for_repository(access, "app", mount_source, &demanded)
    }

    #[test]
    fn demanded_scopes_precede_the_repositorys_own() {
        let own = "repository:app:pull";
        assert_eq!(
            scopes(Access::Pull, None, &["repository:library/app:pull"]),
            ["repository:library/app:pull", own]
        );
        assert_eq!(scopes(Access::Pull, None, &["aws"]), ["aws", own]);
        for known in ["repository:app:pull", "repository:app:pull,push", "repository:app:*"] {
            assert_eq!(scopes(Access::Pull, None, &[known]), [own], "{known}");
        }
        assert_eq!(
            scopes(Access::Push, Some("base"), &["repository:base:pull", "repository:app:push,pull"]),
            ["repository:app:pull,push", "repository:base:pull"]
        );
    }

    #[test]
    fn foreign_repository_is_read_at_most() {
        for (demanded, expected) in [
            ("repository:secret/other:pull,push", "repository:secret/other:pull"),
            ("repository(plugin):other:*", "repository(plugin):other:pull"),
            ("repository:snap/webapp:pull,push", "repository:snap/webapp:pull"),
            ("repository:library/team/app:pull,push", "repository:library/team/app:pull,push"),
            ("repository:app:pull,push", "repository:app:pull,push"),
            ("repository:pp:pull,push", "repository:pp:pull"),
            ("repository::pull,push", "repository::pull"),
        ] {
            let found = for_repository(Access::Push, "team/app", None, &[demanded.to_owned()]);
            assert_eq!(found, [expected, "repository:team/app:pull,push"], "{demanded}");
        }
    }

    #[test]
    fn challenge_cannot_raise_the_rights() {
        let own = "repository:app:pull";
        assert_eq!(
            scopes(Access::Pull, None, &["repository:other:delete,pull,push", "repository:third:push"]),
            ["repository:other:pull", own]
        );
        assert_eq!(scopes(Access::Pull, None, &["repository:other:*"]), ["repository:other:pull", own]);
        assert_eq!(scopes(Access::Pull, None, &["registry:catalog:*", "a:b", "aws"]), ["aws", own]);
        let many: Vec<String> = (0..100).map(|number| format!("repository:r{number}:pull")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(scopes(Access::Pull, None, &many).len(), ADDED_MAX + 1);
        assert_eq!(scopes(Access::Pull, None, &[&"x".repeat(SCOPE_BYTES_MAX + 1)]), [own]);
    }
}
