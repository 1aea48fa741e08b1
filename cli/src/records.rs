//! Records that a command selects, and requests to the controller, which are annotations of a record.

use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use serde::Serialize;
use serde_json::json;
use zstart_core::record::{ImageConversionStatus, READY, RecordReason, condition, record_name};
use zstart_core::{ImageConversion, Reference};

use crate::cluster::{Cluster, ClusterArguments, MANAGER, is_forbidden, is_missing, list_all, request};
use crate::error::CliError;

/// Digits of the hash at the end of a record's name.
const NAME_HASH_DIGITS: usize = 16;

/// Arguments that select records.
#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    /// Image as pods name it, e.g. `registry.example/app:v1`, or the name of its record.
    #[arg(value_name = "SOURCE", required_unless_present_any = ["all", "reason"], conflicts_with_all = ["all", "reason"])]
    sources: Vec<Source>,
    /// All records.
    #[arg(long, conflicts_with = "reason")]
    all: bool,
    /// Records with this reason in a condition, e.g. `PushDenied`. `kubectl get imgconv` shows the reasons.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<RecordReason>,
    /// Context of the kubeconfig. Default: the current context, or the cluster that the command runs in.
    #[arg(long, value_name = "NAME", help_heading = "Cluster options")]
    context: Option<String>,
}

/// Image, or name of its record.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    Image(Reference),
    /// The text has the form of a record's name, which is rarely an image's.
    Record(String),
}

/// Record that a command found.
#[derive(Debug, Serialize)]
pub(crate) struct FoundRecord {
    /// Name of the record.
    record: String,
    /// `None` if the record can't be parsed.
    source: Option<String>,
    #[serde(skip)]
    uid: Option<String>,
}

/// Result of a command that asks the controller for work.
#[derive(Debug, Serialize)]
pub(crate) struct Requested {
    /// Records that carry the request now.
    records: Vec<FoundRecord>,
    #[serde(skip)]
    selection: String,
}

impl FromStr for Source {
    type Err = <Reference as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = text.rsplit_once('-').map_or("", |(_, hash)| hash);
        let is_name = hash.len() == NAME_HASH_DIGITS
            && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && !text.contains(['/', ':', '@']);
        if is_name { Ok(Self::Record(text.to_owned())) } else { text.parse().map(Self::Image) }
    }
}

impl Source {
    fn record(&self) -> String {
        match self {
            Self::Image(source) => record_name(source),
            Self::Record(name) => name.clone(),
        }
    }
}

fn reason(text: &str) -> Result<RecordReason, String> {
    let mut all = RecordReason::ALL.iter().copied();
    all.find(|reason| reason.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let all: Vec<&str> = RecordReason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("a record has no such reason; the reasons are {}", all.join(", "))
    })
}

/// Sets the annotation `key` of the selected records to the time of now.
pub(crate) async fn request_of_controller(
    arguments: RecordArguments,
    key: &str,
) -> Result<Requested, CliError> {
    let RecordArguments { sources, all: _, reason, context } = arguments;
    let cluster = Cluster::connect(&ClusterArguments { context, namespace: None }).await?;
    let client = cluster.client;
    let selection = match reason {
        Some(reason) => format!("no record has the reason {reason}"),
        None => "the cluster has no record of zstart".to_owned(),
    };
    // No record is changed before all are found.
    let found =
        if sources.is_empty() { list(&client, reason).await? } else { find(&client, &sources).await? };
    let value = Timestamp::now().to_string();
    let mut records = Vec::new();
    for record in found {
        if annotate(&client, &record, key, &value).await? {
            records.push(record);
        }
    }
    Ok(Requested { records, selection })
}

async fn find(client: &Client, sources: &[Source]) -> Result<Vec<FoundRecord>, CliError> {
    let api = Api::<DeserializeGuard<ImageConversion>>::all(client.clone());
    let (mut found, mut missing): (Vec<FoundRecord>, _) = (Vec::new(), Vec::new());
    for source in sources {
        let name = source.record();
        match api.get_opt(&name).await.map_err(request(format!("read record {name}")))? {
            Some(record) => {
                if !found.iter().any(|known| known.record == name) {
                    found.push(FoundRecord::from(record));
                }
            }
            None => missing.push(match source {
                Source::Image(image) => image.to_string(),
                Source::Record(name) => name.clone(),
            }),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(CliError::NoRecord { sources: missing.join(", ") }) }
}

/// Lists all records, the unreadable ones too.
pub(crate) async fn read_all(client: &Client) -> Result<Vec<DeserializeGuard<ImageConversion>>, CliError> {
    let api = Api::<DeserializeGuard<ImageConversion>>::all(client.clone());
    match list_all(async |page| api.list(page).await).await {
        Ok(all) => Ok(all),
        Err(error) if is_missing(&error) => Err(CliError::NoRecordKind),
        Err(error) => Err(request("list records")(error).into()),
    }
}

async fn list(client: &Client, reason: Option<RecordReason>) -> Result<Vec<FoundRecord>, CliError> {
    let all = read_all(client).await?;
    let is_selected = |DeserializeGuard(record): &DeserializeGuard<ImageConversion>| match (record, reason) {
        (_, None) => true,
        (Ok(record), Some(reason)) => has_reason(record.status.as_ref(), reason),
        (Err(_), Some(_)) => false,
    };
    Ok(all.into_iter().filter(is_selected).map(FoundRecord::from).collect())
}

/// Returns whether a condition that isn't met has the reason, or the condition `Ready` in any case.
fn has_reason(status: Option<&ImageConversionStatus>, reason: RecordReason) -> bool {
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    if status.is_none_or(|status| condition(status, READY).is_none()) && reason == RecordReason::Pending {
        return true;
    }
    conditions.iter().any(|condition| {
        condition.reason == reason.as_str() && (condition.type_ == READY || condition.status != "True")
    })
}

/// Sets an annotation. Returns false if the record is gone, or replaced by another one of the name.
async fn annotate(client: &Client, record: &FoundRecord, key: &str, value: &str) -> Result<bool, CliError> {
    let name = &record.record;
    let patch = json!({"metadata": {"uid": record.uid, "annotations": {key: value}}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let api = Api::<ImageConversion>::all(client.clone());
    match api.patch_metadata(name, &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) if is_forbidden(&error) => {
            Err(CliError::MayNotWriteRecords { record: name.clone(), source: Box::new(error) })
        }
        Err(error) => Err(request(format!("annotate record {name}"))(error).into()),
    }
}

impl From<DeserializeGuard<ImageConversion>> for FoundRecord {
    fn from(DeserializeGuard(record): DeserializeGuard<ImageConversion>) -> Self {
        let (metadata, source) = match record {
            Ok(record) => (record.metadata, Some(record.spec.source.to_string())),
            Err(invalid) => (invalid.metadata, None),
        };
        Self { record: metadata.name.unwrap_or_default(), source, uid: metadata.uid }
    }
}

impl Requested {
    /// Lines for people. `request` names the work, e.g. `a look at`.
    pub(crate) fn lines(&self, request: &str) -> Vec<String> {
        if self.records.is_empty() {
            return vec![self.selection.clone()];
        }
        let line = |found: &FoundRecord| {
            let FoundRecord { record, source, .. } = found;
            let source = source.as_deref().unwrap_or("an unreadable source");
            format!("asked the controller for {request} {source} (kubectl describe imgconv {record})")
        };
        self.records.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use zstart_core::record::{HEALTHY, set_condition};

    use super::*;

    #[test]
    fn source_is_an_image_or_the_name_of_a_record() {
        let image: Reference = "registry.example/app:v1".parse().unwrap();
        assert_eq!("registry.example/app:v1".parse(), Ok(Source::Image(image.clone())));
        let name = record_name(&image);
        assert_eq!(name.parse(), Ok(Source::Record(name.clone())));
        assert_eq!(Source::Image(image).record(), name);
        assert!(matches!("app-0123456789abcdef:v1".parse(), Ok(Source::Image(_))));
        assert!("App".parse::<Source>().is_err());
    }

    #[test]
    fn reason_selects_what_a_record_shows() {
        let now = Timestamp::UNIX_EPOCH;
        let mut status = ImageConversionStatus::default();
        assert!(has_reason(None, RecordReason::Pending) && has_reason(Some(&status), RecordReason::Pending));
        set_condition(&mut status, READY, true, RecordReason::Verified, "", now);
        set_condition(&mut status, HEALTHY, false, RecordReason::PullFailed, "", now);
        set_condition(&mut status, "Resolved", true, RecordReason::Resolved, "", now);
        let has = |reason| has_reason(Some(&status), reason);
        assert!(has(RecordReason::Verified) && has(RecordReason::PullFailed));
        assert!(!has(RecordReason::Pending) && !has(RecordReason::Resolved));
    }

    #[test]
    fn unknown_reason_is_answered_with_the_reasons() {
        assert_eq!(reason("pushdenied"), Ok(RecordReason::PushDenied));
        assert!(reason("Broken").unwrap_err().contains("PullDenied, PushDenied"));
    }
}
