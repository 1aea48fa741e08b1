//! Random documents: an edit changes image references and no other byte.

use proptest::prelude::*;

use super::NEW;
use crate::{Format, ImageValue, Manifest};

/// Text in front of and behind an image reference, e.g. its quotes.
#[derive(Clone, Debug)]
struct Notation {
    quote: &'static str,
    gap: &'static str,
    comment: String,
}

fn notation() -> impl Strategy<Value = Notation> {
    let quote = prop_oneof![Just(""), Just("'"), Just("\"")];
    let gap = prop_oneof![Just(""), Just(" "), Just("   "), Just("!!str "), Just("&anchor ")];
    let comment = prop_oneof![Just(String::new()), "[ \t]{1,3}#[ -~éß漢😀]{0,20}"];
    (quote, gap, comment).prop_map(|(quote, gap, comment)| Notation { quote, gap, comment })
}

fn reference() -> impl Strategy<Value = String> {
    "[a-z]{1,8}\\.example(:[1-9][0-9]{1,3})?/[a-z]{1,9}(/[a-z]{1,5})?:[a-z0-9][a-z0-9._-]{0,10}"
}

/// Lines without images in a mapping of this indentation.
fn noise(indent: usize) -> impl Strategy<Value = String> {
    let space = " ".repeat(indent);
    let line = prop_oneof![
        Just(String::new()),
        Just("\t".to_owned()),
        "#[ -~é漢😀\t]{0,30}".prop_map(|text| text),
        "[ -~é漢😀]{0,30}"
            .prop_map(|text| format!("'{}'", text.replace('\'', "''")))
            .prop_map(|text| format!("KEY: {text}")),
        "[a-zé漢😀 ]{0,20}".prop_map(|text| format!("KEY: \"{text}\\u00e9\\n\"")),
        "[a-z {}:/]{0,20}".prop_map(move |text| format!("KEY: |\n{}  text {text}", " ".repeat(indent))),
        "[a-z]{1,9}".prop_map(|text| format!("KEY: [{text}, {{image: {text}}}] # flow")),
    ];
    prop::collection::vec(line, 0..4).prop_map(move |lines| {
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            let line = line.replace("KEY", &format!("key{number}"));
            let is_blank = line.trim().is_empty();
            let indent = if is_blank { "" } else { space.as_str() };
            text.extend([indent, line.trim_start_matches('\t'), "\n"]);
        }
        text
    })
}

fn document() -> impl Strategy<Value = (String, Vec<String>)> {
    let container = (noise(6), reference(), notation(), noise(6));
    (noise(0), prop::collection::vec(container, 1..4), noise(2)).prop_map(|(head, containers, tail)| {
        let mut text = format!("apiVersion: v1\nkind: Pod\n{head}spec:\n  containers:\n");
        let mut images = Vec::new();
        for (before, reference, Notation { quote, gap, comment }, after) in containers {
            text += "    - name: app\n";
            text += &before.replace("key", "before");
            text.extend(["      image: ", gap, quote, &reference, quote, &comment, "\n", &after]);
            images.push(reference);
        }
        text += &tail.replace("key", "tail");
        (text, images)
    })
}

fn file() -> impl Strategy<Value = (String, Vec<String>)> {
    let options = (any::<bool>(), any::<bool>(), any::<bool>());
    (prop::collection::vec(document(), 1..4), options).prop_map(|(documents, (crlf, bom, end))| {
        let texts: Vec<&str> = documents.iter().map(|(text, _)| text.as_str()).collect();
        let mut text = texts.join("---\n");
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        if bom {
            text.insert(0, '\u{feff}');
        }
        if !end {
            text = text.trim_end_matches(['\r', '\n']).to_owned();
        }
        (text, documents.into_iter().flat_map(|(_, images)| images).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn yaml_edit_changes_the_chosen_images_only((text, images) in file(), chosen in any::<u16>()) {
        let manifest = Manifest::parse(text.clone(), Format::Yaml).unwrap();
        let found: Vec<ImageValue> = manifest.images().iter().map(|image| image.value.clone()).collect();
        let expected: Vec<ImageValue> = images.iter().cloned().map(ImageValue::Reference).collect();
        prop_assert_eq!(found, expected);

        let is_chosen = |index: usize| chosen & (1 << (index % 16)) != 0;
        let replacements: Vec<Option<String>> =
            (0..images.len()).map(|index| is_chosen(index).then(|| NEW.to_owned())).collect();
        let edited = manifest.replace(&replacements).unwrap();

        // The text around the images, found by a search that knows nothing of YAML.
        let (mut rest, mut edited_rest) = (text.as_str(), edited.as_str());
        for (index, image) in images.iter().enumerate() {
            let at = find_image(rest, image);
            let wanted = if is_chosen(index) { NEW } else { image };
            prop_assert_eq!(&rest[..at], &edited_rest[..at]);
            prop_assert!(edited_rest[at..].starts_with(wanted));
            rest = &rest[at + image.len()..];
            edited_rest = &edited_rest[at + wanted.len()..];
        }
        prop_assert_eq!(rest, edited_rest);

        let again = Manifest::parse(edited, Format::Yaml).unwrap();
        for (index, (image, found)) in images.iter().zip(again.images()).enumerate() {
            let wanted = if is_chosen(index) { NEW } else { image };
            prop_assert_eq!(&found.value, &ImageValue::Reference(wanted.to_owned()));
        }
    }

    #[test]
    fn json_edit_changes_the_chosen_image_only(
        before in "[ -~é漢😀]{0,20}",
        space in "[ \t\r\n]{0,4}",
        image in reference(),
    ) {
        let before = before.replace('\\', "\\\\").replace('"', "\\\"");
        let front = format!("{{\"family\":{space}\"{before}\",\
             \"containerDefinitions\":[{{{space}\"name\":\"a\",\"image\":{space}\"");
        let back = format!("\"{space}}}]}}{space}");
        let manifest = Manifest::parse(format!("{front}{image}{back}"), Format::Json).unwrap();
        let edited = manifest.replace(&[Some(NEW.to_owned())]).unwrap();
        prop_assert_eq!(edited, format!("{front}{NEW}{back}"));
    }

    #[test]
    fn edit_in_a_string_changes_the_image_only(
        name in "[ -~é漢😀]{0,20}",
        space in "[ \t\r\n]{0,4}",
        image in reference(),
    ) {
        let quoted = |text: &str| {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t");
            escaped.replace('\r', "\\r").replace('\n', "\\n")
        };
        // An interpolation in the name would hide a part of it.
        let name = quoted(&name.replace(['$', '%'], "-"));
        let content = format!("[{{{space}\"name\":\"{name}\",\"image\":{space}\"{image}\"{space}}}]");
        for (format, front, back) in [
            (Format::TerraformJson, "{\"locals\":{\"container_definitions\":\"", "\"}}"),
            (Format::Terraform, "locals {\n  container_definitions = \"", "\"\n}\n"),
        ] {
            let text = format!("{front}{}{back}", quoted(&content));
            let manifest = Manifest::parse(text.clone(), format).unwrap();
            let edited = manifest.replace(&[Some(NEW.to_owned())]).unwrap();
            prop_assert_eq!(edited, format!("{front}{}{back}", quoted(&content.replace(&image, NEW))));
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "[ -~\n\t\r{}\\[\\]:&*<|>#'\"é漢]{0,120}") {
        for format in [Format::Yaml, Format::Json, Format::Terraform, Format::TerraformJson] {
            if let Ok(manifest) = Manifest::parse(text.clone(), format) {
                let unchanged = manifest.replace(&vec![None; manifest.images().len()]);
                prop_assert_eq!(unchanged, Ok(text.clone()));
            }
        }
    }
}

/// Finds the next line `image:` of a container that names `image`.
fn find_image(text: &str, image: &str) -> usize {
    let mut from = 0;
    loop {
        let line = from + text[from..].find("      image: ").expect("the image is in the text");
        let end = text[line..].find('\n').map_or(text.len(), |end| line + end);
        if let Some(at) = text[line..end].find(image) {
            return line + at;
        }
        from = end;
    }
}
