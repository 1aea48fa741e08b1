//! Short form of `make bench-webhook`: its cluster, its load generator and both measured programs at work.

use std::path::PathBuf;

use anyhow::Result;
use zstart_tests::bench_webhook::{Plan, Program, Programs, run, tables};
use zstart_tests::cluster::built_binaries;

#[tokio::test(flavor = "multi_thread")]
async fn webhook_and_peer_answer_every_review() -> Result<()> {
    let programs = Programs {
        webhook: built_binaries()?.join("zstart-webhook"),
        generator: PathBuf::from(env!("CARGO_BIN_EXE_review-load")),
    };
    let plan = Plan::short();
    let measured = run(&programs, &plan).await?;
    let programs: Vec<Program> = measured.iter().map(|measurement| measurement.program).collect();
    assert_eq!(programs, [Program::Zstart, Program::MapWebhook, Program::Zstart]);
    for measurement in &measured {
        let load = &measurement.load;
        let planned = plan.rate * plan.seconds;
        assert_eq!(
            (load.sent as u64, measurement.counted),
            (planned.into(), planned.into()),
            "{measurement:?}"
        );
        assert!(load.failed == 0 && load.patched > 0, "{measurement:?}");
        assert!(load.groups.len() == 3 && load.late.max <= load.latency.max, "{measurement:?}");
        assert!(measurement.memory.peak >= measurement.memory.resident, "{measurement:?}");
    }
    let text = tables(&measured);
    assert!(
        text.contains("map webhook on controller-runtime v0.") && text.contains("goals with 100"),
        "{text}"
    );
    Ok(())
}
