//! `zstart explain`: the decision of the webhook about each image of a pod, step by step.

mod cause;
mod report;
mod snapshot;
mod subject;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use zstart_admission::decision::trace::Step;
use zstart_admission::decision::{Context, decide_traced, images};
use zstart_core::keys;

use self::report::Report;
use self::subject::Subject;
use crate::args::ExplainArguments;
use crate::cluster::{Cluster, Installed, WEBHOOK, is_missing, request, selects};
use crate::error::CliError;

/// Explains the decision of now.
pub(crate) async fn run(arguments: ExplainArguments) -> Result<(), CliError> {
    let ExplainArguments { pod, file, cluster, output } = arguments;
    let reached = Cluster::connect(&cluster).await?;
    let subject = match file {
        Some(file) => Subject::of_file(&file, cluster.namespace.as_deref(), &reached.namespace)?,
        None => Subject::of_pod(&reached, pod_name(&pod)?).await?,
    };
    let installed = reached.webhook().await?;
    let mut remarks: Vec<String> = subject.remark.iter().cloned().collect();
    let Some(Installed { configuration, config, remark }) = installed else {
        return Err(CliError::NotInstalled);
    };
    remarks.extend(remark);
    let call = is_called(&reached, &configuration, &subject).await?;
    let records = snapshot::records(&reached, &subject).await?;
    let (snapshot, missing) = snapshot::of(&reached, &subject, &records).await?;
    remarks.extend(missing);
    let context =
        Context { snapshot: &snapshot, policy: &config.policy, now: Timestamp::now(), stale_cache: None };
    let Subject { pod, namespace, .. } = &subject;
    let (decisions, _) = decide_traced::<Vec<Step>>(pod, namespace, images(pod), &context);
    let records: Vec<_> = records.into_iter().filter_map(|record| record.0.ok()).collect();
    let report = Report::new(&subject, &call, decisions, &records, remarks);
    output.format().print(&report, || report.lines())
}

/// Returns the name in `pod NAME` or `pod/NAME`.
fn pod_name(arguments: &[String]) -> Result<&str, CliError> {
    let is_kind = |kind: &str| matches!(kind, "pod" | "pods" | "po");
    let name = match arguments {
        [kind, name] if is_kind(kind) => Some(name.as_str()),
        [both] => both.split_once('/').filter(|(kind, _)| is_kind(kind)).map(|(_, name)| name),
        _ => None,
    };
    name.filter(|name| !name.is_empty()).ok_or_else(|| CliError::PodName { given: arguments.join(" ") })
}

/// Returns the step in which the API server chooses the webhooks that it calls.
async fn is_called(
    cluster: &Cluster,
    configuration: &MutatingWebhookConfiguration,
    subject: &Subject,
) -> Result<Step, CliError> {
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    let name = &subject.namespace;
    let namespace = match namespaces.get(name).await {
        Ok(namespace) => namespace,
        Err(error) if is_missing(&error) => {
            return Err(CliError::NoNamespace { namespace: name.clone() });
        }
        Err(error) => return Err(request(format!("read namespace {name}"))(error).into()),
    };
    let webhook = configuration.webhooks.iter().flatten().find(|webhook| webhook.name == WEBHOOK);
    let by_namespace =
        selects(webhook.and_then(|webhook| webhook.namespace_selector.as_ref()), namespace.labels());
    let by_object =
        selects(webhook.and_then(|webhook| webhook.object_selector.as_ref()), subject.pod.labels());
    let configuration = configuration.name_any();
    let text = match (by_namespace, by_object) {
        (true, true) => {
            format!("the API server sends pods of namespace {name} to the webhook ({configuration})")
        }
        (false, _) => format!(
            "the API server sends no pods of namespace {name} to the webhook: the namespaceSelector of {configuration} excludes it"
        ),
        (true, false) => {
            let own = subject.pod.labels().get(keys::REWRITE);
            let own = own.map_or_else(String::new, |value| format!(", {}={value} among them", keys::REWRITE));
            format!("the objectSelector of {configuration} excludes the pod by its labels{own}")
        }
    };
    Ok(Step { passed: by_namespace && by_object, text })
}
