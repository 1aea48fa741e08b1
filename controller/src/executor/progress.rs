//! The course of a Job, from what the API server says of it and its pods. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use super::job_error::{Death, joined};
use super::observed::{JobView, PodView, Terminated};

/// Reason of the Job controller for a Job whose deadline passed (`batchv1.JobReasonDeadlineExceeded`).
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// Reason of the kubelet for a container that was killed at its memory limit.
const OOM_KILLED: &str = "OOMKilled";

/// Course of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The Job waits: for its queue, a node, an image.
    Waiting(String),
    /// The container runs.
    Running,
    /// The Job has ended.
    Ended,
}

/// Where a Job is. `queue` is the label of its queue.
pub(super) fn progress(job: &JobView, pods: &[PodView]) -> Progress {
    if job.end.is_some() {
        return Progress::Ended;
    }
    if job.is_suspended {
        return Progress::Waiting(match &job.queue {
            Some(queue) => format!("queue {queue} hasn't admitted the Job"),
            None => "the Job is suspended".to_owned(),
        });
    }
    let Some(pod) = latest(pods) else {
        return Progress::Waiting("the Job has no pod yet".to_owned());
    };
    match (&pod.waiting, &pod.unscheduled) {
        (Some((reason, message)), _) => {
            Progress::Waiting(format!("pod {} doesn't start: {}", pod.name, joined(reason, message)))
        }
        (None, Some(message)) => Progress::Waiting(format!("no node suits pod {}: {message}", pod.name)),
        (None, None) => Progress::Running,
    }
}

/// The report of a Job that has ended, or the cause of its end without one. `waiting` is the last known reason why
/// it waited, and `limit` its deadline: the Job controller deletes the pod at the deadline.
pub(super) fn report<'a>(
    job: &JobView,
    pods: &'a [PodView],
    waiting: Option<&str>,
    limit: Duration,
) -> Result<&'a str, Death> {
    let mut newest: Vec<&PodView> = pods.iter().collect();
    newest.sort_by_key(|pod| Reverse(pod.created));
    let terminated = newest.iter().filter_map(|pod| pod.terminated.as_ref());
    if let Some(message) =
        terminated.map(|terminated| &*terminated.message).find(|message| !message.is_empty())
    {
        return Ok(message);
    }
    let (is_complete, reason, message) = match &job.end {
        Some(end) => (end.is_complete, &*end.reason, &*end.message),
        None => (false, "", ""),
    };
    if is_complete {
        return Err(Death::NoResult);
    }
    if reason == DEADLINE_EXCEEDED {
        return Err(Death::Deadline { limit, waiting: waiting.map(ToOwned::to_owned) });
    }
    let Some(pod) = newest.first() else {
        return Err(Death::Failed { reason: reason.to_owned(), message: message.to_owned() });
    };
    Err(match &pod.terminated {
        Some(Terminated { reason, .. }) if reason == OOM_KILLED => Death::OutOfMemory,
        _ if !pod.reason.is_empty() => {
            Death::Pod { reason: pod.reason.clone(), message: pod.message.clone() }
        }
        Some(Terminated { code, reason, .. }) => Death::Exit { code: *code, reason: reason.clone() },
        None => Death::Failed { reason: reason.to_owned(), message: message.to_owned() },
    })
}

fn latest(pods: &[PodView]) -> Option<&PodView> {
    pods.iter().max_by(|one, other| one.created.cmp(&other.created))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(suspend: bool, conditions: &Value) -> JobView {
        let job = serde_json::from_value(json!({
            "metadata": {"name": "zstart-convert-0", "uid": "u", "labels": {"kueue.x-k8s.io/queue-name": "batch"}},
            "spec": {"suspend": suspend, "template": {"spec": {"containers": []}}},
            "status": {"conditions": conditions},
        }));
        JobView::of(&job.unwrap())
    }

    fn failed(reason: &str, message: &str) -> JobView {
        job(
            false,
            &json!([
                {"type": "FailureTarget", "status": "True", "reason": reason, "message": message},
                {"type": "Failed", "status": "True", "reason": reason, "message": message},
            ]),
        )
    }

    fn pod(second: u32, status: &Value) -> PodView {
        let created = format!("2026-11-27T08:00:{second:02}Z");
        let pod = serde_json::from_value(json!({
            "metadata": {"name": format!("pod-{second}"), "creationTimestamp": created,
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": true}]},
            "status": status,
        }));
        PodView::of(&pod.unwrap())
    }

    fn terminated(state: &Value) -> Value {
        json!({"phase": "Failed", "containerStatuses": [{"name": "convert", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": state}}]})
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "convert", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]})
    }

    #[test]
    fn waiting_job_says_for_what_it_waits() {
        let running = job(false, &json!([]));
        let unscheduled = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient memory."}]});
        for (job, pods, part) in [
            (job(true, &json!([])), vec![], "queue batch hasn't admitted the Job"),
            (running.clone(), vec![], "no pod yet"),
            (running.clone(), vec![pod(1, &unscheduled)], "no node suits pod pod-1: 0/3 nodes"),
            (
                running.clone(),
                vec![
                    pod(1, &terminated(&json!({"exitCode": 1}))),
                    pod(2, &waiting("ImagePullBackOff", "not found")),
                ],
                "pod pod-2 doesn't start: ImagePullBackOff: not found",
            ),
            (
                running.clone(),
                vec![pod(1, &waiting("ContainerCreating", ""))],
                "pod-1 doesn't start: ContainerCreating",
            ),
        ] {
            let Progress::Waiting(text) = progress(&job, &pods) else { panic!("{part}") };
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(progress(&running, &[pod(1, &json!({"phase": "Running"}))]), Progress::Running);
        assert_eq!(progress(&failed("", ""), &[]), Progress::Ended);
    }

    #[test]
    fn each_death_names_its_cause() {
        let limit = Duration::from_mins(30);
        let backoff = || failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
        let complete = job(false, &json!([{"type": "Complete", "status": "True"}]));
        for (job, pods, last, part) in [
            (
                backoff(),
                vec![pod(1, &terminated(&json!({"exitCode": 137, "reason": "OOMKilled"})))],
                None,
                "OOMKilled",
            ),
            (
                backoff(),
                vec![pod(1, &terminated(&json!({"exitCode": 2, "reason": "Error"})))],
                None,
                "exit code 2, Error",
            ),
            (backoff(), vec![pod(1, &evicted)], None, "Evicted: The node was low on resource"),
            (backoff(), vec![], None, "BackoffLimitExceeded: Job has reached"),
            (
                failed("DeadlineExceeded", "Job was active longer than specified deadline"),
                vec![],
                Some("no node suits pod pod-1: 0/3 nodes are available"),
                "within 30m00s, the limit controller.conversionTimeout; layers that are done are reused by the next \
                 attempt. At last it waited: no node suits pod pod-1",
            ),
            (complete, vec![], None, "succeeded, and its pod with the result is gone"),
        ] {
            let death = report(&job, &pods, last, limit).unwrap_err().to_string();
            assert!(death.contains(part), "{part}: {death}");
        }
    }

    #[test]
    fn newest_report_counts_also_of_a_failed_job() {
        let first = pod(1, &terminated(&json!({"exitCode": 1, "message": "first"})));
        let second = pod(2, &terminated(&json!({"exitCode": 1, "message": "second"})));
        let pods = [second, first, pod(3, &json!({"phase": "Failed", "reason": "Evicted"}))];
        assert_eq!(report(&failed("PodFailurePolicy", ""), &pods, None, Duration::ZERO), Ok("second"));
    }
}
