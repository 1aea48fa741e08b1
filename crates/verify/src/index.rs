//! Comparison of two indexes: entries that the variant converts, keeps and leaves out.

use crate::document::{Descriptor, Document, Index, Manifest};
use crate::error::VerifyError;
use crate::keys;
use crate::reader::{ReadErrorKind, Side, read_manifest};
use crate::report::{DifferenceKind, EntryOutcome, EntryReport, Report};
use crate::retry::with_retries;
use crate::verification::{Verification, require_image};

/// A source's entry and the variant's entry made from it.
struct ConvertedEntry<'a> {
    source: &'a Descriptor,
    variant: &'a Descriptor,
}

impl Verification<'_> {
    pub(crate) async fn compare_indexes(
        &mut self,
        source: &Index,
        variant: &Index,
        platforms: &[String],
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        self.compare_document(None, &source.members, &variant.members, keys::OCI_INDEX, &["manifests"]);
        let converted = self.match_entries(source, variant, &mut report.entries);
        let names: Vec<String> = converted.iter().map(|entry| name_of(entry.source)).collect();
        require_selected(platforms, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (ConvertedEntry { source, variant }, name) in converted.iter().zip(&names) {
            if !is_selected(platforms, name) {
                let (platform, digest) = (source.platform(), source.digest.clone());
                report.entries.push(EntryReport { platform, digest, outcome: EntryOutcome::NotSelected });
                continue;
            }
            self.compare_entries(name, source, variant);
            let Some(source_manifest) = self.entry_manifest(Side::Source, name, source).await? else {
                continue;
            };
            let Some(variant_manifest) = self.entry_manifest(Side::Variant, name, variant).await? else {
                continue;
            };
            let image = self.compare_image(
                Some(name),
                &source_manifest,
                source.digest.clone(),
                &variant_manifest,
                variant.digest.clone(),
            );
            report.platforms.push(image.await?);
        }
        for entry in report.entries.iter().filter(|entry| entry.outcome == EntryOutcome::Unchanged) {
            let unchanged = source.entries.iter().find(|source| source.digest == entry.digest);
            if let Some(descriptor) = unchanged {
                self.require_unchanged_entry(descriptor).await?;
            }
        }
        Ok(())
    }

    /// Finds each source entry in the variant's index: unchanged, converted, or dropped.
    fn match_entries<'i>(
        &mut self,
        source: &'i Index,
        variant: &'i Index,
        reports: &mut Vec<EntryReport>,
    ) -> Vec<ConvertedEntry<'i>> {
        let mut unmatched: Vec<(usize, &Descriptor)> = variant.entries.iter().enumerate().collect();
        let mut order = Vec::new();
        let mut take = |matches: &dyn Fn(&Descriptor) -> bool| {
            let index = unmatched.iter().position(|(_, entry)| matches(entry))?;
            let (position, entry) = unmatched.remove(index);
            order.push(position);
            Some(entry)
        };
        let mut converted = Vec::new();
        let mut missing = Vec::new();
        for entry in &source.entries {
            let made_from = |other: &Descriptor| {
                other.members.annotation(keys::SOURCE_DIGEST) == Some(entry.digest.as_str())
            };
            if take(&|other| other == entry).is_some() {
                let (platform, digest) = (entry.platform(), entry.digest.clone());
                reports.push(EntryReport { platform, digest, outcome: EntryOutcome::Unchanged });
            } else if let Some(variant) = take(&made_from) {
                converted.push(ConvertedEntry { source: entry, variant });
            } else {
                missing.push(entry);
            }
        }
        let is_ordered = order.is_sorted();
        let attests_converted = |entry: &Descriptor| {
            let attested = entry.attested_digest();
            converted.iter().any(|converted| Some(converted.source.digest.as_str()) == attested)
        };
        for entry in missing {
            let is_dropped = attests_converted(entry);
            let outcome = if is_dropped { EntryOutcome::Dropped } else { EntryOutcome::Missing };
            reports.push(EntryReport { platform: entry.platform(), digest: entry.digest.clone(), outcome });
            if !is_dropped {
                let message = format!("the variant's index has no entry for the source's {}", entry.digest);
                self.differ(DifferenceKind::Entries, Some(&name_of(entry)), message);
            }
        }
        for (_, entry) in unmatched {
            let message = format!("the variant's index has entry {}, which the source lacks", entry.digest);
            self.differ(DifferenceKind::Entries, Some(&name_of(entry)), message);
        }
        for entry in source.entries.iter().filter(|entry| attests_converted(entry)) {
            if variant.entries.contains(entry) {
                let message =
                    format!("the variant's index has attestation {} of a converted image", entry.digest);
                self.differ(DifferenceKind::Entries, None, message);
            }
        }
        if !is_ordered {
            let message = "the variant's index has the source's entries in another order";
            self.differ(DifferenceKind::Entries, None, message);
        }
        converted
    }

    /// Compares the descriptors of a converted entry: all but digest, size and type is carried over.
    fn compare_entries(&mut self, platform: &str, source: &Descriptor, variant: &Descriptor) {
        if variant.media_type != keys::OCI_MANIFEST {
            let message = format!("the variant's entry has media type {:?}", variant.media_type);
            self.differ(DifferenceKind::MediaType, Some(platform), message);
        }
        let except = ["mediaType", "digest", "size", "data", "urls"];
        if let Some(name) = source.members.first_difference(&variant.members, &except) {
            let message = format!("member {name} of the index entry differs");
            self.differ(DifferenceKind::Member, Some(platform), message);
        }
        let (mut ours, theirs) = (variant.members.annotations(), source.members.annotations());
        ours.remove(keys::SOURCE_DIGEST);
        if ours != theirs {
            self.differ(DifferenceKind::Member, Some(platform), "annotations of the index entry differ");
        }
    }

    /// Reads the manifest of an entry. `None` if it is damaged, which is reported.
    async fn entry_manifest(
        &mut self,
        side: Side,
        platform: &str,
        entry: &Descriptor,
    ) -> Result<Option<Manifest>, VerifyError> {
        if entry.is_index() {
            let reason =
                format!("has index {} inside its index, which zstart does not convert", entry.digest);
            return Err(VerifyError::Unsupported { side, reason });
        }
        let reader = self.reader(side);
        let content = with_retries(async || read_manifest(reader, &entry.digest, entry.size).await).await;
        let content = content.map_err(VerifyError::read(side))?;
        match content.and_then(|content| Document::parse(&content)) {
            Ok(document) => {
                require_image(side, &document)?;
                match document {
                    Document::Manifest(manifest) => Ok(Some(manifest)),
                    Document::Index(_) => {
                        let reason = format!("has index {} under the media type of a manifest", entry.digest);
                        Err(VerifyError::Unsupported { side, reason })
                    }
                }
            }
            Err(fault) => {
                self.report_fault(side, platform, &format!("manifest {}", entry.digest), &fault);
                Ok(None)
            }
        }
    }

    /// Checks that an unchanged entry's manifest is in the variant's repository, if the source's has it.
    async fn require_unchanged_entry(&mut self, entry: &Descriptor) -> Result<(), VerifyError> {
        let platform = name_of(entry);
        let read = async |side: Side| {
            let reader = self.reader(side);
            with_retries(async || read_manifest(reader, &entry.digest, entry.size).await).await
        };
        match read(Side::Variant).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(fault)) => {
                self.report_fault(Side::Variant, &platform, &format!("manifest {}", entry.digest), &fault);
                Ok(())
            }
            Err(error) if error.kind == ReadErrorKind::NotFound => match read(Side::Source).await {
                Err(error) if error.kind == ReadErrorKind::NotFound => Ok(()),
                Err(source) => Err(VerifyError::Read { side: Side::Source, source }),
                Ok(_) => Err(VerifyError::Read { side: Side::Variant, source: error }),
            },
            Err(source) => Err(VerifyError::Read { side: Side::Variant, source }),
        }
    }
}

fn name_of(entry: &Descriptor) -> String {
    entry.platform().unwrap_or_else(|| entry.digest.short().to_owned())
}

fn is_selected(platforms: &[String], name: &str) -> bool {
    let accepts = |selected: &String| {
        // A platform without a variant selects all variants, and the reverse.
        let is_prefix = |short: &str, long: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_prefix(selected, name) || is_prefix(name, selected)
    };
    platforms.is_empty() || platforms.iter().any(accepts)
}

pub(crate) fn require_selected(platforms: &[String], available: &[&str]) -> Result<(), VerifyError> {
    if available.is_empty() || available.iter().any(|name| is_selected(platforms, name)) {
        return Ok(());
    }
    Err(VerifyError::NoPlatform { platforms: platforms.join(", "), available: available.join(", ") })
}
