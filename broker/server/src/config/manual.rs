//! The manual of settings, made from the list.
//!
//! What a newcomer would get wrong: `docs/settings.md` is this text and never edited by hand; a test
//! compares them.

use super::setting::{Change, Role, Setting};
use super::{broker_settings, topic_settings};

/// The text of `docs/settings.md`.
pub fn manual() -> String {
    let mut out = String::from(HEAD);
    let acted = |setting: &&Setting| setting.role == Role::Acted;
    let later = |setting: &&Setting| setting.role == Role::Later;
    section(&mut out, "Broker", broker_settings().filter(acted));
    section(&mut out, "Topic", topic_settings().filter(acted));
    section(
        &mut out,
        "Broker, accepted and without effect yet",
        broker_settings().filter(later),
    );
    section(
        &mut out,
        "Topic, accepted and without effect yet",
        topic_settings().filter(later),
    );
    out
}

const HEAD: &str = "# Settings

Made from the list in `broker/server/src/config/`; a test keeps the two alike.

Names, values and defaults are Apache Kafka's, but for those that begin with `klamm.` and the few defaults that let a
node start without any settings. They come from `--config server.properties`, from the environment (`KAFKA_LOG_DIRS`
is `log.dirs`, `__` stands for `_`, `___` for `-`) and from `--override key=value`; the later ones win. A key that is
not in the list is kept and named in a warning, one of ours that is not in the list is an error.

*Change*: `restart` needs one; `cluster` is dynamic, for all brokers or one; `broker` is dynamic for one broker.
";

fn section<'a>(out: &mut String, title: &str, settings: impl Iterator<Item = &'a Setting>) {
    out.push_str(&format!(
        "\n## {title}\n\n| name | type | default | allowed | change | |\n|---|---|---|---|---|---|\n"
    ));
    for setting in settings {
        let default = match setting.default {
            None => String::new(),
            Some("") => "(empty)".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let change = match setting.change {
            Change::Restart => "restart",
            Change::Cluster => "cluster",
            Change::PerBroker => "broker",
        };
        let (name, kind, allowed) = (setting.name, setting.kind.name(), setting.kind.allowed());
        out.push_str(&format!(
            "| `{name}` | {kind} | {default} | {allowed} | {change} | {} |\n",
            setting.help
        ));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests run on ordinary threads")]
mod tests {
    use super::*;

    /// `UPDATE_DOCS=1 cargo test -p broker` writes the file anew.
    #[test]
    fn the_file_is_this_text() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, manual()).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            file == manual(),
            "docs/settings.md is not what the list says: UPDATE_DOCS=1 cargo test -p broker"
        );
    }
}
