//! Text of a converter's settings, as a variant's annotation carries it.

use zstd::zstd_safe;

use crate::method::GzipLayers;
use crate::{Level, Method};

/// Separates the method from the settings that decide about reuse.
const METHOD: &str = ";method=";

/// The settings of a converter. They include libzstd's version, because another version may write other bytes. They name
/// no method if all layers are encoded.
pub(crate) fn settings(level: Level, method: Method) -> String {
    let settings = format!("zstart/3;zstd={};level={}", zstd_safe::version_string(), level.get());
    match method.gzip_layers(level) {
        GzipLayers::Encode => settings,
        GzipLayers::Transcode { .. } => settings + METHOD + method.name(),
    }
}

/// The settings without the method. A layer is reused, and a variant is current, if these are equal: methods differ by
/// a few percent in size, which isn't worth a conversion.
pub fn without_method(settings: &str) -> &str {
    settings.split_once(METHOD).map_or(settings, |(rest, _)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_all_methods_are_equal_without_it() {
        let level = Level::default();
        let all = [Method::Auto, Method::Transcode, Method::Encode].map(|method| settings(level, method));
        assert!(all[0].ends_with(";level=3;method=auto") && all[0] != all[1] && all[1] != all[2], "{all:?}");
        let encoded = format!("zstart/3;zstd={};level=3", zstd_safe::version_string());
        for settings in &all {
            assert_eq!(without_method(settings), encoded);
        }
        assert_eq!(all[2], encoded, "as before there were methods");
        let nine = |method| settings(Level::try_from(9).unwrap(), method);
        assert_ne!(without_method(&nine(Method::Transcode)), encoded);
        assert_eq!(nine(Method::Auto), nine(Method::Encode), "both encode at this level");
    }
}
