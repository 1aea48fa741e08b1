//! Report as one HTML file: styles and plots are in the file, and nothing is loaded from elsewhere.

use std::time::Duration;

use zstart_core::units::{self, count};

use super::figures::{Comparison, Image, Measured, Savings, percent};
use super::table::{conversion, median, pulls, seconds, signed_size};

const STYLE: &str = include_str!("report.css");
/// Images in a plot. The table has all of them.
const MAX_PLOTTED: usize = 20;
/// Width of a plot, in its own units.
const WIDTH: f64 = 960.0;
/// Length of the longest bar. The rest of the width holds the bar's label.
const LONGEST_BAR: f64 = 740.0;
/// Height of an image in a plot: a line with the name, two bars, and a gap.
const ROW: f64 = 62.0;

/// Bars of one image.
struct Bars {
    name: String,
    /// Lengths in any unit.
    lengths: Comparison<f64>,
    labels: Comparison<String>,
}

/// Returns the whole file.
pub(super) fn text(savings: &Savings) -> String {
    let total = &savings.total;
    let few = if total.few_pulls > 0 { " ~" } else { "" };
    let tiles = [
        (
            seconds(total.seconds.abs()) + few,
            format!(
                "{} pull time, in {} of variants",
                if total.seconds < 0.0 { "more" } else { "less" },
                pulls(total.compared_pulls)
            ),
        ),
        change(total.size, "smaller images", "larger images"),
        (
            signed_size(total.wire_bytes),
            format!("not transferred, if {} had transferred all layers", pulls(total.variant_pulls)),
        ),
        (units::size(total.size.variant), "of present variants stored, at most".to_owned()),
        (conversion(total.conversion), format!("to convert {}", count(savings.images.len(), "image"))),
    ];
    let tiles = each(&tiles, |(figure, text)| {
        format!("<li><strong>{}</strong>{}</li>\n", escape(figure), escape(text))
    });
    let (pulls, sizes) = (pull_plot(savings), size_plot(savings));
    let (table, notes) = (table(&savings.images), notes(savings));
    let time = savings.time.strftime("%Y-%m-%d %H:%M UTC");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>zstart: savings</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>What zstart saved</h1>\n<p class=\"faint\">{time}</p>\n<ul class=\"tiles\">\n{tiles}</ul>\n\
         {pulls}{sizes}{table}<footer>\n{notes}</footer>\n</body>\n</html>\n"
    )
}

fn pull_plot(savings: &Savings) -> String {
    let bars = savings.images.iter().filter_map(|image| {
        let medians = image.medians()?;
        let label = |measured: Option<Measured>| {
            measured.map_or_else(String::new, |found| {
                format!("{} (median of {})", units::duration(found.median), found.count)
            })
        };
        Some(Bars {
            name: image.source.clone(),
            lengths: Comparison {
                source: medians.source.as_secs_f64(),
                variant: medians.variant.as_secs_f64(),
            },
            labels: Comparison {
                source: label(image.pulls.source),
                variant: label(image.pulls.variant) + ", " + &shorter(medians) + few(image),
            },
        })
    });
    let caption = "First pulls by nodes, as their kubelets reported them: download and unpacking, without the time in \
                   the kubelet's queue.";
    plot("Pull time", caption, &bars.take(MAX_PLOTTED).collect::<Vec<_>>())
}

/// Formats the change of the pull time, e.g. `45.0 % less`.
fn shorter(medians: Comparison<Duration>) -> String {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let medians = Comparison { source: milliseconds(medians.source), variant: milliseconds(medians.variant) };
    let (percent, word) = change(medians, "less", "more");
    format!("{percent} {word}")
}

/// Formats a change in percent, without a sign, with the word for its direction.
fn change(figures: Comparison<u64>, less: &str, more: &str) -> (String, String) {
    let percent = percent(figures);
    (format!("{:.1} %", percent.abs()), if percent < 0.0 { more } else { less }.to_owned())
}

/// Mark of an image with so few pulls that one slow node may decide.
fn few(image: &Image) -> &'static str {
    if image.has_few_pulls() { " ~" } else { "" }
}

#[expect(clippy::cast_precision_loss, reason = "a bar's length needs no such precision")]
fn size_plot(savings: &Savings) -> String {
    let bars = savings.images.iter().map(|Image { source, size, .. }| Bars {
        name: source.clone(),
        lengths: Comparison { source: size.source as f64, variant: size.variant as f64 },
        labels: Comparison {
            source: units::size(size.source),
            variant: {
                let (percent, word) = change(*size, "smaller", "larger");
                format!("{}, {percent} {word}", units::size(size.variant))
            },
        },
    });
    let caption = "Compressed layers of the converted platforms.";
    plot("Image size", caption, &bars.take(MAX_PLOTTED).collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "a plot has few rows")]
fn plot(title: &str, caption: &str, all: &[Bars]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let longest = all.iter().map(|bars| bars.lengths.source.max(bars.lengths.variant)).fold(0.0, f64::max);
    let length = |value: f64| if longest > 0.0 { (LONGEST_BAR * value / longest).max(1.0) } else { 1.0 };
    let row = |(index, Bars { name, lengths, labels }): (usize, &Bars)| {
        let y = ROW * index as f64;
        let name = format!("<text x=\"0\" y=\"{:.0}\">{}</text>\n", y + 13.0, escape(name));
        let bar = |class: &str, value: f64, label: &str, top: f64| {
            let width = length(value);
            format!(
                "<rect class=\"{class}\" x=\"0\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"14\" rx=\"2\"/>\n\
                 <text class=\"faint\" x=\"{:.1}\" y=\"{:.0}\">{}</text>\n",
                width + 6.0,
                top + 11.0,
                escape(label),
            )
        };
        let gzip = bar("gzip", lengths.source, &labels.source, y + 19.0);
        name + &gzip + &bar("zstd", lengths.variant, &labels.variant, y + 36.0)
    };
    let shapes = each(all.iter().enumerate(), row);
    let height = ROW * all.len() as f64;
    format!(
        "<h2>{title}</h2>\n<figure>\n\
         <figcaption>{caption}</figcaption>\n\
         <p class=\"legend\"><span class=\"key gzip\"></span>gzip <span class=\"key zstd\"></span>zstd</p>\n\
         <svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{title} of each image as gzip and as zstd\">\n\
         {shapes}</svg>\n</figure>\n"
    )
}

fn table(images: &[Image]) -> String {
    let heads = ["image", "gzip", "zstd", "saved", "gzip pull", "zstd pull", "time saved", "conversion"];
    let heads = each(&heads, |head| format!("<th scope=\"col\">{head}</th>"));
    let row = |image: &Image| {
        let cells = [
            image.source.clone(),
            units::size(image.size.source),
            units::size(image.size.variant),
            units::saving(image.size.source, image.size.variant),
            median(image.pulls.source, "–"),
            median(image.pulls.variant, "–"),
            image.seconds_saved().map_or_else(|| "–".to_owned(), |saved| seconds(saved) + few(image)),
            conversion(image.conversion),
        ];
        let cells = each(&cells, |cell| format!("<td>{}</td>", escape(cell)));
        format!("<tr>{cells}</tr>\n")
    };
    let rows = each(images, row);
    format!(
        "<h2>Images</h2>\n<div class=\"scroll\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n"
    )
}

fn notes(savings: &Savings) -> String {
    let Savings { images, total, without_variant, unreadable, .. } = savings;
    let mut notes = vec![
        "Time saved: pulls of the variant, times the difference of the medians. The first pull by a node counts, \
         because a later one finds its layers."
            .to_owned(),
        "Storage: an upper bound, because variants share the layers that their sources share.".to_owned(),
        "Figures are of each tag's present digest; earlier variants aren't counted.".to_owned(),
    ];
    if total.few_pulls > 0 {
        notes.push("~ fewer than three pulls of source or variant, so one slow node may decide.".to_owned());
    }
    if images.len() > MAX_PLOTTED {
        notes.push(format!("The plots show the first {MAX_PLOTTED} images, the table all {}.", images.len()));
    }
    if *without_variant > 0 {
        notes.push(format!(
            "{} without a variant: zstart status says why.",
            count(*without_variant, "record")
        ));
    }
    if *unreadable > 0 {
        notes.push(format!("{} of another version of zstart: not counted.", count(*unreadable, "record")));
    }
    each(&notes, |note| format!("<p>{}</p>\n", escape(note)))
}

/// Joins the HTML of all items.
fn each<T>(items: impl IntoIterator<Item = T>, html: impl FnMut(T) -> String) -> String {
    items.into_iter().map(html).collect::<Vec<_>>().concat()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::savings;
    use super::*;

    #[test]
    fn html_holds_everything_it_shows() {
        let html = text(&savings());
        for part in [
            "What zstart saved",
            "30.5s ~",
            "less pull time, in 7 measured pulls",
            "r.example/app:v3",
            "5.5s (median of 5), 45.0 % less",
            "8.0s ~",
        ] {
            assert!(html.contains(part), "{part}");
        }
        // Nothing is loaded from elsewhere, and nothing runs.
        for part in ["http:", "https:", "<script", "url(", "@import", "src="] {
            assert!(!html.contains(part), "{part}");
        }
        let opened = html.matches("<rect").count();
        assert_eq!(opened, 2 * 2 + 3 * 2, "two images have measured pulls, three have sizes");
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("<b>\"&"), "&lt;b&gt;&quot;&amp;");
    }

    #[test]
    fn empty_report_has_no_plots() {
        let empty = Savings::new(Vec::new(), "2026-11-28T12:00:00Z".parse().unwrap());
        let html = text(&empty);
        assert!(html.contains("to convert 0 images") && !html.contains("<svg"), "{html}");
        assert_eq!(conversion(Duration::ZERO), "-");
    }
}
