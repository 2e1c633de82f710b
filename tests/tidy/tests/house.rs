//! The rules of the house, held against this checkout.

use std::path::Path;

use tidy::{Tree, arrows, words};

fn check(rule: impl Fn(&Tree) -> Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let findings = rule(&Tree::read(&root).expect("the checkout can be read"));
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn arrows_between_crates_go_down() {
    check(arrows::forbidden);
}

#[test]
fn versions_stand_in_the_workspace() {
    check(arrows::own_versions);
}

#[test]
fn dependencies_are_used() {
    check(arrows::unused);
}

#[test]
fn words_stand_where_they_may() {
    check(words::misplaced);
}

#[test]
fn files_open_with_what_they_are() {
    check(words::without_opening);
}

#[test]
fn files_can_be_held_in_mind() {
    check(|tree| words::too_long(tree, 1000));
}
