//! Tables of reasons, made of the texts in `zstart-core`.

use std::fmt::Write as _;

use anyhow::Result;
use zstart_core::eligibility::Reason;
use zstart_core::owner_hold::HoldReason;
use zstart_core::record::RecordReason;

use super::section::replace;

/// Replaces the table of `docs/pods.md`.
pub(super) fn pods(document: &str) -> Result<String> {
    let mut table = "| reason | meaning | what to do | test |\n|---|---|---|---|\n".to_owned();
    for &reason in Reason::ALL {
        let tests: Vec<String> = tests(reason).iter().map(|test| format!("`{test}`")).collect();
        let (meaning, action) = (reason.meaning(), reason.action().unwrap_or_default());
        writeln!(table, "| `{reason}` | {meaning} | {action} | {} |", tests.join(", "))?;
    }
    replace(document, "reasons", &table)
}

/// Replaces the tables of `docs/troubleshooting.md`. The reason of a record leads to its section.
pub(super) fn troubleshooting(document: &str) -> Result<String> {
    let mut records = "| reason | meaning |\n|---|---|\n".to_owned();
    for reason in RecordReason::ALL {
        let anchor = reason.as_str().to_lowercase();
        writeln!(records, "| [`{reason}`](#{anchor}) | {} |", reason.meaning())?;
    }
    let mut holds = "| reason of the hold | evidence |\n|---|---|\n".to_owned();
    for reason in HoldReason::ALL {
        writeln!(holds, "| `{reason}` | {} |", reason.meaning())?;
    }
    replace(&replace(document, "record reasons", &records)?, "hold reasons", &holds)
}

/// Tests of a reason. `tests/tests/docs/tables.rs` requires that they exist.
fn tests(reason: Reason) -> &'static [&'static str] {
    match reason {
        Reason::Rewritten => &["ready_record_rewrites_the_image"],
        Reason::Audited => &["audited_namespace_reports_and_changes_nothing"],
        Reason::NamespaceNotEnabled => &["namespace_without_opt_in_is_not_rewritten"],
        Reason::PodOptedOut | Reason::MirrorPod => &["opted_out_and_mirror_pods_are_excluded"],
        Reason::ImageOptedOut | Reason::SignatureRequired => &["kept_and_signed_images_are_left_alone"],
        Reason::ForeignController => &[
            "foreign_controller_pod_is_excluded_until_allowed",
            "pods_of_operators_that_compare_images_are_excluded",
            "owners_of_the_core_group_are_excluded_until_allowed",
        ],
        Reason::AppliedBare => &["bare_pod_that_is_applied_again_is_excluded"],
        Reason::OwnerOnHold => &["held_owner_is_left_until_its_template_changes"],
        Reason::Windows => &["windows_node_blocks_only_a_converted_windows_image"],
        Reason::InvalidReference | Reason::AlreadyVariant => {
            &["variant_and_invalid_reference_are_not_rewritten"]
        }
        Reason::NeverPulled => &["pull_policy_never_is_not_rewritten"],
        Reason::NoRecord => &["image_without_usable_record_is_not_rewritten"],
        Reason::RecordConverting | Reason::RecordFailed => &["unready_record_tells_waiting_from_failed"],
        Reason::RecordNotReady => &["unready_record_offers_no_variant"],
        Reason::RecordUnhealthy => &["unhealthy_record_offers_no_variant"],
        Reason::RecordStale => {
            &["unconfirmed_record_grows_stale", "image_that_is_always_pulled_has_a_bound_of_its_own"]
        }
        Reason::NotFresh => {
            &["template_newer_than_the_look_is_not_fresh", "restart_after_the_last_look_leaves_the_pod"]
        }
        Reason::SourceMoved => &["moved_source_offers_no_variant"],
        Reason::PlatformNotCovered => &["one_candidate_with_a_converted_platform_suffices"],
        Reason::TargetNotAllowed => &["variant_in_another_repository_needs_an_allowed_target"],
        Reason::TooSmall | Reason::GainTooSmall => &["small_images_and_small_gains_are_left_alone"],
        Reason::RuntimeUnsupported => &[
            "old_runtime_blocks_only_a_converted_platform",
            "crio_and_docker_are_unsupported_until_listed",
            "node_on_hold_counts_as_unsupported",
        ],
        Reason::AmbiguousName => &["name_without_a_host_is_ambiguous_on_crio"],
        Reason::NoCandidateNode => {
            &["when_no_node_decides_in_an_empty_cluster", "vouched_nodes_cover_only_pods_that_ask_for_them"]
        }
        Reason::RegistryUnreachable => &["original_on_a_node_is_kept_while_the_registry_is_away"],
        Reason::CacheStale => &["old_data_is_not_believed_until_it_is_confirmed"],
        Reason::Failed => &["inapplicable_patch_is_left_out_and_reported"],
    }
}
