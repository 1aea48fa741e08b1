//! Cases in which alerts don't fire.

use super::Quiet;

pub(crate) const QUIET: &[Quiet] = &[
    Quiet {
        alert: "ZstartWebhookDown",
        series: &[
            (r#"zstart_webhook_review_seconds_count{namespace="z",pod="a"}"#, "5x3 stale"),
            (r#"zstart_webhook_review_seconds_count{namespace="z",pod="b"}"#, "5x30"),
        ],
        at: "20m",
    },
    Quiet {
        alert: "ZstartWebhookCertificateExpires",
        series: &[(
            r#"zstart_webhook_certificate_expiry_timestamp_seconds{namespace="z",pod="a"}"#,
            "1296000x90",
        )],
        at: "80m",
    },
    Quiet {
        alert: "ZstartWebhookCertificateExpires",
        series: &[(r#"zstart_webhook_certificate_expiry_timestamp_seconds{namespace="z",pod="a"}"#, "0x90")],
        at: "80m",
    },
    Quiet {
        alert: "ZstartWebhookWithoutCertificate",
        series: &[(
            r#"zstart_webhook_certificate_expiry_timestamp_seconds{namespace="z",pod="a"}"#,
            "7776000x60",
        )],
        at: "60m",
    },
    Quiet {
        alert: "ZstartWebhookCacheOld",
        series: &[(
            r#"zstart_webhook_cache_age_seconds{namespace="z",pod="a",resource="nodes"}"#,
            "0+60x4 0+60x4 0+60x4",
        )],
        at: "14m",
    },
    Quiet {
        alert: "ZstartWebhookSlow",
        series: &[
            (r#"zstart_webhook_review_seconds_bucket{namespace="z",le="0.5"}"#, "0+100x40"),
            (r#"zstart_webhook_review_seconds_bucket{namespace="z",le="1.0"}"#, "0+100x40"),
            (r#"zstart_webhook_review_seconds_bucket{namespace="z",le="+Inf"}"#, "0+100x40"),
        ],
        at: "30m",
    },
    Quiet {
        alert: "ZstartReviewsUnanswered",
        series: &[
            (r#"zstart_webhook_reviews_total{namespace="z",outcome="timeout"}"#, "0+1x40"),
            (r#"zstart_webhook_reviews_total{namespace="z",outcome="patched"}"#, "0+199x40"),
        ],
        at: "30m",
    },
    Quiet {
        alert: "ZstartReviewsUnanswered",
        series: &[
            (r#"zstart_webhook_reviews_total{namespace="z",outcome="timeout"}"#, "0x40"),
            (r#"zstart_webhook_reviews_total{namespace="z",outcome="patched"}"#, "0x40"),
        ],
        at: "30m",
    },
    Quiet {
        alert: "ZstartRecordsStale",
        series: &[
            (r#"zstart_webhook_images_total{namespace="z",reason="RecordStale"}"#, "9x40"),
            (r#"zstart_webhook_images_total{namespace="z",reason="NotFresh"}"#, "0+1x40"),
        ],
        at: "30m",
    },
    Quiet {
        alert: "ZstartPatchFailed",
        series: &[
            (r#"zstart_webhook_images_total{namespace="z",reason="Failed"}"#, "1x20"),
            (r#"zstart_webhook_images_total{namespace="z",reason="RecordFailed"}"#, "0+1x20"),
        ],
        at: "10m",
    },
    Quiet {
        alert: "ZstartControllerDown",
        series: &[(r#"zstart_controller_leader{namespace="z",pod="a"}"#, "0x30")],
        at: "20m",
    },
    Quiet {
        alert: "ZstartNoLeader",
        series: &[
            (r#"zstart_controller_leader{namespace="z",pod="a"}"#, "0x20"),
            (r#"zstart_controller_leader{namespace="z",pod="b"}"#, "1x20"),
        ],
        at: "15m",
    },
    Quiet {
        alert: "ZstartConversionsFailing",
        series: &[
            (r#"zstart_controller_records{namespace="z",reason="SourceNotFound"}"#, "3x90"),
            (r#"zstart_controller_records{namespace="z",reason="Failed"}"#, "0x90"),
        ],
        at: "80m",
    },
    Quiet {
        alert: "ZstartPullDenied",
        series: &[
            (r#"zstart_controller_records{namespace="z",reason="PullDenied"}"#, "2x30 0x60"),
            (r#"zstart_controller_records{namespace="z",reason="PushDenied"}"#, "7x90"),
        ],
        at: "80m",
    },
    Quiet {
        alert: "ZstartPushDenied",
        series: &[
            (r#"zstart_controller_records{namespace="z",reason="PushDenied"}"#, "2x30 0x60"),
            (r#"zstart_controller_records{namespace="z",reason="PullDenied"}"#, "7x90"),
        ],
        at: "80m",
    },
    Quiet {
        alert: "ZstartVariantConflict",
        series: &[(r#"zstart_controller_records{namespace="z",reason="VariantConflict"}"#, "0x30")],
        at: "20m",
    },
    Quiet {
        alert: "ZstartRegistryUnreachable",
        series: &[(r#"zstart_controller_registries_unreachable{namespace="z",pod="a"}"#, "1x10 0x30")],
        at: "35m",
    },
    Quiet {
        alert: "ZstartRecordsUnconfirmed",
        series: &[
            (r#"zstart_controller_records_unconfirmed{namespace="z",pod="a"}"#, "5x40"),
            (r#"zstart_controller_records_confirmed{namespace="z",pod="a"}"#, "95x40"),
        ],
        at: "35m",
    },
    Quiet {
        alert: "ZstartRecordsUnconfirmed",
        series: &[
            (r#"zstart_controller_records_unconfirmed{namespace="z",pod="a"}"#, "0x40"),
            (r#"zstart_controller_records_confirmed{namespace="z",pod="a"}"#, "0x40"),
        ],
        at: "35m",
    },
    Quiet {
        alert: "ZstartConversionsStalled",
        series: &[
            (r#"zstart_controller_conversions_waiting{namespace="z"}"#, "4x150"),
            (r#"zstart_controller_conversion_seconds_count{namespace="z"}"#, "0+1x75 75x75"),
        ],
        at: "130m",
    },
    Quiet {
        alert: "ZstartConversionsStalled",
        series: &[
            (r#"zstart_controller_conversions_waiting{namespace="z"}"#, "0x150"),
            (r#"zstart_controller_conversion_seconds_count{namespace="z"}"#, "7x150"),
        ],
        at: "140m",
    },
    Quiet {
        alert: "ZstartGovernorHoldsBack",
        series: &[(
            r#"zstart_controller_requests_held_back_total{namespace="z",reason="pause"}"#,
            "0+1x120 120x400",
        )],
        at: "400m",
    },
    Quiet {
        alert: "ZstartTranscoderFault",
        series: &[(r#"zstart_controller_transcoder_faults_total{namespace="z"}"#, "1x20")],
        at: "10m",
    },
    Quiet {
        alert: "ZstartLogLinesDropped",
        series: &[
            (r#"zstart_controller_log_lines_dropped_total{namespace="z",pod="c"}"#, "7x20"),
            (r#"zstart_webhook_log_lines_dropped_total{namespace="z",pod="w"}"#, "0x20"),
        ],
        at: "10m",
    },
    Quiet {
        alert: "ZstartPodsWithoutImage",
        series: &[
            (r#"zstart_controller_cures_total{namespace="z",cure="Leave",cause="RegistryAway"}"#, "0+1x20"),
            (r#"zstart_controller_cures_total{namespace="z",cure="PutBack",cause="Missing"}"#, "0+1x20"),
        ],
        at: "10m",
    },
    Quiet {
        alert: "ZstartVariantsNotPulled",
        series: &[
            (r#"zstart_controller_cures_total{namespace="z",cure="Leave",cause="Missing"}"#, "0+1x20"),
            (r#"zstart_controller_cures_total{namespace="z",cure="Evict",cause="Missing"}"#, "3x20"),
        ],
        at: "10m",
    },
    Quiet {
        alert: "ZstartVariantsSlower",
        series: &[(r#"zstart_controller_pull_time_saved_seconds{namespace="z",pod="a"}"#, "-30x90")],
        at: "80m",
    },
    Quiet {
        alert: "ZstartOwnersOnHold",
        series: &[(
            r#"zstart_controller_owner_holds_created_total{namespace="z",reason="ImagePatchedBack"}"#,
            "4x20",
        )],
        at: "10m",
    },
];
