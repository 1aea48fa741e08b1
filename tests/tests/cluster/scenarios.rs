//! Users' scenarios on whole clusters. A cluster with zstart takes half a minute to start, so each test runs several.

use std::time::Duration;

use anyhow::ensure;
use zstart_tests::cluster;

use crate::cron::{Schedule, runs_start_variants};
use crate::shop::Shop;
use crate::{commands, fields, freshness, power};

/// Shorter than the default of 2 minutes, as the controller's interval is shorter than its 1 minute.
const MAX_STALENESS_ALWAYS: Duration = Duration::from_secs(9);
const SHORT_BOUNDS: [&str; 2] = ["controller.recheckIntervalAlways=3s", "webhook.maxStalenessAlways=9s"];

#[test]
fn moved_tag_and_every_image_field() {
    cluster::run("scenarios::moved_tag_and_every_image_field", |cluster| async move {
        let shop = Shop::open(cluster, &[])?;
        freshness::moved_tag(&shop).await?;
        fields::every_field(&shop).await?;
        fields::applied_bare_pod(&shop).await?;
        runs_start_variants(&shop, Schedule::AfterBound(MAX_STALENESS_ALWAYS), 1).await?;
        commands::sound(&shop).await
    });
}

#[test]
#[ignore = "takes two minutes; make scenarios runs it"]
fn broken_cluster_is_reported_and_power_cut_survived() {
    cluster::run("scenarios::broken_cluster_is_reported_and_power_cut_survived", |cluster| async move {
        let before = commands::before_install(&cluster)?;
        let mut shop = Shop::open(cluster, &SHORT_BOUNDS)?;
        shop.show_output("zstart check  # before the installation", &before);
        ensure!(before.code == Some(0), "{before:?}");
        let variant = commands::deploy(&shop).await?;
        commands::sound(&shop).await?;
        commands::explain(&shop, &variant).await?;
        runs_start_variants(&shop, Schedule::AfterBound(MAX_STALENESS_ALWAYS), 3).await?;
        commands::not_fresh(&shop).await?;
        commands::wrong_authority(&shop).await?;
        commands::no_webhook(&shop).await?;
        commands::old_node(&shop)?;
        shop.replace(commands::APP, &[commands::APP], 2, &variant).await?;
        power::off_and_on(&mut shop, &variant).await
    });
}

#[test]
#[ignore = "waits six minutes for the runs of a CronJob; make scenarios runs it"]
fn cron_job_of_each_minute_starts_variants() {
    cluster::run("scenarios::cron_job_of_each_minute_starts_variants", |cluster| async move {
        let shop = Shop::open(cluster, &[])?;
        runs_start_variants(&shop, Schedule::EachMinute, 5).await
    });
}
